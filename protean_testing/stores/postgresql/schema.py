"""The schema at every snapshot: was it changed, and restored where it was."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from ...errors import StoreError
from ..sql.backend import Database
from . import fingerprint
from .catalog import Catalog, read_catalog
from .connection import Connection
from .fingerprint import Address, EntangledError, Fingerprint, Object
from .invalidations import Invalidations
from .schema_cache import State, of_catalog


@dataclass(eq=False)
class Schema:
    """A schema that one or several snapshots stand in, known by its fingerprint.

    Attributes:
        looks: What everything in it looks like.
        names: What it was called.
    """

    looks: Fingerprint
    names: dict[Address, Object] = field(default_factory=dict)


class Owner(Protocol):
    """Knows what of the schema is the run's own."""

    def is_made(self, address: Address) -> bool:
        """Whether making the schema has made it."""

    def remake(self) -> None:
        """Make the schema again, in place of what is left of it."""

    def rescue(self, addresses: Collection[Address]) -> list[str]:
        """Copy the rows of the user's tables to where they stay. Returns a line for each."""


class Schemas:
    """Looks after the schema of one database.

    Parameters:
        database: Says whether the schema can be made again.
        connection: The backend's own.
        owner: Knows whose what is.

    Attributes:
        current: The schema as it was last seen.
        catalog: What was in it.
    """

    catalog: Catalog

    def __init__(self, database: Database, connection: Connection, owner: Owner) -> None:
        self._database, self._connection, self._owner = database, connection, owner
        self._invalidations = Invalidations(connection) if database.reset == "fast" else None
        self.current = self._created = Schema({})
        self._numbers: dict[tuple[str, str], int] = {}
        self._made: dict[str, str] = {}
        self._quick: object = None
        self._seen: tuple[object, Fingerprint] = (
            None,
            {},
        )  # what it looked like last, and the quick fingerprint of then

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
            "names": [
                [*one.address, one.kind, one.identity, one.schema, one.name]
                for one in self._created.names.values()
            ],
            "catalog": of_catalog(self.catalog),
        }

    def resume(self, state: State) -> Catalog:
        """It was made by an earlier run, and is as it was: `state` is as `staying.read` gives it."""
        self._numbers = {(schema, name): number for schema, name, number in state["numbers"]}
        self._created.looks = {(classid, objid): looks for classid, objid, looks in state["looks"]}
        names = [Object((classid, objid), *parts) for classid, objid, *parts in state["names"]]
        self._created.names = {one.address: one for one in names}
        self.catalog = state["catalog"]
        self._made = _shapes(self.catalog)
        return self.catalog

    def accept_current(self) -> None:
        """Nothing was changed, though the catalogs may say so: it was ourselves."""
        self._accept(self._take_quick())

    def _take_quick(self) -> object:
        if self._invalidations is not None:
            self._invalidations.read()  # first: what is altered in between shows later
        return fingerprint.take_quick(self._connection)

    def _accept(self, quick: object) -> None:
        self._quick = quick
        if self._invalidations is not None:
            self._invalidations.accept()

    def is_quickly_the_same(self, schema: Schema) -> bool:
        """Whether nothing was changed since it was last looked at, not even our own triggers."""
        if schema is not self.current:
            return False
        if self._invalidations is None:
            return fingerprint.take_quick(self._connection) == self._quick
        if self._invalidations.any_since():
            if fingerprint.take_quick(self._connection) != self._quick:
                return False
            self._invalidations.accept()
        return True

    def changed(self, schema: Schema | None = None) -> bool:
        """Whether it is another one than `schema`, or than when it was last looked at."""
        schema = schema or self.current
        if self.is_quickly_the_same(schema):
            return False
        now = self._take_quick()
        self._seen = now, fingerprint.take(self._connection)
        if self._seen[1] != schema.looks:
            return True
        self.current = schema
        self._accept(now)
        return False

    def accept(self) -> bool:
        """What an outer scope changed is there for its inner scopes. Returns whether anything was."""
        if not self.changed():
            return False
        self.current = Schema(self._looks_now(), self._names_now())
        self.accept_current()
        self._read()
        return True

    def take_replaced(self, schemas: Iterable[Schema]) -> None:
        """What the library has made again itself, in place of the same, is what there was at any snapshot."""
        replaced, self._connection.replaced = self._connection.replaced, []
        for schema in {self.current, self._created, *schemas}:
            for address, was, now in replaced:
                if schema.looks.get(address) == was:
                    schema.looks[address] = now

    def restore(self, schema: Schema) -> None:
        """Drop what came since `schema`, and make again what was altered or dropped.

        Raises:
            StoreError: It cannot be made again.
        """
        looks, now = schema.looks, self._looks_now()
        altered = any(now.get(address) != one for address, one in looks.items())
        added = now.keys() - looks.keys()
        left = fingerprint.drop_possible(self._connection, added)
        if altered:
            fingerprint.attach_half_detached(self._connection)
            fingerprint.restore_names(self._connection, schema.names)
        if left:
            fingerprint.untie(self._connection, left)
            self._drop_rest(left)
        if altered and (now := fingerprint.take(self._connection)) != looks:
            self._rebuild(schema, [address for address in looks if now.get(address) != looks[address]])
        else:
            self.current = schema
            self._read()

    def _drop_rest(self, left: Collection[Address]) -> None:
        try:
            fingerprint.drop(self._connection, left, parts=False)
        except EntangledError as error:
            raise self._lost(
                [str(one) for one in fingerprint.objects(self._connection, left)],
                f"which cannot be dropped without what was there before: {error}.",
            ) from None

    def _looks_now(self) -> Fingerprint:
        quick, looks = self._seen
        return (
            looks if quick == fingerprint.take_quick(self._connection) else fingerprint.take(self._connection)
        )

    def _names_now(self) -> dict[Address, Object]:
        return {one.address: one for one in fingerprint.objects(self._connection)}

    def _rebuild(self, schema: Schema, altered: list[Address]) -> None:
        def named(addresses: list[Address]) -> list[str]:
            return [str(schema.names.get(address, "an object")) for address in addresses]

        foreign = [address for address in altered if not self._owner.is_made(address)]
        rescued = self._owner.rescue(foreign)
        why = ""
        if self._database.rebuild is None:
            why = "it is adopted"
        elif foreign and schema is self._created:
            why = "it was there before the run began"
        elif schema is not self._created:
            why = "an outer scope had changed it too"
        if why:
            lines = "".join(f"\n  {line}" for line in rescued)
            raise self._lost(named(foreign or altered), f"and cannot be made again, since {why}.{lines}")
        self._owner.remake()
        self._take()
        wrong = [name for name, _ in self._made.items() ^ _shapes(self.catalog).items()]
        if wrong:
            raise self._lost(named(altered), f"and making it again gave another {min(wrong)}.")

    def _take(self) -> None:
        self._created.looks = fingerprint.take(self._connection)
        self._created.names = self._names_now()
        self.current = self._created
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
