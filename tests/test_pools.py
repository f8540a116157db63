"""Connections that wait in our own engine's pool hold nothing of a test that is over."""

from __future__ import annotations

import json
import unittest

from .oracle.postgresql import VERSIONS
from .postgresql_testcase import owned_database
from .suite import SuiteTestCase

SUITE = """
import json, os, unittest
from sqlalchemy import text
from protean_testing import DatabaseTestCase, SQLAlchemyStore

def make(engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id integer PRIMARY KEY, total integer)"))

class PoolTests:
    def run_sql(self, *statements):
        with self.db.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def read(self):
        "Until the driver has prepared the statement, which it forgets at a ROLLBACK."
        with self.db.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            for _ in range(8):
                connection.execute(text("SELECT * FROM orders")).all()

    def test_1_a_temporary_table_beside_rows(self):
        self.run_sql("CREATE TEMP TABLE passing (n integer)", "INSERT INTO orders VALUES (1, 1)")
        self.run_sql("INSERT INTO passing VALUES (1)")  # it is there as long as the test

    def test_2_one_of_the_same_name(self):
        self.run_sql("CREATE TEMP TABLE passing (n integer)")

    def test_3_and_again(self):
        self.run_sql("CREATE TEMP TABLE passing (n integer)")

    def test_4_plans_are_made(self):
        self.read()

    def test_5_of_another_schema(self):
        self.run_sql("ALTER TABLE orders ADD COLUMN more integer")
        self.db.engine.dispose()
        self.read()

    def test_6_and_of_the_first_one_again(self):
        self.read()

    def test_7_of_a_table_that_is_dropped(self):
        self.read()
        self.run_sql("DROP TABLE orders")

    def test_8_and_there_again(self):
        self.read()

for number, options in enumerate([{}, *json.loads(os.environ["STORES"])]):
    name = f"Pool{number}Tests"
    stores = [SQLAlchemyStore(schema=make, **options)]
    globals()[name] = type(name, (PoolTests, DatabaseTestCase), {"stores": stores, "__module__": __name__})
del PoolTests
"""


class PoolTests(SuiteTestCase):
    def test_sqlite(self) -> None:
        self.write("test_pool.py", SUITE)
        outcome = self.unittest("test_pool", STORES=f'[{{"url": "sqlite:///{self.directory}/pool_test.db"}}]')
        self.assertPassed(outcome, 16)

    def test_postgresql(self) -> None:
        self.write("test_pool.py", SUITE)
        for version in VERSIONS:
            with self.subTest(version=version):
                stores = [
                    {"url": owned_database(self, version, role, f"pool_{role}_{reset}_test"), "reset": reset}
                    for role in ("postgres", "granted", "owner")
                    for reset in ("fast", "generic")
                ]
                self.assertPassed(self.unittest("test_pool", STORES=json.dumps(stores)), 7 * 8)


if __name__ == "__main__":
    unittest.main()
