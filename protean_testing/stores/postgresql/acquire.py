"""May this database be used, is it in use, and what did a dead run leave in it?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ...errors import ConfigurationError, StoreError
from ...ownership import Marker, new_marker, refuse_other_name
from ..sql.backend import Database, warn_of_rescued
from . import (
    administration,
    before,
    change_log,
    content,
    fingerprint,
    ownership,
    schema_cache,
)
from .catalogs import Address
from .connection import DURABLE, OURS, Connection, psycopg, quoted
from .content import TableName
from .fingerprint import EntangledError


def refuse_unsafe(database: Database, connection: Connection, tables: Iterable[TableName]) -> None:
    """See whether the database may be used by this run. Nothing of anybody's is touched.

    What a killed run owes is restored first: whoever reads the refusal finds the data as it was.

    Raises:
        UnsafeStoreError: It may not.
        StoreError: What was there before a killed run cannot be restored.
    """
    refuse_name(database, connection)
    marker = read_marker(database, connection)
    refuse_live(database, connection, marker)
    if database.private:
        return
    if marker is not None:
        acquire(database, connection)
        try:
            _restore(database, connection, marker)
        finally:
            ownership.release_lock(connection)
        if schema_cache.is_there(connection, definition_of(database)):
            return
    content.to_remove(database, connection, tables, marker)


def refuse_content(database: Database, connection: Connection, tables: Iterable[TableName]) -> None:
    """Refuse what is in the way of a run in a database that is only copied. Nothing in it is touched.

    A run that is at work there answers itself for what it found, and what it made is in nobody's way.

    Raises:
        UnsafeStoreError: Something is in the way, or holds data of others.
    """
    marker = read_marker(database, connection)
    if marker is not None and ownership.is_live(connection):
        return
    if not schema_cache.is_there(connection, definition_of(database)):
        content.to_remove(database, connection, tables, marker)


def refuse_planned(
    database: Database, connection: Connection, tables: Iterable[TableName], marker: Marker
) -> None:
    """Refuse what is in the way of another schema in a database that this run has already."""
    content.examined(database, connection, tables, replace(marker, ended=True))


def refuse_name(database: Database, connection: Connection) -> None:
    """Refuse a database that is not for tests by its name."""
    if not (database.private or database.unsafe):
        name = connection.value("SELECT current_database()::text")
        refuse_other_name(database.name, database.shown, name)


def refuse_live(database: Database, connection: Connection, marker: Marker | None) -> None:
    """Refuse a database that a live run uses."""
    if marker is not None and ownership.is_live(connection):
        raise database.refusal(
            f"it is in use by another run ({marker}), and two runs in one database would destroy each "
            "other's data.",
            "Wait for it to end, or give this run a database of its own.",
        )


def read_marker(database: Database, connection: Connection) -> Marker | None:
    """The marker that is there. A private database may be a copy that was made for this run.

    Raises:
        UnsafeStoreError: There is a schema of our name without one.
    """
    if not ownership.schema_is_there(connection):
        return None
    try:
        marker = ownership.read_marker(connection)
    except psycopg.errors.InsufficientPrivilege:
        raise database.refusal(
            f"a run as another role left its schema {OURS} here, which the role of this URL may not read.",
            "Run the tests as that role, or let it drop that schema.",
        ) from None
    if marker is None:
        why, instead = (
            "which is not ours, or of another version of this library.",
            "Rename that schema, or if",
        )
        if owed := before.owed(connection):
            why = "with copies of rows that were there before a run, and without a marker that can be read."
            instead = "\n".join((*owed, "If all rows are as they should be, and"))
        raise database.refusal(
            f"it has a schema {OURS}, {why}", f"{instead} nobody needs it:  DROP SCHEMA {OURS} CASCADE"
        )
    if database.private:
        return replace(marker, identity=ownership.identity(connection))
    return marker


def acquire(database: Database, connection: Connection) -> None:
    """Take the lock of a live run, for as long as the connection lives.

    Raises:
        UnsafeStoreError: Another run was quicker.
    """
    if not ownership.take_lock(connection):
        raise database.refusal(
            "another run has just begun to use it.", "Give each run a database of its own."
        )


def prepare(
    database: Database, connection: Connection, tables: Iterable[TableName]
) -> tuple[Marker, schema_cache.State | None]:
    """Snapshot the database, which was acquired, as this run's, and remove what a dead run left.

    Returns:
        The marker of this run; and what is known of the schema, where it is there already as
        `database.definition` has made it.

    Raises:
        UnsafeStoreError: Something is in the way.
        ConfigurationError: Our role may not create a schema.
    """
    if not database.private:
        administration.sweep(database.url, connection)
    marker = read_marker(database, connection)
    if marker is not None:
        _restore(database, connection, marker)
        state = schema_cache.read(connection, definition_of(database))
        if state is not None:
            renewed = _begin(connection, made=marker.made)
            schema_cache.erase(connection)
            return renewed, state
    doomed = content.to_remove(database, connection, tables, marker)
    if doomed or marker is not None:
        with fresh_connection(database) as other:
            change_log.uninstall(other)
            remove(database, other, doomed)
            ownership.erase(other)
    try:
        return _begin(connection, install=ownership.INSTALL + before.INSTALL), None
    except psycopg.errors.InsufficientPrivilege:
        (role,) = connection.call("SELECT current_user")  # who has logged in may be another (SET role)
        grant = f"GRANT CREATE ON DATABASE {quoted(connection.raw.info.dbname)} TO {quoted(role)}"
        raise ConfigurationError(
            f"store {database.name!r}: the role of its URL may not create the schema {OURS}, which says "
            f"whose the database is. Allow it with:  {grant}"
        ) from None


def _begin(connection: Connection, made: Iterable[str] = (), install: str = "") -> Marker:
    made = frozenset(made)
    with connection.raw.transaction():
        connection.run(DURABLE + install)
        there = [one for one in fingerprint.objects(connection) if one.key not in made]
        marker = new_marker(
            ownership.identity(connection),
            (one.key for one in there),
            made=made,
            was_empty=content.is_empty(there),
        )
        before.write_names(connection, there)
        ownership.write_marker(connection, marker)
    return marker


def _restore(database: Database, connection: Connection, marker: Marker) -> None:
    """What was there before a run that was killed. A marker of another database says nothing of this one."""
    if not marker.ended and marker.identity == ownership.identity(connection):
        report(database, before.restore(connection, killed=True), f"a run that was killed ({marker})")


def report(database: Database, restored: before.Restored, by: str) -> None:
    """Say what cannot be restored, and warn of what was written since the run died.

    Raises:
        StoreError: Something cannot.
    """
    if restored.rescued:
        warn_of_rescued(database, by, "Somebody may have written since that run died", restored.rescued)
    if restored.lost:
        lines = "\n".join(f"  {line}" for line in restored.lost)
        raise StoreError(
            f"what was there before {by} cannot be restored in store {database.name!r} ({database.shown}):\n"
            f"{lines}\nPut it right, and run the tests again. To see what else is left:  "
            + content.clear_line(database),
            store=database.name,
        )


def definition_of(database: Database) -> str:
    """What makes the schema, and what is installed beside it; empty where nothing is to stay."""
    return database.definition and f"{database.definition} {database.reset}"


def remove(database: Database, connection: Connection, doomed: Collection[Address]) -> None:
    """Drop what is ours, and nothing else.

    Raises:
        StoreError: Something else would go with it.
    """
    try:
        others = [] if database.private else fingerprint.dependents(connection, doomed)
        if others:
            raise EntangledError(others)
        fingerprint.drop(connection, doomed, parts=not database.private)
    except EntangledError as error:
        names = "\n".join(f"  {one}" for one in error.harmed)
        raise StoreError(
            f"the schema of store {database.name!r} is not dropped, since what this run has not made uses "
            f"it:\n{names}\nDrop that, or what it has to do with those tables; the next run drops the rest.",
            store=database.name,
        ) from None


@contextmanager
def fresh_connection(database: Database, own: Connection | None = None) -> Iterator[Connection]:
    """For dropping: a server is slow to drop what a session has many plans for.

    Parameters:
        own: In its place, if the server has no connection left: the application's pools may hold them all.
    """
    try:
        connection = Connection(database)
    except ConfigurationError:
        if own is None or not own.alive:
            raise
        yield own
        return
    try:
        yield connection
    finally:
        connection.close()
