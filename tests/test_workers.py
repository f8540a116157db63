"""Workers on a given PostgreSQL: each has a database of its own, cloned from one template."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import unittest
from unittest import mock

import psycopg
from sqlalchemy import make_url

from protean_testing.stores.postgresql.administration import OWN, RUN, Administration
from protean_testing.stores.sql.worker_database import LONGEST, derived_name, worker_database_name
from protean_testing.stores.sql.worker_url import worker_url
from protean_testing.workers import Worker, worker

from . import interpreters
from .server_log import ServerLogTestCase
from .suite import Outcome
from .worker_suite import SUITE

WAYS = ["fork"] if sys.platform == "linux" else []
WAYS += ["spawn", "forkserver"]


class WorkerTests(ServerLogTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("suite.py", SUITE)

    def run_workers(self, way: str, number: int, **variables: str) -> Outcome:
        self.statements()
        outcome = self.python("suite.py", way, str(number), **variables)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        self.assertEqual(len(set(outcome.log)), number, "each in a database of its own")
        self.assertEqual(self.tables(), [], "the given one is left alone")
        return outcome

    def assertClonedOnce(self, number: int) -> None:
        """By what the server wrote down; the template comes to the workers' own databases."""
        said = self.statements()
        self.assertEqual(said["CREATE TABLE orders"], 1)
        self.assertEqual((said["CREATE DATABASE"], said["DROP DATABASE"]), (number + 1, number + 1))
        self.assertEqual(self.databases(), [])

    def test_every_way_to_start_them(self) -> None:
        for way, number in zip(WAYS, (4, 2, 2), strict=False):
            with self.subTest(way, number=number):
                outcome = self.run_workers(way, number)
                self.assertClonedOnce(number)
                for url in outcome.log:
                    self.assertRegex(url, r"shop_test_protean_testing_[0-9a-f]{10}_w\d_\d+\?")

    def test_two_runs_at_once_and_one_that_is_no_worker(self) -> None:
        self.statements()
        commands = [("suite.py", "fork", "2"), ("suite.py", "fork", "2"), ("-m", "unittest", "suite")]
        processes = [
            interpreters.Program(
                [sys.executable, *command],
                cwd=self.directory,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for command in commands
        ]
        for process in processes:
            said, _ = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, said)
        found = self.statements()
        self.assertEqual(found["CREATE TABLE orders"], 3)
        self.assertEqual((found["CREATE DATABASE"], found["DROP DATABASE"]), (6, 6))
        self.assertEqual((self.databases(), self.tables()), ([], []))

    def test_what_others_make_on_the_server_and_remove_again_is_no_leak(self) -> None:
        others = """def test_1(self):
        with self.db.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(f"CREATE ROLE {self._testMethodName}"))
            connection.execute(text("CREATE TABLE more (id int)"))
        if self._testMethodName == "test_1":    # as another worker's test would, by its own connection
            again = psycopg.connect(self.db.libpq_url, autocommit=True)
            threading.Timer(0.4, lambda: (again.execute("DROP ROLE test_1"), again.close())).start()
"""
        self.write("suite.py", "import psycopg\n" + SUITE.replace("def test_1(self):", others, 1))
        self.addCleanup(self.rows, "DROP ROLE IF EXISTS test_1")
        self.addCleanup(self.rows, "DROP ROLE IF EXISTS test_2")
        for name in ("w1", ""):
            with self.subTest(name):
                outcome = self.python("-m", "unittest", "suite", PROTEAN_TESTING_WORKER=name)
                self.assertEqual(outcome.code, 0, outcome.err)
                self.assertNotIn("role test_1", outcome.err)
                self.assertRegex(outcome.err, "LeakWarning: (?s:.*)role test_2(?s:.*)unless somebody else")
                self.rows("DROP ROLE test_2")

    def test_a_server_that_has_ended_every_session_keeps_no_database(self) -> None:
        ends = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        ends = f"psycopg.connect(self.db.libpq_url).execute({ends!r})"
        source = SUITE.replace("def test_1(self):", f"def tearDown(self): {ends}\n    def test_1(self):")
        self.write("suite.py", f"import psycopg\n{source}")
        outcome = self.python("-m", "unittest", "suite", PROTEAN_TESTING_WORKER="w1")
        self.assertNotIn("the end of the run", outcome.err)
        self.assertEqual(self.databases(), [])

    def test_a_template_that_stays(self) -> None:
        self.run_workers("fork", 2, PROTEAN_TESTING_KEEP="1")
        self.assertEqual(len(self.databases()), 1)
        self.assertRegex(self.databases()[0], r"^shop_test_protean_testing_kept_t_[0-9a-f]{10}$")
        self.run_workers("fork", 2, PROTEAN_TESTING_KEEP="1")
        said = self.statements()
        self.assertEqual(said["CREATE TABLE orders"], 0)
        self.assertEqual((said["CREATE DATABASE"], said["DROP DATABASE"]), (2, 2))
        source = (self.directory / "suite.py").read_text()
        self.write("suite.py", source.replace("customer: Mapped[str]", "customer: Mapped[str | None]"))
        self.run_workers("fork", 2, PROTEAN_TESTING_KEEP="1")
        self.assertEqual(self.statements()["CREATE TABLE orders"], 1, "the stale one was built anew")
        self.run_workers("fork", 2)
        self.assertEqual(self.databases(), [], "without keep nothing stays")

    def test_settings_and_extensions_of_the_given_database(self) -> None:
        self.rows("CREATE EXTENSION citext")
        self.rows("ALTER DATABASE shop_test SET search_path TO public, pg_temp")
        self.rows("ALTER DATABASE shop_test SET work_mem TO '9MB'")
        self.write(
            "suite.py",
            SUITE.replace("def test_1(self):", "def test_1(self):\n        self.look()").replace(
                "    def test_1",
                """    def look(self):
        with self.db.engine.connect() as connection:
            one = connection.exec_driver_sql("SELECT 'A'::citext = 'a'").scalar()
            path = connection.exec_driver_sql("SHOW search_path").scalar()
            memory = connection.exec_driver_sql("SHOW work_mem").scalar()
        self.assertEqual((one, path, memory), (True, "public, pg_temp", "9MB"))

    def test_1""",
                1,
            ),
        )
        self.run_workers("fork", 2)
        self.assertClonedOnce(2)

    def test_an_adopted_schema_is_copied(self) -> None:
        self.rows("CREATE TABLE orders (id serial PRIMARY KEY, customer text)")
        self.rows("CREATE TABLE theirs (a int)")
        self.rows("INSERT INTO theirs VALUES (1)")
        self.write("suite.py", SUITE.replace("SQLAlchemyStore(Base.metadata)", "SQLAlchemyStore(adopt=True)"))
        outcome = self.python("suite.py", "fork", "2")
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual((self.databases(), self.tables()), ([], ["orders", "theirs"]))
        with self.subTest("somebody is in it"), psycopg.connect(self.url.replace("+psycopg", "")):
            outcome = self.python("suite.py", "fork", "2")
            self.assertFailed(outcome, "is being accessed by other users", "End those sessions")
        self.assertEqual(self.databases(), [])

    def test_a_schema_that_goes_elsewhere(self) -> None:
        self.write(
            "suite.py",
            SUITE.replace(
                "SQLAlchemyStore(Base.metadata)",
                'SQLAlchemyStore(schema=elsewhere, url=os.environ["DATABASE_URL"])',
            ).replace(
                "def stores():",
                "from sqlalchemy import create_engine\n\ndef elsewhere():\n"
                '    Base.metadata.create_all(create_engine(os.environ["DATABASE_URL"]))\n\ndef stores():',
            ),
        )
        outcome = self.python("suite.py", "fork", "1")
        self.assertFailed(outcome, "schema=elsewhere made nothing in it", "def elsewhere(engine)")
        self.assertEqual(self.databases(), [])

    def test_a_name_that_is_not_for_tests(self) -> None:
        self.server.create_database("shop")
        self.addCleanup(self.server.drop_database, "shop")
        outcome = self.python("suite.py", "fork", "1", DATABASE_URL=self.server.url("shop"))
        self.assertFailed(outcome, "UnsafeStoreError", 'does not contain "test"')

    def test_a_role_that_may_not_create_databases(self) -> None:
        self.rows("CREATE ROLE plain LOGIN")
        self.addCleanup(self.rows, "DROP ROLE plain")
        outcome = self.python(
            "suite.py", "fork", "1", DATABASE_URL=self.server.url("shop_test", user="plain")
        )
        self.assertFailed(outcome, 'Allow it with:  ALTER ROLE "plain" CREATEDB')
        self.rows("ALTER ROLE plain CREATEDB")
        outcome = self.python(
            "suite.py", "fork", "2", DATABASE_URL=self.server.url("shop_test", user="plain")
        )
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual(self.databases(), [])

    def test_a_role_that_may_not_go_where_others_meet(self) -> None:
        self.rows("CREATE ROLE lonely LOGIN CREATEDB")
        self.addCleanup(self.rows, "DROP ROLE lonely")
        self.rows("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
        self.addCleanup(self.rows, "GRANT CONNECT ON DATABASE postgres TO PUBLIC")
        url = self.server.url("shop_test", user="lonely")
        outcome = self.python("suite.py", "fork", "2", DATABASE_URL=url)
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual(self.databases(), [])
        with self.subTest("what lives there is seen from elsewhere"):
            name = derived_name("shop_test", "0123456789", "w1_1")
            self.server.create_database(name)
            elsewhere = Administration(make_url(url), "shop")
            others = Administration(make_url(self.url), "shop")
            self.addCleanup(others.close)
            elsewhere.lock(RUN, "0123456789", shared=True)
            elsewhere.lock(OWN, name)
            others.sweep()
            self.assertEqual(self.databases(), [name])
            elsewhere.close()
            for _ in range(100):
                others.sweep()
                if not self.databases():
                    break
                time.sleep(0.05)  # the server has not seen yet that the session is over
            self.assertEqual(self.databases(), [])

    def test_a_failing_schema_fails_every_worker_and_leaves_nothing(self) -> None:
        self.write(
            "suite.py",
            SUITE.replace("SQLAlchemyStore(Base.metadata)", "SQLAlchemyStore(schema=fails)").replace(
                "def stores():", "def fails(engine):\n    raise RuntimeError('half-way')\n\ndef stores():"
            ),
        )
        outcome = self.python("suite.py", "fork", "2")
        self.assertFailed(outcome, "half-way")
        self.assertEqual(outcome.err.count("RuntimeError: half-way"), 2, outcome.err)
        self.assertEqual(self.databases(), [])


class FullServerTests(ServerLogTestCase):
    settings = {"max_connections": "8", "superuser_reserved_connections": "1"}

    def test_the_number_is_said(self) -> None:
        self.write("suite.py", SUITE)
        outcome = self.python("suite.py", "fork", "2", WAIT="5")
        self.assertFailed(
            outcome, "the server allows 7 connections, 0 are in use by others, and 2 workers need 4 each"
        )
        self.assertEqual(self.databases(), [])


class NameTests(unittest.TestCase):
    me = Worker("0123456789", "gw0", 4711)

    def test_a_name_has_63_bytes(self) -> None:
        self.assertEqual(
            worker_database_name("shop_test", self.me), "shop_test_protean_testing_0123456789_gw0_4711"
        )
        long = ["é" * 31, "x" * 62 + "1", "x" * 62 + "2"]
        names = {worker_database_name(name, self.me) for name in long}
        self.assertEqual(len(names), 3)
        for name in names:
            self.assertLessEqual(len(name.encode()), LONGEST)
            self.assertTrue(name.endswith("_protean_testing_0123456789_gw0_4711"))
        self.assertLessEqual(len(derived_name("x" * 63, "kept", "t_0123456789")), LONGEST)

    def told(self, **variables: str) -> Worker | None:
        with mock.patch.dict(os.environ, variables):
            worker.cache_clear()
            self.addCleanup(worker.cache_clear)
            return worker()

    def test_what_runners_tell(self) -> None:
        one = self.told(PYTEST_XDIST_WORKER="gw1", PYTEST_XDIST_TESTRUNUID="a")
        two = self.told(PYTEST_XDIST_WORKER="gw2", PYTEST_XDIST_TESTRUNUID="a")
        other = self.told(PYTEST_XDIST_WORKER="gw2", PYTEST_XDIST_TESTRUNUID="b")
        assert one is not None and two is not None and other is not None
        self.assertEqual((one.name, two.name), ("gw1", "gw2"))
        self.assertEqual(one.run, two.run)
        self.assertNotEqual(one.run, other.run)
        mine = self.told(PROTEAN_TESTING_WORKER="node 3")
        assert mine is not None
        self.assertEqual(mine.name, "node_3")

    def test_a_database_that_is_the_workers_already(self) -> None:
        self.told(PYTEST_XDIST_WORKER="gw1", PYTEST_XDIST_TESTRUNUID="a")
        with mock.patch.dict(os.environ, PYTEST_XDIST_WORKER="gw1"):
            for name, same in (("shop_test_gw1", True), ("shop_test_gw12", False), ("shop_test", False)):
                url = make_url(f"postgresql+psycopg://h/{name}")
                self.assertEqual(worker_url(url) == url, same, name)
            own = worker_url(make_url("postgresql+psycopg://h/shop_test"))
            self.assertEqual(worker_url(own), own, "moved once only")
