"""The schema at every mark: was it changed, and given back where it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...errors import StoreError
from ..keeper import Database
from . import fingerprint
from .catalog import Catalog, read_catalog
from .connection import Connection
from .fingerprint import Address, Fingerprint, Object
from .staying import State, of_catalog


@dataclass(eq=False)
class Schema:
    """A schema that one or several marks stand in, by its looks, which are others once it was built again."""

    looks: Fingerprint


class Schemas:
    """Looks after the schema of one database.

    Parameters:
        database: Says how the schema is made again.
        connection: The keeper's own.
        clear: Drops all that came since the run began.
        before: What was there when the run began, as text.

    Attributes:
        current: The schema as it was last seen.
        catalog: What was in it.
    """

    catalog: Catalog

    def __init__(
        self,
        database: Database,
        connection: Connection,
        clear: Callable[[], None],
        before: frozenset[str],
    ) -> None:
        self._database, self._connection = database, connection
        self._clear, self._before = clear, before
        self.current = self._created = Schema({})
        self._numbers: dict[tuple[str, str], int] = {}
        self._names: dict[Address, Object] = {}
        self._made: dict[str, str] = {}
        self._glance: object = None
        self._seen: tuple[object, Fingerprint] = None, {}  # what it looked like last, and the glance of then

    def created(self) -> Catalog:
        """It was made, or more was added to it."""
        self._take()
        self._made = _shapes(self.catalog)
        return self.catalog

    def state(self) -> State:
        """What is known, as JSON can hold it."""
        return {
            "numbers": [[*name, number] for name, number in self._numbers.items()],
            "looks": [[*address, looks] for address, looks in self._created.looks.items()],
            "names": [[*one.address, one.kind, one.identity] for one in self._names.values()],
            "catalog": of_catalog(self.catalog),
        }

    def resume(self, state: State) -> Catalog:
        """It was made by an earlier run, and is as it was: `state` is as `staying.read` gives it."""
        self._numbers = {(schema, name): number for schema, name, number in state["numbers"]}
        self._created.looks = {(classid, objid): looks for classid, objid, looks in state["looks"]}
        names = [
            Object((classid, objid), kind, identity) for classid, objid, kind, identity in state["names"]
        ]
        self._names = {one.address: one for one in names}
        self.catalog = state["catalog"]
        self._made = _shapes(self.catalog)
        return self.catalog

    def glance(self) -> None:
        """Nothing was changed, though the catalogs may say so: it was ourselves."""
        self._glance = fingerprint.glance(self._connection)

    def same_at_a_glance(self, schema: Schema) -> bool:
        """Whether nothing was changed since it was last looked at, not even our own triggers."""
        return schema is self.current and fingerprint.glance(self._connection) == self._glance

    def changed(self, schema: Schema | None = None) -> bool:
        """Whether it is another one than `schema`, or than when it was last looked at."""
        schema = schema or self.current
        now = fingerprint.glance(self._connection)
        if now == self._glance and schema is self.current:
            return False
        self._seen = now, fingerprint.take(self._connection)
        if self._seen[1] != schema.looks:
            return True
        self.current, self._glance = schema, now
        return False

    def accept(self) -> bool:
        """What an outer scope changed is there for its inner scopes. Returns whether anything was."""
        if not self.changed():
            return False
        self.current = Schema(self._looks_now())
        self.glance()
        self._read()
        return True

    def mend(self, schema: Schema) -> None:
        """Drop what came since `schema`, and make again what was altered or dropped.

        Raises:
            StoreError: It cannot be made again.
        """
        looks, now = schema.looks, self._looks_now()
        altered = any(now.get(address) != one for address, one in looks.items())
        added = now.keys() - looks.keys()
        fingerprint.drop(self._connection, fingerprint.objects(self._connection, added))
        if altered and (now := fingerprint.take(self._connection)) != looks:
            self._rebuild(schema, [address for address in looks if now.get(address) != looks[address]])
        else:
            self.current = schema
            self._read()

    def _looks_now(self) -> Fingerprint:
        glance, looks = self._seen
        return looks if glance == fingerprint.glance(self._connection) else fingerprint.take(self._connection)

    def _rebuild(self, schema: Schema, altered: list[Address]) -> None:
        names = [str(self._names[address]) if address in self._names else "an object" for address in altered]
        why = ""
        if self._database.rebuild is None:
            why = "it is adopted"
        elif schema is not self._created:
            why = "an outer scope had changed it too"
        elif not self._before.isdisjoint(names):
            why = "it was there before the run began"
        if why:
            raise self._lost(names, f"and cannot be made again, since {why}.")
        assert self._database.rebuild is not None
        self._clear()
        self._database.rebuild()
        self._take()
        wrong = [name for name, _ in self._made.items() ^ _shapes(self.catalog).items()]
        if wrong:
            raise self._lost(names, f"and making it again gave another {min(wrong)}.")

    def _take(self) -> None:
        self._created.looks = fingerprint.take(self._connection)
        self.current = self._created
        self._names = {one.address: one for one in fingerprint.objects(self._connection)}
        self._read()

    def _read(self) -> None:
        self.catalog = read_catalog(self._connection, self._numbers)

    def _lost(self, names: list[str], why: str) -> StoreError:
        what = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return StoreError(
            f"a test changed the schema of store {self._database.name!r} ({what}), {why}\n"
            "Give tests that change the schema an empty database:  SQLAlchemyStore(empty=True)",
            store=self._database.name,
        )


def _shapes(catalog: Catalog) -> dict[str, str]:
    """What making a schema again must give again, for kept rows to fit into it."""
    tables = {f"table {table.sql}": table.shape for table in catalog.tables.values()}
    return tables | {f"sequence {sequence.sql}": "" for sequence in catalog.sequences.values()}
