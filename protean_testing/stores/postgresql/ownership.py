"""Whose this database is: a schema with a marker, and a lock that lives as long as the run does."""

from __future__ import annotations

from ...errors import StoreError
from ...ownership import Marker
from .connection import DURABLE, OURS, Connection, literal, psycopg

LOCK = 0x70726F7465616E  # an advisory lock is known by a number

# A publication FOR ALL TABLES lets nobody update a table that has neither a key nor a replica identity.
INSTALL = (
    f"CREATE SCHEMA {OURS}; CREATE TABLE {OURS}.owner (marker text NOT NULL); "
    f"ALTER TABLE {OURS}.owner REPLICA IDENTITY FULL;"
)

_RELATIONS = (
    "owner",
    "before",
    "kept",
    "ready",
    "change_log",
    "snapshot",
    "changed_key",
    "target",
    "position",
    "sequence",
    "inheritance_child",
    "part",
    "slow",
)
"""All that is created in our schema, functions and indexes apart."""


def identity(connection: Connection) -> str:
    """Name this very database: a copy of it, here or on another server, is another one."""
    database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    try:
        found = connection.value(
            f"SELECT concat(system_identifier, ' ', {database}) FROM pg_control_system()"
        )
    except (
        psycopg.errors.InsufficientPrivilege
    ):  # a hoster may have revoked it: a schema of ours is not copied
        found = connection.value(f"SELECT concat({database}, ' ', to_regnamespace('{OURS}')::oid)")
    return str(found)


def schema_is_there(connection: Connection) -> bool:
    return bool(connection.value(f"SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{OURS}')"))


def read_marker(connection: Connection) -> Marker | None:
    """The marker of the run that has this database or had it; None if there is none that can be read."""
    column = (
        "SELECT EXISTS (SELECT FROM pg_attribute "
        f"WHERE attrelid = to_regclass('{OURS}.owner') AND attname = 'marker')"
    )
    if not connection.value(column):
        return None
    text = connection.value(f"SELECT marker FROM {OURS}.owner")
    return None if text is None else Marker.from_json(text)


def is_live(connection: Connection) -> bool:
    """Whether another session has the lock of a live run, be it of this process."""
    return bool(
        connection.value(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
            f"AND classid = {LOCK >> 32} AND objid = {LOCK & 0xFFFFFFFF} AND pid <> pg_backend_pid() "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        )
    )


def take_lock(connection: Connection) -> bool:
    """Take the lock of a live run for this session. False if another run has it."""
    return bool(connection.value(f"SELECT pg_try_advisory_lock({LOCK})"))


def release_lock(connection: Connection) -> None:
    connection.run(f"SELECT pg_advisory_unlock({LOCK})")


def write_marker(connection: Connection, marker: Marker) -> None:
    """Write the marker in place of the one that is there, to outlive a crash of the server."""
    value = literal(marker.to_json())
    connection.run(f"{DURABLE} DELETE FROM {OURS}.owner; INSERT INTO {OURS}.owner VALUES ({value})")


def erase(connection: Connection) -> None:
    """Drop our schema, and with it the marker.

    Raises:
        StoreError: It holds what is not ours.
    """
    names = ", ".join(map(literal, _RELATIONS))
    strangers = connection.rows(
        f"SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace('{OURS}') "
        f"AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relname NOT IN ({names}) ORDER BY 1"
    )
    for (name,) in strangers:
        raise StoreError(
            f"the schema {OURS} is not dropped: {name!r} in it was not created by this library. Move it:  "
            f'ALTER TABLE {OURS}."{name}" SET SCHEMA public'
        )
    connection.run(f"DROP SCHEMA IF EXISTS {OURS} CASCADE")
