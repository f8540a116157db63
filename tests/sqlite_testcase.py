"""What the tests of the SQLite backend share."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, create_engine, make_url

from protean_testing.ownership import STATE_VARIABLE
from protean_testing.stores.sql.backend import Database
from protean_testing.stores.sqlite import SQLiteBackend
from protean_testing.stores.sqlite.location import location_of

from . import interpreters
from .oracle.sqlite import dump

ROOT = Path(__file__).parent.parent
_numbers = itertools.count()
SHOP = """
    CREATE TABLE country (code TEXT PRIMARY KEY COLLATE NOCASE, name TEXT) WITHOUT ROWID;
    INSERT INTO country VALUES ('de', 'Germany'), ('fr', 'France');
    CREATE TABLE "Order" (id INTEGER PRIMARY KEY AUTOINCREMENT, "the customer" TEXT NOT NULL, total INT);
    CREATE TABLE item (id INTEGER PRIMARY KEY, "order" INTEGER REFERENCES "Order" ON DELETE RESTRICT, what);
"""


class SQLiteTestCase(unittest.TestCase):
    """A backend of a database of its own for each test."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        state = patch.dict(os.environ, {STATE_VARIABLE: str(self.directory / "state")})
        state.start()
        self.addCleanup(state.stop)
        self.url = self.make_url()

    def make_url(self) -> str:
        return f"sqlite:///file:/test{next(_numbers)}?vfs=memdb&uri=true"

    def backend(self, url: str | None = None, **options: Any) -> SQLiteBackend:
        parsed = make_url(url or self.url)
        engine = options.pop("engine", None) or (lambda: create_engine(parsed))
        backend = SQLiteBackend(Database(name="shop", url=parsed, engine=engine, **{"wait": 0.3, **options}))
        self.addCleanup(backend.close)
        return backend

    def prepared(self, script: str = SHOP, **options: Any) -> SQLiteBackend:
        """A backend of a database with a schema."""
        backend = self.backend(**options)
        backend.check(())
        backend.acquire()
        self.script(script)
        backend.created()
        return backend

    def connect(self, **options: Any) -> sqlite3.Connection:
        """A connection of the code under test."""
        source = location_of(make_url(self.url), "shop").source
        connection: sqlite3.Connection = sqlite3.connect(source, uri=True, **{"timeout": 1, **options})
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    def script(self, *statements: str) -> None:
        """Commit something, as the code under test does."""
        with closed(self.connect()) as connection:
            for statement in statements:
                connection.executescript(statement)

    def rows(self, query: str) -> list[Any]:
        with closed(self.connect()) as connection:
            return connection.execute(query).fetchall()

    def dump(self) -> dict[str, Any]:
        with closed(self.connect(isolation_level=None)) as connection:
            return dump(connection)

    def engine(self, **options: Any) -> Engine:
        engine = create_engine(self.url, **options)
        self.addCleanup(engine.dispose)
        return engine

    @contextmanager
    def assertGivenBack(self, backend: SQLiteBackend, *, different: bool = True) -> Iterator[None]:
        before = self.dump()
        snapshot = backend.save()
        yield
        self.assertIs(backend.reset(snapshot), different)
        self.assertEqual(self.dump(), before)
        self.assertIs(backend.reset(snapshot), False)
        backend.forget(snapshot)
        self.assertEqual(self.dump(), before)

    def subprocess(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Another process that runs the code, then waits for a line on its stdin."""
        process = interpreters.Program(
            [sys.executable, "-c", code + "\nprint('ready', flush=True); sys.stdin.readline()", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.addCleanup(process.communicate)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process


@contextmanager
def closed(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()
