"""MariaDB: locks that a test leaves in a session that sleeps are named and ended, at its end or later."""

from __future__ import annotations

import re
import unittest
from concurrent.futures import ThreadPoolExecutor

from .mariadb_server import MariaDB
from .suite import MODELS, Outcome, SuiteTestCase

SUITE = """
import time
import pymysql
from sqlalchemy import String, text

KIND, FAST = os.environ["KIND"], "FAST" in os.environ
TAKE, NEED = {
    "write": ("LOCK TABLES orders WRITE", "UPDATE orders SET customer = 'x'"),
    "read": ("LOCK TABLES orders READ", "UPDATE orders SET customer = 'x'"),
    "older_engine": ("LOCK TABLES plain READ", "UPDATE plain SET id = 7"),
    "no_autocommit": ("SET autocommit = 0; LOCK TABLES orders WRITE", "UPDATE orders SET customer = 'x'"),
    "handler": (
        "INSERT INTO orders (customer) VALUES ('n'); HANDLER orders OPEN",  # in the way of ALTER TABLE
        "UPDATE orders SET customer = 'x'",
    ),
    "altered_handler": (
        "ALTER TABLE orders ADD z int; HANDLER orders OPEN", "UPDATE orders SET customer = 'x'"
    ),
    "global": ("FLUSH TABLES WITH READ LOCK", "UPDATE orders SET customer = 'x'"),
    "named": ("SELECT GET_LOCK('it''s', 0)", "SELECT GET_LOCK('it''s', 30)"),
    "rows": ("BEGIN; SELECT * FROM orders FOR UPDATE; USE elsewhere", "UPDATE orders SET customer = 'x'"),
    "writer_elsewhere": (
        "BEGIN; INSERT INTO orders (customer) VALUES ('n'); USE elsewhere", "UPDATE orders SET customer = 'x'"
    ),
    "reader": ("BEGIN; SELECT * FROM orders", "ALTER TABLE orders ADD COLUMN note text"),
    "reader_elsewhere": (
        "BEGIN; SELECT * FROM orders; USE elsewhere", "ALTER TABLE orders ADD COLUMN note text"
    ),
    "prepared": (
        "XA START 'left', 'b', 7; UPDATE orders SET customer = 'x'; XA END 'left', 'b', 7; "
        "XA PREPARE 'left', 'b', 7",
        "UPDATE orders SET customer = 'x'",
    ),
}[KIND]
left = []

class OrderTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, url=os.environ["URL"], on_leak=os.environ.get("POLICY", "warn"))]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        place(cls.engine)
        cls.of_class = cls.connect()
        cls.run_all(cls.of_class, "SELECT 1")

    @classmethod
    def connect(cls):
        url = cls.engine.url
        connection = pymysql.connect(
            unix_socket=url.query["unix_socket"], user=url.username, password=url.password or "",
            database=url.database, autocommit=True,
        )
        left.append(connection)
        return connection

    @staticmethod
    def run_all(connection, statements):
        with connection.cursor() as cursor:
            for statement in statements.split("; "):
                cursor.execute(statement)

    def test_1(self):
        connection = self.connect()
        self.run_all(connection, TAKE)
        if KIND == "prepared" and "CONNECTED" not in os.environ:
            connection.close()

    def test_2(self):
        customers(self.engine)

    def test_3(self):
        connection = self.connect()
        began = time.monotonic()
        self.run_all(connection, NEED)
        print(f"freed after {time.monotonic() - began:.1f}")
        connection.close()

    def test_4(self):
        self.assertEqual(customers(self.engine), ["c"])
        self.run_all(self.of_class, "SELECT 1")

class LaterTests(DatabaseTestCase):
    stores = OrderTests.stores

    def test_5(self):
        began = time.monotonic()
        with self.db.session() as session:
            session.add(Order(customer="x"))
            session.commit()

    @classmethod
    def tearDownClass(cls):
        began = time.monotonic()
        super().tearDownClass()
        print(f"ended after {time.monotonic() - began:.1f}")
"""

server: MariaDB


def setUpModule() -> None:
    global server
    server = MariaDB()
    unittest.addModuleCleanup(server.stop)
    server.create("elsewhere")


class MariaDBTests(SuiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        models = MODELS.replace("customer: Mapped[str]", "customer: Mapped[str] = mapped_column(String(9))")
        models = "from sqlalchemy import String, Table, Column, Integer\n" + models
        models += (
            "\nPlain = Table('plain', Base.metadata, Column('id', Integer, primary_key=True), "
            "mysql_engine='MyISAM')\n"
        )
        self.write("suite_hanging.py", SUITE, before=models)

    def run_kind(self, kind: str, **more: str) -> Outcome:
        url = server.create(f"{kind}{'_'.join(['', *more]).lower()}_test")
        return self.python(
            "-W", "always", "-m", "unittest", "-v", "suite_hanging", KIND=kind, URL=url, timeout=90, **more
        )  # fmt: skip

    def check(self, kind: str, outcome: Outcome, named: str) -> None:
        said = outcome.out + outcome.err
        with self.subTest(kind=kind):
            self.assertEqual(outcome.code, 0, said)
            self.assertEqual(outcome.ran, 5, said)
            self.assertLess(float(re.findall(r"freed after ([\d.]+)", said)[0]), 15, said)
            self.assertLess(float(re.findall(r"ended after ([\d.]+)", said)[0]), 10, said)
            self.assertRegex(
                said, rf"LeakWarning: suite_hanging\.OrderTests\.test_1 left [^\n]*\n[^\n]*{named}"
            )
            self.assertEqual(said.count("LeakWarning: "), 1, said)

    def test_at_the_end_of_the_test(self) -> None:
        named = {
            "write": r"connection \d+ of root .*asleep.*LOCK TABLES",
            "read": r"connection \d+ of root .*asleep.*LOCK TABLES",
            "older_engine": r"connection \d+ of root .*asleep.*LOCK TABLES",
            "no_autocommit": r"connection \d+ of root .*asleep",
            "handler": r"connection \d+ of root .*asleep.*HANDLER",
            "altered_handler": r"connection \d+ of root .*asleep.*HANDLER",
            "rows": r"connection \d+ of root at localhost in database elsewhere, .*row lock",
            "writer_elsewhere": r"connection \d+ of root at localhost in database elsewhere, .*undo log",
            "prepared": r"prepared transaction 'left'.*XA ROLLBACK X'6c656674', X'62', 7",
        }
        with ThreadPoolExecutor(3) as pool:
            runs = dict(zip(named, pool.map(self.run_kind, named), strict=True))
        for kind, outcome in runs.items():
            self.check(kind, outcome, named[kind])

    def test_where_a_later_test_hangs(self) -> None:
        named = {
            "named": r"connection \d+ of root .*asleep.*GET_LOCK\('it''s'\) \(KILL \d+\)",
            "reader": r"connection \d+ of root .*asleep.*metadata lock.*\(KILL \d+\)",
            "reader_elsewhere": r"connection \d+ of root .*database elsewhere.*metadata lock.*\(KILL \d+\)",
        }
        with ThreadPoolExecutor(3) as pool:
            runs = dict(zip(named, pool.map(self.run_kind, named), strict=True))
        for kind, outcome in runs.items():
            self.check(kind, outcome, named[kind])
            self.assertIn("suite_hanging.OrderTests.test_3 hung on it", outcome.err)

    def test_a_lock_of_the_whole_server(self) -> None:
        outcome = self.run_kind("global")
        self.check("global", outcome, r"connection \d+ of root .*asleep.*FLUSH TABLES WITH READ LOCK")

    def test_a_prepared_transaction_whose_session_is_there(self) -> None:
        outcome = self.run_kind("prepared", CONNECTED="1")
        self.check("prepared", outcome, r"connection \d+ of root .*undo log entries 1")

    def test_where_the_server_names_the_holders(self) -> None:
        with server.connect("mysql") as connection, connection.cursor() as cursor:
            cursor.execute("INSTALL SONAME 'metadata_lock_info'")
            self.addCleanup(self.uninstall)
        for kind in ("write", "reader_elsewhere"):
            self.check(kind, self.run_kind(kind, EXACT="1"), r"connection \d+ of root .*asleep")

    def uninstall(self) -> None:
        with server.connect("mysql") as connection, connection.cursor() as cursor:
            cursor.execute("UNINSTALL SONAME 'metadata_lock_info'")

    def test_with_on_leak_fail_it_is_an_error(self) -> None:
        outcome = self.run_kind("write", POLICY="fail")
        self.assertFailed(outcome, "LeakError: suite_hanging.OrderTests.test_1 left a transaction open")
        self.assertIn("errors=1", outcome.err)


if __name__ == "__main__":
    unittest.main()
