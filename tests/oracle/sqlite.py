"""SQLite for the oracle: its own DDL and statements, and a full dump."""

from __future__ import annotations

import atexit
import itertools
import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.pool import StaticPool

from protean_testing.errors import UnsafeStoreError
from protean_testing.stores.sql.backend import Database
from protean_testing.stores.sqlite import SQLiteBackend

from .program import Dialect, Dump, Schema, Scopes, Table, Work

_WORKER = """
import json, sqlite3, sys
for line in sys.stdin:
    path, pragmas, statements, end = json.loads(line)
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    for statement in pragmas + statements:
        try:
            connection.execute(statement).fetchall()
        except sqlite3.Error:
            pass
    try:
        if connection.in_transaction and end == "commit":
            connection.commit()
    except sqlite3.Error:
        pass
    if connection.in_transaction:
        connection.rollback()
    connection.close()
    print(flush=True)
"""


class SQLite(Dialect):
    """In shared memory or in a file.

    Parameters:
        place: ``memory``, ``file`` (a rollback journal or WAL, as the program's schema says), or ``private``
            memory, where every connection is the same one.
        backend: Makes the backend; another one than the real one to see that the oracle finds its faults.
    """

    column_names = (*Dialect.column_names, "rowid", "_rowid_", "OID")
    kinds = ("INTEGER", "TEXT", "TEXT COLLATE NOCASE", "REAL", "NUMERIC", "BLOB", "", "VARCHAR(3)")
    rests = (*Dialect.rests, " GENERATED ALWAYS AS (1 + 1) STORED", " GENERATED ALWAYS AS ('v') VIRTUAL")
    traits = ("without rowid", "strict", "delete trigger", "insert trigger")
    schema_traits = ("foreign keys", "wal", "triggers")
    on_delete = (*Dialect.on_delete, "SET DEFAULT")
    integer_key = "INTEGER"

    def __init__(self, place: str, backend: Callable[[Database], Any] = SQLiteBackend) -> None:
        self.place = place
        self.backend = backend

    def literal(self, value: Any) -> str:
        return f"x'{value.hex()}'" if isinstance(value, bytes) else super().literal(value)

    def values(self) -> st.SearchStrategy[Any]:
        numbers = [
            1,
            1.0,
            0,
            -0.0,
            0.5,
            2**53 + 1,
            2.0**53,
            2**63 - 1,
            -(2**63),
            -(2.0**63),
            "1",
            "1.0",
            "01",
        ]
        return st.one_of(super().values(), st.sampled_from([*numbers, b"", b"a", b"1", b"\x00\xff"]))

    def create(self, schema: Schema) -> list[str]:
        triggers = "triggers" in schema.traits
        extras = [extra for extra in schema.extras if triggers or not extra.startswith("CREATE TRIGGER")]
        return [self._table(table) for table in schema.tables] + extras

    def _table(self, table: Table) -> str:
        strict = "strict" in table.traits
        lines = []
        if table.identity:
            lines.append("id INTEGER PRIMARY KEY AUTOINCREMENT")
        elif len(table.key) == 1:
            lines.append(f"{self.quoted(table.key[0])} INTEGER PRIMARY KEY")
        else:
            lines += [f"{self.quoted(column)} INTEGER" for column in table.key]
        for column in table.columns:
            kind = column.kind
            if strict:
                kind = {"": "ANY", "NUMERIC": "ANY", "VARCHAR(3)": "TEXT"}.get(kind, kind)
            lines.append(f"{self.quoted(column.name)} {kind}{column.rest}")
        lines += [f"{reference.column} INTEGER DEFAULT 1" for reference in table.references]
        if len(table.key) > 1:
            lines.append(f"PRIMARY KEY ({', '.join(map(self.quoted, table.key))})")
        lines += [
            f"FOREIGN KEY ({reference.column}) REFERENCES {self.quoted(reference.table)} "
            f"({self.quoted(reference.key)}) ON DELETE {reference.on_delete}"
            + (" DEFERRABLE INITIALLY DEFERRED" if reference.on_delete == "NO ACTION" else "")
            for reference in table.references
        ]
        options = (
            ["WITHOUT ROWID"] if "without rowid" in table.traits and table.key and not table.identity else []
        )
        options += ["STRICT"] if strict else []
        return f"CREATE TABLE {self.quoted(table.name)} ({', '.join(lines)}) {', '.join(options)}"

    def extras(self, tables: tuple[Table, ...]) -> st.SearchStrategy[tuple[str, ...]]:
        name = self.quoted(tables[0].name)
        column = self.quoted(tables[0].columns[0].name)
        fixed = ['CREATE TABLE "Trail" (what TEXT, at INTEGER)']
        for table in tables:
            for event in ("delete", "insert"):
                if f"{event} trigger" in table.traits:
                    fixed.append(
                        f"CREATE TRIGGER {self.quoted(f'{event} {table.name}')} AFTER {event} ON "
                        f"{self.quoted(table.name)} BEGIN INSERT INTO \"Trail\" VALUES ('{event}', 1); END"
                    )
        more = [
            f'CREATE VIEW "a view" AS SELECT * FROM {name}',
            f'CREATE INDEX "an index" ON {name} ({column}, lower({column}))',
            f'CREATE INDEX "partial" ON {name} ({column}) WHERE {column} IS NOT NULL',
            "CREATE VIRTUAL TABLE search USING fts5(body)",
            "ANALYZE",
        ]
        return st.sets(st.sampled_from(more)).map(lambda some: (*fixed, *sorted(some)))

    def statements(self, schema: Schema) -> list[st.SearchStrategy[str]]:
        table = st.sampled_from([self.quoted(table.name) for table in schema.tables])
        return [
            st.sampled_from(
                [
                    "UPDATE sqlite_sequence SET seq = seq + 5",
                    "DELETE FROM sqlite_sequence",
                    "PRAGMA user_version = 7",
                    "PRAGMA application_id = 8",
                    "INSERT INTO \"Trail\" VALUES ('by hand', 2)",
                    'DELETE FROM "Trail"',
                    "INSERT INTO search (body) VALUES ('found words')",
                    "DELETE FROM search",
                    "SELECT abs('x') FROM nowhere",
                    "VACUUM",
                    "REINDEX",
                    "ANALYZE",
                ]
            ),
            table.map(lambda name: f"INSERT INTO {name} SELECT * FROM {name}"),
            table.map(lambda name: f"INSERT OR REPLACE INTO {name} DEFAULT VALUES"),
            table.map(lambda name: f"UPDATE OR REPLACE {name} SET rowid = rowid + 1"),
        ]

    def ddl(self, schema: Schema) -> list[st.SearchStrategy[str]]:
        table = schema.tables[0]
        again = [f"DROP TABLE {self.quoted(table.name)}; {self._table(table)}"]
        return [
            *super().ddl(schema),
            st.sampled_from(
                [*again, "DROP TABLE search", 'DROP INDEX "an index"', "PRAGMA journal_mode = WAL"]
            ),
        ]

    @contextmanager
    def world(self, schema: Schema) -> Iterator[_World]:
        with tempfile.TemporaryDirectory() as directory:
            if self.place == "private":
                url = make_url("sqlite://")
            elif self.place == "memory":
                url = make_url(f"sqlite:///file:/oracle{next(_numbers)}?vfs=memdb&uri=true")
            else:
                url = make_url(f"sqlite:///{Path(directory, 'oracle_test.db')}")
            world = _World(self, url, schema)
            try:
                yield world
            finally:
                world.close()


class _World:
    def __init__(self, dialect: SQLite, url: URL, schema: Schema) -> None:
        self.path = url.database or ""
        if "vfs" in url.query:
            self.path += f"?vfs={url.query['vfs']}"
        foreign_keys = "ON" if "foreign keys" in schema.traits else "OFF"
        self.pragmas = [f"PRAGMA foreign_keys = {foreign_keys}"]
        if dialect.place == "file":
            self.pragmas.append("PRAGMA synchronous = OFF")
        self.only: sqlite3.Connection | None = None
        engine = create_engine(url)
        if not self.path:
            self.only = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            engine = create_engine(url, poolclass=StaticPool, creator=lambda: self.only)
        database = Database(
            name="oracle", url=url, engine=lambda: engine, private=True, wait=0.02, on_leak="reset"
        )
        self.backend = dialect.backend(database)
        self.backend.acquire()
        self.connections = {"first": self._connect(), "second": self._connect()}
        first = self.connections["first"]
        if "wal" in schema.traits:
            first.execute("PRAGMA journal_mode = WAL").fetchall()
        for statement in dialect.create(schema):
            with suppress(sqlite3.Error):  # what this version or this table cannot have
                first.execute(statement).fetchall()
        for statement in schema.rows:
            with suppress(sqlite3.Error):
                first.execute(statement)
        self.backend.created()
        self.scopes: Scopes = _Scopes(self.backend)

    def _connect(self) -> sqlite3.Connection:
        connection = self.only or sqlite3.connect(
            self.path,
            uri=self.path.startswith("file:"),
            isolation_level=None,
            timeout=0,
            check_same_thread=False,
        )
        for pragma in self.pragmas:
            connection.execute(pragma)
        return connection

    def work(self, work: Work) -> None:
        if work.where == "process" and self.path and not self.path.startswith("file:"):
            begin = [] if work.end == "autocommit" else ["BEGIN"]
            _process(self.path, self.pragmas, begin + list(work.statements), work.end)
        elif work.where in ("thread", "process"):
            thread = threading.Thread(target=self._alone, args=[work])
            thread.start()
            thread.join()
        else:
            self._execute(self.connections[work.where], work)

    def _alone(self, work: Work) -> None:
        connection = self._connect()
        self._execute(connection, work)
        if connection is not self.only:
            connection.rollback()
            connection.close()

    def _execute(self, connection: sqlite3.Connection, work: Work) -> None:
        if work.end != "autocommit" and not connection.in_transaction:
            connection.execute("BEGIN")
        for statement in work.statements:
            for part in statement.split("; "):
                with suppress(sqlite3.Error, sqlite3.Warning, OverflowError):
                    connection.execute(part).fetchall()
        if work.end == "commit":
            with suppress(sqlite3.Error):  # a deferred constraint; the other connection is still reading
                connection.commit()
        if work.end != "leak" and connection.in_transaction:
            connection.rollback()

    def settle(self) -> None:
        for connection in self.connections.values():
            connection.rollback()

    def dump(self) -> Dump:
        connection = self._connect()
        try:
            return dump(connection)
        finally:
            if connection is not self.only:
                connection.close()

    def close(self) -> None:
        self.settle()
        with suppress(UnsafeStoreError):  # what came outside of all scopes is not the run's to drop
            self.backend.drop()
        self.backend.close()
        for connection in self.connections.values():
            connection.close()


class _Scopes:
    def __init__(self, backend: SQLiteBackend) -> None:
        self.backend = backend

    def enter(self) -> Any:
        return self.backend.save()

    def reset(self, token: Any) -> Any:
        return self.backend.reset(token)

    def leave(self, token: Any) -> None:
        self.backend.reset(token)
        self.backend.forget(token)


def dump(connection: sqlite3.Connection) -> Dump:
    """Schema, every row with its rowid and its values' types, counters, and the header's two numbers."""
    connection.execute("BEGIN")
    parts: Dump = {}
    schema = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2"
    ).fetchall()
    parts["schema"] = schema
    for pragma in ("user_version", "application_id"):
        parts[pragma] = connection.execute(f"PRAGMA {pragma}").fetchone()
    for _, name, kind, _, without_rowid, *_ in connection.execute("PRAGMA main.table_list").fetchall():
        if kind not in ("table", "shadow") or name in ("sqlite_schema", "sqlite_master"):
            continue
        quoted = '"' + name.replace('"', '""') + '"'
        names = [row[1] for row in connection.execute(f"PRAGMA main.table_xinfo({quoted})")]
        values = ['"' + column.replace('"', '""') + '"' for column in names]
        key = [alias for alias in ("rowid", "_rowid_", "oid") if alias not in map(str.lower, names)]
        if not without_rowid and key:
            values.insert(0, key[0])
        listed = ", ".join(f"{value}, typeof({value})" for value in values)
        rows = connection.execute(f"SELECT {listed} FROM {quoted}").fetchall()
        parts[f"rows of {name}"] = sorted(map(repr, rows))
    connection.rollback()
    return parts


def dialects() -> dict[str, SQLite]:
    return {place: SQLite(place) for place in ("memory", "file", "private")}


_numbers = itertools.count()
_worker: list[subprocess.Popen[str]] = []


def _process(path: str, pragmas: list[str], statements: list[str], end: str) -> None:
    if not _worker:
        command = [sys.executable, "-I", "-S", "-c", _WORKER]
        _worker.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        atexit.register(_worker[0].communicate)
    worker = _worker[0]
    assert worker.stdin is not None and worker.stdout is not None
    print(json.dumps([path, pragmas, statements, end]), file=worker.stdin, flush=True)
    worker.stdout.readline()
