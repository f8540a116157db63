"""A test that hangs on a lock which an earlier test left is freed, and the earlier one is named."""

from __future__ import annotations

import re
import unittest
from concurrent.futures import ThreadPoolExecutor

from .mariadb_server import MariaDB
from .suite import MODELS, Outcome, SuiteTestCase

SUITE = """
import time
import psycopg

KIND = os.environ["KIND"]
TAKE, NEED = {
    "row": ("BEGIN; SELECT * FROM orders FOR UPDATE", "UPDATE orders SET customer = 'x'"),
    "table": ("BEGIN; LOCK TABLE orders IN SHARE MODE", "UPDATE orders SET customer = 'x'"),
    "advisory": ("SELECT pg_advisory_lock(7)", "SELECT pg_advisory_lock(7)"),
    "reader": ("BEGIN READ ONLY; SELECT * FROM orders", "ALTER TABLE orders ADD COLUMN note text"),
    "prepared": (
        "BEGIN; SELECT * FROM orders FOR UPDATE; PREPARE TRANSACTION 'left'",
        "UPDATE orders SET customer = 'x'",
    ),
}[KIND]
left = []

class OrderTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, on_leak=os.environ["POLICY"])]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        place(cls.engine)

    def connect(self):
        connection = psycopg.connect(self.db.libpq_url, autocommit=True)
        left.append(connection)
        return connection

    def test_1(self):
        self.connect().execute(TAKE)

    def test_2(self):
        pass

    def test_3(self):
        connection = self.connect()
        began = time.monotonic()
        connection.execute(NEED)
        print(f"freed after {time.monotonic() - began:.1f}")
        connection.close()

    def test_4(self):
        self.assertEqual(customers(self.engine), ["c"])

    @unittest.skipIf("OWN" not in os.environ, "hangs for some seconds")
    def test_5_what_the_test_itself_holds_stays(self):
        holder, other = self.connect(), self.connect()
        holder.execute("BEGIN; SELECT * FROM orders FOR UPDATE")
        other.execute("SET lock_timeout = '6s'")
        with self.assertRaises(psycopg.errors.LockNotAvailable):
            other.execute("UPDATE orders SET customer = 'x'")
        holder.execute("ROLLBACK")
        holder.close(), other.close()

class ClassTests(DatabaseTestCase):
    stores = OrderTests.stores

    @unittest.skipIf("OWN" not in os.environ, "hangs for some seconds")
    def test_what_the_class_holds_stays(self):
        with self.assertRaises(psycopg.errors.LockNotAvailable):
            self.waiter.execute("SELECT pg_advisory_lock(8)")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.holder = psycopg.connect(cls.db.libpq_url, autocommit=True)
        cls.holder.execute("SELECT pg_advisory_lock(8)")
        cls.waiter = psycopg.connect(cls.db.libpq_url, autocommit=True)
        cls.waiter.execute("SET lock_timeout = '6s'")
        cls.addClassCleanup(cls.holder.close)
        cls.addClassCleanup(cls.waiter.close)
"""


GIVEN_UP = """
import threading, time
from sqlalchemy import create_engine, text

SLEEP = "pg_sleep" if os.environ["TEST_DB"] == "postgresql" else "SLEEP"
given = {"url": os.environ["DATABASE_URL"]} if "DATABASE_URL" in os.environ else {}

class OrderTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, wait=0.5, **given)]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        place(cls.engine)

    def test_1(self):
        connection = create_engine(self.database_url).connect()
        connection.execute(text("UPDATE orders SET customer = 'x'"))
        work = threading.Thread(target=connection.execute, args=[text(f"SELECT {SLEEP}(60)")], daemon=True)
        work.start()
        time.sleep(0.5)
        type(self).began = time.monotonic()

    def check(self):
        self.assertEqual(customers(self.engine), ["c"])
        self.assertLess(time.monotonic() - self.began, 40)
    test_2 = test_3 = check
"""


class GivenUpTests(SuiteTestCase):
    """A statement that runs on when its test is over fails that test, and no later one."""

    def check(self, **environment: str) -> None:
        models = MODELS.replace("customer: Mapped[str]", "customer: Mapped[str] = mapped_column(String(9))")
        self.write("suite_given_up.py", GIVEN_UP, before=models.replace("ForeignKey,", "ForeignKey, String,"))
        outcome = self.python(
            "-W", "always", "-m", "unittest", "-v", "suite_given_up", timeout=90, **environment
        )
        said = outcome.out + outcome.err
        self.assertEqual(said.count("OpenTransactionError: "), 1, said)
        self.assertRegex(said, r"(?m)^test_1 .*\n?.* ERROR$")
        self.assertRegex(said, r"FAILED \(errors=1\)")
        self.assertRegex(said, r"LeakWarning: suite_given_up.OrderTests.test_1 left a transaction open")
        self.assertIn("It was closed and the data was reset", said)

    def test_postgresql(self) -> None:
        self.check(TEST_DB="postgresql")

    def test_mariadb(self) -> None:
        server = MariaDB()
        self.addCleanup(server.stop)
        self.check(TEST_DB="", DATABASE_URL=server.create("given_up_test"))


class PostgreSQLTests(SuiteTestCase):
    def run_kind(self, kind: str, policy: str = "warn", **more: str) -> Outcome:
        return self.python(
            "-W", "always", "-m", "unittest", "-v", "suite_hanging", KIND=kind, POLICY=policy,
            TEST_DB="postgresql", timeout=90, **more,
        )  # fmt: skip

    def test_every_kind_of_lock(self) -> None:
        self.write("suite_hanging.py", SUITE, before=MODELS)
        kinds = ["row", "table", "advisory", "reader", "prepared"]
        with ThreadPoolExecutor(3) as pool:
            runs = dict(zip(kinds, pool.map(self.run_kind, kinds), strict=True))
        for kind, outcome in runs.items():
            with self.subTest(kind=kind):
                said = outcome.out + outcome.err
                self.assertEqual(outcome.code, 0, said)
                self.assertLess(float(re.findall(r"freed after ([\d.]+)", said)[0]), 15, said)
                named = r"LeakWarning: suite_hanging\.OrderTests\.test_1 left a lock held on store 'database'"
                self.assertRegex(said, named)
                self.assertIn("suite_hanging.OrderTests.test_3 hung on it", said)
                self.assertEqual(said.count("LeakWarning: "), 1, said)

    def test_with_on_leak_fail_it_is_an_error(self) -> None:
        self.write("suite_hanging.py", SUITE, before=MODELS)
        outcome = self.run_kind("row", "fail")
        self.assertFailed(outcome, "LeakError: suite_hanging.OrderTests.test_1 left a lock held")
        self.assertIn("errors=1", outcome.err)

    def test_holders_of_the_test_and_of_its_class_stay(self) -> None:
        self.write("suite_hanging.py", SUITE, before=MODELS)
        outcome = self.run_kind("row", "reset", OWN="1")
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)


if __name__ == "__main__":
    unittest.main()
