"""Chains of kills at random moments, on PostgreSQL, in every mode; then a run that comes to its end."""

from __future__ import annotations

from .postgresql import ADOPT, BESIDE, GENERIC, KEEP, SPOILED, PostgreSQLAttackTestCase

LONGEST = 2.0  # seconds after the imports: a run that is not disturbed takes about as long
MODES = (BESIDE, GENERIC, ADOPT, KEEP)

SUITE = """
import psycopg
SPOILED = '''{spoiled}'''

class ShopTests(DatabaseTestCase):
    stores = [{stores}]
    def test_1(self):
        for store in self.db.stores:
            with psycopg.connect(store.libpq_url, autocommit=True) as connection:
                if store.name != "empty":
                    connection.execute(SPOILED)
                else:
                    connection.execute("CREATE TABLE t AS SELECT 1 AS a")
            if store.metadata:
                place(store.engine)
    test_2 = test_3 = test_1
"""


class ChainTestCase(PostgreSQLAttackTestCase):
    """A suite that has a database in each of several modes, so that a kill finds each at another moment."""

    def assertChain(self, *modes: str, seed: int, more: str = "") -> None:
        """After 20 kills and a run to its end all is there; or a refusal says what clears the rest."""
        names = [self.new_database(f"chain{number}_{self.role}_test") for number in range(len(modes))]
        urls = [self.server.url(name, user=self.role) for name in names]
        stores = [
            f"SQLAlchemyStore({mode}, url={url!r}, name={url!r})"
            for mode, url in zip(modes, urls, strict=True)
        ]
        source = SUITE.replace("{spoiled}", SPOILED)
        self.suite(source.replace("{stores}", ", ".join([*stores, more])))
        for name in names:
            self.theirs(name=name)
        before, there = [self.content(name) for name in names], self.databases()
        given = {"DATABASE_URL": self.url, "TEST_DB": "postgresql"}
        self.assertGreater(self.kill_often(20, LONGEST, seed=seed, **given), 3)
        outcome = self.run_suite(**given)
        for url in urls:  # killed between making the schema and noting what it is
            if outcome.code:
                self.assertRefused(outcome, "python -m protean_testing clean")
                self.clean(url)
                outcome = self.run_suite(**given)
        self.assertPassed(outcome, 3)
        self.suite(source.replace("{stores}", ", ".join(stores).replace("keep=True", "keep=False")))
        self.assertPassed(self.run_suite(**given), 3)
        self.assertEqual(self.databases(), there)
        for name, content in zip(names, before, strict=True):
            self.assertRescued(name)
            self.assertEqual(self.content(name), content)
            self.assertEqual(self.left(name), [])

    def assertRescued(self, name: str) -> None:
        """What is kept in doubt is what the killed tests wrote; and it is removed.

        Without a change log nobody knows who wrote a row. With one, the server may go on with the statements
        of a killed test when it has noticed already that the run is gone.
        """
        found = self.sql(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' "
            "AND relnamespace = to_regnamespace('protean_testing_rescued')",
            name=name,
        )
        for (table,) in found:
            written = "name IN ('Eve', 'Dan')" if "customers" in table else "customer = 1"
            others = self.sql(f"SELECT * FROM {table} WHERE ({written}) IS NOT TRUE", name=name)
            self.assertEqual(others, [], table)
        self.sql("DROP SCHEMA IF EXISTS protean_testing_rescued CASCADE", name=name)


class KillChainTests(ChainTestCase):
    def test_every_mode(self) -> None:
        self.assertChain(*MODES, seed=1)


class OwnerKillChainTests(ChainTestCase):
    role = "owner"

    def test_every_mode(self) -> None:
        self.sql("ALTER ROLE owner CREATEDB")
        self.assertChain(*MODES, seed=2, more='SQLAlchemyStore(empty=True, name="empty")')
