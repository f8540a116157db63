"""The sample suite, and Django's own test cases on its own database, in one run of Django's test runner."""

from __future__ import annotations

import re
import shutil

import psycopg

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql

from .mariadb_server import MariaDB
from .runners.running import SAMPLE, SampleTestCase
from .suite import Outcome

TEST = ("manage.py", "test", "--noinput")
TESTS = 91


class DjangoTests(SampleTestCase):
    on_stores = 60
    server: PrivatePostgreSQL

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_postgresql()
        cls.addClassCleanup(cls.server.stop)
        cls.url = cls.server.url().replace("+psycopg", "")

    def setUp(self) -> None:
        super().setUp()
        shutil.copytree(SAMPLE.parent / "django_sample", self.directory, dirs_exist_ok=True)
        match = re.search("host=([^&]*)", self.url)
        assert match is not None
        self.postgresql = {"PGHOST": match[1]}

    def assertRight(self, *command: str, workers: int = 1, **variables: str) -> Outcome:
        outcome = super().assertRight(*command, workers=workers, **variables)
        self.assertIn(f"Ran {TESTS} tests", outcome.err)
        return outcome

    def _left(self) -> list[str]:
        return super()._left() + self.databases()

    def databases(self) -> list[str]:
        with psycopg.connect(self.url) as connection:
            others = "SELECT datname FROM pg_database WHERE datname !~ '^(postgres|template)'"
            return [name for (name,) in connection.execute(others)]

    def test_serial(self) -> None:
        self.assertRight(*TEST)

    def test_shuffled_on_postgresql(self) -> None:
        outcome = self.assertRight(*TEST, "--shuffle", "7", **self.postgresql)
        self.assertShuffled(outcome.log)

    def test_parallel_on_postgresql(self) -> None:
        self.assertRight(*TEST, "--parallel", "2", workers=2, **self.postgresql)

    def test_parallel_with_an_own_runner(self) -> None:
        self.assertRight(*TEST, "--parallel", "4", workers=4, TEST_RUNNER="own_runner.OwnRunner")

    def test_spawned(self) -> None:
        self.assertRight(*TEST, "--parallel", "2", workers=2, START_METHOD="spawn", **self.postgresql)

    def test_a_failed_drop(self) -> None:
        self.assertFailsWithItsDrop(*TEST)
        outcome = self.assertFailsWithItsDrop(*TEST, "--parallel", "2")
        self.assertIn("FAILED (errors=2)", outcome.err)
        self.assertFailsWithItsDrop(*TEST, "--parallel", "2", START_METHOD="spawn")

    def test_on_mariadb(self) -> None:
        server = MariaDB()
        self.addCleanup(server.stop)
        self.assertRight(*TEST, MYSQL_HOST=str(server.socket))
        with server.connect("mysql") as connection, connection.cursor() as cursor:
            cursor.execute("SHOW DATABASES LIKE 'test%'")
            self.assertEqual(cursor.fetchall(), ())

    def test_keepdb(self) -> None:
        for _ in range(2):
            tests = (
                "store.tests.RollbackTests",
                "store.tests.CommitTests",
            )  # no flush of Django's, which stays
            outcome = self.python(*TEST, "--keepdb", *tests, **self.postgresql)
            self.assertEqual(outcome.code, 0, outcome.err)
            self.assertEqual(self.databases(), ["test_shop"])
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP DATABASE test_shop")

    def test_kills(self) -> None:
        self.assertNothingLeftAfterKills(*TEST, "--parallel", "2", workers=2, **self.postgresql)

    def test_the_first_process_is_killed(self) -> None:
        self.assertNoWorkerOutlivesItsParent(*TEST, "--parallel", "2", workers=2, **self.postgresql)
