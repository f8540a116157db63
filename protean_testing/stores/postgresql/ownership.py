"""Whose database this is: a schema with a marker, and a lock that lives as long as the run does."""

from __future__ import annotations

import json
import os
import platform
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import psutil

from .connection import OURS, Connection, literal

RUN = uuid.uuid4()
"""This process, among all runs of all machines."""

LOCK = 0x70726F7465616E  # an advisory lock is known by a number


@dataclass(frozen=True)
class Marker:
    """What a run wrote down about itself.

    Attributes:
        host, pid, since: Who it is, for messages.
        before: Every object that was there when it came, as pg_identify_object names them.
        alive: Whether that run still lives (it may be our own).
        adopted: The schema was there already, so nothing but our own schema is to be dropped.
    """

    host: str
    pid: int
    since: str
    before: frozenset[str]
    alive: bool
    adopted: bool

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}"


def schema_is_there(connection: Connection) -> bool:
    return bool(connection.value(f"SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{OURS}')"))


def read_marker(connection: Connection) -> Marker | None:
    """The marker of the run that has this database or had it; None where there is none."""
    if connection.value(f"SELECT to_regclass('{OURS}.owner')") is None:
        return None
    found = connection.rows(f"SELECT host, pid, since::text, before::text, adopted FROM {OURS}.owner")
    if not found:
        return None
    host, pid, since, before, adopted = found[0]
    return Marker(host, pid, since, frozenset(json.loads(before)), _locked(connection), adopted)


def _locked(connection: Connection) -> bool:
    return bool(
        connection.value(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
            f"AND classid = {LOCK >> 32} AND objid = {LOCK & 0xFFFFFFFF} AND pid <> pg_backend_pid() "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        )
    )


def take_lock(connection: Connection) -> bool:
    """Take the lock of a live run for this session. False where another run has it."""
    return bool(connection.value(f"SELECT pg_try_advisory_lock({LOCK})"))


def write_marker(connection: Connection, before: Collection[str], adopted: bool) -> None:
    """Create our schema with the marker of this run in it."""
    connection.run(f"CREATE SCHEMA {OURS}")
    connection.run(
        f"CREATE TABLE {OURS}.owner (run uuid, host text, pid int, started timestamptz, "
        "since timestamptz(0), adopted bool, before jsonb)"
    )
    connection.run(
        f"INSERT INTO {OURS}.owner SELECT {_me()}, {adopted}, {literal(json.dumps(sorted(before)))}::jsonb"
    )


def renew_marker(connection: Connection) -> None:
    """Make the marker that is there this run's."""
    connection.run(f"UPDATE {OURS}.owner SET (run, host, pid, started, since) = (SELECT {_me()})")


def _me() -> str:
    started = datetime.fromtimestamp(psutil.Process().create_time()).astimezone()
    return (
        f"'{RUN}'::uuid, {literal(platform.node())}, {os.getpid()}, "
        f"{literal(started.isoformat())}::timestamptz, now()"
    )


def erase_marker(connection: Connection) -> None:
    """Drop our schema, and with it all that depends on it."""
    connection.run(f"DROP SCHEMA IF EXISTS {OURS} CASCADE")
