"""What there is in a database, and which of it must go before a run begins."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...ownership import Marker, Thing, examine
from ...ownership.clean import clean_line
from ...ownership.examine import VERSION_TABLES, listed
from ..sql.backend import Database
from . import fingerprint, ownership
from .catalogs import CLASS, Address
from .connection import Connection, literal, quoted
from .fingerprint import Object

TableName = tuple[str | None, str]

_CHUNK = 200  # tables that one statement looks into


def is_empty(objects: Iterable[Object]) -> bool:
    """Whether nothing of anybody's is there: a new database has a schema, and extensions of its template."""
    return all(str(one) == "schema public" or one.kind in ("extension", "default acl") for one in objects)


def removable(objects: Iterable[Object], marker: Marker | None) -> list[Object]:
    """Those that a run may have left: a test may have dropped `public` and created it again."""
    made = frozenset() if marker is None else marker.made
    return [one for one in objects if str(one) != "schema public" or one.key in made]


def things(connection: Connection, objects: Collection[Object], planned: Iterable[str] = ()) -> list[Thing]:
    """What is there, as ownership wants to know it.

    Parameters:
        objects: Their names.
        planned: Full names of tables that are about to be created.
    """
    names = ", ".join([f"to_regclass({literal(name)})::oid" for name in planned])
    in_the_way, filled = set(), set()
    if names and any(one.address[0] == CLASS for one in objects):
        in_the_way = {oid for (oid,) in connection.rows(f"SELECT unnest(ARRAY[{names}]::oid[])::int8")}
    if tables := {one.address[1]: one for one in objects if one.kind == "table"}:
        filled = _filled(connection, tables)
    return [
        Thing(
            one.key,
            str(one),
            holds_data=one.kind == "table" and one.address[1] in filled,
            planned=one.address[0] == CLASS and one.address[1] in in_the_way,
            is_version=one.kind == "table" and one.name.strip('"').lower() in VERSION_TABLES,
        )
        for one in objects
    ]


def versions(connection: Connection) -> dict[int, str]:
    """How far migrations came, by the table in which they write that down."""
    names = ", ".join(map(literal, sorted(VERSION_TABLES)))
    found = connection.rows(
        "SELECT c.oid::int8, c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND oid >= 16384 "
        f"AND relname IN ({names}) AND has_table_privilege(oid, 'SELECT') AND NOT row_security_active(oid)"
    )
    rows = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY t::text), '') FROM {} t"
    return {oid: connection.value(rows.format(name)) for oid, name in found}


def _filled(connection: Connection, tables: dict[int, Object]) -> set[int]:
    """Those that hold rows, or may: what our role may not read is not known to be empty."""
    found = connection.rows(
        "SELECT oid::int8, has_table_privilege(oid, 'SELECT') AND NOT row_security_active(oid) FROM pg_class "
        "WHERE relkind = 'r' AND oid >= 16384 AND pg_relation_size(oid) > 0"
    )
    unreadable = {oid for oid, is_readable in found if not is_readable}
    waiting = [oid for oid, is_readable in found if is_readable and oid in tables]
    filled = unreadable & tables.keys()
    for begin in range(0, len(waiting), _CHUNK):
        union = " UNION ALL ".join(
            f"SELECT {oid}::int8 WHERE EXISTS (SELECT FROM ONLY {tables[oid].identity})"
            for oid in waiting[begin : begin + _CHUNK]
        )
        filled |= {oid for (oid,) in connection.rows(union)}
    return filled


def to_remove(
    database: Database, connection: Connection, tables: Iterable[TableName], marker: Marker | None
) -> set[Address]:
    """What must go before a run begins. Nothing is touched here.

    Raises:
        UnsafeStoreError: It is not ours, or what is not ours would go with it.
    """
    doomed = examined(database, connection, tables, marker)
    going = fingerprint.addresses(thing.identity for thing in doomed)
    others = fingerprint.dependents(connection, going)
    if database.unsafe or database.private:
        return going | {one.address for one in others}
    if others:
        raise database.refusal(
            "what an earlier run has made would be removed, and this uses it, which no run has made:\n"
            + listed([Thing(one.key, str(one), holds_data=True) for one in others]),
            "Drop that, or what it has to do with those tables. To list what would be removed:  "
            + clear_line(database),
        )
    return going


def examined(
    database: Database, connection: Connection, tables: Iterable[TableName], marker: Marker | None
) -> list[Thing]:
    """Examine what is there, as ownership does it for every store.

    Raises:
        UnsafeStoreError: Something is in the way and is not ours.
    """
    found = removable(fingerprint.objects(connection), marker)
    if not found and marker is None:
        return []
    tables = [] if database.adopt else list(tables)
    return examine(
        things(connection, found, _locations(database, tables)),
        marker,
        identity="" if marker is None else ownership.identity(connection),
        store=database.name,
        where=database.shown,
        clear=clear_line(database),
        unsafe=database.unsafe or database.private,
        only_rows=not (tables or database.adopt),
    )


def clear_line(database: Database) -> str:
    """The command that removes what a killed run left."""
    return clean_line(database.url.set(password=None).render_as_string(), unsafe=database.unsafe)


def _locations(database: Database, tables: Iterable[TableName]) -> list[str]:
    """The tables' full names; the application's search_path says where one without a schema is."""
    tables, default = sorted(tables, key=str), "public"
    if any(schema is None for schema, _ in tables):
        with database.engine().connect() as connection:
            default = connection.dialect.default_schema_name or default
    return [f"{quoted(default if schema is None else schema)}.{quoted(name)}" for schema, name in tables]
