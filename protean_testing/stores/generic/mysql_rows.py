"""Rows on MySQL and MariaDB: how they are read so that equal ones are equal, and written past everything."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.mysql import INTEGER

from .mysql import rows, schema_of
from .rows import Copy, Key, Table
from .schema import Thing

_TEXT = re.compile("char|text|blob|binary|json|set")


_ONE_BY_ONE = 20
"""Tables that are asked for by name, each; a look at all of them is cheaper for more."""


def tables(
    connection: Connection, definitions: Mapping[Thing, str], known: Mapping[Key, tuple[str, Table]]
) -> dict[Key, tuple[str, Table]]:
    """The tables that are there with their definitions, and how their values are read.

    Parameters:
        definitions: Of everything that is there.
        known: What this gave before.
    """
    there = {
        (of, name): definition for (kind, of, name), definition in definitions.items() if kind == "TABLE"
    }
    same = {key: known[key] for key, one in there.items() if key in known and known[key][0] == one}
    new = {key: definition for key, definition in there.items() if key not in same}
    columns: dict[Key, list[tuple[str, str]]] = {key: [] for key in new}
    explicit: set[Key] = set()
    parents: dict[Key, set[Key]] = {key: set() for key in new}
    for schema in {of for of, _ in new}:
        where = schema_of(connection, schema)
        names = [name for of, name in new if of == schema]
        for table, name, kind, expression in _asked(
            connection,
            "SELECT table_name, column_name, data_type, generation_expression FROM "
            "information_schema.columns WHERE table_schema = :schema AND COALESCE(generation_expression, '') "
            "IN ('', 'ROW START', 'ROW END')",
            where,
            names,
        ):
            columns.get((schema, table), []).append((name, kind))
            if expression:
                explicit.add((schema, table))
        for table, of, parent in _asked(
            connection,
            "SELECT table_name, unique_constraint_schema, referenced_table_name FROM "
            "information_schema.referential_constraints WHERE constraint_schema = :schema",
            where,
            names,
        ):
            home = None if schema is None and of == where else of
            parents.get((schema, table), set()).add((home, parent))
    for key, definition in new.items():
        if has_history := "history" in json.loads(definition):
            columns[key] += [] if key in explicit else [("row_start", "timestamp"), ("row_end", "timestamp")]
        if columns[key]:
            made = _table(key, columns[key], has_history, frozenset(parents[key]), definition)
            same[key] = definition, made
    return same


def _asked(connection: Connection, query: str, schema: str, names: list[str]) -> list[Any]:
    """Rows of the information schema; the server finds one table by its name, not several."""
    chosen = {f"name{number}": name for number, name in enumerate(names)} if len(names) <= _ONE_BY_ONE else {}
    if chosen:
        query = " UNION ALL ".join(f"({query} AND table_name = :{value})" for value in chosen)
    return rows(connection, query, schema=schema, **chosen)


def _table(
    key: Key, columns: list[tuple[str, str]], has_history: bool, parents: frozenset[Key], definition: str
) -> Table:
    read = [_exactly(sa.column(name), kind.lower()).label(f"c{n}") for n, (name, kind) in enumerate(columns)]
    return Table(
        key,
        sa.table(key[1], *(sa.column(name) for name, _ in columns), schema=key[0]),
        read,
        primary=[] if has_history else _primary(definition, {name for name, _ in columns}),
        parents=parents,
        has_history=has_history,
        counted=_counted(read),
        kinds=[kind.lower() for _, kind in columns],
    )


def _primary(definition: str, columns: Collection[str]) -> list[str]:
    """The columns of the primary key; none if it is not of whole columns that can be written."""
    found = re.search(r"^  PRIMARY KEY \((.*)\)", json.loads(definition).get("statement") or "", re.MULTILINE)
    if found is None or re.search(r"`\(\d", found[1]):
        return []
    names = [name.replace("``", "`") for name in re.findall(r"`((?:[^`]|``)+)`", found[1])]
    return names if set(names) <= set(columns) else []


def _counted(read: Iterable[sa.Label[Any]]) -> list[sa.ColumnElement[Any]]:
    """Select one row for a whole table, which differs where its rows do: how many, and two sums of hashes."""
    values = [sa.func.coalesce(one.element, sa.literal_column("'~'")) for one in read]
    listed = sa.func.concat_ws(sa.literal_column("','"), *values)
    hashed = sa.func.sha2(listed, sa.literal_column("256"))
    sums = [
        sa.func.sum(sa.cast(sa.func.conv(sa.func.substr(hashed, *bounds), *bases), INTEGER(unsigned=True)))
        for bounds in (_literals(1, 15), _literals(17, 15))
        for bases in [_literals(16, 10)]
    ]
    return [sa.cast(one, sa.CHAR) for one in (sa.func.count(sa.literal_column("*")), *sums)]


def _literals(*numbers: int) -> list[sa.ColumnClause[Any]]:
    return [sa.literal_column(str(number)) for number in numbers]


def _exactly(column: sa.ColumnElement[Any], kind: str) -> sa.ColumnElement[Any]:
    """A value as plain ASCII that differs where the value does, whatever the driver makes of its type.

    Long ones are hashed by the server: they may be longer than a packet, which hex digits would double.
    """
    if kind in ("enum", "bit"):  # '' is a member of an enum, or no member at all
        return sa.cast(column, INTEGER(unsigned=True))
    if kind == "float":
        return sa.cast(column * sa.literal_column("1e0"), sa.CHAR)  # six digits of it are shown otherwise
    if _TEXT.search(kind) or kind in _SPATIAL:
        return sa.case(
            (sa.func.octet_length(column) <= sa.literal_column("64"), sa.func.hex(column)),
            else_=sa.func.concat(sa.literal_column("'#'"), sa.func.sha2(column, sa.literal_column("256"))),
        )
    return sa.cast(column, sa.CHAR)


_SPATIAL = frozenset(
    "geometry point linestring polygon multipoint multilinestring multipolygon geometrycollection "
    "geomcollection vector".split()
)


_PLAIN = frozenset("tinyint smallint mediumint int bigint decimal date datetime timestamp time year".split())
"""Kinds whose values are equal if the server says so."""


def is_same(connection: Connection, table: Table, copy: Copy) -> bool:
    """Whether a table that has a key holds the rows of its copy. Several times cheaper than its hashes."""
    pair = _Pair(connection, table, copy)
    return (
        pair.are_as_many()
        and not connection.exec_driver_sql(f"SELECT EXISTS (SELECT 1 {pair.others})").scalar()
    )


def write(connection: Connection, tables: Iterable[Table], copies: Mapping[Key, Copy]) -> set[Key]:
    """Replace the rows of tables by those of the copies; where there is a key, only those that differ.

    Returns:
        The tables that rows were inserted into.
    """
    preparer = connection.dialect.identifier_preparer
    written = set()
    for table in tables:
        copy = copies.get(table.key)
        names = ", ".join(map(preparer.quote, table.names))
        here = preparer.format_table(table.clause)
        if copy is not None and table.primary:
            pair = _Pair(connection, table, copy)
            connection.exec_driver_sql(f"DELETE a {pair.others}")
            if pair.are_as_many():
                continue
            statements = [f"INSERT INTO {here} ({names}) {pair.missing}"]
        else:
            statements = [f"DELETE FROM {here}"]
            if table.has_history:
                statements.append(f"DELETE HISTORY FROM {here}")
            if copy is not None:
                there = preparer.format_table(table.copy(copy.name))
                statements.append(f"INSERT INTO {here} ({names}) SELECT {names} FROM {there}")
        for statement in statements:
            connection.exec_driver_sql(statement)
        if copy is not None:
            written.add(table.key)
    return written


class _Pair:
    """A table that has a key and its copy, as SQL.

    Attributes:
        others: The rows ``a`` of the table that the copy does not have as they are.
        missing: Select those rows of the copy whose key the table does not have.
    """

    def __init__(self, connection: Connection, table: Table, copy: Copy) -> None:
        self._connection, self._count = connection, sum(copy.bag.values())
        preparer = connection.dialect.identifier_preparer
        self._names = preparer.format_table(table.clause), preparer.format_table(table.copy(copy.name))
        a, b = (sa.table(one, *map(sa.column, table.names)) for one in ("a", "b"))
        keys = [a.c[name] == b.c[name] for name in table.primary]
        others = [
            _same(a.c[name], b.c[name], kind)
            for name, kind in zip(table.names, table.kinds, strict=True)
            if name not in table.primary or kind not in _PLAIN
        ]
        first, (here, there) = preparer.quote(table.primary[0]), self._names
        key, same = (_text(connection, sa.and_(*which)) for which in (keys, keys + others))
        chosen = ", ".join(f"b.{preparer.quote(name)}" for name in table.names)
        self.others = f"FROM {here} AS a LEFT JOIN {there} AS b ON {same} WHERE b.{first} IS NULL"
        self.missing = (
            f"SELECT {chosen} FROM {there} AS b LEFT JOIN {here} AS a ON {key} WHERE a.{first} IS NULL"
        )

    def are_as_many(self) -> bool:
        """Whether both have as many rows as there were when the copy was made."""
        asked = ", ".join(f"(SELECT COUNT(*) FROM {name})" for name in self._names)
        return tuple(self._connection.exec_driver_sql(f"SELECT {asked}").one()) == (self._count, self._count)


def _same(a: sa.ColumnElement[Any], b: sa.ColumnElement[Any], kind: str) -> sa.ColumnElement[bool]:
    if kind in _PLAIN:
        return a.is_not_distinct_from(b)
    if _TEXT.search(kind):
        return sa.cast(a, sa.BINARY).is_not_distinct_from(sa.cast(b, sa.BINARY))
    return _exactly(a, kind).is_not_distinct_from(_exactly(b, kind))


def _text(connection: Connection, clause: sa.ClauseElement) -> str:
    return str(clause.compile(dialect=connection.dialect))
