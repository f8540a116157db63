"""The rows of a database's tables, read and written as its driver gives them: no type comes in between."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SAWarning
from sqlalchemy.schema import sort_tables_and_constraints

Key = tuple[str | None, str]
"""A table: its schema (None: the default one), and its name."""

Rows = list[tuple[Any, ...]]

AT_ONCE = 200
"""Tables in one question."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        key: Its schema and name.
        clause: It with its columns; generated ones are left out.
        read: What is selected for each column.
        primary: The columns of its key.
        late: Columns that are written last, since they refer in a circle.
        parents: The tables that it refers to.
    """

    key: Key
    clause: sa.TableClause
    read: Sequence[sa.ColumnElement[Any]]
    primary: Sequence[str]
    late: Collection[str]
    parents: frozenset[Key]


def reflected(connection: sa.Connection, schemas: Collection[str | None], besides: str) -> list[Table]:
    """The tables that are there but `besides`, parents before their children as far as that can be."""
    metadata = sa.MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # types that SQLAlchemy does not know are no matter here
        for schema in schemas:
            metadata.reflect(connection, schema=schema, only=lambda name, _: name != besides)
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
                sa.case((sa.exists(sa.select(sa.text("1")).select_from(table.clause)), 1), else_=0),
            )
            for number, table in enumerate(some)
        ]
        answers = connection.execute(sa.union_all(*questions))
        found += [some[number] for number, holds in sorted(map(tuple, answers)) if holds]
    return found


def read(connection: sa.Connection, tables: Sequence[Table]) -> dict[Key, Rows]:
    """The rows of those tables that are not empty."""
    return {
        table.key: rows
        for table in filled(connection, tables)
        if (
            rows := [
                tuple(row) for row in connection.execute(sa.select(*table.read).select_from(table.clause))
            ]
        )
    }


def different(
    tables: Sequence[Table], wanted: Mapping[Key, Rows], now: Mapping[Key, Rows]
) -> dict[Key, Rows]:
    """What the tables ought to hold that hold something else; the order of rows does not count."""
    return {
        table.key: wanted.get(table.key, [])
        for table in tables
        if _bag(wanted.get(table.key, [])) != _bag(now.get(table.key, []))
    }


def with_children(tables: Sequence[Table], chosen: Collection[Key]) -> set[Key]:
    """These and all that refer to them: where keys are enforced, their rows go and come together."""
    found, before = set(chosen), 0
    while len(found) != before:
        before = len(found)
        found |= {table.key for table in tables if not found.isdisjoint(table.parents)}
    return found


def write(connection: sa.Connection, tables: Sequence[Table], wanted: Mapping[Key, Rows]) -> None:
    """Replace all rows of these tables, which stand in the order of `reflected`."""
    for table in tables:
        if table.late:
            connection.execute(
                sa.update(table.clause).values({table.clause.c[name]: None for name in table.late})
            )
    for table in reversed(tables):
        connection.execute(sa.delete(table.clause))
    for table in tables:
        _insert(connection, table, wanted.get(table.key, []))
    for table in tables:
        _complete(connection, table, wanted.get(table.key, []))


def drop(connection: sa.Connection, schemas: Collection[str | None], doomed: Collection[Key]) -> None:
    """Drop tables, whatever refers to what among them."""
    metadata = sa.MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)
        for schema in schemas:
            names = sorted(name for of, name in doomed if of == schema)
            if names:
                metadata.reflect(connection, schema, only=names)  # and what they refer to
        tables = [table for table in metadata.tables.values() if _key(table) in doomed]
        metadata.drop_all(connection, tables=tables, checkfirst=False)


def _insert(connection: sa.Connection, table: Table, rows: Rows) -> None:
    if not rows:
        return
    names = list(table.clause.c.keys())
    late = {number for number, name in enumerate(names) if name in table.late and table.primary}
    insert = sa.insert(table.clause).values(
        {table.clause.c[name]: sa.bindparam(f"c{number}") for number, name in enumerate(names)}
    )
    values = [
        {f"c{number}": None if number in late else value for number, value in enumerate(row)}
        for row in rows
    ]  # fmt: skip
    connection.execute(insert, values)


def _complete(connection: sa.Connection, table: Table, rows: Rows) -> None:
    """Write the columns that refer in a circle, now that all rows are there."""
    if not rows or not table.late or not table.primary:
        return
    names = list(table.clause.c.keys())
    update = (
        sa.update(table.clause)
        .where(*(table.clause.c[name] == sa.bindparam(f"c{names.index(name)}") for name in table.primary))
        .values({table.clause.c[name]: sa.bindparam(f"c{names.index(name)}") for name in table.late})
    )
    used = [number for number, name in enumerate(names) if name in table.late or name in table.primary]
    connection.execute(update, [{f"c{number}": row[number] for number in used} for row in rows])


def _table(table: sa.Table, late: set[str]) -> Table:
    columns = [column for column in table.columns if column.computed is None]
    clause = sa.table(table.name, *(sa.column(column.name) for column in columns), schema=table.schema)
    return Table(
        _key(table),
        clause,
        [_read(clause.c[column.name], column).label(f"c{number}") for number, column in enumerate(columns)],
        [column.name for column in columns if column.primary_key],
        late & {column.name for column in columns},
        frozenset(_key(constraint.referred_table) for constraint in table.foreign_key_constraints),
    )


def _read(column: sa.ColumnClause[Any], reflected: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """The column; on MySQL a FLOAT as a DOUBLE, since it is shown with six digits otherwise."""
    if isinstance(reflected.type, sa.Float) and hasattr(reflected.type, "unsigned"):
        return column + sa.literal_column("0e0")
    return column


def _key(table: Any) -> Key:
    return (table.schema, table.name)


def _bag(rows: Rows) -> Counter[str]:
    return Counter(map(repr, rows))
