"""Where a SQLite database may be: safeguards and ownership of files, an application's private memory."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sqlite3
import subprocess
import threading
import time
import unittest
import warnings
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, StaticPool

from protean_testing import (
    ConfigurationError,
    LeakWarning,
    OpenTransactionError,
    UnsafeStoreError,
)
from protean_testing.errors import NeverResetWarning
from protean_testing.stores.sqlite import SQLiteBackend
from protean_testing.stores.sqlite.location import location_of

from .sqlite_testcase import SHOP, SQLiteTestCase, closed

_numbers = itertools.count()

RUN = """
import sys
from sqlalchemy import create_engine, make_url
from protean_testing.stores.sql.backend import Database
from protean_testing.stores.sqlite import SQLiteBackend
url = make_url(sys.argv[1])
engine = create_engine(url)
backend = SQLiteBackend(Database(name="other", url=url, engine=lambda: engine, tables=[(None, "thing")]))
backend.check([(None, "thing")])
backend.acquire()
with engine.begin() as connection:
    connection.exec_driver_sql("CREATE TABLE thing (a)")
    connection.exec_driver_sql("CREATE TABLE more (a)")
    connection.exec_driver_sql("INSERT INTO thing VALUES (1)")
backend.created()
backend.save()
"""


class PlaceTests(unittest.TestCase):
    def test_where_urls_lead(self) -> None:
        here = Path.cwd()
        for url, file, private, key in (
            ("sqlite:///file:/a?vfs=memdb&uri=true", None, False, "/a"),
            ("sqlite+aiosqlite:///file:/a?vfs=memdb&uri=true", None, False, "/a"),
            ("sqlite:////tmp/a.db", "/tmp/a.db", False, "/tmp/a.db"),
            ("sqlite+pysqlite:///a.db?timeout=3", here / "a.db", False, str(here / "a.db")),
            ("sqlite+aiosqlite:////tmp/a.db", "/tmp/a.db", False, "/tmp/a.db"),
            ("sqlite:///file:/tmp/a%20b.db?mode=rw&uri=true", "/tmp/a b.db", False, "/tmp/a b.db"),
            ("sqlite:///file://localhost/tmp/a.db?uri=true", "/tmp/a.db", False, "/tmp/a.db"),
            ("sqlite://", None, True, ""),
            ("sqlite:///:memory:", None, True, ""),
            ("sqlite+aiosqlite://", None, True, ""),
            ("sqlite:///file:a?mode=memory&cache=shared&uri=true", None, True, ""),
        ):
            with self.subTest(url):
                place = location_of(make_url(url), "shop")
                self.assertEqual(place.file, None if file is None else Path(file))
                self.assertEqual((place.private, place.key), (private, key))

    def test_a_driver_for_other_files(self) -> None:
        with self.assertRaisesRegex(ConfigurationError, r"'shop'.*sqlite\+pysqlcipher"):
            location_of(make_url("sqlite+pysqlcipher:////tmp/a.db"), "shop")


class FileTests(SQLiteTestCase):
    def make_url(self) -> str:
        return self.url_of("shop_test.db")

    def url_of(self, name: str) -> str:
        return f"sqlite:///{self.directory / name}"

    def made(self, name: str, script: str) -> Path:
        """A file that was there before."""
        file = self.directory / name
        with closed(sqlite3.connect(file)) as connection:
            connection.executescript(script)
        return file

    # The name, and what is in it

    def test_a_name_that_says_nothing_of_tests(self) -> None:
        for name in ("shop.db", "contest.db", "latest.sqlite"):
            file = self.made(name, "CREATE TABLE invoice (id)")
            content = file.read_bytes()
            with (
                self.subTest(name),
                self.assertRaisesRegex(UnsafeStoreError, rf"'shop'.*{name}(.|\n)*unsafe=True"),
            ):
                self.backend(self.url_of(name)).check([(None, "thing")])
            self.assertEqual(file.read_bytes(), content)
            self.assertEqual(os.listdir(self.directory), [name])
            file.unlink()

    def test_names_that_may_be_used(self) -> None:
        for name in ("test.db", "shop-test.db", "ShopTest.sqlite3", "testing.db"):
            self.made(name, "CREATE TABLE invoice (id)")
            with self.subTest(name):
                self.backend(self.url_of(name)).check([(None, "thing")])
        self.made("shop.db", "CREATE TABLE thing (id); INSERT INTO thing VALUES (1)")
        for options in ({"unsafe": True}, {"private": True}):
            self.backend(self.url_of("shop.db"), **options).check([(None, "thing")])
        self.backend(self.url_of("new_test.db")).check([(None, "thing")])
        self.made("empty_test.db", "")
        self.backend(self.url_of("empty_test.db")).check([(None, "thing")])

    def test_the_name_counts_also_if_nothing_is_there(self) -> None:
        self.made("empty.db", "")
        self.made("shop.db", SHOP)
        (self.directory / "link_test.db").symlink_to("shop.db")
        (self.directory / "dangling_test.db").symlink_to("nothing.db")
        for name, meant in (
            ("new.db", "new"),
            ("empty.db", "empty"),
            ("link_test.db", "shop"),
            ("dangling_test.db", "nothing"),
        ):
            with self.subTest(name), self.assertRaisesRegex(UnsafeStoreError, f"{name}(.|\n)*'{meant}'"):
                self.backend(self.url_of(name)).check([(None, "thing")])
        self.made("shop_test.db", SHOP)
        (self.directory / "current.db").symlink_to("shop_test.db")
        self.backend(self.url_of("current.db")).check([(None, "thing")])

    def test_a_file_with_another_name_of_which_nothing_is_known(self) -> None:
        file = self.made("shop.db", SHOP)
        os.link(file, self.directory / "shop_test.db")
        with self.assertRaisesRegex(UnsafeStoreError, "hard link(.|\n)*unsafe=True"):
            self.backend().check([(None, "thing")])

    def test_rows_that_are_not_ours(self) -> None:
        file = self.made("shop_test.db", "CREATE TABLE thing (id); INSERT INTO thing VALUES (1)")
        content = file.read_bytes()
        backend = self.backend()
        backend.check([(None, "other"), ("attached", "thing")])
        with self.assertRaisesRegex(
            UnsafeStoreError, "'shop'(.|\n)*table thing\n(.|\n)*adopt=True(.|\n)*unsafe=True"
        ):
            backend.check([(None, "other"), (None, "thing")])
        self.assertEqual(file.read_bytes(), content)

    def test_what_cannot_be_used(self) -> None:
        (self.directory / "text_test.db").write_text("this is no database, but a long enough text")
        for name, message in (
            ("text_test.db", "cannot be read: file is not a database"),
            ("nowhere/shop_test.db", "no directory"),
        ):
            with self.subTest(name), self.assertRaisesRegex(ConfigurationError, f"'shop'.*{message}"):
                self.backend(self.url_of(name)).check([(None, "thing")])
        with self.assertRaisesRegex(ConfigurationError, "'shop' adopts.*no database"):
            self.backend(adopt=True).check([])

    # What is there before, and after

    def test_a_new_file_is_gone_afterwards(self) -> None:
        for script in (SHOP, "PRAGMA journal_mode = WAL;" + SHOP):
            backend = self.backend()
            backend.check([])
            backend.acquire()
            beside = [".shop_test.db.protean_testing"]
            self.assertEqual(os.listdir(self.directory), beside)  # the application may look for the file
            self.script(script)
            backend.created()
            backend.reset(backend.save())
            engine = self.engine()
            with engine.connect() as connection:
                connection.execute(text("SELECT * FROM country"))
            backend.drop()
            self.assertEqual(os.listdir(self.directory), [])
            backend.drop()
            backend.close()

    def test_what_is_there_stays(self) -> None:
        script = """
            CREATE TABLE kept (id INTEGER PRIMARY KEY AUTOINCREMENT);
            INSERT INTO kept VALUES (3); CREATE VIEW seen AS SELECT * FROM kept;
        """
        self.made("shop_test.db", script)
        backend = self.backend(tables=[(None, "thing")])
        backend.check([(None, "thing")])
        before = self.dump()
        backend.acquire()
        self.assertEqual(self.dump(), before)
        self.script(
            """
            CREATE TABLE thing (a); CREATE TABLE more (id INTEGER PRIMARY KEY AUTOINCREMENT);
            CREATE INDEX i ON kept (id); CREATE VIEW v AS SELECT * FROM thing;
            CREATE TRIGGER t AFTER INSERT ON kept BEGIN INSERT INTO thing VALUES (1); END;
            CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES ('x');
            INSERT INTO more VALUES (9); ANALYZE;
            """
        )
        backend.created()
        snapshot = backend.save()
        self.script("INSERT INTO kept VALUES (7)")
        backend.reset(snapshot)
        backend.drop()
        self.assertEqual(self.dump(), before)
        self.assertEqual(self.rows("SELECT id FROM kept"), [(3,)])

    def test_an_adopted_schema(self) -> None:
        self.made("shop_test.db", SHOP)
        before = self.dump()
        backend = self.backend(adopt=True)
        backend.check([])
        backend.acquire()
        backend.created()
        snapshot = backend.save()
        self.script("DROP TABLE item", "DELETE FROM country")
        self.assertIs(backend.reset(snapshot), True)
        self.assertEqual(self.dump(), before)
        backend.drop()
        self.assertEqual(self.dump(), before)
        self.assertEqual(os.listdir(self.directory), ["shop_test.db"])
        self.made("shop.db", SHOP)
        with self.assertRaises(UnsafeStoreError):
            self.backend(self.url_of("shop.db"), adopt=True).check([])

    # Other runs

    def run_of_others(self, url: str | None = None) -> subprocess.Popen[str]:
        return self.subprocess(RUN, url or self.url)

    def test_a_live_run_has_it(self) -> None:
        other = self.run_of_others()
        content = (self.directory / "shop_test.db").read_bytes()
        for unsafe in (False, True):
            backend = self.backend(unsafe=unsafe)
            for call in (partial(backend.check, []), backend.acquire):
                with self.assertRaisesRegex(UnsafeStoreError, rf"shop_test.db.*pid {other.pid} .*since"):
                    call()
        self.assertEqual((self.directory / "shop_test.db").read_bytes(), content)

    def test_what_a_killed_run_left_in_a_file_of_its_own(self) -> None:
        url = self.url_of("anything_test.db")
        other = self.run_of_others(url)
        other.send_signal(signal.SIGKILL)
        other.wait()
        self.url = url
        self.assertEqual(self.rows("SELECT a FROM thing"), [(1,)])
        backend = self.backend(tables=[(None, "thing")])
        backend.check([(None, "thing")])
        self.assertEqual(self.rows("SELECT a FROM thing"), [(1,)])
        backend.acquire()
        self.assertFalse((self.directory / "anything_test.db").exists())
        backend.drop()
        self.assertEqual(os.listdir(self.directory), [])

    def test_what_a_killed_run_left_in_a_file_that_was_there(self) -> None:
        self.made("shop_test.db", "CREATE TABLE kept (a); INSERT INTO kept VALUES (1)")
        before = self.dump()
        for _ in range(2):  # a run that is killed before it could clear what another one had left
            other = self.run_of_others()
            other.send_signal(signal.SIGKILL)
            other.wait()
        backend = self.backend(tables=[(None, "thing")])
        backend.check([(None, "thing"), (None, "more")])
        with self.assertRaisesRegex(UnsafeStoreError, "table kept"):
            backend.check([(None, "kept")])
        backend.acquire()
        self.assertEqual(self.dump(), before)
        backend.close()
        backend = self.backend(tables=[(None, "thing")])
        backend.check([(None, "thing")])
        backend.acquire()
        backend.drop()
        self.assertEqual(self.dump(), before)
        self.assertEqual(os.listdir(self.directory), ["shop_test.db"])

    def test_a_forked_child_drops_nothing(self) -> None:
        fork = "import os\nif not os.fork():\n    backend.drop(); backend.close(); os._exit(0)\nos.wait()"
        other = self.subprocess(RUN + fork, self.url)
        self.assertEqual(self.rows("SELECT a FROM thing"), [(1,)])
        with self.assertRaisesRegex(UnsafeStoreError, str(other.pid)):
            self.backend().check([])


class PrivateMemoryTests(SQLiteTestCase):
    """Nobody but the application can reach ``sqlite://``."""

    def make_url(self) -> str:
        return "sqlite://"

    def fresh(self, **options: Any) -> Engine:
        engine = create_engine(self.url, **options)
        self.addCleanup(engine.dispose)
        return engine

    def kept(self, engine: Engine, script: str = SHOP, **options: Any) -> SQLiteBackend:
        self.now = engine
        backend = self.backend(engine=lambda: self.now, **options)
        backend.check([])
        backend.acquire()
        self.on(script)
        backend.created()
        return backend

    def on(self, script: str) -> None:
        with self.now.begin() as connection:
            for statement in filter(str.strip, script.split(";")):
                connection.exec_driver_sql(statement)

    def seen(self, query: str) -> list[Any]:
        with self.now.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def test_it_is_given_back(self) -> None:
        for options in ({}, {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}):
            with self.subTest(options):
                backend = self.kept(self.fresh(**options))
                outer = backend.save()
                self.on("INSERT INTO item VALUES (1, 1, 'class')")
                inner = backend.save()
                self.assertIs(backend.reset(inner), False)
                for write in ("DELETE FROM item", "UPDATE country SET name = 'X'", "DROP TABLE item",
                              "PRAGMA user_version = 7", "CREATE TABLE more (a)"):  # fmt: skip
                    self.on(write)
                    self.assertIs(backend.reset(inner), True)
                    self.assertIs(backend.reset(inner), False)
                    self.assertEqual(self.seen("SELECT * FROM item"), [(1, 1, "class")])
                    self.assertEqual(self.seen("SELECT count(*) FROM country WHERE name <> 'X'"), [(2,)])
                    self.assertEqual(self.seen("PRAGMA user_version"), [(0,)])
                    self.assertEqual(self.seen("SELECT * FROM sqlite_schema WHERE name = 'more'"), [])
                self.assertIs(backend.reset(outer), True)
                self.assertEqual(self.seen("SELECT * FROM item"), [])
                backend.drop()
                self.assertEqual(self.seen("SELECT * FROM sqlite_schema"), [])

    def test_a_change_that_no_counter_of_sqlite_shows(self) -> None:
        backend = self.kept(self.fresh(), "CREATE TABLE b (x); INSERT INTO b VALUES (zeroblob(4))")
        snapshot = backend.save()
        connection = self.now.raw_connection()
        with connection.driver_connection.blobopen("b", "x", 1) as blob:
            blob.write(b"abcd")
        connection.close()
        self.assertIs(backend.reset(snapshot), True)
        self.assertEqual(self.seen("SELECT x FROM b"), [(bytes(4),)])

    def test_a_fresh_engine_for_every_test(self) -> None:
        backend = self.kept(self.fresh())
        snapshot = backend.save()
        self.on("INSERT INTO item VALUES (1, 1, 'tea')")
        self.now = self.fresh()
        self.assertIs(backend.reset(snapshot), False)
        self.assertEqual(self.seen("SELECT count(*) FROM country"), [(2,)])
        self.assertEqual(self.seen("SELECT * FROM item"), [])
        self.now = self.fresh()
        inner = backend.save()
        self.assertEqual(self.seen("SELECT count(*) FROM country"), [(2,)])
        self.on("DELETE FROM country")
        self.assertIs(backend.reset(inner), True)
        self.assertEqual(self.seen("SELECT count(*) FROM country"), [(2,)])

    def test_a_fresh_engine_in_a_scope_with_rows_of_its_own(self) -> None:
        backend = self.kept(self.fresh())
        outer = backend.save()
        self.on("INSERT INTO item VALUES (1, 1, 'class')")
        backend.save()
        self.now = self.fresh()
        backend.save()
        self.assertEqual(self.seen("SELECT what FROM item"), [("class",)])
        backend.reset(outer)
        self.now = self.fresh()
        backend.save()
        self.assertEqual(self.seen("SELECT what FROM item"), [])

    def test_stamping(self) -> None:
        memory = "sqlite:///file:/stamped?vfs=memdb&uri=true"
        for url in (memory, f"sqlite:///{self.directory / 'shop_test.db'}", None):
            if url is None:
                self.now = self.fresh()
                backend = self.kept(self.now)
            else:
                self.now = create_engine(url)
                self.addCleanup(self.now.dispose)
                backend = self.backend(url)
                backend.acquire()
                self.on(SHOP)
                backend.created()
            self.on("INSERT INTO item VALUES (1, 1, 'class')")
            with self.subTest(url):
                for options in ({}, {"poolclass": StaticPool}):
                    engine = self.fresh(**options)
                    backend.stamp(engine)
                    with engine.connect() as connection:
                        self.assertEqual(connection.scalar(text("SELECT count(*) FROM country")), 2)
                        self.assertEqual(connection.scalar(text("SELECT count(*) FROM item")), 1)
                with self.assertRaisesRegex(ConfigurationError, "only an engine on sqlite://|its own"):
                    backend.stamp(create_engine(memory))
                self.stamp_files(backend)

    def stamp_files(self, backend: SQLiteBackend) -> None:
        """An application's file is stamped if it is new, empty or was stamped, whatever has it open."""
        file = self.directory / f"app{next(_numbers)}.db"
        for pragma in ("delete", "wal"):
            for change in ("DELETE FROM country", "DROP TABLE item", "CREATE TABLE more (id int)"):
                engine = create_engine(f"sqlite:///{file}")
                backend.stamp(engine)
                with engine.begin() as connection:
                    self.assertEqual(connection.scalar(text("SELECT count(*) FROM country")), 2)
                    self.assertEqual(connection.scalar(text("SELECT count(*) FROM item")), 1)
                    connection.execute(text(change))
                with engine.connect() as connection:
                    connection.exec_driver_sql(f"PRAGMA journal_mode = {pragma}")
                engine.dispose()
        theirs = self.directory / f"theirs{next(_numbers)}.db"
        with closing(sqlite3.connect(theirs)) as connection:
            connection.execute("CREATE TABLE kept (id int)")
            before = theirs.read_bytes()
            with self.assertRaisesRegex(UnsafeStoreError, "refusing to stamp .*theirs.*holds tables"):
                backend.stamp(create_engine(f"sqlite:///{theirs}"))
        self.assertEqual(theirs.read_bytes(), before)

    def test_a_stamp_copies_anew_only_what_has_changed(self) -> None:
        for url in ("sqlite:///file:/once?vfs=memdb&uri=true", f"sqlite:///{self.directory / 'one_test.db'}"):
            self.now = create_engine(url)
            self.addCleanup(self.now.dispose)
            backend = self.backend(url)
            backend.acquire()
            self.on(SHOP)
            backend.created()
            with patch.object(backend._base, "image", wraps=backend._base.image) as image:
                for rows in (0, 0, 1, 1, 2):
                    if rows:
                        self.on(f"INSERT OR IGNORE INTO item VALUES ({rows}, 1, 'x')")
                    engine = self.fresh()
                    backend.stamp(engine)
                    with engine.connect() as connection:
                        self.assertEqual(connection.scalar(text("SELECT count(*) FROM item")), rows)
                self.assertLessEqual(image.call_count, 4)  # a statement that inserts nothing may commit, too
                before = image.call_count
                for _ in range(5):
                    backend.stamp(self.fresh())
                self.assertEqual(image.call_count, before)

    def test_another_thread_has_another_memory(self) -> None:
        engine = create_engine("sqlite://")
        self.addCleanup(engine.dispose)
        self.kept(engine)
        caught: list[warnings.WarningMessage] = []

        def request() -> None:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                engine.raw_connection().invalidate()
            caught.extend(seen)

        thread = threading.Thread(target=request, name="request")
        thread.start()
        thread.join()
        (said,) = (str(one.message) for one in caught if issubclass(one.category, NeverResetWarning))
        self.assertIn("thread 'request' has connected", said)
        self.assertIn("poolclass=StaticPool", said)

    def test_an_async_engine(self) -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        backend = self.backend("sqlite+aiosqlite://", engine=lambda: engine.sync_engine)

        async def go() -> None:
            backend.acquire()
            async with engine.begin() as connection:
                await connection.execute(text("CREATE TABLE item (a)"))
            backend.created()
            snapshot = backend.save()
            async with engine.begin() as connection:
                await connection.execute(text("INSERT INTO item VALUES (1)"))
            self.assertIs(backend.reset(snapshot), True)
            async with engine.connect() as connection:
                self.assertEqual((await connection.execute(text("SELECT * FROM item"))).all(), [])
                await connection.execute(text("INSERT INTO item VALUES (1)"))
                with self.assertWarns(LeakWarning):
                    self.assertIs(backend.reset(snapshot), False)
            backend.drop()
            await engine.dispose()

        asyncio.run(go())

    def test_what_is_left_open(self) -> None:
        for options in ({}, {"poolclass": StaticPool}):
            with self.subTest(options):
                backend = self.kept(self.fresh(**options))
                snapshot = backend.save()
                connection = self.now.connect()
                connection.execute(text("INSERT INTO item VALUES (1, 1, 'tea')"))
                with self.assertRaisesRegex(OpenTransactionError, "'shop'"):
                    backend.save()
                self.assertEqual(connection.scalar(text("SELECT count(*) FROM item")), 1)
                with self.assertWarnsRegex(LeakWarning, "a transaction, on the application's connection"):
                    self.assertIs(backend.reset(snapshot), False)
                self.assertEqual(connection.scalar(text("SELECT count(*) FROM item")), 0)
                connection.close()
                self.on("DELETE FROM country WHERE code = 'de'")
                connection = self.now.connect()
                result = connection.execute(text("SELECT * FROM country, sqlite_schema"))
                with self.assertWarnsRegex(LeakWarning, "a result that was not read to its end"):
                    self.assertIs(backend.reset(snapshot), True)
                self.assertEqual(self.seen("SELECT count(*) FROM country"), [(2,)])
                result.close()
                connection.close()

    def test_a_thread_at_work_is_waited_for(self) -> None:
        backend = self.kept(
            self.fresh(poolclass=StaticPool, connect_args={"check_same_thread": False}), wait=10
        )
        snapshot = backend.save()
        ready = threading.Event()

        def work() -> None:
            with self.now.begin() as connection:
                for number in range(30):
                    connection.execute(text(f"INSERT INTO item VALUES ({number}, 1, 'tea')"))
                    ready.set()
                    time.sleep(0.01)

        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(10)
        self.assertIs(backend.reset(snapshot), True)
        thread.join()
        self.assertEqual(self.seen("SELECT * FROM item"), [])

    def test_a_schema_that_joins(self) -> None:
        backend = self.kept(self.fresh())
        snapshot = backend.save()
        self.on("CREATE TABLE joined (a); INSERT INTO joined VALUES (1)")
        backend.created()
        self.on("DELETE FROM joined; DELETE FROM country")
        self.assertIs(backend.reset(snapshot), True)
        self.assertEqual(self.seen("SELECT a FROM joined"), [(1,)])
        self.assertEqual(self.seen("SELECT count(*) FROM country"), [(2,)])
        self.now = self.fresh()
        backend.reset(backend.save())
        self.assertEqual(self.seen("SELECT a FROM joined"), [(1,)])

    def test_tables_of_before(self) -> None:
        self.now = self.fresh()
        self.on("CREATE TABLE stale (a); CREATE TABLE kept (a); INSERT INTO kept VALUES (1)")
        before = self.seen("SELECT name, sql FROM sqlite_schema")
        backend = self.kept(self.now, "CREATE TABLE stale (b)", tables=[(None, "stale")])
        backend.drop()
        self.assertEqual(self.seen("SELECT name, sql FROM sqlite_schema"), before)
        self.assertEqual(self.seen("SELECT a FROM kept"), [(1,)])

    def test_rows_of_the_application_in_the_way(self) -> None:
        self.now = self.fresh()
        self.on("CREATE TABLE thing (a); INSERT INTO thing VALUES (1)")
        backend = self.backend("sqlite://", engine=lambda: self.now)
        for tables in ([(None, "other")], []):
            backend.check(tables)
        with self.assertRaisesRegex(UnsafeStoreError, "table thing\n(.|\n)*adopt=True"):
            backend.check([(None, "thing")])
        self.backend("sqlite://", engine=lambda: self.now, unsafe=True).check([(None, "thing")])
        self.assertEqual(self.seen("SELECT a FROM thing"), [(1,)])

    def test_an_application_that_is_gone_at_the_end(self) -> None:
        backend = self.kept(self.fresh())
        backend.save()
        del self.now
        backend.drop()
        backend.close()

    def test_an_engine_whose_every_connection_is_a_database(self) -> None:
        with self.assertRaisesRegex(ConfigurationError, "NullPool(.|\n)*StaticPool"):
            self.kept(self.fresh(poolclass=NullPool))


class SharedMemoryTests(SQLiteTestCase):
    def test_it_lives_without_connections_of_the_application(self) -> None:
        backend = self.prepared()
        self.assertEqual(self.rows("SELECT count(*) FROM country"), [(2,)])
        backend.drop()
        self.assertEqual(self.rows("SELECT * FROM sqlite_schema"), [])
        backend.drop()

    def test_what_the_application_had_there_before(self) -> None:
        with closed(self.connect()) as connection:
            connection.executescript(
                "CREATE TABLE thing (stale); CREATE TABLE kept (a); INSERT INTO kept VALUES (1)"
            )
            before = self.rows("SELECT name, sql FROM sqlite_schema")
            backend = self.backend(tables=[(None, "thing"), (None, "kept")])
            with self.assertRaisesRegex(UnsafeStoreError, "table kept\n(.|\n)*adopt=True"):
                backend.check([(None, "thing"), (None, "kept")])
            backend = self.backend(tables=[(None, "thing")])
            backend.check([(None, "thing")])
            backend.acquire()
            self.script("CREATE TABLE thing (a)", "INSERT INTO thing VALUES (1)")
            backend.created()
            snapshot = backend.save()
            self.script("DELETE FROM kept", "DELETE FROM thing")
            self.assertIs(backend.reset(snapshot), True)
            self.assertEqual(self.rows("SELECT a FROM kept"), [(1,)])
            self.assertEqual(self.rows("SELECT a FROM thing"), [(1,)])
            backend.drop()
            self.assertEqual(self.rows("SELECT name, sql FROM sqlite_schema"), before)
            self.assertEqual(self.rows("SELECT a FROM kept"), [(1,)])
            self.assertEqual(self.rows("SELECT * FROM thing"), [])

    def test_two_of_them_know_nothing_of_each_other(self) -> None:
        first = self.prepared()
        self.url = self.make_url()
        second = self.prepared("CREATE TABLE other (a)")
        snapshot = first.save()
        self.script("INSERT INTO other VALUES (1)")
        self.assertIs(first.reset(snapshot), False)
        second.close()
