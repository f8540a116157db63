"""The generic backend: on a real MariaDB, and its ways without MySQL's switches on PostgreSQL."""

from __future__ import annotations

import atexit
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from protean_testing import (
    ConfigurationError,
    DatabaseTestCase,
    LeakError,
    LeakWarning,
    OpenTransactionError,
    SQLAlchemyStore,
    StoreError,
    UnsafeStoreError,
)
from protean_testing.conformance import StoreConformance
from protean_testing.servers.postgresql import start_postgresql
from protean_testing.stores.generic.backend import GenericBackend
from protean_testing.stores.sql.backend import Database

from .mariadb_server import MariaDB
from .suite import ROOT, SuiteTestCase

server: MariaDB

SCHEMA = (
    "CREATE TABLE a (id int AUTO_INCREMENT PRIMARY KEY, b_id int, f float, d double, n decimal(20,10), "
    "raw blob, bits bit(11), doc json, day date, at timestamp(6) NULL, e enum('x','y'), s set('p','q'), "
    "twice int AS (y * 2) VIRTUAL, thrice int AS (y * 3) STORED, place geometry, u uuid, t time(3), y year, "
    "big bigint unsigned, words text CHARSET utf8mb4)",
    "CREATE TABLE b (id int AUTO_INCREMENT PRIMARY KEY, a_id int NOT NULL REFERENCES a (id))",
    "ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b (id)",
    "CREATE TABLE audit (id int AUTO_INCREMENT PRIMARY KEY, what varchar(20))",
    "CREATE TRIGGER shouting BEFORE INSERT ON a FOR EACH ROW SET NEW.words = upper(NEW.words)",
    "CREATE TRIGGER coming AFTER INSERT ON a FOR EACH ROW INSERT INTO audit (what) VALUES ('in %s :x')",
    "CREATE TRIGGER going AFTER DELETE ON a FOR EACH ROW INSERT INTO audit (what) VALUES ('out')",
    "CREATE VIEW seen AS SELECT id FROM a",
    "CREATE SEQUENCE numbers START WITH 5 NOCACHE",
    "CREATE TABLE `we``ird %s :p` (`a %s :p` int, `select` varchar(30) COLLATE utf8mb4_bin)",
    "CREATE TABLE tree (id int AUTO_INCREMENT PRIMARY KEY, parent int REFERENCES tree (id))",
    "CREATE TABLE mine (id int PRIMARY KEY, t text) ENGINE = MyISAM",
    "CREATE TABLE parts (id int PRIMARY KEY, t text) PARTITION BY HASH (id) PARTITIONS 3",
    "CREATE PROCEDURE greet() SELECT 'hello'",
    "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
    "INSERT INTO tree VALUES (0, 0), (7, 0)",
    "SET SESSION sql_mode = DEFAULT",
)
OF_EVERY_TYPE = (
    "INSERT INTO a (f, d, n, raw, bits, doc, day, at, e, s, place, u, t, y, big, words) VALUES (1.2345678, "
    "0.1, 3.14159, x'00ff2700', b'10100000001', '{\"a\": 1.50}', '2024-02-29', '2024-03-31 02:30:00.123456', "
    "'x', 'p,q', point(1, 2), uuid(), '838:59:58.5', 2020, 18446744073709551615, 'äö😀''\\\\ %s :x')",
    "INSERT INTO b (a_id) VALUES (1)",
    "UPDATE a SET b_id = 1",
    "SELECT nextval(numbers)",
    "INSERT INTO `we``ird %s :p` VALUES (1, 'x'), (1, 'x'), (NULL, 'X')",
    "INSERT INTO mine VALUES (1, 'x')",
    "INSERT INTO parts VALUES (1, 'a'), (2, 'b')",
)


def setUpModule() -> None:
    global server
    server = MariaDB()
    atexit.register(server.stop)  # after the end of the run, which drops its schemas


class KeeperTestCase(unittest.TestCase):
    """Has a fresh database of the schema, and the application's engine on it."""

    def setUp(self) -> None:
        super().setUp()
        self.url = self.make()
        self.engine = sa.create_engine(self.url)
        self.addCleanup(self.engine.dispose)

    def make(self) -> str:
        return server.create("shop_test")

    def schema(self) -> Sequence[str]:
        return SCHEMA

    def do(self, *statements: str) -> None:
        """What the code under test does, and commits."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))

    def backend(self, **options: Any) -> GenericBackend:
        """A backend in use."""
        database = Database(
            **{
                "name": "shop",
                "url": sa.make_url(self.url),
                "engine": lambda: self.engine,
                "rebuild": lambda: self.do(*self.schema()),
                "wait": 1.0,
                **options,
            }
        )
        backend = GenericBackend(database)
        backend.check(database.tables)
        backend.acquire()
        if not database.adopt:
            self.do(*self.schema())
        backend.created()
        self.addCleanup(backend.close)
        return backend

    def assertBack(
        self, backend: GenericBackend, snapshot: Any, before: Any, *, changed: bool = True
    ) -> None:
        self.assertEqual(backend.reset(snapshot), changed)
        self.assertEqual(self.dump(), before)
        self.assertFalse(backend.reset(snapshot))

    def dump(self) -> dict[str, Any]:
        """All that the database holds, but what is ours."""
        quoted = self.engine.dialect.identifier_preparer.quote_identifier
        with self.engine.connect() as connection:
            found: dict[str, Any] = {}
            for name, kind in connection.exec_driver_sql("SHOW FULL TABLES"):
                if name.startswith("protean_testing"):
                    continue
                rows = connection.exec_driver_sql(f"SELECT * FROM {quoted(name)}").all()
                (shown, *_) = connection.exec_driver_sql(f"SHOW CREATE TABLE {quoted(name)}").all()
                bits = connection.exec_driver_sql(f"CHECKSUM TABLE {quoted(name)}").all()
                found[name] = (sorted(map(repr, rows)), shown[1], bits if kind == "BASE TABLE" else ())
            found["triggers"] = [
                (*row[:5], *row[6:]) for row in connection.exec_driver_sql("SHOW TRIGGERS").all()
            ]
            found["routines"] = connection.exec_driver_sql(
                "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()"
            ).all()
            return found


class RowTests(KeeperTestCase):
    def test_rows_of_every_type(self) -> None:
        backend = self.backend()
        empty, first = self.dump(), backend.save()
        self.do(*OF_EVERY_TYPE)
        before, snapshot = self.dump(), backend.save()
        self.assertBack(backend, snapshot, before, changed=False)
        self.do(
            "DELETE FROM audit",
            "UPDATE a SET f = 1.23457, words = 'q'",
            "INSERT INTO a (words) VALUES ('new')",
            "DELETE FROM mine",
            "UPDATE tree SET parent = 7 WHERE id = 7",
            "DELETE FROM `we``ird %s :p` LIMIT 1",
            "SELECT nextval(numbers)",
        )
        self.assertBack(backend, snapshot, before)
        self.do("TRUNCATE parts")
        self.assertBack(backend, snapshot, before)
        backend.forget(snapshot)
        self.assertBack(backend, first, empty)

    def test_counters_moved_by_what_was_rolled_back(self) -> None:
        backend = self.backend()
        before, snapshot = self.dump(), backend.save()
        with self.engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO audit (what) VALUES ('x')")
            connection.rollback()
        self.assertNotEqual(self.dump(), before)
        self.assertBack(backend, snapshot, before)
        self.do("INSERT INTO audit (what) VALUES ('x')")
        with self.engine.connect() as connection:
            self.assertEqual(connection.exec_driver_sql("SELECT id FROM audit").all(), [(1,)])

    def test_an_empty_schema_costs_few_questions(self) -> None:
        backend = self.backend()
        snapshot = backend.save()
        backend.reset(snapshot)
        asked: list[str] = []

        def ask(*arguments: Any) -> None:
            asked.append(str(arguments[2]))

        sa.event.listen(sa.Engine, "before_cursor_execute", ask)
        self.addCleanup(sa.event.remove, sa.Engine, "before_cursor_execute", ask)
        for statement, times in (("DO 1", 0), ("DELETE FROM audit WHERE id < 0", 3)):  # writes, as it counts
            self.do(statement)
            asked.clear()
            self.assertFalse(backend.reset(snapshot))
            read = [one for one in asked if "count(*)" in one.lower()]
            self.assertLessEqual(len(read), times, read)  # MyISAM, partitions, what was just written
            self.assertLess(len(asked), 12, asked)

    def test_the_cost_follows_what_was_written(self) -> None:
        """With 120 tables few questions; none is read or described but the one that was written."""
        for statement in (
            f"CREATE TABLE t{n} (id int AUTO_INCREMENT PRIMARY KEY, t text)" for n in range(120)
        ):
            self.do(statement)
        self.do("INSERT INTO t9 (t) SELECT seq FROM seq_1_to_5000")
        backend = self.backend(adopt=True)
        outer = backend.save()
        time.sleep(2)  # what was written in the very second at which a scope began is looked at
        snapshot = backend.save()
        asked: list[str] = []

        def ask(*arguments: Any) -> None:
            asked.append(str(arguments[2]))

        sa.event.listen(sa.Engine, "before_cursor_execute", ask)
        self.addCleanup(sa.event.remove, sa.Engine, "before_cursor_execute", ask)
        for number in range(4):
            self.do("INSERT INTO t7 (t) VALUES ('x')")
            asked.clear()
            self.assertTrue(backend.reset(snapshot))
            if number < 2:  # whether anybody had locked tables is looked at
                continue
            told = [
                one
                for one in asked
                if "SHOW CREATE" in one or "t9" in one or ("EXISTS" in one and "t7" not in one)
            ]
            self.assertEqual(told, [])
            self.assertLess(len(asked), 16, asked)
        asked.clear()
        backend.save()
        self.assertEqual([one for one in asked if "count(*)" in one.lower()], [])
        self.do("UPDATE t9 SET t = 'y' WHERE id = 7", "DELETE FROM t9 WHERE id = 8")
        asked.clear()
        self.assertTrue(backend.reset(outer))
        self.assertFalse(
            any(one.startswith("DELETE FROM") for one in asked), asked
        )  # the rows that differ alone
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT count(*), sum(id), sum(t) FROM t9").one()
            self.assertEqual(tuple(found), (5000, 12502500, 12502500))

    def test_a_transaction_that_had_begun_before_the_scope(self) -> None:
        """Tables tell when the transaction began that wrote last, not when it ended."""
        backend = self.backend()
        with self.engine.connect() as connection:
            self.do("INSERT INTO parts VALUES (1, 'a')", "INSERT INTO tree VALUES (50, 0)")
            connection.exec_driver_sql("SELECT * FROM tree")
            time.sleep(2)
            before, snapshot = self.dump(), backend.save()
            connection.exec_driver_sql("UPDATE tree SET parent = 7 WHERE id = 50")
            connection.commit()
        self.assertBack(backend, snapshot, before)

    def test_sequences_of_which_the_server_has_values_in_advance(self) -> None:
        self.do(
            "CREATE SEQUENCE cached", "CREATE SEQUENCE small MAXVALUE 3 CACHE 2", "SELECT nextval(cached)"
        )
        backend = self.backend(adopt=True)
        snapshot = backend.save()
        for _ in range(3):
            with self.engine.connect() as connection:
                found = [
                    connection.exec_driver_sql(f"SELECT nextval({name})").scalar()
                    for name in ("cached", "cached", "small", "small", "small")
                ]
            self.assertEqual(found, [2, 3, 1, 2, 3])
            self.assertTrue(backend.reset(snapshot))

    def test_system_versioned_tables(self) -> None:
        backend = self.backend()
        made = (
            "CREATE TABLE v (id int PRIMARY KEY, t text) WITH SYSTEM VERSIONING",
            "CREATE TABLE w (t text, a timestamp(6) GENERATED ALWAYS AS ROW START, b timestamp(6) GENERATED "
            "ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING",
        )
        self.do(*made, "INSERT INTO v VALUES (1, 'a'), (2, 'b')", "UPDATE v SET t = 'c' WHERE id = 1")
        self.do("INSERT INTO w (t) VALUES ('x')", "DELETE FROM w", "INSERT INTO w (t) VALUES ('y')")
        backend.created()
        before, snapshot = self.history(), backend.save()
        for statement in (
            "UPDATE v SET t = 'd'",
            "DELETE FROM v",
            "DELETE HISTORY FROM v",
            "INSERT INTO v VALUES (3, 'z')",
            "TRUNCATE w",
            "UPDATE w SET t = 'z'",
            "DROP TABLE v",
        ):
            with self.subTest(statement):
                try:
                    self.do(statement)
                except sa.exc.DatabaseError:
                    self.assertIn("TRUNCATE", statement)  # which versioned tables refuse
                    continue
                self.assertTrue(backend.reset(snapshot))
                self.assertEqual(self.history(), before)

    def history(self) -> list[Any]:
        with self.engine.connect() as connection:
            return [
                sorted(map(tuple, connection.exec_driver_sql(query).all()))
                for query in (
                    "SELECT id, t, row_start, row_end FROM v FOR SYSTEM_TIME ALL",
                    "SELECT t, a, b FROM w FOR SYSTEM_TIME ALL",
                )
            ]

    def test_a_history_that_cannot_be_restored(self) -> None:
        backend = self.backend()
        self.do(
            "CREATE TABLE v (id int, a bigint unsigned GENERATED ALWAYS AS ROW START, b bigint unsigned "
            "GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING"
        )
        with self.assertRaisesRegex(StoreError, "table v: it is system-versioned by transactions"):
            backend.created()

    def test_each_kind_of_write_is_noticed(self) -> None:
        """Rows are read only if the server has counted something, right after a reset that knows them."""
        backend = self.backend()
        self.do("INSERT INTO mine VALUES (1, 'x')", "INSERT INTO parts VALUES (1, 'a'), (2, 'b')")
        before, snapshot = self.dump(), backend.save()
        for statements in (
            ["INSERT INTO tree VALUES (9, 0)"],
            ["UPDATE tree SET parent = 7"],
            ["DELETE FROM tree WHERE id = 7"],
            ["DELETE FROM mine"],
            ["TRUNCATE TABLE mine"],
            ["TRUNCATE TABLE parts"],
            ["ALTER TABLE parts TRUNCATE PARTITION ALL"],
            ["REPLACE INTO mine VALUES (1, 'y')"],
            ["INSERT INTO mine VALUES (1, 'y') ON DUPLICATE KEY UPDATE t = 'z'"],
            ["BEGIN NOT ATOMIC DELETE FROM parts; END"],
            ["PREPARE emptying FROM 'DELETE FROM parts'", "EXECUTE emptying"],
            ["UPDATE tree JOIN mine ON mine.id = 1 SET parent = 7"],
        ):
            with self.subTest(statements[-1]):
                self.assertFalse(backend.reset(snapshot))
                self.do(*statements)
                self.assertNotEqual(self.dump(), before)
                self.assertBack(backend, snapshot, before)

    def test_a_schema_that_came_later(self) -> None:
        backend = self.backend()
        snapshot = backend.save()
        self.do("CREATE TABLE later (id int PRIMARY KEY)", "INSERT INTO later VALUES (1)")
        backend.created()
        before = self.dump()
        self.do("INSERT INTO later VALUES (2)", "INSERT INTO mine VALUES (1, '')")
        self.assertBack(backend, snapshot, before)


class SchemaTests(KeeperTestCase):
    def test_what_a_test_made_is_dropped(self) -> None:
        backend = self.backend()
        before, snapshot = self.dump(), backend.save()
        self.do(
            "CREATE TABLE made (id int PRIMARY KEY, tree int REFERENCES tree (id))",
            "CREATE TABLE more (id int REFERENCES made (id))",
            "CREATE VIEW made_view AS SELECT * FROM made",
            "CREATE TRIGGER made_trigger BEFORE INSERT ON mine FOR EACH ROW SET NEW.id = 3",
            "CREATE PROCEDURE made_procedure() SELECT 1",
            "CREATE SEQUENCE made_sequence",
        )
        self.assertBack(backend, snapshot, before)

    def test_what_a_test_changed_is_made_again(self) -> None:
        backend = self.backend()
        self.do(*OF_EVERY_TYPE)
        before, snapshot = self.dump(), backend.save()
        for statement in (
            "ALTER TABLE tree ADD COLUMN q int",
            "DROP VIEW seen",
            "DROP TABLE parts",
            "RENAME TABLE mine TO yours",
            "DROP TRIGGER shouting",
            "CREATE OR REPLACE VIEW seen AS SELECT 1 AS id",
            "CREATE INDEX i ON tree (parent, id)",
        ):
            with self.subTest(statement):
                self.do(statement)
                self.assertBack(backend, snapshot, before)

    def test_each_change_of_a_definition_is_noticed(self) -> None:
        """Tables tell when their definition was written: those that were not are not asked for it again."""
        self.do(
            *(f"CREATE TABLE t{n} (id int AUTO_INCREMENT PRIMARY KEY, a int, b text)" for n in range(60)),
            "CREATE TABLE child (id int, FOREIGN KEY k (id) REFERENCES t1 (id))",
            "INSERT INTO t1 (a) VALUES (7)",
        )
        backend = self.backend(adopt=True)
        time.sleep(2)
        before, snapshot = self.dump(), backend.save()
        asked: list[str] = []

        def ask(*arguments: Any) -> None:
            asked.append(str(arguments[2]))

        sa.event.listen(sa.Engine, "before_cursor_execute", ask)
        self.addCleanup(sa.event.remove, sa.Engine, "before_cursor_execute", ask)
        self.do("CREATE INDEX i ON t1 (a)")
        self.assertBack(backend, snapshot, before)  # all are asked: they were made in the second of the look
        time.sleep(2)
        for statement in (
            "CREATE INDEX i ON t1 (a)",
            "ALTER TABLE t1 ADD COLUMN c int, ALGORITHM = INSTANT",
            "ALTER TABLE t1 ALTER a SET DEFAULT 7",
            "ALTER TABLE t1 CHANGE a z int",
            "ALTER TABLE t1 COMMENT = 'x'",
            "ALTER TABLE t1 ADD CHECK (a > 0)",
            "ALTER TABLE t1 MODIFY b text COMMENT 'y'",
            "ALTER TABLE child DROP FOREIGN KEY k",
            "ALTER TABLE t2 ADD FOREIGN KEY (a) REFERENCES t1 (id)",
            "RENAME TABLE t1 TO t1_old",
            "ALTER TABLE t1 RENAME TO t1_old",
            "RENAME TABLE t1 TO x, t2 TO t1, x TO t2",
            "CREATE OR REPLACE TABLE t4 (id int)",
        ):
            with self.subTest(statement):
                self.do("SET foreign_key_checks = 0", statement)
                asked.clear()
                self.assertBack(backend, snapshot, before)
                if "RENAME" not in statement:
                    described = [one for one in asked if "SHOW CREATE TABLE" in one]
                    self.assertLess(len(described), 130, described)  # of 300: two resets look six times

    def test_what_was_there_before_is_made_again(self) -> None:
        self.do(
            "CREATE TABLE theirs_test (id int AUTO_INCREMENT PRIMARY KEY, t text)",
            "INSERT INTO theirs_test VALUES (7, 'x')",
            "CREATE TRIGGER one BEFORE INSERT ON theirs_test FOR EACH ROW SET NEW.t = concat(NEW.t, '1')",
            "CREATE TRIGGER two BEFORE INSERT ON theirs_test FOR EACH ROW SET NEW.t = concat(NEW.t, '2')",
        )
        theirs = self.dump()
        for options in ({"tables": [(None, "a")]}, {"rebuild": None, "adopt": True}):
            with self.subTest(options):
                backend = self.backend(**options)
                before, snapshot = self.dump(), backend.save()
                for statement in (
                    "ALTER TABLE theirs_test ADD COLUMN q int",
                    "DROP TABLE theirs_test",
                    "RENAME TABLE theirs_test TO other",
                    "DROP TRIGGER one",
                ):
                    self.do(statement)
                    self.assertBack(backend, snapshot, before)
                backend.drop()
                backend.close()
                self.assertEqual(self.dump(), theirs)

    def test_adopted_tables_stay(self) -> None:
        self.do(*self.schema(), *OF_EVERY_TYPE)
        before = self.dump()
        backend = self.backend(adopt=True)
        snapshot = backend.save()
        self.do(
            "UPDATE a SET b_id = NULL",
            "DELETE FROM b",
            "DELETE FROM mine",
            "INSERT INTO audit (what) VALUES ('x')",
        )
        self.assertBack(backend, snapshot, before)
        backend.drop()
        self.assertEqual(self.dump(), before)
        with self.engine.connect() as connection:
            self.assertFalse(sa.inspect(connection).has_table("protean_testing"))


class TransactionTests(KeeperTestCase):
    def test_a_writer_left_open_is_ended(self) -> None:
        for on_leak in ("reset", "warn", "fail"):
            with self.subTest(on_leak):
                backend = self.backend(on_leak=on_leak)
                before, snapshot = self.dump(), backend.save()
                connection = self.engine.connect()
                connection.exec_driver_sql("INSERT INTO parts VALUES (9, 'late')")
                failed = False
                with warnings.catch_warnings(record=True) as seen:
                    warnings.simplefilter("always")
                    try:
                        backend.reset(snapshot)
                    except LeakError as error:
                        failed = True
                        self.assertIn("undo log entries 1", str(error))
                leaks = [one for one in seen if issubclass(one.category, LeakWarning)]
                self.assertEqual((failed, len(leaks)), (on_leak == "fail", on_leak == "warn"))
                with self.assertRaises(sa.exc.OperationalError):
                    connection.exec_driver_sql("SELECT 1")
                connection.close()
                self.assertEqual(self.dump(), before)
                backend.drop()
                backend.close()

    def test_a_writer_at_work_is_waited_for(self) -> None:
        backend = self.backend(wait=3.0)
        before, snapshot = self.dump(), backend.save()

        def work() -> None:
            self.do(
                "INSERT INTO parts VALUES (1, '')", "SELECT sleep(0.6)", "INSERT INTO parts VALUES (2, '')"
            )

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.2)
        self.assertTrue(backend.reset(snapshot))
        thread.join()
        self.assertEqual(self.dump(), before)

    def test_a_reader_left_open_does_not_stop_a_reset(self) -> None:
        backend = self.backend(on_leak="reset")
        before, snapshot = self.dump(), backend.save()
        reader = self.engine.connect()
        reader.exec_driver_sql("SELECT * FROM audit").all()
        self.do("INSERT INTO audit (what) VALUES ('x')")
        begin = time.monotonic()
        self.assertTrue(backend.reset(snapshot))
        self.assertLess(time.monotonic() - begin, 3)
        self.assertEqual(self.dump(), before)
        reader.invalidate()

    def test_no_scope_begins_inside_a_transaction(self) -> None:
        backend = self.backend()
        with self.engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO parts VALUES (9, 'late')")
            with self.assertRaisesRegex(OpenTransactionError, "cannot begin on store 'shop'"):
                backend.save()

    def test_a_user_who_may_not_see_transactions(self) -> None:
        self.do("CREATE OR REPLACE USER ann@localhost", "GRANT ALL ON shop_test.* TO ann@localhost")
        self.url = server.url("shop_test", "ann")
        self.engine = sa.create_engine(self.url)
        self.addCleanup(self.engine.dispose)
        with self.assertWarnsRegex(UserWarning, "GRANT PROCESS"):
            backend = self.backend(wait=1.0)
            snapshot = backend.save()
        self.do("INSERT INTO parts VALUES (1, '')")
        before, snapshot = self.dump(), backend.save()
        self.do(*OF_EVERY_TYPE[:3], "DROP VIEW seen")
        self.assertBack(backend, snapshot, before)
        self.do("INSERT INTO parts VALUES (2, '')")
        with self.engine.connect() as connection:
            connection.exec_driver_sql("UPDATE parts SET t = 'x' WHERE id = 1")
            with self.assertRaisesRegex(OpenTransactionError, "Lock wait timeout"):
                backend.reset(snapshot)
        self.assertBack(backend, snapshot, before)

    def test_schemas_changed_in_other_ways_than_plainly(self) -> None:
        backend = self.backend()
        before, snapshot = self.dump(), backend.save()
        self.do("CREATE PROCEDURE make() CREATE TABLE by_call (id int)")
        mark_of_procedure, with_procedure = backend.save(), self.dump()
        self.do("CALL make()")
        self.assertBack(backend, mark_of_procedure, with_procedure)
        self.do("EXECUTE IMMEDIATE 'CREATE TABLE prepared (id int)'")
        self.assertBack(backend, snapshot, before)

    def test_a_connection_that_was_lost(self) -> None:
        backend = self.backend()
        self.do("INSERT INTO mine VALUES (1, '')")
        before, snapshot = self.dump(), backend.save()
        self.do("DELETE FROM mine")
        with server.connect("mysql") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = 'shop_test'")
            for (number,) in cursor.fetchall():
                cursor.execute(f"KILL {number}")
        self.engine.dispose()
        self.assertBack(backend, snapshot, before)


class OwnershipTests(KeeperTestCase):
    def refused(self, *texts: str, url: str = "", **options: Any) -> None:
        url = url or self.url
        engine = sa.create_engine(url)
        self.addCleanup(engine.dispose)
        database = Database(name="shop", url=sa.make_url(url), engine=lambda: engine, **options)
        backend = GenericBackend(database)
        with self.assertRaises((UnsafeStoreError, ConfigurationError)) as caught:
            backend.check(database.tables)
        backend.close()
        for text in ("'shop'", *texts):
            self.assertIn(text, str(caught.exception))
        self.assertNotIn("tomsecret", str(caught.exception))
        self.assertIsNone(caught.exception.__cause__)

    def test_refusals(self) -> None:
        self.refused("does not contain", "unsafe=True", url=server.create("contest"))
        self.refused("cannot be reached", url=server.url("shop_test", "ann", "tomsecret"))
        self.refused("cannot be reached", url=self.url + "_nowhere")
        self.do("CREATE TABLE orders (id int)", "INSERT INTO orders VALUES (1)")
        self.refused("table orders", "adopt=True", "unsafe=True", tables=[(None, "orders")])
        with self.engine.connect() as connection:
            self.assertEqual(sa.inspect(connection).get_table_names(), ["orders"])

    def test_a_dead_run_is_cleared_and_a_live_one_is_not(self) -> None:
        code = f"""
            import os, sys, sqlalchemy as sa
            from protean_testing.stores.generic.backend import GenericBackend
            from protean_testing.stores.sql.backend import Database
            engine = sa.create_engine({self.url!r})
            backend = GenericBackend(Database(name="other", url=engine.url, engine=lambda: engine))
            backend.check(()); backend.acquire()
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE left_over (id int)")
                connection.exec_driver_sql("CREATE VIEW left_view AS SELECT * FROM left_over")
            backend.created()
            print("ready", flush=True)
            input()
        """
        self.do("CREATE TABLE theirs (id int)")
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "ready\n")
            self.refused(f"pid {process.pid}", unsafe=True)
            process.kill()
        self.engine.dispose()
        for _ in range(100):  # the server notices that the connection is gone
            with server.connect("shop_test") as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM information_schema.processlist WHERE db = 'shop_test'")
                if cursor.fetchone() == (1,):
                    break
            time.sleep(0.02)
        backend = self.backend()
        self.assertNotIn("left_over", self.dump())
        backend.drop()
        backend.drop()
        self.assertEqual(list(self.dump()), ["theirs", "triggers", "routines"])


class ElsewhereTests(KeeperTestCase):
    """Where foreign keys cannot be switched off: PostgreSQL, as if it were any database."""

    postgresql: ClassVar[Any]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.postgresql = start_postgresql()
        cls.addClassCleanup(cls.postgresql.stop)

    def make(self) -> str:
        return str(self.postgresql.create_database(f"generic{id(self)}_test"))

    def schema(self) -> Sequence[str]:
        return (
            "CREATE TABLE a (id int PRIMARY KEY, b_id int, t text)",
            "CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a ON DELETE CASCADE, d bytea)",
            "ALTER TABLE a ADD CONSTRAINT circle FOREIGN KEY (b_id) REFERENCES b",
            "CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree ON DELETE RESTRICT, a_id int "
            "NOT NULL REFERENCES a, twice int GENERATED ALWAYS AS (id * 2) STORED)",
            "CREATE TABLE audit (what text)",
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO audit VALUES (TG_OP); RETURN NULL; END $$",
            "CREATE TRIGGER note AFTER INSERT OR DELETE ON b FOR EACH STATEMENT EXECUTE FUNCTION note()",
            "CREATE VIEW seen AS SELECT id FROM a",
        )

    def dump(self) -> dict[str, Any]:
        with self.engine.connect() as connection:
            inspector = sa.inspect(connection)
            names = [*inspector.get_table_names(), *inspector.get_view_names()]
            return {
                name: sorted(map(repr, connection.exec_driver_sql(f'SELECT * FROM "{name}"')))
                for name in names
                if not name.startswith("protean_testing")
            }

    def test_circles_and_trees(self) -> None:
        backend = self.backend()
        empty, first = self.dump(), backend.save()
        self.do(
            "INSERT INTO a VALUES (1, NULL, 'x')",
            "INSERT INTO b VALUES (1, 1, '\\x00ff')",
            "UPDATE a SET b_id = 1",
            "INSERT INTO tree VALUES (1, 2, 1), (2, 3, 1), (3, NULL, 1)",
        )
        before, snapshot = self.dump(), backend.save()
        self.do("UPDATE a SET t = 'y'")
        self.assertBack(backend, snapshot, before)
        self.do("UPDATE tree SET parent = NULL", "DELETE FROM tree WHERE id = 1")
        self.assertBack(backend, snapshot, before)
        self.assertBack(backend, first, empty)

    def test_schema(self) -> None:
        backend = self.backend()
        before, snapshot = self.dump(), backend.save()
        self.do("CREATE TABLE made (id int PRIMARY KEY REFERENCES a)", "CREATE VIEW v AS SELECT * FROM made")
        self.assertBack(backend, snapshot, before)
        backend.drop()
        self.assertEqual(self.dump(), {})

    def test_runs_are_told_apart_by_their_process(self) -> None:
        self.backend()
        other = GenericBackend(
            Database(name="other", url=sa.make_url(self.url), engine=lambda: self.engine, unsafe=True)
        )
        with self.assertRaisesRegex(UnsafeStoreError, "in use by another run"):
            other.check(())
        other.close()
        self.do(
            "UPDATE protean_testing SET body = regexp_replace(body, '\"pid\": \\d+', '\"pid\": 999999999')"
        )
        other.check(())
        other.close()
        elsewhere = """regexp_replace(body, '"host": "[^"]*', '"host": "elsewhere')"""
        self.do(f"UPDATE protean_testing SET body = {elsewhere} WHERE part = 0")
        with self.assertRaisesRegex(UnsafeStoreError, "on elsewhere"):
            other.check(())
        other.close()


class Silent(SQLiteDialect_pysqlite):
    """A dialect that does not answer to inspection, as DuckDB's."""

    name = "silent"
    supports_statement_cache = True

    def get_table_names(self, *_: Any, **__: Any) -> list[str]:
        raise NotImplementedError("no table names")


class SilentTests(unittest.TestCase):
    def test_a_dialect_without_inspection_is_refused_before_anything_is_made(self) -> None:
        registry.register("silent", __name__, "Silent")
        directory = self.enterContext(tempfile.TemporaryDirectory())
        path = Path(directory, "shop_test.db")
        for place in (str(path), ":memory:"):
            store = SQLAlchemyStore(metadata, url=f"silent:///{place}", name="shop")
            self.addCleanup(store.close)
            with self.assertRaisesRegex(
                ConfigurationError, "'silent' cannot say what is .*(?s:.*)no table names"
            ):
                store.check()
        with closing(sqlite3.connect(path)) as connection:
            self.assertEqual(connection.execute("SELECT * FROM sqlite_schema").fetchall(), [])


metadata = sa.MetaData()
orders = sa.Table(
    "orders", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("customer", sa.String(20))
)


class ConformanceTests(StoreConformance, unittest.TestCase):
    def setUp(self) -> None:
        self.url = server.create("conform_test")
        super().setUp()

    def make_store(self) -> SQLAlchemyStore:
        return SQLAlchemyStore(metadata, url=self.url)

    def make_elsewhere(self) -> SQLAlchemyStore:
        return SQLAlchemyStore(metadata, url=server.create("elsewhere_test"))

    def write(self, store: SQLAlchemyStore, value: str) -> None:
        with store.engine.begin() as connection:
            connection.execute(sa.insert(orders).values(customer=value))

    def read(self, store: SQLAlchemyStore) -> object:
        with store.engine.connect() as connection:
            counter = connection.exec_driver_sql("SHOW CREATE TABLE orders").all()
            return connection.execute(sa.select(orders)).all(), counter


class SuiteTests(DatabaseTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.stores = [SQLAlchemyStore(metadata, url=server.create("suite_test"))]
        super().setUpClass()
        with cls.db.session() as session:
            session.execute(sa.insert(orders).values(customer="of the class"))
            session.commit()

    def test_1(self) -> None:
        with self.db.session() as session:
            added = session.execute(sa.insert(orders).values(customer="c"))
            session.commit()
            self.assertEqual(added.inserted_primary_key, (2,))
            self.assertEqual(session.scalars(sa.select(orders.c.customer)).all(), ["of the class", "c"])

    test_2 = test_1


ASYNC_SUITE = """
import os
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from protean_testing import AsyncDatabaseTestCase, SQLAlchemyStore

metadata = MetaData()
items = Table("items", metadata, Column("id", Integer, primary_key=True), Column("name", String(20)))
url = os.environ["URL"]
engine = create_async_engine(url, poolclass=NullPool) if os.environ["GIVEN"] else None
place = {"engine": engine} if engine else {"url": url}

class ItemTests(AsyncDatabaseTestCase):
    stores = [SQLAlchemyStore(metadata, **place)]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.db.session() as session:
            session.execute(insert(items).values(name="of the class"))
            session.commit()

    async def test_1(self):
        async with self.db.async_session() as session:
            added = await session.execute(insert(items).values(name="of a test"))
            await session.commit()
            self.assertEqual(added.inserted_primary_key, (2,))
            self.assertEqual(await session.scalar(select(func.count()).select_from(items)), 2)
        async with (engine or self.db.async_engine).connect() as connection:
            self.assertEqual((await connection.exec_driver_sql("SELECT count(*) FROM items")).scalar(), 2)

    test_2 = test_1
"""


class AsyncTests(SuiteTestCase):
    """The URL of an async application, as it stands in its settings."""

    def test_a_suite(self) -> None:
        self.write("test_items.py", ASYNC_SUITE)
        for dialect in ("mysql+aiomysql", "mariadb+aiomysql", "mysql+pymysql", "mariadb+pymysql"):
            for given in ("", "1") if "aio" in dialect else ("",):
                with self.subTest(dialect, given=given):
                    url = server.create("async_test").replace("mysql+pymysql", dialect)
                    self.assertPassed(self.unittest("test_items", URL=url, GIVEN=given), 2)
                    with server.connect("async_test") as connection, connection.cursor() as cursor:
                        cursor.execute("SHOW TABLES")
                        self.assertEqual(cursor.fetchall(), ())

    def test_a_database_that_is_not_there_is_created(self) -> None:
        self.write("test_items.py", ASYNC_SUITE)
        url = server.url("absent_test").replace("pymysql", "aiomysql")
        self.assertPassed(self.unittest("test_items", URL=url, GIVEN=""), 2)
        with server.connect("mysql") as connection, connection.cursor() as cursor:
            cursor.execute("SHOW DATABASES LIKE 'absent_test'")
            self.assertEqual(cursor.fetchall(), ())
