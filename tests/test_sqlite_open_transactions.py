"""Transactions left open on a SQLite database: waited for, ended and named, or refused."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from protean_testing import LeakError, LeakWarning, OpenTransactionError
from protean_testing.stores.sqlite import SQLiteBackend, image

from .sqlite_testcase import SHOP, SQLiteTestCase, closed

INSERT = "INSERT INTO item VALUES (1, 1, 'tea')"


class MemoryTests(SQLiteTestCase):
    """In shared memory; a file is a subclass."""

    # A writer

    def test_a_session_of_this_thread_is_ended_at_once_and_named(self) -> None:
        backend = self.prepared(wait=60)
        snapshot = backend.save()
        session = Session(self.engine())
        session.execute(text(INSERT))
        line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
        began = time.monotonic()
        with self.assertWarnsRegex(LeakWarning, rf"'shop'(.|\n)*a transaction(.|\n)*{__file__}:{line}"):
            backend.reset(snapshot)
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(self.rows("SELECT * FROM item"), [])
        session.commit()
        self.assertEqual(self.rows("SELECT * FROM item"), [])
        self.assertIs(backend.reset(snapshot), False)
        session.close()

    def test_what_was_committed_beside_it_is_reset_too(self) -> None:
        backend = self.prepared(on_leak="fail")
        snapshot = backend.save()
        self.script("DELETE FROM country")
        session = Session(self.engine())
        session.execute(text(INSERT))
        with self.assertRaisesRegex(LeakError, "'shop'"):
            backend.reset(snapshot)
        self.assertEqual(self.rows("SELECT count(*) FROM country"), [(2,)])
        session.close()

    def test_it_is_only_reset_where_that_is_asked_for(self) -> None:
        backend = self.prepared(on_leak="reset")
        snapshot = backend.save()
        session = Session(self.engine())
        session.execute(text(INSERT))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertIs(backend.reset(snapshot), False)
        session.close()

    def test_a_plain_connection_that_nobody_knows(self) -> None:
        backend = self.prepared(wait=0.1)
        snapshot = backend.save()
        with closed(self.connect(check_same_thread=False)) as connection:
            connection.execute(INSERT)
            with self.assertWarnsRegex(LeakWarning, "a transaction"):
                backend.reset(snapshot)
            self.assertFalse(connection.in_transaction)

    def test_a_session_of_a_thread_that_has_ended(self) -> None:
        backend = self.prepared(wait=60)
        snapshot = backend.save()
        sessions: list[Session] = []

        def leave() -> None:
            sessions.append(Session(self.engine()))
            sessions[0].execute(text(INSERT))

        thread = threading.Thread(target=leave)
        thread.start()
        thread.join()
        began = time.monotonic()
        with self.assertWarns(LeakWarning):
            backend.reset(snapshot)
        self.assertLess(time.monotonic() - began, 5)
        sessions[0].close()

    def test_a_thread_that_is_only_slow_is_waited_for(self) -> None:
        backend = self.prepared(wait=10)
        snapshot = backend.save()
        with self.at_work(seconds=0.3), warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertIs(backend.reset(snapshot), True)
        self.assertEqual(self.rows("SELECT * FROM item"), [])

    def test_a_thread_that_stays_idle_in_a_transaction_is_ended(self) -> None:
        backend = self.prepared(wait=0.2)
        snapshot = backend.save()
        with self.at_work(seconds=60, changes=False), self.assertWarnsRegex(LeakWarning, __file__):
            backend.reset(snapshot)
        self.assertEqual(self.rows("SELECT * FROM item"), [])

    def test_a_thread_that_is_at_work_too_long_is_left_alone(self) -> None:
        backend = self.prepared(wait=0.2)
        snapshot = backend.save()
        with self.at_work(seconds=60):
            with self.assertRaisesRegex(OpenTransactionError, rf"'shop'(.|\n)*{__file__}"):
                backend.reset(snapshot)
        self.assertIs(backend.reset(snapshot), True)
        self.assertEqual(self.rows("SELECT * FROM item"), [])

    def test_a_connection_that_refuses_our_thread(self) -> None:
        backend = self.prepared(wait=0.1)
        snapshot = backend.save()
        ready, end = threading.Event(), threading.Event()

        def hold() -> None:
            with closed(self.connect(check_same_thread=True)) as connection:
                connection.execute(INSERT)
                ready.set()
                end.wait(10)

        thread = threading.Thread(target=hold)
        thread.start()
        ready.wait(10)
        try:
            with self.assertRaisesRegex(OpenTransactionError, "a transaction"):
                backend.reset(snapshot)
        finally:
            end.set()
            thread.join()
        self.assertIs(backend.reset(snapshot), False)

    def test_an_async_session(self) -> None:
        backend = self.prepared(wait=0.1)
        snapshot = backend.save()

        async def leave() -> None:
            engine = create_async_engine(self.url.replace("sqlite:", "sqlite+aiosqlite:"))
            connection = await engine.connect()
            await connection.execute(text(INSERT))
            with self.assertWarnsRegex(LeakWarning, __file__):
                backend.reset(snapshot)
            await connection.close()
            await engine.dispose()

        asyncio.run(leave())
        self.assertEqual(self.rows("SELECT * FROM item"), [])

    # One who reads

    def test_a_result_that_was_not_read(self) -> None:
        backend = self.prepared(wait=30)
        snapshot = backend.save()
        self.script(INSERT)
        connection = self.engine().connect()
        result = connection.execute(text("SELECT * FROM country"))
        began = time.monotonic()
        with self.assertWarnsRegex(LeakWarning, rf"a result that was not read to its end.*{__file__}"):
            self.assertIs(backend.reset(snapshot), True)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(self.rows("SELECT * FROM item"), [])
        result.close()
        connection.close()

    def test_a_transaction_that_only_reads(self) -> None:
        backend = self.prepared(wait=30)
        snapshot = backend.save()
        engine = self.engine()
        event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self.script(INSERT)
        connection = engine.connect()
        connection.execute(text("SELECT * FROM country")).all()
        with self.assertWarnsRegex(LeakWarning, f"a transaction.*{__file__}"):
            self.assertIs(backend.reset(snapshot), True)
        self.assertEqual(self.rows("SELECT * FROM item"), [])
        connection.close()

    def test_it_does_not_matter_where_nothing_was_written(self) -> None:
        backend = self.prepared(wait=0.1)
        connection = self.engine().connect()
        result = connection.execute(text("SELECT * FROM country"))
        snapshot = backend.save()
        self.assertIs(backend.reset(snapshot), False)
        self.assertEqual(len(result.all()), 2)
        connection.close()

    # Saving

    def test_nothing_is_saved_while_a_transaction_with_writes_is_open(self) -> None:
        backend = self.prepared(wait=60)
        session = Session(self.engine())
        session.execute(text(INSERT))
        began = time.monotonic()
        with self.assertRaisesRegex(OpenTransactionError, rf"'shop'(.|\n)*{__file__}"):
            backend.save()
        self.assertLess(time.monotonic() - began, 5)
        session.commit()
        session.close()
        self.assertEqual(len(self.rows("SELECT * FROM item")), 1)
        self.assertIs(backend.reset(backend.save()), False)

    def test_a_slow_writer_is_waited_for_before_saving(self) -> None:
        backend = self.prepared(wait=10)
        with self.at_work(seconds=0.3):
            snapshot = backend.save()
        self.assertIs(backend.reset(snapshot), False)
        self.assertEqual(len(self.rows("SELECT * FROM item")), 1)

    # Help

    @contextmanager
    def at_work(self, *, seconds: float, changes: bool = True) -> Iterator[None]:
        """A thread in a transaction that lasts for so long, or until the block ends."""
        engine = self.engine()
        ready, end = threading.Event(), threading.Event()

        def work() -> None:
            with engine.connect() as connection:
                connection.execute(text(INSERT))
                ready.set()
                until = time.monotonic() + seconds
                while time.monotonic() < until and not end.wait(0.01):
                    if changes:
                        connection.execute(text("UPDATE item SET what = what || 'x'"))
                connection.commit()

        thread = threading.Thread(target=work)
        thread.start()
        self.assertTrue(ready.wait(10))
        try:
            yield
        finally:
            end.set()
            thread.join()


class FileTests(MemoryTests):
    def make_url(self) -> str:
        return f"sqlite:///{self.directory / 'shop_test.db'}"

    def test_another_process_holds_the_lock(self) -> None:
        backend = self.prepared(wait=0.3)
        snapshot = backend.save()
        process = self.subprocess(
            "import sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1])\n"
            "connection.execute(\"INSERT INTO item VALUES (1, 1, 'tea')\")",
            str(self.directory / "shop_test.db"),
        )
        for call in (lambda: backend.reset(snapshot), backend.save):
            began = time.monotonic()
            with self.assertRaisesRegex(OpenTransactionError, "'shop'.*another process"):
                call()
            self.assertLess(time.monotonic() - began, 3)
        process.communicate("end\n")
        self.assertIs(backend.reset(snapshot), False)

    def test_a_full_disk_is_no_open_transaction(self) -> None:
        path = self.directory / "other.db"
        with closing(sqlite3.connect(":memory:")) as source, closing(sqlite3.connect(path)) as target:
            source.execute("CREATE TABLE filled AS SELECT zeroblob(1000000) AS b")
            target.execute("PRAGMA max_page_count = 9")
            with self.assertRaisesRegex(sqlite3.OperationalError, "full"):
                image.copy(source, target)

    def test_another_process_reads(self) -> None:
        backend = self.prepared(wait=0.3)
        snapshot = backend.save()
        self.script(INSERT)
        process = self.subprocess(
            "import sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1])\n"
            "connection.execute('BEGIN'); connection.execute('SELECT * FROM item').fetchall()",
            str(self.directory / "shop_test.db"),
        )
        with self.assertRaisesRegex(OpenTransactionError, "'shop'.*another process"):
            backend.reset(snapshot)
        process.communicate("end\n")
        self.assertIs(backend.reset(snapshot), True)
        self.assertEqual(self.rows("SELECT * FROM item"), [])


class WalTests(FileTests):
    """Readers are in nobody's way there, and keep what they see."""

    def prepared(self, script: str = SHOP, **options: Any) -> SQLiteBackend:
        return super().prepared("PRAGMA journal_mode = WAL;" + script, **options)

    def test_a_result_that_was_not_read(self) -> None:
        backend = self.prepared()
        snapshot = backend.save()
        self.script(INSERT)
        connection = self.engine().connect()
        result = connection.execute(text("SELECT * FROM item"))
        self.assertIs(backend.reset(snapshot), True)
        self.assertEqual(self.rows("SELECT * FROM item"), [])
        self.assertEqual(len(result.all()), 1)
        connection.close()

    test_a_transaction_that_only_reads = test_a_result_that_was_not_read
    test_another_process_reads = test_a_result_that_was_not_read
