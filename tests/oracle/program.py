"""Random programs: a schema, and what the code under test does to it inside of nested scopes.

Everything here is about SQL in general. A `Dialect` says how it is written, and makes the world in which a
program runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from hypothesis import strategies as st

Dump: TypeAlias = dict[str, Any]
"""All that a database holds, by the name of the part: its schema, each table's rows, its counters."""


@dataclass(frozen=True)
class Column:
    """A column that is no key. `kind` is one of the dialect's kinds, `rest` what follows the type."""

    name: str
    kind: str
    rest: str = ""


@dataclass(frozen=True)
class Reference:
    """A foreign key of one integer column to another table's (or its own table's) key."""

    column: str
    table: str
    key: str
    on_delete: str


@dataclass(frozen=True)
class Table:
    """A table. `key` names its columns ((): no key at all); `traits` are the dialect's own words."""

    name: str
    key: tuple[str, ...]
    identity: bool
    columns: tuple[Column, ...]
    references: tuple[Reference, ...]
    traits: frozenset[str]

    @property
    def writable(self) -> tuple[str, ...]:
        plain = tuple(column.name for column in self.columns if "GENERATED" not in column.rest)
        return self.key + plain + tuple(reference.column for reference in self.references)


@dataclass(frozen=True)
class Schema:
    """Tables, then other DDL (views, triggers, ...), then statements that put the first rows there."""

    tables: tuple[Table, ...]
    extras: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    traits: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Enter:
    """Begin a scope inside of the innermost one."""


@dataclass(frozen=True)
class Reset:
    """Bring the innermost scope back to its start, and stay in it."""


@dataclass(frozen=True)
class Leave:
    """End the innermost scope."""


@dataclass(frozen=True)
class Work:
    """What the code under test does in one transaction (or in none: ``autocommit``).

    Attributes:
        where: On the first or the second of two connections that stay open, on a connection of a thread of
            its own, or in another process.
        statements: SQL; each may fail.
        end: How it ends; ``leak`` leaves the transaction open, where the connection stays open.
    """

    where: Literal["first", "second", "thread", "process"]
    statements: tuple[str, ...]
    end: Literal["commit", "rollback", "autocommit", "leak"]


Step: TypeAlias = Enter | Reset | Leave | Work


@dataclass(frozen=True)
class Program:
    schema: Schema
    steps: tuple[Step, ...] = field(repr=False)

    def __repr__(self) -> str:
        lines = ["Program:"]
        lines += [f"  {statement}" for statement in self.schema.extras + self.schema.rows]
        lines += [f"  {table}" for table in self.schema.tables]
        for step in self.steps:
            if isinstance(step, Work):
                lines.append(f"  {step.where}, {step.end}:")
                lines += [f"    {statement}" for statement in step.statements]
            else:
                lines.append(f"  {type(step).__name__}")
        return "\n".join(lines)


class Scopes(Protocol):
    """What is tried: scopes that give back, at their end, what was there when they began."""

    def enter(self) -> Any: ...

    def reset(self, token: Any) -> Any: ...

    def leave(self, token: Any) -> None: ...


class World(Protocol):
    """One database with a program's schema in it."""

    scopes: Scopes

    def work(self, work: Work) -> None:
        """Do it. Statements that fail are passed over, as the code under test may do."""

    def settle(self) -> None:
        """End every transaction that a `Work` left open."""

    def dump(self) -> Dump:
        """All that the database holds."""


class Dialect(ABC):
    """How one kind of database writes SQL. The defaults are what most understand."""

    names: Sequence[str] = (
        "order",
        "Mixed Case",
        'quo"te',
        "select",
        "ünï",
        "it's",
        "a.b",
        "plain",
        "UPPER",
        "x;y",
    )
    column_names: Sequence[str] = ("a", "B", "group", "c d", "é", 'q"q', "note", "%s", ":p")
    kinds: Sequence[str] = ("integer", "text")
    rests: Sequence[str] = ("", "", "", " NOT NULL DEFAULT 1", " UNIQUE")
    traits: Sequence[str] = ()
    schema_traits: Sequence[str] = ()
    on_delete: Sequence[str] = ("NO ACTION", "RESTRICT", "CASCADE", "SET NULL")
    integer_key = "integer"

    @abstractmethod
    def world(self, schema: Schema) -> AbstractContextManager[World]:
        """Make a database with that schema, and remove it at the end."""

    @abstractmethod
    def create(self, schema: Schema) -> list[str]:
        """The statements that make the schema, without `Schema.rows`."""

    def quoted(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def literal(self, value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, str):
            return "'" + value.replace("'", "''") + "'"
        return repr(value)

    def values(self) -> st.SearchStrategy[Any]:
        """Values of columns that are no keys."""
        return st.one_of(st.none(), st.integers(-3, 5), st.sampled_from(["", "a", "A", "it's", "ünï"]))

    def extras(self, tables: tuple[Table, ...]) -> st.SearchStrategy[tuple[str, ...]]:
        """More DDL: views, triggers."""
        return st.just(())

    def statements(self, schema: Schema) -> list[st.SearchStrategy[str]]:
        """Statements of this dialect alone, besides the common ones."""
        return []

    def ddl(self, schema: Schema) -> list[st.SearchStrategy[str]]:
        """Statements that change the schema."""
        table = st.sampled_from([self.quoted(table.name) for table in schema.tables])
        return [
            table.map(lambda name: f"DROP TABLE {name}"),
            table.map(lambda name: f'ALTER TABLE {name} ADD COLUMN "added" integer DEFAULT 7'),
            table.map(lambda name: f'ALTER TABLE {name} RENAME TO "renamed"'),
            table.map(lambda name: f'CREATE TABLE "made" AS SELECT * FROM {name}'),
            st.just('CREATE TABLE "of a test" (id integer PRIMARY KEY, t text)'),
            st.just("INSERT INTO \"of a test\" (t) VALUES ('x')"),
            table.map(lambda name: f'CREATE VIEW "view of a test" AS SELECT 1 AS one FROM {name}'),
            st.just('DROP VIEW "a view"'),
        ]


@st.composite
def schemas(draw: st.DrawFn, dialect: Dialect) -> Schema:
    """Up to four tables that refer to each other and to themselves in any direction."""
    names = draw(st.lists(st.sampled_from(dialect.names), min_size=1, max_size=4, unique_by=str.lower))
    styles = [draw(st.sampled_from(["identity", "integer", "composite", "none"])) for _ in names]
    keys = {
        name: {"identity": ("id",), "integer": ("Key",), "composite": ("k1", "k2"), "none": ()}[style]
        for name, style in zip(names, styles, strict=True)
    }
    targets = [name for name in names if len(keys[name]) == 1]
    tables = []
    for name, style in zip(names, styles, strict=True):
        columns = draw(
            st.lists(st.sampled_from(dialect.column_names), min_size=1, max_size=3, unique_by=str.lower)
        )
        references = draw(
            st.lists(
                st.tuples(st.sampled_from(targets), st.sampled_from(dialect.on_delete)), max_size=2
            ) if targets else st.just([])
        )  # fmt: skip
        plain = [rest for rest in dialect.rests if "GENERATED" not in rest]
        tables.append(
            Table(
                name,
                keys[name],
                style == "identity",
                tuple(
                    Column(
                        column,
                        draw(st.sampled_from(dialect.kinds)),
                        draw(st.sampled_from(dialect.rests if number else plain)),
                    )
                    for number, column in enumerate(columns)
                ),
                tuple(
                    Reference(f"ref{number}", target, keys[target][0], action)
                    for number, (target, action) in enumerate(references)
                ),
                frozenset(trait for trait in dialect.traits if draw(st.integers(0, 3)) == 0),
            )
        )
    schema = Schema(tuple(tables), traits=frozenset(t for t in dialect.schema_traits if draw(st.booleans())))
    extras = draw(dialect.extras(schema.tables))
    rows = draw(st.lists(inserts(dialect, schema), max_size=8))
    return Schema(schema.tables, extras, tuple(rows), schema.traits)


def inserts(dialect: Dialect, schema: Schema) -> st.SearchStrategy[str]:
    """An INSERT of one to three rows, with or without the key; often it violates something."""

    @st.composite
    def insert(draw: st.DrawFn) -> str:
        table = draw(st.sampled_from(schema.tables))
        optional = [name for name in table.writable if not (table.identity and name in table.key)]
        columns = draw(st.lists(st.sampled_from(optional), min_size=1, unique=True)) if optional else []
        if not table.identity or draw(st.booleans()):
            columns = [*table.key, *(column for column in columns if column not in table.key)]
        if not columns:
            return f"INSERT INTO {dialect.quoted(table.name)} DEFAULT VALUES"
        rows = [
            "(" + ", ".join(dialect.literal(draw(_value(dialect, table, column))) for column in columns) + ")"
            for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3])))
        ]
        names = ", ".join(map(dialect.quoted, columns))
        return f"INSERT INTO {dialect.quoted(table.name)} ({names}) VALUES {', '.join(rows)}"

    return insert()


def updates(dialect: Dialect, schema: Schema) -> st.SearchStrategy[str]:
    """An UPDATE of one column, keys included, of all rows or of those with one value."""

    @st.composite
    def update(draw: st.DrawFn) -> str:
        table = draw(st.sampled_from(schema.tables))
        column = draw(st.sampled_from(table.writable))
        value = dialect.literal(draw(_value(dialect, table, column)))
        return (
            f"UPDATE {dialect.quoted(table.name)} SET {dialect.quoted(column)} = {value}"
            + draw(_where(dialect, table))
        )  # fmt: skip

    return update()


def deletes(dialect: Dialect, schema: Schema) -> st.SearchStrategy[str]:
    """A DELETE of all rows or of those with one value."""

    @st.composite
    def delete(draw: st.DrawFn) -> str:
        table = draw(st.sampled_from(schema.tables))
        return f"DELETE FROM {dialect.quoted(table.name)}" + draw(_where(dialect, table))

    return delete()


@st.composite
def _where(draw: st.DrawFn, dialect: Dialect, table: Table) -> str:
    if draw(st.integers(0, 2)) == 0:
        return ""
    column = draw(st.sampled_from(table.writable))
    return f" WHERE {dialect.quoted(column)} = {dialect.literal(draw(_value(dialect, table, column)))}"


def _value(dialect: Dialect, table: Table, column: str) -> st.SearchStrategy[Any]:
    if column in table.key:
        return st.integers(1, 6)
    if column.startswith("ref"):
        return st.one_of(st.none(), st.integers(1, 4))
    return dialect.values()


@st.composite
def programs(draw: st.DrawFn, dialect: Dialect) -> Program:
    """A schema and up to fourteen steps. A scope may begin and end anywhere."""
    schema = draw(schemas(dialect))
    writes = [inserts(dialect, schema)] * 4 + [updates(dialect, schema)] * 2 + [deletes(dialect, schema)] * 2
    statement = st.one_of(*writes, *dialect.statements(schema))
    block = st.lists(statement, min_size=1, max_size=3)
    savepoint = st.tuples(
        block, st.sampled_from(["ROLLBACK TO SAVEPOINT s", "RELEASE SAVEPOINT s"]), block
    ).map(lambda parts: ["SAVEPOINT s", *parts[0], parts[1], *parts[2]])
    ddl = st.tuples(st.one_of(*dialect.ddl(schema)), block).map(lambda parts: [parts[0], *parts[1]])
    several = st.one_of(*[block] * 6, *[savepoint] * 2, ddl)
    work = st.builds(
        Work,
        st.sampled_from(["first", "first", "first", "second", "thread", "process"]),
        several.map(tuple),
        st.sampled_from(["commit", "commit", "commit", "autocommit", "rollback", "leak"]),
    )
    scope = st.sampled_from([Enter(), Enter(), Reset(), Leave()])
    step: st.SearchStrategy[Step] = st.one_of(work, work, scope)
    steps = draw(st.lists(step, min_size=draw(st.integers(2, 8)), max_size=14))
    return Program(schema, (Enter(), *steps))
