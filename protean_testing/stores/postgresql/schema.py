"""The schema at every snapshot: was it changed, and restored where it was."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from ...errors import StoreError
from ..sql.backend import Database
from . import fingerprint, parts
from .catalog import Catalog, read_catalog
from .catalogs import Address
from .connection import Connection, listed, psycopg
from .fingerprint import EntangledError, Fingerprint, Object
from .invalidations import Invalidations
from .parts import Part, Parts
from .schema_cache import State, of_catalog


@dataclass(eq=False)
class Schema:
    """A schema that one or several snapshots stand in, known by its fingerprint.

    Attributes:
        looks: What everything in it looks like.
        names: What it was called.
        parts: What it was made of.
        catalog: What of it holds data.
    """

    looks: Fingerprint
    names: dict[Address, Object] = field(default_factory=dict)
    parts: Parts = field(default_factory=dict)
    catalog: Catalog = field(default_factory=lambda: Catalog({}, {}))


class Owner(Protocol):
    """Knows what of the schema is the run's own."""

    def is_made(self, address: Address) -> bool:
        """Whether making the schema has made it."""

    def remake(self) -> None:
        """Make the schema again, in place of what is left of it."""

    def replaced(self, pairs: Mapping[Address, Address]) -> None:
        """What was at the first address was made again, and is at the second one."""

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
        may_be_stale: Something came or went since this was last set to False, if only for a session: plans of
            other sessions may be of the past, and they may hold temporary tables.
    """

    catalog: Catalog

    def __init__(self, database: Database, connection: Connection, owner: Owner) -> None:
        self._database, self._connection, self._owner = database, connection, owner
        self._invalidations = Invalidations(connection) if database.reset == "fast" else None
        self.current = self._created = Schema({})
        self._numbers: dict[tuple[str, str], int] = {}
        self._made: dict[str, str] = {}
        self._quick: fingerprint.Quick = []
        self.may_be_stale = False
        self._seen: tuple[fingerprint.Quick, Fingerprint] = (
            [],
            {},
        )  # when it was looked at last, and what was seen

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
            "parts": [[*address, found] for address, found in self._created.parts.items()],
            "catalog": of_catalog(self.catalog),
        }

    def resume(self, state: State) -> Catalog:
        """It was made by an earlier run, and is as it was: `state` is as `staying.read` gives it."""
        self._numbers = {(schema, name): number for schema, name, number in state["numbers"]}
        self._created.looks = {(classid, objid): looks for classid, objid, looks in state["looks"]}
        names = [Object((classid, objid), *parts) for classid, objid, *parts in state["names"]]
        self._created.names = {one.address: one for one in names}
        self._created.parts = {
            (classid, objid): {name: Part(*part) for name, part in found.items()}
            for classid, objid, found in state["parts"]
        }
        self.catalog = self._created.catalog = state["catalog"]
        self._made = _shapes(self.catalog)
        return self.catalog

    def accept_current(self) -> None:
        """Nothing was changed, though the catalogs may say so: it was ourselves."""
        self._accept(self._take_quick())

    @property
    def newest(self) -> int:
        """The latest transaction that had written to the catalogs when they were last accepted."""
        ((_, newest),) = self._quick
        return max(3, 3 - (newest or 0))

    def _take_quick(self) -> fingerprint.Quick:
        if self._invalidations is not None:
            self._invalidations.read()  # first: what is altered in between shows later
        return fingerprint.take_quick(self._connection)

    def _accept(self, quick: fingerprint.Quick) -> None:
        self._quick = quick
        if self._invalidations is not None:
            self._invalidations.accept()

    def is_quickly_the_same(self, schema: Schema, *, told: bool = False) -> bool:
        """Whether nothing was changed since it was last looked at, not even our own triggers.

        Parameters:
            told: An event trigger may have told of a change: not for every kind does the server invalidate.
        """
        if schema is not self.current:
            return False
        if self._invalidations is None or told:
            return fingerprint.take_quick(self._connection) == self._quick
        if self._invalidations.any_since():
            if fingerprint.take_quick(self._connection) != self._quick:
                return False
            self._invalidations.accept()
        return True

    def changed(self, schema: Schema | None = None, *, told: bool = False) -> bool:
        """Whether it is another one than `schema`, or than when it was last looked at."""
        schema = schema or self.current
        if self.is_quickly_the_same(schema, told=told):
            return False
        self.may_be_stale = True
        now = self._take_quick()
        looks = fingerprint.take(self._connection)
        self._seen = now, looks
        if looks != schema.looks and self._is_changed(schema, looks):
            return True
        schema.looks = looks  # written, and as it was: a TRUNCATE does that
        self.current = schema
        self._accept(now)
        return False

    def _is_changed(self, schema: Schema, looks: Fingerprint) -> bool:
        if looks.keys() != schema.looks.keys():
            return True
        altered = [address for address, one in looks.items() if schema.looks[address] != one]
        there = parts.take(self._connection, altered)
        return any(parts.differ(there.get(one, {}), schema.parts.get(one, {})) for one in altered)

    def accept(self) -> bool:
        """What an outer scope changed is there for its inner scopes. Returns whether anything was."""
        if not self.changed(told=self._connection.superuser):
            return False
        self.current = Schema(self._looks_now())
        self._describe()
        self.accept_current()
        return True

    def take_replaced(self, schemas: Iterable[Schema]) -> None:
        """What the library has made again itself, in place of the same, is what there was at any snapshot."""
        replaced, self._connection.replaced = self._connection.replaced, []
        for schema in {self.current, self._created, *schemas}:
            for address, was, now in replaced:
                if schema.looks.get(address) == was:
                    schema.looks[address] = now

    def restore(self, schema: Schema) -> set[int] | None:
        """Drop what came since `schema`, and make again what was altered or dropped.

        Returns:
            The oids of what was altered, if nothing else was touched; None if there are new objects.

        Raises:
            StoreError: It cannot be made again.
        """
        looks, now = schema.looks, self._looks_now()
        altered = {address for address in looks.keys() & now.keys() if now[address] != looks[address]}
        missing, added = looks.keys() - now.keys(), now.keys() - looks.keys()
        pairs = self._made_again(schema, missing, added) if missing else {}
        left = fingerprint.drop_possible(self._connection, added - set(pairs.values()))
        if altered:
            fingerprint.attach_half_detached(self._connection)
            names = {one: schema.names[one] for one in altered if one in schema.names}
            fingerprint.restore_names(self._connection, names)
        if left:
            fingerprint.untie(self._connection, left)
            self._drop_rest(left)
        there = {address: pairs.get(address, address) for address in {*altered, *pairs}}
        wrong = parts.restore(self._connection, there, schema.parts) | (missing - pairs.keys())
        lost = {pairs.pop(address) for address in wrong & pairs.keys() if not self._owner.is_made(address)}
        fingerprint.drop_possible(self._connection, lost)
        self._replace(schema, pairs)
        if wrong or not self._is_settled(schema, there.keys() - pairs.keys() | set(pairs.values())):
            self._rebuild(schema, [pairs.get(address, address) for address in wrong])
            return None
        self.current = schema
        if not pairs and self._has_sequences(schema.catalog):
            self.catalog = schema.catalog
            return {objid for _, objid in altered}
        schema.catalog = self._read()
        return None

    def _has_sequences(self, catalog: Catalog) -> bool:
        """Whether they are still the same: that of an identity is another one once it was made again."""
        oids = listed(sequence.oid for sequence in catalog.sequences.values())
        there = self._connection.value(f"SELECT count(*) FROM pg_class WHERE oid = ANY({oids}::oid[])")
        return bool(there == len(catalog.sequences))

    def _is_settled(self, schema: Schema, restored: Collection[Address]) -> bool:
        """Know the fingerprint of what was restored. Returns whether all of it is there."""
        looks = fingerprint.take(self._connection, [objid for _, objid in restored]) if restored else {}
        schema.looks = schema.looks | {one: looks[one] for one in restored if one in looks}
        return looks.keys() >= set(restored)

    def _made_again(
        self, schema: Schema, missing: Collection[Address], added: Collection[Address]
    ) -> dict[Address, Address]:
        """Where that is now what was dropped, and was made again by the test, or can be by one statement."""
        statements = {address: _creation(schema.parts.get(address, {})) for address in missing}
        for address, statement in statements.items():
            if statement and (all(statements.values()) or not self._owner.is_made(address)):
                with suppress(psycopg.ProgrammingError):  # the comparison tells
                    self._connection.run(statement)
        came = set(added) | (fingerprint.present(self._connection) - schema.looks.keys())
        there = {str(one): one.address for one in fingerprint.objects(self._connection, came)}
        names = {address: str(schema.names.get(address)) for address in missing}
        return {address: there[name] for address, name in names.items() if name in there}

    def _replace(self, schema: Schema, pairs: Mapping[Address, Address]) -> None:
        if not pairs:
            return
        self._owner.replaced(pairs)
        schema.looks = {pairs.get(address, address): one for address, one in schema.looks.items()}
        schema.parts = {pairs.get(address, address): one for address, one in schema.parts.items()}
        schema.names = {address: one for address, one in schema.names.items() if address not in pairs}
        schema.names |= {one.address: one for one in fingerprint.objects(self._connection, pairs.values())}

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
        self.current = self._created
        self._describe()

    def _describe(self) -> None:
        """Write down all that is known of the current schema but its fingerprint."""
        self.current.names = self._names_now()
        self.current.parts = parts.take(self._connection, self.current.names)
        self.current.catalog = self._read()

    def _read(self) -> Catalog:
        self.catalog = read_catalog(self._connection, self._numbers)
        return self.catalog

    def _lost(self, names: list[str], why: str) -> StoreError:
        what = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return StoreError(
            f"a test changed the schema of store {self._database.name!r} ({what}), {why}\n"
            "Give tests that change the schema an empty database:  SQLAlchemyStore(empty=True)",
            store=self._database.name,
        )


def _creation(found: Mapping[str, Part]) -> str:
    """The statement that makes a schema, a routine or a view; empty for all else."""
    for name in ("schema", "routine", "view"):
        if name in found and found[name].how == "set":
            return found[name].line
    return ""


def _shapes(catalog: Catalog) -> dict[str, str]:
    """What making a schema again must give again, for kept rows to fit into it."""
    tables = {f"table {table.sql}": table.shape for table in catalog.tables.values() if table.shape}
    return tables | {f"sequence {sequence.sql}": "" for sequence in catalog.sequences.values()}
