"""Servers that are started for the benchmark, and databases on them with some tables."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql

Where = Literal["memory", "disk"]
Session = psycopg.Connection[Any]

ROLES = ("superuser", "granted", "owner", "application")
"""Who resets. For the last it is a superuser, and the code under test is the one with fewer rights."""


@dataclass(frozen=True)
class Kind:
    """A server as it is started.

    Attributes:
        binaries: The directory of its programs; None for the embedded one.
        where: In memory with ``fsync = off``, or on a disk with ``fsync = on``.
    """

    binaries: Path | None
    where: Where


@contextmanager
def started(kind: Kind, disk: Path) -> Iterator[PrivatePostgreSQL]:
    """A server with the roles."""
    before, made = os.environ.pop("TMPDIR", None), None
    if kind.where == "disk":
        made = tempfile.TemporaryDirectory(dir=disk, prefix="benchmark_")
        os.chmod(made.name, 0o711)
        os.environ["TMPDIR"] = made.name
    tempfile.tempdir = None
    try:
        server = start_postgresql(
            binaries=kind.binaries,
            settings={
                "fsync": "on" if kind.where == "disk" else "off",
                "max_locks_per_transaction": "1024",  # drop_all of a thousand tables in one transaction
            },
        )
    finally:
        os.environ.pop("TMPDIR", None)
        if before is not None:
            os.environ["TMPDIR"] = before
        tempfile.tempdir = None
    try:
        with connected(server, "postgres") as session:
            session.execute(
                "CREATE ROLE owner LOGIN; CREATE ROLE granted LOGIN; CREATE ROLE application LOGIN;"
                "GRANT SET ON PARAMETER session_replication_role TO granted"
            )
        yield server
    finally:
        server.stop()
        if made is not None:
            made.cleanup()


def libpq(server: PrivatePostgreSQL, database: str, user: str = "postgres") -> str:
    """A URL as psycopg itself wants it."""
    return server.url(database, user=user).replace("+psycopg", "")


def connected(server: PrivatePostgreSQL, database: str, user: str = "postgres") -> Session:
    """A session of the code under test, in autocommit mode."""
    return psycopg.connect(libpq(server, database, user), autocommit=True)


@dataclass(frozen=True)
class Case:
    """What a test stands on and does.

    Attributes:
        tables: How many there are: each with a serial primary key and two foreign keys.
        written: To how many of them a test adds three rows.
        rows: How many the whole class shares in one more table, of which a test touches six.
    """

    tables: int
    written: int
    rows: int = 0

    def __str__(self) -> str:
        return f"{self.rows:,} rows, 6 touched" if self.rows else f"{self.written} of {self.tables} tables"


def metadata(tables: int) -> MetaData:
    """The tables for SQLAlchemy. References go to earlier tables."""
    found = MetaData()
    for number in range(tables):
        Table(
            f"t{number}",
            found,
            Column("id", Integer, primary_key=True),
            Column("note", Text),
            Column("one_id", ForeignKey(f"t{max(number - 1, 0)}.id")),
            Column("other_id", ForeignKey(f"t{number // 2}.id")),
        )
    shared = (Column("a", Text), Column("b", Text), Column("c", Integer))
    Table("shared", found, Column("id", Integer, primary_key=True), *shared)
    return found


def create_tables(session: Session, tables: int) -> None:
    """The same tables."""
    with session.transaction():
        for number in range(tables):
            one, other = max(number - 1, 0), number // 2
            session.execute(
                f"CREATE TABLE t{number} (id serial PRIMARY KEY, note text, "
                f"one_id int REFERENCES t{one}, other_id int REFERENCES t{other})".encode()
            )
        session.execute("CREATE TABLE shared (id serial PRIMARY KEY, a text, b text, c int)")
        session.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO application")
        session.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO application")


def fill(session: Session, rows: int) -> None:
    """The rows that a class shares."""
    session.execute(
        "INSERT INTO shared (a, b, c) SELECT 'some words', 'number ' || n, n FROM generate_series(1, %s) n",
        [rows],
    )


def write(session: Session, case: Case) -> None:
    """What one test does, inside a transaction."""
    for number in range(case.written):
        session.execute(f"INSERT INTO t{number} (note) VALUES ('x'), ('y'), ('z')".encode())
    if case.rows:
        session.execute("INSERT INTO shared (a) VALUES ('x'), ('y'), ('z')")
        session.execute("UPDATE shared SET a = 'y' WHERE id IN (5, %s)", [case.rows // 2])
        session.execute("DELETE FROM shared WHERE id = 7")


def create_database(
    server: PrivatePostgreSQL, name: str, owner: str = "postgres", template: str = "template0"
) -> None:
    """A database, empty or as another one."""
    with connected(server, "postgres") as session:
        on_disk = session.execute("SHOW fsync").fetchone() == ("on",)
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY {}")
        quickest = sql.SQL("wal_log" if on_disk else "file_copy")
        session.execute(statement.format(*map(sql.Identifier, (name, owner, template)), quickest))
    with connected(server, name) as session:
        session.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(owner)))
