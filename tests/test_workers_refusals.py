"""A worker refuses what one process refuses: that its database is a copy of the given one allows nothing."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any

from .server_log import ServerLogTestCase
from .suite import Outcome, SuiteTestCase

SUITE = """
import os, unittest
import sqlalchemy as sa
from protean_testing import DatabaseTestCase, SQLAlchemyStore

metadata, more = sa.MetaData(), sa.MetaData()
orders = sa.Table("orders", metadata,
    sa.Column("id", sa.Integer, primary_key=True), sa.Column("customer", sa.Text))
sa.Table("invoice", more, sa.Column("id", sa.Integer, primary_key=True))

def make(engine):
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE made (a int)"))

class Tests(DatabaseTestCase):
    stores = eval(os.environ["STORES"])

    def test_1(self):
        with self.db.store("database").engine.begin() as connection:
            for table in os.environ.get("CLEAR", "").split():
                connection.execute(sa.text(f"DELETE FROM {table}"))
            for table in os.environ.get("COUNT", "").split():
                print(table, connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar())
"""

METADATA = "SQLAlchemyStore(metadata{})"
SCHEMA = "SQLAlchemyStore(schema=make, inputs=[]{})"
MORE = "SQLAlchemyStore(more, name='more')"
ADOPT = "SQLAlchemyStore(adopt=True)"


class RefusalTests(SuiteTestCase):
    """In a file; the classes below have the same in other places."""

    place = "shop_test.db"

    def setUp(self) -> None:
        super().setUp()
        self.write("test_shop.py", SUITE)

    def environment(self, **variables: str) -> dict[str, str]:
        url = f"sqlite:///{self.directory / self.place}"
        return super().environment(**{"TEST_DB": "sqlite", "DATABASE_URL": url, **variables})

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in the given place; the rows of the last."""
        with closing(sqlite3.connect(self.directory / self.place)) as connection, connection:
            return [connection.execute(statement).fetchall() for statement in statements][-1]

    def left(self) -> list[str]:
        """What stands beside the given place."""
        return sorted(path.name for path in self.directory.glob("*shop_test*") if path.name != self.place)

    def run_once(self, stores: str, *, worker: bool, **variables: str) -> Outcome:
        more = {"PROTEAN_TESTING_WORKER": "w1"} if worker else {}
        return self.unittest("test_shop", STORES=f"[{stores}]", **more, **variables)

    def assertRefused(self, stores: str, *texts: str) -> None:
        """Alone and in a worker, by the same words; nothing is left of it."""
        said = []
        for worker in (False, True):
            with self.subTest(stores, worker=worker):
                outcome = self.run_once(stores, worker=worker)
                self.assertFailed(outcome, "refusing to use store", *texts)
                self.assertEqual(outcome.ran, 0, outcome.err)
                self.assertEqual(self.left(), [])
                found = re.search(r"refusing to use store.*?(?=\n\n|\n-{20})", outcome.err, re.DOTALL)
                said.append("" if found is None else re.sub("store '\\w+'", "store", found[0]))
        self.assertEqual(said[0], said[-1])

    def assertRuns(self, stores: str, said: str = "", **variables: str) -> None:
        """Alone and in a worker."""
        for worker in (False, True):
            with self.subTest(stores, worker=worker):
                outcome = self.run_once(stores, worker=worker, **variables)
                self.assertPassed(outcome, 1)
                self.assertEqual(outcome.out, said)
                self.assertEqual(self.left(), [])

    def theirs(self, *, rows: bool) -> None:
        self.sql("CREATE TABLE orders (id int, theirs text)", "CREATE TABLE theirs (a int)")
        if rows:
            self.sql("INSERT INTO orders VALUES (7, 'x')", "INSERT INTO theirs VALUES (1)")

    def test_a_planned_table_that_is_there(self) -> None:
        for rows in (False, True):
            self.theirs(rows=rows)
            self.assertRefused(METADATA.format(""), "orders", "is there already", "adopt=True")
            self.assertRefused(f"{MORE}, {METADATA.format('')}", "orders", "is there already")
            self.assertEqual(
                len(self.sql("SELECT * FROM orders UNION ALL SELECT 1, '' FROM theirs")), 2 * rows
            )
            self.sql("DROP TABLE orders", "DROP TABLE theirs")

    def test_rows_of_others_beside_a_callable(self) -> None:
        self.theirs(rows=True)
        self.assertRefused(SCHEMA.format(""), "theirs", "holds data", "adopt=True")
        self.assertEqual(self.sql("SELECT * FROM orders"), [(7, "x")])
        self.sql("DELETE FROM orders", "DELETE FROM theirs")
        self.assertRuns(SCHEMA.format(""), "made 0\n", COUNT="made")

    def test_tables_beside_metadata(self) -> None:
        self.sql("CREATE TABLE theirs (a int)", "INSERT INTO theirs VALUES (1)")
        self.assertRuns(f"{METADATA.format('')}, {MORE}", "orders 0\ninvoice 0\n", COUNT="orders invoice")
        self.assertEqual(self.sql("SELECT * FROM theirs"), [(1,)])

    def test_what_is_adopted_is_copied(self) -> None:
        self.theirs(rows=True)
        self.assertRuns(ADOPT, "orders 0\ntheirs 1\n", COUNT="orders theirs", CLEAR="orders")
        self.assertEqual(self.sql("SELECT * FROM orders"), [(7, "x")])

    def test_unsafe_allows_it_and_a_worker_destroys_nothing(self) -> None:
        self.theirs(rows=True)
        outcome = self.run_once(METADATA.format(", unsafe=True"), worker=True, COUNT="orders")
        self.assertPassed(outcome, 1)
        self.assertEqual(outcome.out, "orders 0\n")
        self.assertEqual(self.sql("SELECT * FROM orders"), [(7, "x")])

    def test_a_kept_schema_is_ours(self) -> None:
        for stores in (METADATA.format(""), SCHEMA.format("")):
            for keep in ("1", "0"):
                with self.subTest(stores, keep=keep):
                    self.assertPassed(self.run_once(stores, worker=False, PROTEAN_TESTING_KEEP="1"), 1)
                    self.assertPassed(self.run_once(stores, worker=True, PROTEAN_TESTING_KEEP=keep), 1)
            self.assertPassed(self.run_once(stores, worker=False), 1)
            self.assertPassed(self.run_once(stores, worker=True), 1)
            self.assertEqual(self.left(), [])


class PostgreSQLRefusalTests(ServerLogTestCase, RefusalTests):
    """In a given database."""

    def environment(self, **variables: str) -> dict[str, str]:
        given = {"TEST_DB": "postgresql", "DATABASE_URL": self.url, "PROTEAN_TESTING_STATE": self.state}
        return super().environment(**{**given, **variables})

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        return [self.rows(statement) for statement in statements][-1]

    def left(self) -> list[str]:
        return self.databases()

    def test_two_workers_of_one_run(self) -> None:
        self.theirs(rows=True)
        self.write("two.py", TWO)
        for stores in (METADATA.format(""), SCHEMA.format("")):
            outcome = self.python("two.py", STORES=f"[{stores}]")
            self.assertEqual(outcome.code, 2, outcome.err)
            self.assertEqual(outcome.err.count("Error: refusing to use store 'database'"), 2, outcome.err)
            self.assertEqual(self.databases(), [])

    def test_the_search_path_says_which_table(self) -> None:
        self.sql(
            "CREATE SCHEMA app",
            "ALTER DATABASE shop_test SET search_path TO app",
            "CREATE TABLE public.orders (a int)",
        )
        self.assertRuns(METADATA.format(""), "orders 0\n", COUNT="orders")
        self.sql("CREATE TABLE app.orders (a int)")
        self.assertRefused(METADATA.format(""), "table app.orders", "is there already")


TWO = """
import multiprocessing, sys, unittest

def work(barrier):
    import test_shop
    barrier.wait(60)
    result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromModule(test_shop))
    sys.exit(not result.wasSuccessful())

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=work, args=(barrier,)) for _ in range(2)]
    for process in processes: process.start()
    for process in processes: process.join()
    sys.exit(sum(process.exitcode for process in processes))
"""
