"""The store of a Protean provider on Elasticsearch: every document of its indexes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..changes import Written, compared
from ..errors import ConfigurationError, StoreError, UnsafeStoreError
from ..ownership import is_test_name
from ..store import OnLeak, ResetAfter, Snapshot, Store, validate

_PAGE = 1000  # documents to a request
_SHOWN = 3  # indexes in a message

Documents = dict[tuple[str, str], Any]
"""What is stored, by index and identifier."""


class ElasticsearchStore(Store):
    """Every index of a provider, the outbox's too, under the names that it gives them.

    Documents are restored; their sequence numbers go on. An index that a test makes by itself is
    not known here.

    Parameters:
        provider: Returns the current provider.
        name: What messages call the store.
        unsafe: Allow indexes that hold documents and are not named for tests; they are deleted.
        reset_after: ``"test"``, or ``"class"`` if the tests of a class build on each other.
        on_leak, verify: As for every store.
    """

    kind = "elasticsearch"

    def __init__(
        self,
        provider: Callable[[], Any],
        *,
        name: str,
        unsafe: bool = False,
        reset_after: ResetAfter = "test",
        on_leak: OnLeak = "warn",
        verify: bool = False,
    ) -> None:
        validate(self, name=name, reset_after=reset_after, on_leak=on_leak, unsafe=unsafe, verify=verify)
        self._provider = provider
        self.name = name
        self._unsafe = unsafe
        self.reset_after, self.on_leak, self.verify = reset_after, on_leak, verify
        self._made: list[str] = []

    def check(self) -> None:
        held = {index: count for index in self._indexes() if (count := self._count(index))}
        wrong = [index for index in held if not is_test_name(index)]
        if wrong and not self._unsafe:
            shown = ", ".join(f"{index} ({held[index]} documents)" for index in wrong[:_SHOWN])
            raise UnsafeStoreError(
                f"refusing to delete indexes of store {self.name!r}: {shown}. They are not named for tests.\n"
                "Set NAMESPACE_PREFIX to a name with 'test' in it, or pass unsafe=True if this may go."
            )

    def create_schema(self) -> None:
        self._delete(self._indexes())
        self._made = self._indexes()
        self._provider()._create_database_artifacts()

    def drop_schema(self) -> None:
        self._delete(self._made)
        self._made = []

    def save_data(self) -> Snapshot:
        return self._documents()

    def reset_data(self, snapshot: Documents) -> bool:
        now = self._documents()
        if now == snapshot:
            return False
        steps: list[dict[str, Any]] = []
        for index, identifier in now.keys() - snapshot.keys():
            steps.append({"delete": {"_index": index, "_id": identifier}})
        for key, document in snapshot.items():
            if key not in now or now[key] != document:
                steps += [{"index": {"_index": key[0], "_id": key[1]}}, document]
        answer = self._client.bulk(operations=steps, refresh=True)
        if answer["errors"] or self._documents() != snapshot:
            raise StoreError(
                f"store {self.name!r}: its documents could not be given back. Does something still write?",
                store=self.name,
            )
        return True

    def written_since(self, snapshot: Documents) -> list[Written]:
        then: dict[str, Any] = {}
        now: dict[str, Any] = {}
        for held, documents in ((then, snapshot), (now, self._documents())):
            for (index, identifier), document in documents.items():
                held.setdefault(index, {})[identifier] = document
        return [
            compared(index, then.get(index, {}), now.get(index, {}), kind="index", row=lambda _, row: row)
            for index in dict.fromkeys([*then, *now])
        ]

    def dump_data(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for (index, identifier), document in self._documents().items():
            found.setdefault(f"index {index!r}", []).append(f"{identifier} {document!r}")
        return found

    # The provider's indexes

    @property
    def _client(self) -> Any:
        return self._provider().get_connection()

    def _indexes(self) -> list[str]:
        """Of every element that the provider owns, those that Protean makes for itself included."""
        provider = self._provider()
        found = []
        for kind in ("AGGREGATE", "ENTITY", "PROJECTION"):
            for record in list(provider.domain.registry._elements[kind].values()):
                if provider.owns(record.cls):
                    model = provider.domain.repository_for(record.cls)._database_model
                    found.append(str(model._index._name))
        return found

    def _count(self, index: str) -> int:
        try:
            exists = self._client.indices.exists(index=index)
        except Exception as error:  # of the transport: a host that is not there, a wrong password
            raise ConfigurationError(
                f"store {self.name!r}: Elasticsearch cannot be reached ({type(error).__name__})."
            ) from None
        return int(self._client.count(index=index)["count"]) if exists else 0

    def _delete(self, indexes: list[str]) -> None:
        for index in indexes:
            self._client.indices.delete(index=index, ignore_unavailable=True)

    def _documents(self) -> Documents:
        indexes = self._indexes()
        if not indexes:
            return {}
        client = self._client
        client.indices.refresh(index=indexes)
        found: Documents = {}
        for index in indexes:
            hits = self._page(index, None)
            while hits:
                found |= {(hit["_index"], hit["_id"]): hit["_source"] for hit in hits}
                hits = self._page(index, hits[-1]["sort"]) if len(hits) == _PAGE else []
        return found

    def _page(self, index: str, after: Any) -> list[dict[str, Any]]:
        more = {} if after is None else {"search_after": after}
        answer = self._client.search(
            index=index, query={"match_all": {}}, sort=[{"_doc": "asc"}], size=_PAGE, **more
        )
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits
