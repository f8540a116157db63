"""Chains of kills at random moments, on PostgreSQL, in every mode; then a run that comes to its end."""

from __future__ import annotations

from typing import Any

from .test_postgresql import ADOPT, BESIDE, GENERIC, KEEP, SPOILED, THEIRS, PostgreSQLAttackTestCase

LONGEST = 0.8  # seconds after the imports: a run that is not disturbed takes about as long

SUITE = """
import psycopg
url = os.environ["URL"]
SPOILED = '''{spoiled}'''

class ShopTests(DatabaseTestCase):
    stores = [SQLAlchemyStore({store}, url=url, name="shop")]
    def test_1(self):
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(SPOILED)
            if os.environ.get("OURS"):
                place(self.engine)
    test_2 = test_3 = test_4 = test_1
"""


class ChainTestCase(PostgreSQLAttackTestCase):
    def chain(self, store: str, seed: int, **variables: str) -> Any:
        """20 kills, and a run that comes to its end."""
        self.suite(SUITE.replace("{store}", store).replace("{spoiled}", SPOILED))
        killed = self.kill_often(20, LONGEST, seed=seed, **variables)
        self.assertGreater(killed, 3, "hardly any was still at work")
        return self.run_suite(**variables)

    def check(self, store: str, seed: int, **variables: str) -> None:
        """What was there before is there after it, and nothing of ours; or a refusal says how to clear it."""
        self.theirs(THEIRS)
        before = self.content()
        outcome = self.chain(store, seed, **variables)
        if outcome.code:  # killed in the moment between the schema and the note of what it is
            self.assertRefused(outcome, "python -m protean_testing clean")
            self.clean(self.url)
            self.assertUntouched(before)
            outcome = self.run_suite(**variables)
        self.assertPassed(outcome, 4)
        if store == KEEP:
            self.suite(SUITE.replace("{store}", BESIDE).replace("{spoiled}", SPOILED))
            self.assertPassed(self.run_suite(**variables), 4)
        self.assertUntouched(before)


class KillChainTests(ChainTestCase):
    def test_beside_other_tables(self) -> None:
        self.check(BESIDE, 1, OURS="1")

    def test_generic(self) -> None:
        self.check(GENERIC, 2, OURS="1")

    def test_adopted(self) -> None:
        self.check(ADOPT, 3)

    def test_kept(self) -> None:
        self.check(KEEP, 4, OURS="1")


class OwnerKillChainTests(ChainTestCase):
    role = "owner"

    def test_beside_other_tables(self) -> None:
        self.check(BESIDE, 5, OURS="1")

    def test_an_empty_database_of_its_own(self) -> None:
        self.sql("ALTER ROLE owner CREATEDB")
        self.theirs(THEIRS)
        before, there = self.content(), self.databases()
        self.suite(
            """
            class EmptyTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(empty=True)]
                def test_1(self):
                    with self.engine.begin() as connection:
                        connection.execute(text("CREATE TABLE t (a int)"))
                        connection.execute(text("INSERT INTO t VALUES (1)"))
                test_2 = test_3 = test_1
            """
        )
        given = {"DATABASE_URL": self.url, "TEST_DB": "postgresql"}
        self.assertGreater(self.kill_often(20, LONGEST, seed=6, **given), 3)
        self.assertPassed(self.run_suite(**given), 3)
        self.assertEqual(self.databases(), there)
        self.assertUntouched(before)
