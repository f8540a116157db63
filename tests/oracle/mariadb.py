"""MariaDB for the oracle: its own DDL and statements, and a full dump."""

from __future__ import annotations

import atexit
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pymysql
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url

from protean_testing.errors import UnsafeStoreError
from protean_testing.stores.generic.backend import GenericBackend
from protean_testing.stores.sql.backend import Database

from ..mariadb_server import MariaDB as Server
from .program import Dialect, Dump, Schema, Scopes, Table, Work

_SETTINGS = "SET SESSION lock_wait_timeout = 0, innodb_lock_wait_timeout = 0"
_WORKER = f"""
import json, pymysql, sys
for line in sys.stdin:
    place, statements, end = json.loads(line)
    connection = pymysql.connect(**place)
    with connection.cursor() as cursor:
        for statement in [{_SETTINGS!r}] + statements:
            try:
                cursor.execute(statement)
            except Exception:
                pass
    (connection.commit if end == "commit" else connection.rollback)()
    connection.close()
    print(flush=True)
"""


class MariaDB(Dialect):
    """In a database of its own for each program.

    Parameters:
        backend: Makes the backend; another one than the real one to see that the oracle finds its faults.
    """

    names = ("order", "Mixed Case", "ba`tick", "select", "ünï", "it's", "plain", "UPPER", "x%sy")
    column_names = ("a", "B", "group", "c d", "é", "q`q", "note", "%s", ":p")
    kinds = (
        "int",
        "varchar(9)",
        "varchar(9) COLLATE utf8mb4_bin",
        "text",
        "double",
        "decimal(9,2)",
        "varbinary(9)",
        "set('', 'a', 'A b')",
        "enum('', 'a')",
        "timestamp(3) NULL",
        "json",
    )
    rests = (
        "",
        "",
        "",
        "",
        " NOT NULL DEFAULT 1",
        " UNIQUE",
        " GENERATED ALWAYS AS (1 + 1) STORED",
        " GENERATED ALWAYS AS ('v') VIRTUAL",
        " CHECK (1 = 1)",
    )
    traits = ("myisam", "partitioned", "versioned", "insert trigger", "delete trigger")
    on_delete = ("NO ACTION", "RESTRICT", "CASCADE", "SET NULL")

    def __init__(self, backend: Callable[[Database], Any] = GenericBackend) -> None:
        self.backend = backend

    def quoted(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def literal(self, value: Any) -> str:
        return f"x'{value.hex()}'" if isinstance(value, bytes) else super().literal(value)

    def values(self) -> st.SearchStrategy[Any]:
        return st.one_of(
            super().values(),
            st.sampled_from([0.1, 2**40, "1", "1.0", "a,A b", b"\x00\xff", "2024-03-31 02:30:00.5", "x" * 9]),
        )

    def create(self, schema: Schema) -> list[str]:
        return (
            [self._table(table) for table in schema.tables]
            + [
                f"ALTER TABLE {self.quoted(table.name)} ADD FOREIGN KEY ({reference.column}) "
                f"REFERENCES {self.quoted(reference.table)} ({self.quoted(reference.key)}) "
                f"ON DELETE {reference.on_delete}"
                for table in schema.tables
                for reference in table.references
            ]
            + list(schema.extras)
        )

    def _table(self, table: Table) -> str:
        lines = ["id int AUTO_INCREMENT PRIMARY KEY"] if table.identity else []
        lines += [f"{self.quoted(column)} int" for column in table.key if not table.identity]
        lines += [f"{self.quoted(column.name)} {column.kind}{column.rest}" for column in table.columns]
        lines += [f"{reference.column} int DEFAULT 1" for reference in table.references]
        if table.key and not table.identity:
            lines.append(f"PRIMARY KEY ({', '.join(map(self.quoted, table.key))})")
        options = "CHARSET utf8mb4" + (" ENGINE = MyISAM" if "myisam" in table.traits else "")
        if "versioned" in table.traits:
            options += " WITH SYSTEM VERSIONING"
        elif "partitioned" in table.traits and table.key:
            options += f" PARTITION BY HASH ({self.quoted(table.key[0])}) PARTITIONS 3"
        return f"CREATE TABLE {self.quoted(table.name)} ({', '.join(lines)}) {options}"

    def extras(self, tables: tuple[Table, ...]) -> st.SearchStrategy[tuple[str, ...]]:
        name = self.quoted(tables[0].name)
        fixed = [
            "CREATE TABLE `Trail` (what varchar(30), at timestamp(6) DEFAULT '2020-01-01')",
            "CREATE SEQUENCE numbers",
            "CREATE SEQUENCE plain_numbers START WITH 4 INCREMENT BY 3 MAXVALUE 20 NOCACHE CYCLE",
        ]
        for table in tables:
            for event in ("delete", "insert"):
                if f"{event} trigger" in table.traits:
                    fixed.append(
                        f"CREATE TRIGGER {self.quoted(f'{event} {table.name}')} AFTER {event} ON "
                        f"{self.quoted(table.name)} FOR EACH ROW INSERT INTO `Trail` (what) "
                        f"VALUES ('{event}')"
                    )
        more = [
            f"CREATE VIEW `a view` AS SELECT * FROM {name}",
            "CREATE PROCEDURE emptied() DELETE FROM `Trail`",
            "SELECT nextval(numbers)",
        ]
        return st.sets(st.sampled_from(more)).map(lambda some: (*fixed, *sorted(some)))

    def statements(self, schema: Schema) -> list[st.SearchStrategy[str]]:
        table = st.sampled_from([self.quoted(table.name) for table in schema.tables])
        return [
            st.sampled_from(
                [
                    "SELECT nextval(numbers)",
                    "SELECT nextval(plain_numbers)",
                    "SELECT setval(numbers, 50)",
                    "ALTER SEQUENCE numbers RESTART 9",
                    "CALL emptied()",
                    "INSERT INTO `Trail` (what) VALUES ('by hand')",
                    "SET SESSION sql_mode = ''",
                    "SET SESSION time_zone = '+05:00'",
                    "SET SESSION foreign_key_checks = 0",
                    "FLUSH TABLES",
                    "LOCK TABLES `Trail` WRITE; INSERT INTO `Trail` (what) VALUES ('locked'); UNLOCK TABLES",
                    "SELECT sleep(0.05)",
                ]
            ),
            table.map(lambda name: f"INSERT INTO {name} SELECT * FROM {name}"),
            table.map(lambda name: f"REPLACE INTO {name} () VALUES ()"),
            table.map(lambda name: f"TRUNCATE TABLE {name}"),
            table.map(lambda name: f"ANALYZE TABLE {name}"),
            table.map(lambda name: f"OPTIMIZE TABLE {name}"),
            table.map(lambda name: f"DELETE HISTORY FROM {name}"),
            table.map(lambda name: f"SELECT * FROM {name} FOR UPDATE"),
        ]

    def ddl(self, schema: Schema) -> list[st.SearchStrategy[str]]:
        table = st.sampled_from([self.quoted(table.name) for table in schema.tables])
        last = schema.tables[-1]
        return [
            table.map(
                lambda name: f"SET foreign_key_checks = 0; DROP TABLE {name}; SET foreign_key_checks = 1"
            ),
            table.map(lambda name: f"ALTER TABLE {name} ADD COLUMN added int DEFAULT 7"),
            table.map(lambda name: f"ALTER TABLE {name} RENAME TO renamed"),
            table.map(lambda name: f"ALTER TABLE {name} COMMENT = 'of a test'"),
            table.map(lambda name: f"CREATE INDEX `of a test` ON {name} ({self.quoted(last.writable[0])})"),
            table.map(lambda name: f"CREATE TABLE made AS SELECT * FROM {name}"),
            table.map(lambda name: f"CREATE VIEW `view of a test` AS SELECT 1 AS one FROM {name}"),
            table.map(lambda name: f"DROP TABLE `Trail`, {name}, nowhere"),
            table.map(lambda name: f"CREATE UNIQUE INDEX u ON {name} ({self.quoted(last.writable[-1])})"),
            st.sampled_from(
                [
                    "DROP VIEW `a view`",
                    "DROP SEQUENCE numbers",
                    "DROP PROCEDURE emptied",
                    "CREATE TABLE `of a test` (id int AUTO_INCREMENT PRIMARY KEY, t text)",
                    "INSERT INTO `of a test` (t) VALUES ('x')",
                    "PREPARE later FROM 'DROP TABLE `Trail`'; EXECUTE later",
                    f"RENAME TABLE {self.quoted(last.name)} TO x1, `Trail` TO {self.quoted(last.name)}",
                ]
            ),
        ]

    @contextmanager
    def world(self, schema: Schema) -> Iterator[_World]:
        world = _World(self, schema)
        try:
            yield world
        finally:
            world.close()


class _World:
    def __init__(self, dialect: MariaDB, schema: Schema) -> None:
        self.server = _server()
        self.name = f"oracle{next(_numbers)}_test"
        url = self.server.create(self.name)
        self.engine = create_engine(url)
        database = Database(
            name="oracle",
            url=make_url(url),
            engine=lambda: self.engine,
            private=True,
            wait=0.5,
            on_leak="reset",
        )
        self.backend = dialect.backend(database)
        self.backend.acquire()
        self.connections: dict[str, pymysql.Connection] = {}
        # An open transaction that has used such a table alone is no transaction of InnoDB's: nobody sees it.
        self.hides = any("myisam" in table.traits for table in schema.tables)
        with self._connect() as connection:
            for statement in [*dialect.create(schema), *schema.rows]:
                with suppress(pymysql.Error):  # what this table cannot have
                    _execute(connection, statement)
            connection.commit()
        self.backend.created()
        self.scopes: Scopes = _Scopes(self.backend)

    def _connect(self) -> pymysql.Connection:
        connection = pymysql.connect(
            unix_socket=str(self.server.socket), user="root", database=self.name, ssl_disabled=True
        )
        _execute(connection, _SETTINGS)
        return connection

    def work(self, work: Work) -> None:
        if work.where == "process":
            _process([str(self.server.socket), self.name], list(work.statements), work.end)
        elif work.where == "thread":
            thread = threading.Thread(target=self._alone, args=[work])
            thread.start()
            thread.join()
        else:
            connection = self.connections.get(work.where)
            if connection is None or not connection.open or not _is_alive(connection):
                connection = self.connections[work.where] = self._connect()
            self._do(connection, work)

    def _alone(self, work: Work) -> None:
        connection = self._connect()
        self._do(connection, work)
        connection.rollback()
        connection.close()

    def _do(self, connection: pymysql.Connection, work: Work) -> None:
        connection.autocommit(work.end == "autocommit")
        for statement in work.statements:
            for part in statement.split("; "):
                with suppress(pymysql.Error):
                    _execute(connection, part)
        if work.end != "leak" or self.hides:
            (connection.commit if work.end == "commit" else connection.rollback)()

    def settle(self) -> None:
        for connection in self.connections.values():
            with suppress(pymysql.Error):
                connection.rollback()

    def dump(self) -> Dump:
        """Definitions with AUTO_INCREMENT, every row with its history, sequences."""
        parts: Dump = {}
        with self._connect() as connection:
            for name, kind in _execute(connection, "SHOW FULL TABLES"):
                if name.startswith("protean_testing"):
                    continue
                quoted = "`" + name.replace("`", "``") + "`"
                parts[f"definition of {name}"] = _execute(connection, f"SHOW CREATE TABLE {quoted}")[0][1]
                history = " FOR SYSTEM_TIME ALL" if kind == "SYSTEM VERSIONED" else ""
                more = ", row_start, row_end" if history else ""
                if kind != "SEQUENCE":
                    with suppress(pymysql.Error):  # a view of what a program has dropped before
                        found = _execute(connection, f"SELECT *{more} FROM {quoted}{history}")
                        parts[f"rows of {name}"] = sorted(map(repr, found))
            for query in (
                "SELECT trigger_name, event_object_table, action_statement, action_order, created FROM "
                "information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1",
                "SELECT routine_name, routine_definition FROM information_schema.routines "
                "WHERE routine_schema = DATABASE() ORDER BY 1",
            ):
                parts[query] = _execute(connection, query)
        return parts

    def close(self) -> None:
        self.settle()
        with suppress(UnsafeStoreError):  # what came outside of all scopes is not the run's to drop
            self.backend.drop()
        self.backend.close()
        self.engine.dispose()
        for connection in self.connections.values():
            with suppress(pymysql.Error):
                connection.close()
        with self.server.connect("mysql") as connection:
            _execute(connection, f"DROP DATABASE {self.name}")


class _Scopes:
    def __init__(self, backend: GenericBackend) -> None:
        self.backend = backend

    def enter(self) -> Any:
        return self.backend.save()

    def reset(self, token: Any) -> Any:
        return self.backend.reset(token)

    def leave(self, token: Any) -> None:
        self.backend.reset(token)
        self.backend.forget(token)


def _execute(connection: pymysql.Connection, statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _is_alive(connection: pymysql.Connection) -> bool:
    with suppress(pymysql.Error):
        connection.ping(reconnect=False)
        return True
    return False


def dialects() -> dict[str, MariaDB]:
    return {"mariadb": MariaDB()}


_numbers = itertools.count()
_running: list[Server] = []
_worker: list[subprocess.Popen[str]] = []


def _server() -> Server:
    if not _running:
        _running.append(Server())
        atexit.register(_running[0].stop)
    return _running[0]


def _process(place: list[str], statements: list[str], end: str) -> None:
    if not _worker:
        command = [sys.executable, "-c", _WORKER]
        _worker.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        atexit.register(_worker[0].communicate)
    worker = _worker[0]
    assert worker.stdin is not None and worker.stdout is not None
    arguments = {
        "unix_socket": place[0],
        "user": "root",
        "database": place[1],
        "ssl_disabled": True,
        "autocommit": end == "autocommit",
    }
    parts = [part for statement in statements for part in statement.split("; ")]
    print(json.dumps([arguments, parts, end]), file=worker.stdin, flush=True)
    worker.stdout.readline()
