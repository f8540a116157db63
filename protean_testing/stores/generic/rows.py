"""The rows of a database's tables: compared by fingerprints, copied and restored inside of the database.

No value is written by way of a driver, so that none can be changed by its converters, its character set or
its limits. What is read serves comparing alone.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import SAWarning
from sqlalchemy.schema import sort_tables_and_constraints

from ...changes import KEPT, Written

Key = tuple[str | None, str]
"""A table: its schema (None: the default one), and its name."""

_HISTORY = "FOR SYSTEM_TIME ALL"

Bag: TypeAlias = Counter[bytes]
"""The fingerprints of a table's rows; their order does not count."""

_FEW = 5
"""Tables that are read at once; of more, it is asked first which of them hold rows."""

AT_ONCE = 200
"""Tables in one question."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        key: Its schema and name.
        clause: It with its columns; generated ones are left out.
        read: What is selected for each column, from it or from a copy of it.
        primary: The columns of its key.
        late: Columns that are written last, since they refer in a circle.
        parents: The tables that it refers to.
        always: Whether a column of it takes no value but the database's own.
        has_history: Whether it is system-versioned: it holds the rows of earlier times, too.
        counted: What is selected for all rows at once, if the server can compare them by itself.
        kinds: The types of its columns, if they are known.
    """

    key: Key
    clause: sa.TableClause
    read: Sequence[sa.ColumnElement[Any]]
    primary: Sequence[str] = ()
    late: Collection[str] = ()
    parents: frozenset[Key] = frozenset()
    always: bool = False
    has_history: bool = False
    counted: Sequence[sa.ColumnElement[Any]] = ()
    kinds: Sequence[str] = ()

    def select(self, *columns: sa.ColumnElement[Any] | sa.TextClause) -> sa.Select[Any]:
        """Read all its rows."""
        query = sa.select(*columns).select_from(self.clause)
        return query.with_hint(self.clause, _HISTORY) if self.has_history else query

    @property
    def names(self) -> list[str]:
        """Of the columns that are written."""
        return list(self.clause.c.keys())

    def copy(self, name: str) -> sa.TableClause:
        """The table of that name, with these columns."""
        return sa.table(name, *(sa.column(column) for column in self.names))


@dataclass(frozen=True, eq=False)
class Copy:
    """A table of the library's own with the rows that another one had.

    Attributes:
        name: Of the table with the rows.
        key: The table that had them.
        definition: That table's, at that time.
        bag: What it holds.
    """

    name: str
    key: Key
    definition: str
    bag: Bag


def reflected(
    connection: sa.Connection, schemas: Collection[str | None], besides: Collection[Key]
) -> list[Table]:
    """The tables that are there but `besides`, parents before their children as far as that can be."""
    metadata = sa.MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # types that SQLAlchemy does not know are no matter here
        for schema in schemas:
            metadata.reflect(
                connection, schema=schema, only=lambda name, _, of=schema: (of, name) not in besides
            )
        order: Any = list(sort_tables_and_constraints(metadata.tables.values()))  # type: ignore[no-untyped-call]
    late: dict[Key, set[str]] = {}
    for table, constraints in order:
        circular = [one for one in constraints if table is None or one.referred_table is table]
        for constraint in circular:
            names = {
                column.name for column in constraint.columns if column.nullable and not column.primary_key
            }
            late.setdefault(_key(constraint.table), set()).update(names)
    return [_table(table, late.get(_key(table), set())) for table, _ in order if table is not None]


def filled(connection: sa.Connection, tables: Sequence[Table]) -> list[Table]:
    """Those that hold rows, by one query for many tables."""
    found: list[Table] = []
    for begin in range(0, len(tables), AT_ONCE):
        some = tables[begin : begin + AT_ONCE]
        questions = [
            sa.select(
                sa.literal_column(str(number)),
                sa.case((sa.exists(table.select(sa.text("1"))), 1), else_=0),
            )
            for number, table in enumerate(some)
        ]
        answers = connection.execute(sa.union_all(*questions))
        found += [some[number] for number, holds in sorted(map(tuple, answers)) if holds]
    return found


def bag(connection: sa.Connection, table: Table, of: sa.TableClause | None = None) -> Bag:
    """Read the rows of a table, or of a copy of it."""
    columns = table.counted or table.read
    query = table.select(*columns) if of is None else sa.select(*columns).select_from(of)
    if table.counted:
        (found,) = connection.execute(query)
        return Counter({str(found).encode(): int(found[0])} if int(found[0]) else ())
    return Counter(
        _fingerprint(row) for row in connection.execute(query, execution_options={"yield_per": 1000})
    )


def _fingerprint(row: Iterable[Any]) -> bytes:
    text = repr([_plain(value) for value in row])
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def shown(connection: sa.Connection, table: Table) -> Counter[str]:
    """Read the rows of a table to be shown."""
    found = connection.execute(table.select(*table.read))
    return Counter(repr(tuple(_plain(value) for value in row)) for row in found)


def full_name(key: Key) -> str:
    """A table's name for people, with its schema if that is not the default one."""
    return ".".join(filter(None, key))


def difference(connection: sa.Connection, table: Table, name: str | None) -> Written:
    """What was written to a table since its rows were copied to the one of that name; None: it had none.

    In memory are a fingerprint for each row that there was, and the values of a few rows.
    """
    width, columns = len(table.read), table.names
    places = [width + columns.index(one) for one in table.primary]

    def stream(of: sa.TableClause) -> Iterator[tuple[Any, bytes, dict[str, Any]]]:
        often: Counter[bytes] = Counter()
        values: list[sa.ColumnElement[Any]] = [
            sa.column(column).label(f"v{number}") for number, column in enumerate(columns)
        ]
        query = sa.select(*table.read, *values).select_from(of)
        for row in connection.execute(query, execution_options={"yield_per": 1000}):
            mark = _fingerprint(row[:width])
            often[mark] += not places
            key = tuple(_plain(row[place]) for place in places) or (mark, often[mark])
            yield key, mark, dict(zip(columns, map(_plain, row[width:]), strict=True))

    then = {key: mark for key, mark, _ in stream(table.copy(name))} if name is not None else {}
    inserted: list[Any] = []
    changed: dict[Any, Any] = {}
    more = [0, 0, 0]
    for key, mark, row in stream(table.clause):
        before = then.pop(key, None)
        if before is None:
            more[0] += len(inserted) == KEPT
            inserted += [row] if len(inserted) < KEPT else []
        elif before != mark:
            more[1] += len(changed) == KEPT
            changed |= {key: row} if len(changed) < KEPT else {}
    gone = set(islice(then, KEPT))
    more[2] = len(then) - len(gone)
    were = (
        {key: row for key, _, row in stream(table.copy(name)) if key in changed or key in gone}
        if name
        else {}
    )
    return Written(
        full_name(table.key),
        inserted,
        [(were[key], row) for key, row in changed.items()],
        [row for key, row in were.items() if key in gone],
        key=table.primary,
        more=(more[0], more[1], more[2]),
    )


def bags(connection: sa.Connection, tables: Sequence[Table]) -> dict[Key, Bag]:
    """The rows of those tables that are not empty."""
    if len(tables) > _FEW:
        tables = filled(connection, tables)
    return {table.key: rows for table in tables if (rows := bag(connection, table))}


def copy(connection: sa.Connection, table: Table, name: str, definition: str) -> Copy:
    """Copy the rows of a table to a new one of that name, and read what came there."""
    preparer = connection.dialect.identifier_preparer
    columns = ", ".join(map(preparer.quote, table.names))
    there, here = preparer.format_table(table.copy(name)), preparer.format_table(table.clause)
    match connection.dialect.name:
        case "mssql":
            statement = f"SELECT {columns} INTO {there} FROM {here}"
        case "mysql" | "mariadb":
            keys = ", ".join(map(preparer.quote, table.primary))
            key = f"(PRIMARY KEY ({keys})) " if keys else ""
            history = f" {_HISTORY}" if table.has_history else ""
            statement = f"CREATE TABLE {there} {key}ENGINE = InnoDB AS SELECT {columns} FROM {here}{history}"
        case _:
            statement = f"CREATE TABLE {there} AS SELECT {columns} FROM {here}"
    connection.exec_driver_sql(statement)
    return Copy(name, table.key, definition, bag(connection, table, table.copy(name)))


def with_children(tables: Sequence[Table], chosen: Collection[Key]) -> set[Key]:
    """These and all that refer to them: where keys are enforced, their rows go and come together."""
    found, before = set(chosen), 0
    while len(found) != before:
        before = len(found)
        found |= {table.key for table in tables if not found.isdisjoint(table.parents)}
    return found


def write(connection: sa.Connection, tables: Sequence[Table], copies: Mapping[Key, str]) -> None:
    """Replace all rows of these tables, which stand in the order of `reflected`, by those of the copies."""
    for table in tables:
        if table.late:
            connection.execute(
                sa.update(table.clause).values({table.clause.c[name]: None for name in table.late})
            )
    for table in reversed(tables):
        connection.execute(sa.delete(table.clause))
    for table in tables:
        if (name := copies.get(table.key)) is not None:
            late = table.late if table.primary else ()
            of = table.copy(name)
            columns = [sa.null() if column in late else of.c[column] for column in table.names]
            connection.execute(
                sa.insert(table.clause).from_select(
                    table.names, sa.select(*columns).select_from(of), include_defaults=False
                )
            )
    for table in tables:
        if (name := copies.get(table.key)) is not None and table.late and table.primary:
            of = table.copy(name)
            same = [of.c[column] == table.clause.c[column] for column in table.primary]
            connection.execute(
                sa.update(table.clause).values(
                    {
                        table.clause.c[column]: sa.select(of.c[column])
                        .where(*same)
                        .correlate(table.clause)
                        .scalar_subquery()
                        for column in table.late
                    }
                )
            )


def probe(connection: sa.Connection, table: Table) -> None:
    """Try all that a restore would do to a table, on none of its rows, so that a missing privilege is met."""
    never = sa.literal_column("1") == sa.literal_column("0")
    columns = [table.clause.c[name] for name in table.names]
    rows = table.select(*columns).where(never)
    connection.execute(rows)
    connection.execute(sa.delete(table.clause).where(never))
    if table.has_history:
        named = connection.dialect.identifier_preparer.format_table(table.clause)
        connection.exec_driver_sql(f"DELETE HISTORY FROM {named} BEFORE SYSTEM_TIME '1970-01-02'")
    connection.execute(sa.insert(table.clause).from_select(table.names, rows, include_defaults=False))


def drop(connection: sa.Connection, schemas: Collection[str | None], doomed: Collection[Key]) -> None:
    """Drop tables, whatever refers to what among them."""
    if connection.dialect.name in ("mysql", "mariadb"):  # where foreign keys are switched off
        quoted = connection.dialect.identifier_preparer.format_table
        for of, name in sorted(doomed, key=str):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {quoted(sa.table(name, schema=of))}")
        return
    metadata = sa.MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)
        for schema in schemas:
            names = sorted(name for of, name in doomed if of == schema)
            if names:
                metadata.reflect(connection, schema, only=names)  # and what they refer to
        tables = [table for table in metadata.tables.values() if _key(table) in doomed]
        metadata.drop_all(connection, tables=tables, checkfirst=False)


def referring(tables: Iterable[Table], doomed: Collection[Key]) -> list[Key]:
    """The tables that stay and have a foreign key on one that goes."""
    return [table.key for table in tables if table.key not in doomed and not table.parents.isdisjoint(doomed)]


def _table(table: sa.Table, late: set[str]) -> Table:
    columns = [column for column in table.columns if column.computed is None]
    return Table(
        _key(table),
        sa.table(table.name, *(sa.column(column.name) for column in columns), schema=table.schema),
        [sa.column(column.name).label(f"c{number}") for number, column in enumerate(columns)],
        [column.name for column in columns if column.primary_key],
        late & {column.name for column in columns},
        frozenset(_key(constraint.referred_table) for constraint in table.foreign_key_constraints),
        any(column.identity is not None and column.identity.always for column in columns),
    )


def _key(table: Any) -> Key:
    return (table.schema, table.name)


def _plain(value: Any) -> object:
    """A value that is shown by what it holds, not by where it lies."""
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return value.read() if hasattr(value, "read") else value
