"""What there is in the database that can hold data: tables, materialized views, sequences."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from . import sql
from .connection import Connection, quoted

LARGE_OBJECTS = "pg_largeobject_metadata"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, partitioned table or materialized view; or all large objects together.

    Attributes:
        number: Its number in the log; the same for one name as long as the run lasts. Of tables that come
            at once, one that refers to another one has the lower number, cycles apart.
        oid: In pg_class.
        schema, name: As they are, not quoted.
        kind: As in pg_class.relkind: ``r``, ``p`` (partitioned, holds no rows itself) or ``m``; ``l``
            for large objects.
        columns: Those that an INSERT may name, in order: all but generated ones.
        shape: Every column with its type: what a row that was kept must fit into again.
        key: Columns of a unique index without NULLs, with their types; the primary key if that will do.
        identities: Columns that are GENERATED ALWAYS AS IDENTITY.
        notable: Our role may put a trigger on it.
        children: Numbers of its direct partitions and inheritance children.
        forced: Row level security hides rows from the owner too.
        always_firing: What acts while we write, too, such as triggers: how to disable and enable each.
        references: Numbers of the tables that its foreign keys point to.
        changeable: False where our role may not write to it.
    """

    number: int
    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[str, ...]
    shape: str
    key: tuple[tuple[str, str], ...]
    identities: frozenset[str]
    notable: bool
    children: tuple[int, ...]
    forced: bool
    always_firing: tuple[tuple[str, str], ...]
    references: tuple[int, ...]
    changeable: bool

    @property
    def sql(self) -> str:
        """The name as SQL writes it."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def holds_rows(self) -> bool:
        return self.kind == "r"

    @property
    def alone(self) -> str:
        """The name for statements that reach children too; partitions always go with their whole."""
        return self.sql if self.kind == "p" else f"ONLY {self.sql}"

    def __str__(self) -> str:
        return f'"{self.name}"' if self.schema == "public" else f'"{self.schema}.{self.name}"'


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A sequence.

    Attributes:
        oid: In pg_class.
        schema, name: As they are, not quoted.
        tables: Numbers of the tables that own it, or take a default from it.
        cached: Sessions keep values of it to themselves (CACHE above 1).
        unlogged: Taking a value leaves no trace but in the sequence itself.
    """

    oid: int
    schema: str
    name: str
    tables: tuple[int, ...]
    cached: bool
    unlogged: bool

    @property
    def key(self) -> tuple[str, str]:
        return (self.schema, self.name)

    @property
    def sql(self) -> str:
        """The name as SQL writes it."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True)
class Catalog:
    """All of them, at one moment."""

    tables: dict[int, Table]
    sequences: dict[tuple[str, str], Sequence]

    @cached_property
    def kept(self) -> list[Table]:
        """The tables and materialized views that are restored."""
        return [table for table in self.tables.values() if table.kind != "p" and table.changeable]

    @cached_property
    def of_no_table(self) -> list[Sequence]:
        """The sequences that no table owns or takes values from."""
        return [sequence for sequence in self.sequences.values() if not sequence.tables]

    @cached_property
    def by_table(self) -> dict[int, list[Sequence]]:
        """The other sequences, by the numbers of the tables that take values from them."""
        found: dict[int, list[Sequence]] = {}
        for sequence in self.sequences.values():
            for number in sequence.tables:
                found.setdefault(number, []).append(sequence)
        return found

    def holding(self) -> list[Table]:
        """Every table that holds rows itself."""
        return [table for table in self.tables.values() if table.holds_rows]

    @cached_property
    def large_objects(self) -> int:
        """The number of what stands for them."""
        return next((table.number for table in self.tables.values() if table.kind == "l"), 0)

    def views(self) -> list[Table]:
        """Every materialized view."""
        return [table for table in self.tables.values() if table.kind == "m"]

    def rows_of(self, numbers: set[int]) -> set[int]:
        """The tables whose rows a statement that names one of `numbers` may have written."""
        found: set[int] = set()
        waiting = list(numbers)
        while waiting:
            number = waiting.pop()
            if number not in found and number in self.tables:
                found.add(number)
                waiting += self.tables[number].children
        return {number for number in found if self.tables[number].kind != "p"}

    def cycles(self) -> set[int]:
        """Tables that cannot be emptied after all that refer to them, in the order of the numbers."""
        return {other for table in self.tables.values() for other in table.references if other < table.number}

    def reaching_always_firing(self) -> set[int]:
        """Tables from which a delete may reach one with triggers or rules that fire, by foreign keys."""
        found: set[int] = set()
        waiting = [table.number for table in self.tables.values() if table.always_firing]
        while waiting:
            for other in self.tables[waiting.pop()].references:
                if other not in found and other in self.tables:
                    found.add(other)
                    waiting.append(other)
        return found

    def neighbours(self) -> dict[int, set[int]]:
        """For every table the others that it refers to, or that refer to it."""
        found: dict[int, set[int]] = {number: set() for number in self.tables}
        for number, table in self.tables.items():
            for other in table.references:
                if other != number:
                    found[number].add(other)
                    found[other].add(number)
        return found

    def referring(self, numbers: set[int]) -> set[int]:
        """`numbers`, all tables that refer to one of them, directly or not, and their partitions."""
        found = set(numbers)
        while True:
            more = {table.number for table in self.tables.values() if found.intersection(table.references)}
            for number in found | more:
                if self.tables[number].kind == "p":
                    more.update(self.tables[number].children)
            if more <= found:
                return found
            found |= more


def read_catalog(connection: Connection, numbers: dict[tuple[str, str], int]) -> Catalog:
    """Read the catalogs.

    Parameters:
        connection: Where.
        numbers: The number of every name that ever had one; new names are added to it.
    """
    with connection.naming_in_full():
        found = connection.rows(sql.text("tables"))
    names = {oid: (schema, name) for oid, schema, name, *_ in found}
    order = _referring_first({oid: references for oid, *_, references in found})
    oids = {oid: numbers.setdefault(names[oid], len(numbers) + 1) for oid in order}
    always_firing = _always_firing(connection)
    tables = {}
    for (
        oid,
        schema,
        name,
        kind,
        forced,
        changeable,
        columns,
        shape,
        key,
        identities,
        notable,
        children,
        references,
    ) in found:
        tables[oids[oid]] = Table(
            number=oids[oid],
            oid=oid,
            schema=schema,
            name=name,
            kind=kind,
            columns=tuple(columns),
            shape=shape,
            key=tuple((column, kind) for column, kind in key),
            identities=frozenset(identities),
            notable=notable,
            children=tuple(oids[child] for child in children if child in oids),
            forced=forced,
            always_firing=tuple(always_firing.get(oid, ())),
            references=tuple(oids[other] for other in references if other in oids),
            changeable=changeable,
        )
    number = numbers.setdefault(("pg_catalog", LARGE_OBJECTS), len(numbers) + 1)
    tables[number] = _large_objects(number)
    sequences = {}
    for oid, schema, name, owners, cached, unlogged in connection.rows(sql.text("sequences")):
        owning = tuple(oids[owner] for owner in owners if owner in oids)
        sequences[schema, name] = Sequence(
            oid=oid, schema=schema, name=name, tables=owning, cached=cached, unlogged=unlogged
        )
    return Catalog(tables, sequences)


def _large_objects(number: int) -> Table:
    return Table(
        number=number,
        oid=2995,
        schema="pg_catalog",
        name=LARGE_OBJECTS,
        kind="l",
        columns=(),
        shape="",
        key=(),
        identities=frozenset(),
        notable=False,
        children=(),
        forced=False,
        always_firing=(),
        references=(),
        changeable=True,
    )


def _referring_first(references: Mapping[int, Iterable[int]]) -> list[int]:
    """Tables in an order in which those that refer to another one come before it, as far as that goes."""
    waiting = dict.fromkeys(references, 0)  # how many that refer to it have no place yet
    others = {
        oid: [other for other in to if other in references and other != oid] for oid, to in references.items()
    }
    for to in others.values():
        for other in to:
            waiting[other] += 1
    free, order = deque(oid for oid, count in waiting.items() if not count), []
    while waiting:
        oid = free.popleft() if free else next(iter(waiting))  # one of a cycle
        del waiting[oid]
        order.append(oid)
        for other in others[oid]:
            if other in waiting:
                waiting[other] -= 1
                if not waiting[other]:
                    free.append(other)
    return order


def _always_firing(connection: Connection) -> dict[int, list[tuple[str, str]]]:
    found: dict[int, list[tuple[str, str]]] = {}
    for oid, table, kind, name, enabled in connection.rows(sql.text("always_firing")):
        if kind == "IDENTITY":
            replica = f"ALTER TABLE {table} REPLICA IDENTITY"
            found.setdefault(oid, []).append((f"{replica} FULL", f"{replica} {name}"))
            continue
        if connection.can_disable_triggers and enabled == "O":
            continue
        if not connection.can_disable_triggers and enabled == "R":
            continue
        again = {"A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "O": "ENABLE"}[enabled]
        found.setdefault(oid, []).append(
            (f"ALTER TABLE {table} DISABLE {kind} {name}", f"ALTER TABLE {table} {again} {kind} {name}")
        )
    return found
