"""A schema that stays: the next run uses it where nothing has changed, and makes it anew where any has."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys

from . import interpreters
from .server_log import ServerLogTestCase
from .suite import MODELS, Outcome, SuiteTestCase

TESTS = """
import signal, time

class KeepTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata)]
    def test_1(self):
        self.assertEqual(place(self.engine), 1)
        self.assertEqual(customers(self.engine), ["c"])
        if os.environ.get("STOP"):
            print("ready", flush=True)
            time.sleep(60)
    test_2 = test_1
"""

CALLABLE = """
import os
from protean_testing import *
from protean_testing import SQLAlchemyStore
from shop import schema

INPUTS = ["shop/migrations/", "shop/more.py"]

class KeepTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=schema.make, inputs=INPUTS)]
    def test_1(self):
        with self.engine.begin() as connection:
            found = connection.exec_driver_sql("SELECT count(*) FROM made").scalar()
            self.assertEqual(found, int(os.environ.get("ROWS", 1)))
            connection.exec_driver_sql("INSERT INTO made VALUES (2)")
    test_2 = test_1
"""

SCHEMA = """
import os, pathlib
from . import more

def make(engine):
    with open(os.environ["LOG"], "a") as log: print("made", file=log)
    with engine.begin() as connection:
        for file in sorted((pathlib.Path(__file__).parent / "migrations").iterdir()):
            connection.exec_driver_sql(file.read_text())
    if os.environ.get("FAIL"):
        raise RuntimeError("half-way")
"""


class PostgreSQLKeepTests(ServerLogTestCase):
    def run_kept(self, keep: str = "1", tests: int = 2, **variables: str) -> int:
        """Run the suite. Returns how often it created a table."""
        self.statements()
        self.assertPassed(self.unittest("test_keep", PROTEAN_TESTING_KEEP=keep, **variables), tests)
        return self.statements()["CREATE TABLE orders"]

    def setUp(self) -> None:
        super().setUp()
        self.write("test_keep.py", TESTS, before=MODELS)

    def test_the_next_run_uses_it(self) -> None:
        self.assertEqual(self.run_kept(), 1)
        self.assertIn("orders", self.tables())
        self.assertEqual(self.run_kept(), 0)
        self.assertEqual(self.run_kept(), 0)
        self.assertEqual(self.rows("SELECT count(*) FROM orders"), [(0,)])
        self.assertEqual(self.rows("SELECT last_value, is_called FROM orders_id_seq"), [(1, False)])

    def test_without_keep_nothing_stays(self) -> None:
        self.run_kept()
        self.assertEqual(self.run_kept("0"), 1)
        self.assertEqual(self.tables(), [])

    def test_other_metadata(self) -> None:
        self.run_kept()
        for change in (
            ("customer: Mapped[str]", "customer: Mapped[str]; more: Mapped[int | None]"),
            ("more: Mapped[int | None]", "more: Mapped[str | None]"),
            ('ForeignKey("orders.id")', 'ForeignKey("orders.id", ondelete="CASCADE")'),
        ):
            with self.subTest(change[1]):
                source = (self.directory / "test_keep.py").read_text()
                self.assertIn(change[0], source)
                (self.directory / "test_keep.py").write_text(source.replace(*change))
                self.assertEqual(self.run_kept(), 1)
        self.assertEqual(self.run_kept(), 0)
        (kind,) = self.rows("SELECT atttypid::regtype::text FROM pg_attribute WHERE attname = 'more'")
        self.assertEqual(kind, ("character varying",))

    def test_what_others_did_between_two_runs(self) -> None:
        self.run_kept()
        for statement in (
            "INSERT INTO orders (customer) VALUES ('theirs')",
            "SELECT nextval('orders_id_seq')",
            "ALTER TABLE orders ALTER customer DROP NOT NULL",
            "DROP TABLE items",
            "DROP TRIGGER protean_testing ON orders",
            "CREATE TABLE theirs (a int)",
        ):
            with self.subTest(statement):
                self.rows(statement)
                self.assertEqual(self.run_kept(), 1, "made anew")
        self.assertEqual(self.rows("SELECT to_regclass('theirs')"), [("theirs",)], "it is not ours to drop")
        self.assertEqual(self.run_kept(), 0)

    def test_a_killed_run_keeps_nothing_and_ctrl_c_all(self) -> None:
        self.run_kept()
        for number, made in ((signal.SIGINT, 0), (signal.SIGKILL, 1)):
            process = interpreters.Program(
                [sys.executable, "-m", "unittest", "test_keep"],
                cwd=self.directory,
                env=self.environment(PROTEAN_TESTING_KEEP="1", STOP="1"),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "ready\n")
            process.send_signal(number)
            process.communicate(timeout=30)
            self.assertEqual(self.run_kept(), made)
        self.assertEqual(self.run_kept(), 0)

    def test_the_argument_stands_over_the_variable(self) -> None:
        self.write(
            "test_keep.py", TESTS.replace("(Base.metadata)", "(Base.metadata, keep=False)"), before=MODELS
        )
        self.run_kept()
        self.assertEqual(self.tables(), [])
        self.write(
            "test_keep.py", TESTS.replace("(Base.metadata)", "(Base.metadata, keep=True)"), before=MODELS
        )
        self.run_kept("")
        self.assertEqual(self.run_kept(""), 0)

    def test_the_generic_reset(self) -> None:
        self.write(
            "test_keep.py",
            TESTS.replace("(Base.metadata)", '(Base.metadata, reset="generic")'),
            before=MODELS,
        )
        self.assertEqual(self.run_kept(), 1)
        self.assertEqual(self.run_kept(), 0)

    def test_several_schemas_in_one_database_are_not_kept(self) -> None:
        self.write(
            "test_keep.py",
            """
            from sqlalchemy import Column, Integer, MetaData, Table
            other = MetaData()
            Table("other", other, Column("id", Integer, primary_key=True))
            class KeepTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata), SQLAlchemyStore(other, name="other")]
                def test_1(self):
                    for store in self.db.stores:
                        with store.engine.connect(): pass
            """,
            before=MODELS,
        )
        for _ in range(2):
            self.assertEqual(self.run_kept(tests=1), 1)
            self.assertEqual(self.tables(), [])


class CallableKeepTests(ServerLogTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("test_keep.py", CALLABLE)
        self.write("shop/__init__.py", "")
        self.write("shop/more.py", "NUMBER = 1\n")
        self.write("shop/schema.py", SCHEMA)
        self.write("shop/migrations/1.sql", "CREATE TABLE made (a int); INSERT INTO made VALUES (1)")

    def run_kept(self, **variables: str) -> Outcome:
        return self.unittest("test_keep", PROTEAN_TESTING_KEEP="1", **variables)

    def assertMade(self, times: int, **variables: str) -> None:
        outcome = self.run_kept(**variables)
        self.assertPassed(outcome, 2)
        self.assertEqual(outcome.count("made"), times)

    def test_what_it_is_made_from(self) -> None:
        self.assertMade(1)
        with self.subTest("a file of its migrations"):
            self.write("shop/migrations/1.sql", "CREATE TABLE made (a int)")
            self.assertMade(1, ROWS="0")
            self.assertMade(0, ROWS="0")
        with self.subTest("one more"):
            self.write("shop/migrations/2.sql", "INSERT INTO made VALUES (7)")
            self.assertMade(1)
        with self.subTest("a module of the project"):
            self.write("shop/more.py", "NUMBER = 2\n")
            self.assertMade(1)
        with self.subTest("its own module"):
            self.write("shop/schema.py", SCHEMA + "\nOTHER = 1\n")
            self.assertMade(1)
        with self.subTest("a test is nothing to it"):
            self.write("test_keep.py", CALLABLE + "\n    test_3 = test_1\n")
            self.assertEqual(self.run_kept().count("made"), 0)

    def test_one_that_failed_half_way(self) -> None:
        self.assertFailed(self.run_kept(FAIL="1"), "half-way")
        self.assertEqual(self.tables(), [])
        self.assertMade(1)
        self.write("shop/more.py", "NUMBER = 2\n")
        self.assertFailed(self.run_kept(FAIL="1"), "half-way")
        self.assertMade(1)
        self.assertMade(0)

    def test_one_that_declares_nothing(self) -> None:
        self.write("test_keep.py", CALLABLE.replace(", inputs=INPUTS", ""))
        for _ in range(2):
            outcome = self.run_kept()
            self.assertPassed(outcome, 2)
            self.assertEqual(outcome.count("made"), 1)
            self.assertIn(
                "NotKeptWarning: the schema of store 'database' is not kept for the next run: "
                "schema=make may read anything. Declare what it is made from",
                outcome.err,
            )
            self.assertEqual(self.tables(), [])

    def test_inputs_that_are_none(self) -> None:
        for inputs, why in (
            ("[object()]", "inputs= takes files, directories and plain values"),
            ("[int]", "and was given a type"),
        ):
            self.write("test_keep.py", CALLABLE.replace("=INPUTS", f"={inputs}"))
            self.assertFailed(self.run_kept(), "ConfigurationError", why)
        for other in ("adopt=True", "empty=True"):
            self.write("test_keep.py", CALLABLE.replace("schema=schema.make", other))
            self.assertFailed(self.run_kept(), "it says what they depend on")


class SQLiteKeepTests(SuiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("test_keep.py", CALLABLE)
        self.write("shop/__init__.py", "")
        self.write("shop/more.py", "")
        self.write("shop/schema.py", SCHEMA)
        self.write("shop/migrations/1.sql", "CREATE TABLE made (a int)")
        self.write("shop/migrations/2.sql", "INSERT INTO made VALUES (1)")
        self.file = self.directory / "shop_test.db"

    def assertMade(self, times: int, keep: str = "1") -> None:
        outcome = self.unittest(
            "test_keep",
            TEST_DB="sqlite",
            DATABASE_URL=f"sqlite:///{self.file}",
            PROTEAN_TESTING_KEEP=keep,
            PROTEAN_TESTING_STATE=str(self.directory / "state"),
        )
        self.assertPassed(outcome, 2)
        self.assertEqual(outcome.count("made"), times)

    def test_a_file(self) -> None:
        self.assertMade(1)
        self.assertMade(0)
        self.assertMade(0)
        with self.subTest("another file of the migrations"):
            self.write("shop/migrations/2.sql", "INSERT INTO made VALUES (3)")
            self.assertMade(1)
        with self.subTest("others wrote"):
            with sqlite3.connect(self.file) as connection:
                connection.execute("INSERT INTO made VALUES (9)")
            connection.close()
            self.assertMade(1)
            self.assertMade(0)
        with self.subTest("nothing stays without keep"):
            self.assertMade(1, keep="0")
            self.assertFalse(self.file.exists())
            self.assertEqual(list(self.directory.glob(".*")), [])

    def test_a_file_that_keeps_a_journal_beside_it(self) -> None:
        self.write("shop/migrations/0.sql", "PRAGMA user_version = 3")
        with sqlite3.connect(self.file) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE theirs (a)")
        connection.close()
        self.assertMade(1)
        self.assertMade(0)
        self.assertMade(1, keep="0")
        with sqlite3.connect(self.file) as connection:
            found = connection.execute("SELECT name FROM sqlite_schema").fetchall()
        connection.close()
        self.assertEqual(found, [("theirs",)])
