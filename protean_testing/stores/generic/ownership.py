"""Whose a database is: a table with a marker, and on MySQL a lock that lives as long as the run does."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import psutil
import sqlalchemy as sa

from ...ownership import refuse_other_name
from ..keeper import Database
from . import mysql
from .rows import Key
from .schema import named

MARKER = sa.Table(
    "protean_testing",
    sa.MetaData(),
    sa.Column("host", sa.String(255)),
    sa.Column("pid", sa.Integer),
    sa.Column("started", sa.String(40)),
    sa.Column("since", sa.String(40)),
    sa.Column("adopted", sa.Integer),
    sa.Column("earlier", sa.String(255)),
)
"""A row for each thing that was there before the run, and one without a thing."""


@dataclass(frozen=True)
class Marker:
    """What a run wrote down about itself.

    Attributes:
        host, pid, since: Who it is, for messages.
        earlier: What was there when it came.
        adopted: The schema was there already, so nothing is to be dropped.
        alive: Whether that run still lives.
    """

    host: str
    pid: int
    since: str
    earlier: frozenset[str]
    adopted: bool
    alive: bool

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}"


def read(connection: sa.Connection) -> Marker | None:
    """The marker of the run that has this database or had it; None where there is none."""
    if not sa.inspect(connection).has_table(MARKER.name):
        return None
    found = list(connection.execute(sa.select(MARKER)))
    if not found:
        return None
    first = found[0]
    earlier = frozenset(row.earlier for row in found if row.earlier)
    alive = _is_alive(connection, first.host, first.pid, first.started)
    return Marker(first.host, first.pid, first.since, earlier, bool(first.adopted), alive)


def write(connection: sa.Connection, earlier: Collection[str], adopted: bool) -> None:
    me = {
        "host": platform.node(),
        "pid": os.getpid(),
        "started": str(psutil.Process().create_time()),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "adopted": int(adopted),
    }
    MARKER.create(connection)
    connection.execute(sa.insert(MARKER), [me | {"earlier": one} for one in ("", *earlier)])


def erase(connection: sa.Connection) -> None:
    MARKER.drop(connection, checkfirst=True)


def refuse(connection: sa.Connection, database: Database, tables: Collection[Key]) -> None:
    """Refuse a database that is not plainly a test's, is in use, or holds rows in tables to be created.

    Raises:
        UnsafeStoreError: Saying which.
    """
    marker = read(connection)
    if marker is not None and marker.alive:
        raise database.refusal(
            f"it is in use by another run ({marker}), and two runs in one database would destroy each "
            "other's data.",
            "Wait for it to end, or give this run a database of its own. If that run is long gone:  "
            f"DROP TABLE {MARKER.name}",
        )
    if database.private or database.unsafe:
        return
    name = database.url.database or ""
    if marker is None:
        refuse_other_name(database.name, database.shown, name)
    for schema, table in sorted(tables, key=str):
        theirs = marker is None or marker.adopted or named(("TABLE", schema, table)) in marker.earlier
        if theirs and _holds_rows(connection, schema, table):
            raise database.refusal(
                f"table {table!r} is about to be created, but is there already and holds rows.",
                "Give it an empty database, pass adopt=True to keep what is there, or pass unsafe=True if "
                "losing these rows is fine.",
            )


def _holds_rows(connection: sa.Connection, schema: str | None, table: str) -> bool:
    if not sa.inspect(connection).has_table(table, schema=schema):
        return False
    rows = sa.select(sa.text("1")).select_from(sa.table(table, schema=schema)).limit(1)
    return connection.execute(rows).first() is not None


def _is_alive(connection: sa.Connection, host: str, pid: int, started: str) -> bool:
    """By its lock; else by its process, where a run on another machine may always live."""
    if connection.dialect.name in mysql.NAMES:
        return mysql.is_locked(connection, connection.engine.url.database or "")
    if host != platform.node():
        return True
    try:
        return bool(abs(psutil.Process(pid).create_time() - float(started)) < 1)
    except psutil.Error:
        return False
