"""What is in a SQLite database, thing by thing, and the same database without some of it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from ...ownership import Thing, examine
from ...ownership.examine import VERSION_TABLES
from ..sql.backend import Database
from .rows import IMAGE, quoted

_KINDS = ("view", "trigger", "virtual table", "table", "index")  # a virtual table takes others with it


def things(
    connection: sqlite3.Connection, planned: Collection[str] = (), schema: str = "main"
) -> list[Thing]:
    """All that is in the schema: tables, views, indexes and triggers, each by its name and definition.

    Parameters:
        planned: Names of tables that are about to be created.
        schema: What the connection calls the database.
    """
    names = {name.lower() for name in planned}
    found = []
    for kind, name, sql in _parts(connection, schema):
        digest = hashlib.sha256(f"{kind}\n{sql}".encode()).hexdigest()[:16]
        holds = kind.endswith("table") and _holds_data(connection, schema, name)
        is_version = name.lower() in VERSION_TABLES
        found.append(
            Thing(f"{name}:{digest}", f"{kind} {name}", holds, name.lower() in names, is_version=is_version)
        )
    return found


def refuse_rows(
    connection: sqlite3.Connection, database: Database, tables: Collection[tuple[str | None, str]]
) -> None:
    """Refuse an application's memory with rows that nothing would hold any more. What is empty comes again.

    Raises:
        UnsafeStoreError: Naming the tables.
    """
    if database.private or database.adopt:
        return
    found = things(connection, [name for schema, name in tables if schema in (None, "main")])
    examine(
        [replace(thing, planned=thing.planned and thing.holds_data) for thing in found],
        None,
        identity="",
        store=database.name,
        where=database.shown,
        clear="",
        unsafe=database.unsafe,
    )


def identities(found: Iterable[Thing]) -> frozenset[str]:
    return frozenset(thing.identity for thing in found)


def objects(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """(kind, name) of all that is in the schema, in an order in which it can be dropped."""
    found = [(kind, name) for kind, name, _ in _parts(connection, "main")]
    statistics = "SELECT 'table', name FROM main.sqlite_schema WHERE name LIKE 'sqlite\\_stat_' ESCAPE '\\'"
    found += connection.execute(statistics).fetchall()
    return sorted(found, key=lambda pair: _KINDS.index(pair[0]))


def drop(connection: sqlite3.Connection, doomed: Collection[Thing]) -> list[str]:
    """Drop some things, and say which others that breaks: SQLite drops what is on a table with it.

    Returns:
        The names of those that are gone as well, or that have lost what they refer to.
    """
    before, names = things(connection), {thing.name for thing in doomed}
    foreign = [thing for thing in before if thing.name not in names]
    whole = [thing for thing in foreign if _is_whole(connection, thing)]
    for kind, name in objects(connection):
        if f"{kind} {name}" in names:
            connection.execute(f"DROP {kind.removeprefix('virtual ')} IF EXISTS main.{quoted(name)}")
    left = identities(things(connection))
    return [
        thing.name
        for thing in foreign
        if thing.identity not in left or (thing in whole and not _is_whole(connection, thing))
    ]


def add_definitions(connection: sqlite3.Connection, source: sqlite3.Connection, wanted: list[Thing]) -> None:
    """Create things that hold no rows as they are in another database."""
    parts = {f"{kind} {name}": (kind, sql) for kind, name, sql in _parts(source, "main")}
    order = ("table", "index", "view", "trigger")
    for _, sql in sorted((parts[one.name] for one in wanted), key=lambda part: order.index(part[0])):
        connection.execute(sql)


def is_as_in_image(connection: sqlite3.Connection, *, alone: bool) -> bool:
    """Whether everything that is in the image, which is attached, is in the database exactly so.

    Parameters:
        alone: Whether nothing else may be there, and the numbers in its header must be the same.
    """
    part = "SELECT type, name, tbl_name, sql FROM {}.sqlite_schema"
    lacks = connection.execute(f"{part.format(IMAGE)} EXCEPT {part.format('main')}").fetchone()
    more = connection.execute(f"{part.format('main')} EXCEPT {part.format(IMAGE)}").fetchone()
    if lacks or (alone and more):
        return False
    for pragma in ("user_version", "application_id") if alone else ():
        ours, theirs = (connection.execute(f"PRAGMA {one}.{pragma}").fetchone() for one in ("main", IMAGE))
        if ours != theirs:
            return False
    factory, connection.text_factory = connection.text_factory, bytes
    try:
        tables = connection.execute(
            "SELECT name, wr FROM pragma_table_list WHERE schema = ? AND type IN ('table', 'shadow')",
            (IMAGE,),
        ).fetchall()
        return all(
            ours == theirs
            for name, without_rowid in tables
            if name != b"sqlite_schema"
            for ours, theirs in zip_longest(
                *(_rows(connection, one, name.decode(), bool(without_rowid)) for one in ("main", IMAGE))
            )
        )
    finally:
        connection.text_factory = factory


def _rows(connection: sqlite3.Connection, schema: str, name: str, without_rowid: bool) -> Iterator[list[Any]]:
    if name == "sqlite_sequence":  # it has counters of other tables as well
        which = f"SELECT name, seq FROM {schema}.sqlite_sequence "
        which += f"WHERE name IN (SELECT name FROM {IMAGE}.sqlite_schema) ORDER BY name"
    else:
        which = f"SELECT {'' if without_rowid else '_rowid_, '}* FROM {schema}.{quoted(name)} NOT INDEXED"
    for row in connection.execute(which):
        yield [(type(value), value) for value in row]


def _parts(connection: sqlite3.Connection, schema: str) -> list[tuple[str, str, str]]:
    return connection.execute(
        "SELECT iif(sql LIKE 'CREATE VIRTUAL%', 'virtual table', type), name, sql "
        f"FROM {schema}.sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall()


def _holds_data(connection: sqlite3.Connection, schema: str, name: str) -> bool:
    try:
        return connection.execute(f"SELECT 1 FROM {schema}.{quoted(name)} LIMIT 1").fetchone() is not None
    except sqlite3.Error:  # a module that only the application's connections have, or a damaged file
        return True


def _is_whole(connection: sqlite3.Connection, thing: Thing) -> bool:
    """Whether all that it refers to is there."""
    try:
        if thing.name.startswith("view "):
            connection.execute(f"SELECT * FROM main.{quoted(thing.name.removeprefix('view '))} LIMIT 0")
        elif thing.name.startswith("table "):
            name = quoted(thing.name.removeprefix("table "))
            parents = {row[2].lower() for row in connection.execute(f"PRAGMA main.foreign_key_list({name})")}
            return parents <= {name.lower() for kind, name in objects(connection) if kind.endswith("table")}
    except sqlite3.Error:
        return False
    return True
