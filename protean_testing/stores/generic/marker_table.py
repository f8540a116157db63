"""Read and write the table with the ownership marker, and see whether the run that wrote it is alive."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ...ownership import Marker
from ..sql.backend import Database
from . import mysql

NAME = "protean_testing"
"""Of the table with the marker; the names of the tables with copies begin with it, and the run."""

RESCUED = f"{NAME}_rescued_"
"""What the names of tables begin with that hold rows which came after a killed run. They are the user's."""

_CHUNK = 4000  # the longest text that every dialect has in a plain column

TABLE = sa.Table(
    NAME,
    sa.MetaData(),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.String(_CHUNK)),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)
"""Part 0 is the run that has the database, or had it; the others are its marker, in pieces."""


def prefix(run: str) -> str:
    """What the names of a run's tables with copies begin with."""
    return f"{NAME}_{run[:8]}_"


@dataclass(frozen=True)
class Found:
    """What stands in the table.

    Attributes:
        holder: The run, as it is written there; None if nothing is.
        marker: What that run had written; None if it died before.
        is_ours: Whether this very table is one of the library's, of this version.
    """

    holder: str | None = None
    marker: Marker | None = None
    is_ours: bool = True

    def __str__(self) -> str:
        who = json.loads(self.holder or "{}")
        return f"pid {who.get('pid')} on {who.get('host')} since {who.get('since')}"


def read(connection: sa.Connection) -> Found | None:
    """What a run has written here; None if there is no such table."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(NAME):
        return None
    if {column["name"].lower() for column in inspector.get_columns(NAME)} != {"part", "body"}:
        return Found(is_ours=False)
    rows = dict(map(tuple, connection.execute(sa.select(TABLE.c.part, TABLE.c.body))))
    holder = rows.pop(0, None)
    return Found(holder, Marker.from_json("".join(rows[part] for part in sorted(rows))))


def is_alive(connection: sa.Connection, database: Database, found: Found | None) -> bool:
    """Whether the run that has the database still lives.

    By its lock; else by its process: one on another machine may always live.
    """
    if connection.dialect.name in mysql.NAMES:
        return any(mysql.is_locked(connection, name) for name in locations(database))
    if found is None or found.holder is None:
        return False
    who = json.loads(found.holder)
    if who["host"] != platform.node():
        return True
    try:
        process = psutil.Process(who["pid"])
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return not is_dead and bool(abs(process.create_time() - who["started"]) < 1)
    except psutil.Error:
        return False


def locations(database: Database) -> list[str]:
    """The database's name, and of others in which tables are created: MySQL's schemas are databases."""
    return sorted({database.url.database or "", *(schema for schema, _ in database.tables if schema)})


def begin(connection: sa.Connection, found: Found | None, me: Marker) -> bool:
    """Take the database for this run. What an earlier run wrote there stays until `write`.

    Returns:
        False if another run was faster.
    """
    holder = json.dumps(
        {"run": me.run, "host": me.host, "pid": me.pid, "started": me.started, "since": me.since}
    )
    try:
        if found is None:
            TABLE.create(connection, checkfirst=False)
        if found is None or found.holder is None:
            connection.execute(sa.insert(TABLE).values(part=0, body=holder))
            return True
        taken = connection.execute(
            sa.update(TABLE).values(body=holder).where(TABLE.c.part == 0, TABLE.c.body == found.holder)
        )
        return taken.rowcount != 0
    except DBAPIError:
        if not sa.inspect(connection.engine).has_table(NAME):
            raise
        return False


def write(connection: sa.Connection, marker: Marker) -> None:
    """Write the marker, all of it or nothing."""
    text = marker.to_json()
    connection.execute(sa.delete(TABLE).where(TABLE.c.part > 0))
    connection.execute(
        sa.insert(TABLE),
        [
            {"part": 1 + number, "body": text[begin : begin + _CHUNK]}
            for number, begin in enumerate(range(0, len(text), _CHUNK))
        ],
    )


def erase(connection: sa.Connection) -> None:
    TABLE.drop(connection, checkfirst=True)


def identity(connection: sa.Connection, database: Database) -> str:
    """Name the database itself, so that a copy of it has another name."""
    if connection.dialect.name in mysql.NAMES:
        return f"{mysql.server(connection)} made={mysql.made_at(connection, NAME)}"
    url = database.url
    found: list[Any] = [url.get_backend_name(), url.host, url.port, url.database]
    if url.host is None and url.database and os.path.exists(url.database):
        stat = Path(url.database).stat()
        found += [stat.st_dev, stat.st_ino]
    return " ".join(map(str, found))
