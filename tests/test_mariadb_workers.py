"""Workers on a given MariaDB: each has a database of its own, and makes its schema there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from sqlalchemy import make_url

from protean_testing.stores.sql.worker_url import worker_database_of, worker_url
from protean_testing.workers import WORKER_VARIABLE, worker

from . import interpreters
from .mariadb_server import MariaDB
from .suite import SuiteTestCase
from .worker_suite import SUITE

OURS = "_protean_testing_"
server: MariaDB


def setUpModule() -> None:
    global server
    server = MariaDB()


def tearDownModule() -> None:
    server.stop()


class MariaDBWorkerTests(SuiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        source = SUITE.replace("(Base.metadata)", '(Base.metadata, url=os.environ["URL"], name="shop")')
        source = source.replace("customer: Mapped[str]", "customer: Mapped[str] = mapped_column(String(9))")
        self.write("suite.py", source.replace("import ForeignKey", "import ForeignKey, String"))
        self.url = server.create("shop_test")
        self.addCleanup(self.run_sql, "DROP DATABASE IF EXISTS shop_test")

    def environment(self, **variables: str) -> dict[str, str]:
        return super().environment(**{"URL": self.url, **variables})

    def run_sql(self, *statements: str) -> Any:
        with server.connect("mysql") as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def databases(self) -> list[str]:
        return [name for (name,) in self.run_sql("SHOW DATABASES") if OURS in name]

    def assertRuns(self, *command: str, **variables: str) -> list[str]:
        """Returns the URLs of the workers' databases."""
        outcome = self.python(*command, **variables)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        self.assertNotIn("Warning", outcome.err)
        self.assertEqual(self.databases(), [])
        self.assertEqual(self.run_sql("SHOW TABLES FROM shop_test"), ())
        return outcome.log

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A run whose workers stop in their first test, after they have written their process numbers."""
        return interpreters.Program(
            [sys.executable, *command],
            cwd=self.directory,
            env=self.environment(STOP="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def test_every_way_to_start_them(self) -> None:
        for way in ("fork", "spawn"):
            with self.subTest(way):
                urls = self.assertRuns("suite.py", way, "3")
                self.assertEqual(len(set(urls)), 3)
                for url in urls:
                    self.assertRegex(url, r"/shop_test_protean_testing_[0-9a-f]{10}_w\d_\d+\?")

    def test_its_own_is_like_the_given_one_and_a_named_one_is_used(self) -> None:
        self.run_sql("ALTER DATABASE shop_test CHARACTER SET latin1 COLLATE latin1_german2_ci")
        more = """
    def test_3(self):
        with self.db.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT @@collation_database").scalar()
        self.assertEqual(found, "latin1_german2_ci")
"""
        source = (self.directory / "suite.py").read_text()
        self.write("suite.py", source.replace("\n    test_2 = test_1\n", f"\n    test_2 = test_1\n{more}"))
        (url,) = self.assertRuns("-m", "unittest", "suite", PROTEAN_TESTING_WORKER="w1")
        self.assertIn("shop_test_protean_testing_", url)
        self.run_sql("DROP DATABASE shop_test")  # then there is none to be like
        self.write("suite.py", source)
        (url,) = self.python("-m", "unittest", "suite", PROTEAN_TESTING_WORKER="w1").log
        self.assertIn("shop_test_protean_testing_", url)
        self.assertEqual(self.databases(), [])
        self.url = server.create("shop_test")
        named = server.create("shop_test_w1")
        self.addCleanup(self.run_sql, "DROP DATABASE shop_test_w1")
        (url,) = self.assertRuns("-m", "unittest", "suite", PROTEAN_TESTING_WORKER="w1", URL=named)
        self.assertIn("/shop_test_w1?", url)

    def test_killed_ones_are_dropped_by_the_next_run_and_live_ones_are_not(self) -> None:
        run = self.start("suite.py", "fork", "2")
        assert run.stdout is not None
        first, second = (int(run.stdout.readline()) for _ in range(2))
        self.run_sql("CREATE DATABASE shop_test_protean_testing_0123456789_w1_1")
        self.run_sql("CREATE DATABASE theirs_protean_testing_0123456789_w1_1")
        self.addCleanup(self.run_sql, "DROP DATABASE theirs_protean_testing_0123456789_w1_1")
        self.run_sql("CREATE TABLE theirs_protean_testing_0123456789_w1_1.t (a int)")
        self.run_sql("CREATE DATABASE shop_test_protean_testing_0123456789_w1_1_copy")
        self.addCleanup(self.run_sql, "DROP DATABASE shop_test_protean_testing_0123456789_w1_1_copy")
        try:
            os.kill(first, signal.SIGKILL)
            self.assertEqual(len(self.databases()), 5)
            self.assertEqual(self.python("suite.py", "fork", "2").code, 0)
            left = self.databases()
            self.assertEqual({name.rpartition("_")[2] for name in left}, {str(second), "1", "copy"})
        finally:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate(timeout=30)
        self.assertEqual(self.python("suite.py", "fork", "2").code, 0)
        left = self.databases()
        self.assertEqual({name.rpartition("_")[2] for name in left}, {"1", "copy"}, "what is not a worker's")

    def test_beside_a_run_in_the_given_one(self) -> None:
        source = (self.directory / "suite.py").read_text()
        self.write("alone.py", source.replace("BARRIER is not None and os", "os"))
        run = self.start("-m", "unittest", "alone")
        assert run.stdout is not None
        run.stdout.readline()
        outcome = self.python("-m", "unittest", "suite", PROTEAN_TESTING_WORKER="w1")
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=30)
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertRuns("-m", "unittest", "suite", PROTEAN_TESTING_WORKER="w1")

    def test_an_empty_one(self) -> None:
        source = (self.directory / "suite.py").read_text()
        made = "def test_1(self):\n        Base.metadata.create_all(self.db.engine)"
        source = source.replace("(Base.metadata, ", "(empty=True, ").replace("def test_1(self):", made)
        self.write("suite.py", source)
        self.assertEqual(len(set(self.assertRuns("suite.py", "fork", "2"))), 2)

    def test_a_server_that_is_started_anew_between_two_looks(self) -> None:
        source = (self.directory / "suite.py").read_text()
        stops = "\n            os.write(1, b'.\\n'); sys.stdin.readline()"
        source = source.replace(
            "        if BARRIER is not None and", f"        if True:{stops}\n        if BARRIER and"
        )
        self.write("suite.py", source)
        for name in ("", "w1"):
            with self.subTest(name), ExitStack() as bystanders:
                server.restart()  # it counts its sessions from the beginning
                run = interpreters.Program(
                    [sys.executable, "-W", "error", "-m", "unittest", "suite"],
                    cwd=self.directory,
                    env=self.environment(PROTEAN_TESTING_WORKER=name),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                assert run.stdin is not None and run.stdout is not None
                for _ in range(2):
                    run.stdout.readline()
                    server.restart()
                    found = [bystanders.enter_context(server.connect("mysql")) for _ in range(60)]
                    run.stdin.write("\n")
                    run.stdin.flush()
                _, err = run.communicate(timeout=60)
                self.assertEqual(run.returncode, 0, err)
                for one in found:
                    one.ping(reconnect=False)  # that has the number that a session of ours had before
                self.assertEqual(self.databases(), [])
                self.assertEqual(self.run_sql("SHOW TABLES FROM shop_test"), ())

    def test_two_servers_that_only_their_sockets_tell_apart(self) -> None:
        worker.cache_clear()
        self.addCleanup(worker.cache_clear)
        with patch.dict(os.environ, {WORKER_VARIABLE: "w1"}):
            given = [make_url(f"mysql+pymysql://root@localhost/one_test?unix_socket=/{n}") for n in (1, 2)]
            found = [worker_database_of(worker_url(url)) for url in given]
            self.assertEqual([one and one.given for one in found], given)

    def test_refusals(self) -> None:
        alone = ("-m", "unittest", "suite")
        source = (self.directory / "suite.py").read_text()
        self.run_sql("CREATE TABLE shop_test.orders (id int)", "INSERT INTO shop_test.orders VALUES (1)")
        outcome = self.python(*alone, PROTEAN_TESTING_WORKER="1")
        self.assertRegex(outcome.err, "(?s)UnsafeStoreError: refusing to use store 'shop'.*orders")
        self.write("suite.py", source.replace("(Base.metadata, ", "(Base.metadata, adopt=True, "))
        outcome = self.python(*alone, PROTEAN_TESTING_WORKER="1")
        self.assertRegex(outcome.err, "(?s)store 'shop': .*adopt=True works in one process.*shop_test_gw0")
        self.run_sql("DROP TABLE shop_test.orders")
        self.write("suite.py", source)
        self.run_sql(
            "CREATE USER plain@localhost IDENTIFIED BY 'tiger'", "GRANT ALL ON shop_test.* TO plain@localhost"
        )
        self.addCleanup(self.run_sql, "DROP USER plain@localhost")
        self.assertAllowed(server.url("shop_test", "plain", "tiger"), "tiger")
        long = "shop_test_" + "x" * 40
        server.create(long)
        self.addCleanup(self.run_sql, f"DROP DATABASE {long}")
        self.run_sql(f"GRANT ALL ON {long}.* TO plain@localhost")
        self.assertAllowed(server.url(long, "plain", "tiger"), "tiger")

    def assertAllowed(self, url: str, password: str) -> None:
        """The error of a user who may not create the database has the line that allows it."""
        alone = ("-m", "unittest", "suite")
        outcome = self.python(*alone, PROTEAN_TESTING_WORKER="1", URL=url)
        self.assertRegex(
            outcome.err, r"(?s)ConfigurationError: store 'shop': .*Allow it with:  GRANT ALL ON `"
        )
        self.assertNotIn(password, outcome.err)
        grant = outcome.err.partition("Allow it with:  ")[2].partition("\n")[0]
        self.run_sql(grant, "GRANT PROCESS ON *.* TO plain@localhost")
        self.assertRuns(*alone, PROTEAN_TESTING_WORKER="1", URL=url)
