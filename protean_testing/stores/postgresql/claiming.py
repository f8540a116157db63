"""May this database be used, is it in use, and what did a dead run leave in it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ...errors import ConfigurationError
from ...ownership import refuse_other_name
from ..keeper import Database
from . import adopted, fingerprint, meeting, noting, ownership, staying
from .connection import OURS, Connection, literal, psycopg, quoted

TableName = tuple[str | None, str]


def refuse_unsafe(database: Database, connection: Connection, tables: Iterable[TableName]) -> None:
    """Touch nothing, and see whether the database may be used by this run.

    Raises:
        UnsafeStoreError: It may not.
    """
    marker = ownership.read_marker(connection)
    if marker is None and ownership.schema_is_there(connection):
        raise database.refusal(f"it has a schema {OURS}, which is not ours.", "Rename that schema.")
    if marker is not None and marker.alive:
        raise database.refusal(
            f"it is in use by another run ({marker}), and two runs in one database would destroy each "
            "other's data.",
            "Wait for it to end, or give this run a database of its own.",
        )
    if database.private or database.unsafe:
        return
    name = connection.raw.info.dbname
    if marker is None:
        refuse_other_name(database.name, database.shown, name)
    if not database.adopt and not (
        marker is not None and staying.is_there(connection, definition_of(database))
    ):
        _refuse_rows_of_others(database, connection, tables, marker)


def _refuse_rows_of_others(
    database: Database, connection: Connection, tables: Iterable[TableName], marker: ownership.Marker | None
) -> None:
    names = ", ".join(f"to_regclass({literal(place)})" for place in _places(database, tables))
    if not names:
        return
    found = connection.rows(
        "SELECT i.identity, c.oid::regclass::text FROM pg_class c "
        "CROSS JOIN pg_identify_object('pg_class'::regclass, c.oid, 0) i "
        f"WHERE c.relkind IN ('r', 'p') AND c.oid IN ({names}) ORDER BY 2"
    )
    for identity, name in found:
        if marker is not None and not marker.adopted and f"table {identity}" not in marker.before:
            continue
        if connection.value(f"SELECT EXISTS (SELECT FROM {name})"):
            raise database.refusal(
                f"table {name} is about to be created, but is there already and holds rows.",
                "Give it an empty database, pass adopt=True to keep what is there, or pass unsafe=True "
                "if losing these rows is fine.",
            )


def claim(
    database: Database, connection: Connection, tables: Iterable[TableName]
) -> tuple[frozenset[str], staying.State | None]:
    """Mark the database as this run's, and clear it of what a dead run left, and of stale tables.

    Returns:
        What is there beside the schema, as `fingerprint.objects` names it; and what is known of the schema,
        where it is there already as `database.definition` has made it.

    Raises:
        UnsafeStoreError: Another run was quicker.
        ConfigurationError: Our role may not create a schema.
    """
    if not ownership.take_lock(connection):
        raise database.refusal(
            "another run has just begun to use it.", "Give each run a database of its own."
        )
    if not database.private:
        meeting.sweep(database.url, connection)
    marker = ownership.read_marker(connection)
    if marker is not None:
        state = staying.read(connection, definition_of(database))
        if state is not None:
            ownership.renew_marker(connection)
            staying.erase(connection)
            return marker.before, state
        adopted.give_back(connection)
        clear(database, marker.before, adopted=marker.adopted)
    if not database.adopt:
        for place in _places(database, tables):
            connection.run(f"DROP TABLE IF EXISTS {place} CASCADE")
    before = frozenset(map(str, fingerprint.objects(connection)))
    try:
        with connection.raw.transaction():
            ownership.write_marker(connection, before, database.adopt)
    except psycopg.errors.InsufficientPrivilege:
        info = connection.raw.info
        grant = f"GRANT CREATE ON DATABASE {quoted(info.dbname)} TO {quoted(info.user)}"
        raise ConfigurationError(
            f"store {database.name!r}: the role of its URL may not create the schema {OURS}, which says "
            f"whose the database is. Allow it with:  {grant}"
        ) from None
    return before, None


def definition_of(database: Database) -> str:
    """What makes the schema, and what is installed beside it; empty where nothing is to stay."""
    return database.definition and f"{database.definition} {database.reset}"


def clear(database: Database, before: frozenset[str], *, adopted: bool) -> None:
    """Drop what is ours, and what came since a run began; an adopted schema may have grown by itself."""
    with fresh_connection(database) as connection:
        noting.uninstall(connection)
        if not adopted:
            drop_all_but(connection, before)
        ownership.erase_marker(connection)


def drop_all_but(connection: Connection, before: frozenset[str]) -> None:
    """Drop every object of the user's schemas that was not there before."""
    fingerprint.drop(connection, (one for one in fingerprint.objects(connection) if str(one) not in before))


@contextmanager
def fresh_connection(database: Database) -> Iterator[Connection]:
    """For dropping: a server is slow to drop what a session has many plans for."""
    connection = Connection(database)
    try:
        yield connection
    finally:
        connection.close()


def _places(database: Database, tables: Iterable[TableName]) -> list[str]:
    """The tables' full names; the application's search_path says where one without a schema is."""
    tables, default = sorted(tables, key=str), "public"
    if any(schema is None for schema, _ in tables):
        with database.engine().connect() as connection:
            default = connection.dialect.default_schema_name or default
    return [f"{quoted(default if schema is None else schema)}.{quoted(name)}" for schema, name in tables]
