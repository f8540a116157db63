"""The recipes of the pattern, each run as a reader would, and in shuffled orders on every kind of store."""

from __future__ import annotations

import os
import re
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

import psycopg

from protean_testing.servers.postgresql import private_postgresql
from protean_testing.servers.redis import private_redis
from protean_testing.stores.message_db.install import install

from . import interpreters
from .message_db import bring
from .suite import CHOOSING, ROOT

interpreters.IMPORTED.append("protean")

RECIPES = ROOT / "examples" / "recipes"

SHUFFLED = """
import random, sys, unittest
def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite): yield from flat(test)
        else: yield test
tests = list(flat(unittest.defaultTestLoader.discover(sys.argv[1])))
random.Random(int(sys.argv[2])).shuffle(tests)
result = unittest.TextTestRunner(verbosity=0).run(unittest.TestSuite(tests))
sys.exit(not result.wasSuccessful())
"""


def run(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run Python in the directory of the recipes. Returns the exit code, and what it printed."""
    brought = bring()
    path = os.pathsep.join(filter(None, [str(ROOT), brought["PYTHONPATH"]]))
    kept = {name: value for name, value in os.environ.items() if name not in CHOOSING}
    done = interpreters.run(
        [sys.executable, *arguments],
        cwd=RECIPES,
        env={**kept, "PYTHONPATH": path, "PROTEAN_TESTING_SUMMARY": "1", **variables},
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


class RecipeTests(unittest.TestCase):
    maxDiff = None

    def passed(self, recipe: str, tests: int, **variables: str) -> str:
        code, said = run("-m", "unittest", "discover", recipe, **variables)
        self.assertEqual(code, 0, said)
        self.assertRegex(said, rf"(?m)^Ran {tests} tests in")
        return said

    def test_1_in_memory_only(self) -> None:
        self.assertNotIn("schema of", self.passed("1_in_memory", 7))

    def test_2_a_single_real_database(self) -> None:
        said = self.passed("2_one_database", 6)
        self.assertEqual(re.findall(r"schema of '(\w+)' created once", said), ["default"])

    def test_3_a_switch(self) -> None:
        for test_db in ("", "memory", "sqlite", "postgresql"):
            with self.subTest(test_db):
                said = self.passed("3_switch", 4, **({"TEST_DB": test_db} if test_db else {}))
                self.assertEqual("PostgreSQL" in said, test_db == "postgresql")
                self.assertEqual(
                    re.findall(r"schema of '(\w+)' created", said), ["default"] * ("sql" in test_db)
                )

    def test_4_full_infrastructure(self) -> None:
        self.assertNotIn("private", self.passed("4_full_infrastructure", 7))
        said = self.passed("4_full_infrastructure", 7, TEST_INFRA="full")
        for name in ("default", "event store"):
            self.assertEqual(said.count(f"schema of '{name}' created once"), 1, said)
        self.assertIn("Redis", said)

    def test_4_with_given_servers(self) -> None:
        server = private_postgresql()
        database = server.create_database("ordering_test")
        events = server.create_database("message_store_test")
        libpq = events.replace("+psycopg", "")
        with psycopg.connect(libpq, autocommit=True) as connection:
            install(connection)
            said = self.passed(
                "4_full_infrastructure",
                7,
                TEST_INFRA="full",
                DATABASE_URL=database,
                REDIS_URL=private_redis().url(9),
                MESSAGE_DB_URL=f"{libpq}&options=-csearch_path%3Dmessage_store",
            )
            self.assertNotIn("private", said)
            self.assertEqual(
                connection.execute("SELECT count(*) FROM message_store.messages").fetchone(), (0,)
            )
        with psycopg.connect(database.replace("+psycopg", "")) as connection:
            tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            self.assertEqual(connection.execute(tables).fetchone(), (0,))

    def test_5_unit_and_integration_apart(self) -> None:
        said = self.passed("5_apart/unit", 3)
        self.assertNotIn("private", said)
        self.assertNotIn("schema of", said)
        self.passed("5_apart/integration", 3)
        said = self.passed("5_apart", 6)
        self.assertEqual(said.count("schema of 'default' created once"), 1, said)

    def test_in_shuffled_orders(self) -> None:
        runs = [
            (recipe, seed, variables)
            for seed in ("1", "2")
            for recipe, variables in [
                ("4_full_infrastructure", {}),
                ("4_full_infrastructure", {"TEST_DB": "sqlite"}),
                ("4_full_infrastructure", {"TEST_INFRA": "full"}),
                ("5_apart", {}),
            ]
        ]

        def shuffled(recipe: str, seed: str, variables: dict[str, str]) -> tuple[int, str]:
            return run("-c", SHUFFLED, recipe, seed, **variables)

        with ThreadPoolExecutor(2) as pool:
            for (recipe, seed, variables), (code, said) in zip(
                runs, pool.map(shuffled, *zip(*runs, strict=True)), strict=True
            ):
                with self.subTest(recipe, seed=seed, **variables):
                    self.assertEqual(code, 0, said)
                    self.assertRegex(said, r"(?m)^Ran [67] tests in")

    def test_message_db_that_is_nowhere_is_refused_with_the_command(self) -> None:
        code, said = run(
            "-m",
            "unittest",
            "discover",
            "4_full_infrastructure",
            TEST_INFRA="full",
            PROTEAN_TESTING_MESSAGE_DB="/nowhere",
        )
        self.assertNotEqual(code, 0)
        self.assertIn("npm install @eventide/message-db", said)
        self.assertIn("there is none in /nowhere", said)
