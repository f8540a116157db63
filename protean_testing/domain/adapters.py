"""Save and restore what Protean's adapters hold.

A SQL provider is a `SQLAlchemyStore` on the provider's own engine and tables. What lives in this process is
copied and written back. An adapter that is not known here is left to its own lifecycle methods.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from protean.core.repository import BaseRepository
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import SAWarning
from sqlalchemy.schema import CreateSchema

from ..changes import Written, compared
from ..errors import ConfigurationError
from ..store import OnLeak, Snapshot, Store
from ..stores.callable import described
from ..stores.sql.definition import Definition, define, unchanged
from ..stores.sql.hints import given_back, warn_of_stale_tables
from ..stores.sql.store import SQLAlchemyStore

Adapter = Callable[[], Any]
"""Returns the current adapter: a domain that is initialized again has new ones."""

_INLINE_BROKER = (
    "_messages",
    "_consumer_groups",
    "_in_flight",
    "_failed_messages",
    "_retry_counts",
    "_consumer_positions",
    "_message_ownership",
    "_dead_letter_queue",
    "_operation_states",
    "_subscription_owned_groups",
)
_REDIS_BROKER = ("_created_groups_set", "_group_creation_times", "_consumer_groups")


class ProviderStore(SQLAlchemyStore):
    """The database of a SQL provider: its schema by Protean, its data by the backend of its dialect.

    Parameters:
        provider: Returns the current provider.
        url: Where it is.
        private: True if that was made for this run alone.
        owner: Equal for two providers that stand for the same tables.
        decided_for: What a private place was made for.
        options: As for `SQLAlchemyStore`: name, unsafe, reset, wait, on_leak, reset_after.
    """

    def __init__(
        self,
        provider: Adapter,
        url: str,
        *,
        private: bool,
        owner: Hashable,
        decided_for: Hashable = None,
        **options: Any,
    ) -> None:
        super().__init__(schema=self._make_artifacts, engine=lambda: provider()._engine, **options)
        self.bind(url, private=private)
        self._provider = provider
        self._owner = owner
        self._decided_for = decided_for
        self._is_advised = True  # the domain's other stores stand beside it

    def schema_key(self) -> Hashable:
        return self._owner

    @property
    def decided_for(self) -> Hashable:
        return self._decided_for

    def share(self, first: Store) -> None:
        """Several providers, or several configurations, of one domain may be in one database."""
        if isinstance(first, ProviderStore) and first._provider().domain is self._provider().domain:
            self._handle = first._live()
        else:
            super().share(first)

    def check(self) -> None:
        self._examine_given(self._live())
        self._backend().check(self._tables())

    def drop_schema(self) -> None:
        if self._handle is not None and self._handle.acquired:
            super().drop_schema()

    def _define(self, engine: Engine) -> Definition:
        self._tables()  # SQLAlchemy knows them all now
        metadata = self._provider()._metadata
        return define([metadata], None, engine.dialect, metadata.schema)

    def _make_artifacts(self) -> None:
        provider = self._provider()
        schema, engine = provider._metadata.schema, provider._engine
        if engine.dialect.name == "postgresql" and schema and not inspect(engine).has_schema(schema):
            with engine.begin() as connection:
                connection.execute(CreateSchema(schema))
        if not provider._metadata.tables:  # a test has dropped its artifacts: Protean would make nothing
            provider._database_model_classes.clear()
            forget_repositories()
        with _quiet(), unchanged([provider._metadata]):
            provider._create_database_artifacts()

    def _made_for(self) -> tuple[set[tuple[str | None, str]], object, str]:
        return self._tables(), self._provider().domain, "domain"

    def _tables(self) -> set[tuple[str | None, str]]:
        provider = self._provider()
        public = "public" if provider._engine.dialect.name == "postgresql" else None
        return {
            (None if table.schema == public else table.schema, table.name)
            for table in _metadata_of(provider).tables.values()
        }


class UnmanagedStore(Store):
    """A SQL provider that is not managed: nothing in it is touched, and stale tables are warned of.

    Parameters:
        provider: Returns the current provider.
        name: What messages call it.
    """

    def __init__(self, provider: Adapter, name: str) -> None:
        self._provider, self.name = provider, name

    @property
    def decided_for(self) -> Hashable:
        return self.unit

    def create_schema(self) -> None:
        provider = self._provider()
        warn_of_stale_tables(self.name, lambda: provider._engine, [_metadata_of(provider)])

    def reset_data(self, snapshot: Snapshot) -> bool:
        return False

    def is_empty(self) -> bool:
        return True


def forget_repositories() -> None:
    """Protean caches the DAO of every repository it ever made, and so keeps the providers they belong to."""
    for name in ("_dao", "_database_model"):
        vars(BaseRepository)[name].fget.cache_clear()


def _metadata_of(provider: Any) -> Any:
    """With the tables of every element it owns; SQLAlchemy knows a table once the DAO was asked for."""
    elements = provider.domain.registry._elements
    with _quiet():
        for kind in ("AGGREGATE", "ENTITY", "PROJECTION"):
            for record in list(elements[kind].values()):
                if provider.owns(record.cls):
                    provider.domain.repository_for(record.cls)._dao  # noqa: B018
    return provider._metadata


Parts: TypeAlias = dict[tuple[str, str], dict[Any, dict[str, Any]]]


class Part(NamedTuple):
    """What one adapter holds in this process.

    Attributes:
        name: What `verify` calls it.
        adapter: Returns the current adapter.
        read: Returns its data, which is only looked at.
        write: Makes a copy of such data the adapter's.
        dump: Turns the data into what `Store.dump_data` returns.
        parts: Turns the data into tables, keys and streams: a kind, a name, and the entries by their keys.
    """

    name: str
    adapter: Adapter
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]
    dump: Callable[[Any], dict[str, list[str]]] = described
    parts: Callable[[Any], Parts] = lambda data: {}


Saved: TypeAlias = list[tuple[Part, Any, Any]]
"""Each part, its adapter at that time, and a copy of what that held."""


def saved(parts: Iterable[Part]) -> Saved:
    """A copy of what the adapters hold."""
    found = [(part, held := part.adapter(), deepcopy(part.read(held))) for part in parts]
    given_back.update(held for _, held, _ in found)
    return found


def restored(saved: Saved) -> bool:
    """Restore what the adapters held. Returns whether anything was otherwise."""
    changed = False
    for part, held, data in saved:
        if part.read(held) != data:
            part.write(held, data)
            changed = True
    return changed


def dumped(parts: Iterable[Part]) -> dict[str, list[str]]:
    """What the adapters hold, for `Store.dump_data`."""
    return {
        f"{part.name}, {name}": values
        for part in parts
        for name, values in part.dump(part.read(part.adapter())).items()
    }


def written(saved: Saved) -> Iterator[Written]:
    """What was written to what the adapters hold, for `Store.written_since`."""
    for part, _, data in saved:
        then, now = part.parts(data), part.parts(part.read(part.adapter()))
        for kind, name in dict.fromkeys([*then, *now]):
            before, after = then.get((kind, name), {}), now.get((kind, name), {})
            one = compared(name, before, after, kind=kind, row=lambda _, row: row)
            yield replace(one, store=part.name)


def memory_provider(provider: Adapter, name: str) -> Part:
    """The rows and the counters of a memory provider."""

    def read(held: Any) -> Any:
        rows = {schema: records for schema, records in held._databases.items() if records}
        return rows, {schema: _next(counter) for schema, counter in held._counters.items()}

    def write(held: Any, data: Any) -> None:
        rows, counters = data
        held._databases = defaultdict(dict, deepcopy(rows) if rows else ())
        held._counters = defaultdict(count, {schema: count(number) for schema, number in counters.items()})

    def dump(data: Any) -> dict[str, list[str]]:
        rows, counters = data
        found = {f"rows of {schema!r}": list(map(repr, records.items())) for schema, records in rows.items()}
        return found | {f"counter of {schema!r}": [str(number)] for schema, number in counters.items()}

    def parts(data: Any) -> Parts:
        found: Parts = {("table", schema): records for schema, records in data[0].items()}
        for number, event in found.pop(("table", "memory_message"), {}).items():  # as Message DB counts them
            category = str(event["stream_name"]).partition("-")[0]
            found.setdefault(("category", category), {})[number] = event
        return found

    return Part(name, provider, read, write, dump, parts)


def memory_cache(cache: Adapter, name: str) -> Part:
    """The entries of a memory cache, each with its time to live."""

    def write(held: Any, entries: Any) -> None:
        held._db._values = deepcopy(entries)

    def parts(data: Any) -> Parts:
        return {("key", key): {key: {"value": value}} for key, (_, value) in data.items()}

    return Part(name, cache, attrgetter("_db._values"), write, parts=parts)


def inline_broker(broker: Adapter, name: str) -> Part:
    """Messages, groups, positions and the dead-letter queue of an inline broker."""

    def parts(data: Any) -> Parts:
        return {
            ("stream", stream): {number: {"id": number, **fields} for number, fields in messages}
            for stream, messages in data["_messages"].items()
        }

    return _attributes(broker, _INLINE_BROKER, name)._replace(parts=parts)


def redis_broker(broker: Adapter, name: str) -> Part:
    """What a Redis broker remembers about its groups beside what is in Redis."""
    return _attributes(broker, _REDIS_BROKER, name)


def _attributes(adapter: Adapter, names: tuple[str, ...], name: str) -> Part:
    def read(held: Any) -> Any:
        attributes = vars(held)
        return {key: attributes[key] for key in names if key in attributes}

    def write(held: Any, data: Any) -> None:
        now = vars(held)
        now.update({key: deepcopy(value) for key, value in data.items() if now.get(key) != value})

    return Part(name, adapter, read, write)


class UnknownStore(Store):
    """An adapter of others, through its own lifecycle methods: it can only be cleared."""

    def __init__(self, adapter: Adapter, name: str, on_leak: OnLeak, *, is_provider: bool = False) -> None:
        self._adapter, self.name, self.on_leak, self._is_provider = adapter, name, on_leak, is_provider

    def create_schema(self) -> None:
        if self._is_provider:
            self._adapter()._create_database_artifacts()

    def drop_schema(self) -> None:
        if self._is_provider:
            self._adapter()._drop_database_artifacts()

    def reset_data(self, snapshot: Snapshot) -> bool:
        adapter = self._adapter()
        clear = getattr(adapter, "_data_reset", None) or getattr(adapter, "flush_all", None)
        if clear is None:
            raise ConfigurationError(
                f"store {self.name!r}: {type(adapter).__name__} has neither _data_reset() nor flush_all()."
            )
        clear()
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Every provider of a run has a model of its own for an aggregate, of which SQLAlchemy warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This declarative base already contains a class", SAWarning)
        yield


def _next(counter: Any) -> int:
    """The number an ``itertools.count`` would give next, without taking it."""
    return int(repr(counter)[len("count(") : -1])
