"""The example suite in shuffled orders on each store, and nothing of it left behind."""

from __future__ import annotations

import os
import re
import tempfile
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from redis import Redis
from sqlalchemy import create_engine, inspect

from protean_testing.servers.postgresql import start_postgresql
from protean_testing.servers.redis import start_redis

from .suite import ROOT, Outcome, SuiteTestCase

EXAMPLES = ROOT / "examples"
TESTS = sum(
    len(re.findall(r"^ *(?:async )?def test_", path.read_text(), re.MULTILINE))
    for path in (EXAMPLES / "shop" / "tests").glob("test_*.py")
)
IN_OTHER_PROCESSES = 22  # tests that a database in the memory of one process cannot run
MEMORY = "/dev/shm"  # where there is one, a slow disk does not slow nine runs
GONE_WITHIN = 10.0  # seconds after the run


class ShopTestCase(SuiteTestCase):
    """Each run has a temporary directory of its own, which must be empty in the end."""

    def setUp(self) -> None:
        super().setUp()
        made = tempfile.TemporaryDirectory(prefix="shop_", dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        self.temporary = Path(self.enterContext(made))

    def shop(self, *arguments: str, **variables: str) -> Outcome:
        return self.python(
            *("-W", "error", str(EXAMPLES / "run.py"), *arguments),
            timeout=300,
            TMPDIR=str(self.temporary),
            **variables,
        )

    def assertShopPassed(self, outcome: Outcome, *, skipped: int = 0) -> None:
        self.assertPassed(outcome, TESTS)
        self.assertRegex(outcome.err, rf"(?m)^OK \(skipped={skipped}\)$" if skipped else r"(?m)^OK$")
        self.assertNotIn("Warning", outcome.err)
        self.assertRegex(outcome.err, r"schema of 'shop' created once in [\d.]+ s")
        self.assertRegex(outcome.err, r"\d+ resets, median [\d.]+ ms")
        self.assertRegex(outcome.err, r"dropped in [\d.]+ s")
        self.assertRegex(outcome.err, r"together \d+% of [\d.]+ s")

    def assertNothingLeft(self) -> None:
        until = time.monotonic() + GONE_WITHIN
        while (left := [*self.temporary.iterdir(), *self._processes()]) and time.monotonic() < until:
            time.sleep(0.05)
        self.assertEqual(left, [])

    def _processes(self) -> Iterator[str]:
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.temporary) in argument for argument in process.info["cmdline"] or ()):
                yield str(process)


class ShuffledTests(ShopTestCase):
    def assertPassesInAnyOrder(self, store: str, *, skipped: int = 0) -> None:
        with ThreadPoolExecutor(2) as pool:
            outcomes = pool.map(lambda seed: self.shop("--shuffle", str(seed), TEST_DB=store), (1, 2))
            for seed, outcome in enumerate(outcomes, start=1):
                with self.subTest(seed=seed):
                    self.assertShopPassed(outcome, skipped=skipped)
        self.assertNothingLeft()

    def test_sqlite_in_memory(self) -> None:
        self.assertPassesInAnyOrder("memory", skipped=IN_OTHER_PROCESSES)

    def test_sqlite_in_a_file(self) -> None:
        self.assertPassesInAnyOrder("sqlite")

    def test_postgresql(self) -> None:
        self.assertPassesInAnyOrder("postgresql")


class ExampleTests(ShopTestCase):
    def test_without_any_choice_it_runs_on_servers_of_its_own(self) -> None:
        outcome = self.shop()
        self.assertShopPassed(outcome)
        self.assertRegex(outcome.err, r"PostgreSQL [\d.]+ \(private\) up in [\d.]+ s")
        self.assertRegex(outcome.err, r"Redis [\d.]+ \(private\) up in [\d.]+ s")
        self.assertNothingLeft()

    def test_a_given_database_and_redis_are_as_before(self) -> None:
        postgresql, redis = start_postgresql(tcp=True), start_redis(tcp=True)
        self.addCleanup(postgresql.stop)
        self.addCleanup(redis.stop)
        url = postgresql.create_database("shop_test")
        outcome = self.shop(TEST_INFRA="full", DATABASE_URL=url, REDIS_URL=redis.url(9))
        self.assertShopPassed(outcome)
        engine = create_engine(url)
        self.addCleanup(engine.dispose)
        inspector = inspect(engine)
        self.assertEqual(inspector.get_table_names(), [])
        self.assertLessEqual(set(inspector.get_schema_names()), {"information_schema", "public"})
        with Redis.from_url(redis.url(9)) as client:
            self.assertEqual(client.info("keyspace"), {})
        self.assertNothingLeft()

    def test_plain_unittest_runs_it_as_well(self) -> None:
        shop = str(EXAMPLES / "shop")
        outcome = self.unittest("discover", "-s", shop, "-t", shop)
        self.assertPassed(outcome, TESTS)
        self.assertNotIn("protean_testing", outcome.err)

    def test_it_knows_nothing_of_the_inside_of_the_library(self) -> None:
        allowed = re.compile(r"from protean_testing import ")
        for path in sorted((EXAMPLES / "shop").rglob("*.py")):
            for line in path.read_text().splitlines():
                if re.match(r"\s*(from|import) protean_testing", line):
                    with self.subTest(path.name, line=line):
                        self.assertRegex(line, allowed)


if __name__ == "__main__":
    unittest.main()
