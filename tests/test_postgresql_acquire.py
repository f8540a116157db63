"""Whose PostgreSQL database it is: what is refused untouched, and what a killed run left."""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from protean_testing.errors import ConfigurationError, ProteanTestingError, UnsafeStoreError
from protean_testing.servers.postgresql import start_postgresql
from protean_testing.stores.postgresql import PostgreSQLBackend
from protean_testing.stores.sql.backend import Database

from .oracle.postgresql import dump
from .postgresql_testcase import PostgreSQLTestCase, libpq

ROOT = Path(__file__).parent.parent
TABLE = "CREATE TABLE t (id serial PRIMARY KEY, a int); INSERT INTO t (a) VALUES (1)"

RUN = """
import sys, os, signal, psycopg
from sqlalchemy import create_engine, make_url
from protean_testing.stores.sql.backend import Database
from protean_testing.stores.postgresql import PostgreSQLBackend
url, adopt = sys.argv[1], sys.argv[2] == "adopt"
engine = create_engine(url)
backend = PostgreSQLBackend(Database(name="shop", url=make_url(url), engine=lambda: engine, adopt=adopt))
backend.check([] if adopt else [("more", "t")]); backend.acquire()
with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
    if not adopt:
        connection.execute("CREATE SCHEMA more; CREATE TABLE more.t (id serial)")
        connection.execute("CREATE TYPE kind AS ENUM ('a')")
    backend.created(); backend.save()
    if adopt:
        connection.execute("INSERT INTO t (a) VALUES (5); UPDATE t SET a = 9 WHERE id = 1")
    print("ready", flush=True)
    if sys.argv[3] == "wait":
        sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


class ClaimTests(PostgreSQLTestCase):
    def run_elsewhere(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RUN, self.url, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

        def end() -> None:
            process.kill()
            process.communicate()

        self.addCleanup(end)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def assertRefused(self, backend: PostgreSQLBackend, pattern: str, tables: tuple[str, ...] = ()) -> None:
        before = dump(libpq(self.server.url(self.name)))
        with self.assertRaisesRegex(UnsafeStoreError, pattern) as caught:
            backend.check([(None, table) for table in tables])
        self.assertIn("refusing to use store 'shop'", str(caught.exception))
        self.assertEqual(dump(libpq(self.server.url(self.name))), before)

    def test_a_name_that_is_not_for_tests(self) -> None:
        for name in ("shop", "contest", "latest"):
            with self.subTest(name):
                self.name, self.url = name, self.server.create_database(name)
                self.addCleanup(self.server.drop_database, name)
                self.assertRefused(
                    self.backend(acquire=False), "(?s)does not contain.*_test, or pass unsafe=True"
                )
                for options in ({"unsafe": True}, {"private": True}):
                    self.backend(acquire=False, **options).check(())

    def test_a_marker_does_not_stand_for_the_name(self) -> None:
        self.name, self.url = "mine", self.server.create_database("mine")
        self.addCleanup(self.server.drop_database, "mine")
        self.backend(unsafe=True, schema=TABLE).close()
        self.assertRefused(self.backend(acquire=False), "does not contain", ("t",))
        self.backend(acquire=False, unsafe=True).check([(None, "t")])

    def test_tables_with_rows_of_others(self) -> None:
        self.run_sql(TABLE, "CREATE TABLE empty (a int)")
        self.assertRefused(
            self.backend(acquire=False),
            "(?s)table public.t\n.*adopt=True.*unsafe=True",
            ("t", "empty"),
        )
        self.assertRefused(self.backend(acquire=False), "table public.empty", ("empty", "other"))
        self.assertRefused(self.backend(acquire=False), "(?s)holds data.*table public.t\n")
        self.backend(acquire=False).check([(None, "other")])
        self.backend(acquire=False, unsafe=True).check([(None, "t")])
        self.backend(acquire=False, adopt=True).check([(None, "t")])

    def test_stale_tables_are_dropped_if_that_is_allowed(self) -> None:
        self.run_sql("CREATE TABLE t (other text); CREATE VIEW v AS SELECT * FROM t")
        self.assertRefused(self.backend(acquire=False), "table public.t", ("t",))
        backend = self.backend(acquire=False, unsafe=True)
        backend.check([(None, "t")])
        backend.acquire()
        self.assertEqual(self.rows("SELECT 1 FROM pg_class WHERE relname IN ('t', 'v')"), [])

    def test_a_schema_of_our_name_that_is_not_ours(self) -> None:
        self.run_sql("CREATE SCHEMA protean_testing; CREATE TABLE protean_testing.x (a int)")
        self.assertRefused(self.backend(acquire=False), "schema protean_testing, which is not ours")

    def test_a_live_run(self) -> None:
        process = self.run_elsewhere("create", "wait")
        self.assertRefused(
            self.backend(acquire=False), f"(?s)in use by another run \\(pid {process.pid} on .* since "
        )
        process.communicate("")
        backend = self.backend(acquire=False)
        backend.check([("more", "t")])
        backend.acquire()

    def test_a_run_that_began_a_moment_ago(self) -> None:
        one, other = self.backend(acquire=False), self.backend(acquire=False)
        one.check(())
        other.check(())
        one.acquire()
        with self.assertRaisesRegex(UnsafeStoreError, "just begun"):
            other.acquire()

    def test_what_a_killed_run_made_is_dropped(self) -> None:
        self.run_sql(TABLE)
        before = dump(libpq(self.server.url(self.name)))
        self.run_elsewhere("create", "kill").wait()
        self.assertNotEqual(dump(libpq(self.server.url(self.name))), before)
        backend = self.backend(acquire=False)
        backend.check([("more", "t")])
        backend.acquire()
        self.assertEqual(dump(libpq(self.server.url(self.name))), before)
        backend.drop()
        self.assertEqual(self.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'protean_testing'"), [])
        self.assertEqual(self.rows("SELECT 1 FROM pg_event_trigger"), [])

    def test_what_a_killed_run_wrote_into_an_adopted_schema_is_taken_back(self) -> None:
        self.run_sql(TABLE)
        before = dump(libpq(self.server.url(self.name)))
        self.run_elsewhere("adopt", "kill").wait()
        self.assertEqual(self.value("SELECT sum(a) FROM t"), 14)
        backend = self.backend(adopt=True, rebuild=None)
        self.assertEqual(dump(libpq(self.server.url(self.name))), before)
        backend.drop()
        self.assertEqual(dump(libpq(self.server.url(self.name))), before)


class UnreachableTests(unittest.TestCase):
    def assertUnreachable(self, url: str, pattern: str) -> None:
        backend = PostgreSQLBackend(Database(name="shop", url=make_url(url), engine=lambda: None))  # type: ignore[arg-type,return-value]
        with self.assertRaisesRegex(ConfigurationError, pattern) as caught:
            backend.check(())
        error: BaseException | None = caught.exception
        while error is not None:
            self.assertNotIn("s3cr3t", str(error) + repr(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)

    def test_no_server(self) -> None:
        self.assertUnreachable(
            "postgresql://ann:s3cr3t@127.0.0.1:1/shop_test", r"(?s)'shop'.*ann:\*\*\*@.*refused"
        )
        self.assertUnreachable(
            "postgresql+asyncpg://ann:s3cr3t@nowhere.invalid/shop_test", "cannot be reached"
        )

    def test_a_wrong_password_and_a_missing_database(self) -> None:
        server = start_postgresql(tcp=True)
        self.addCleanup(server.stop)
        right = make_url(server.url("postgres"))
        wrong = right.set(password="s3cr3t").render_as_string(hide_password=False)
        self.assertUnreachable(wrong, "password authentication failed")
        nowhere = right.set(database="nowhere_test").render_as_string(hide_password=False)
        self.assertUnreachable(nowhere, 'database "nowhere_test" does not exist')

    def test_a_role_that_may_not_create_a_schema(self) -> None:
        case = PostgreSQLTestCase()
        case.setUp()
        self.addCleanup(case.doCleanups)
        with case.superuser() as connection:
            connection.execute(f"REVOKE CREATE ON DATABASE {case.name} FROM PUBLIC")
        case.url = case.server.url(case.name, user="application")
        backend = case.backend(acquire=False)
        backend.check(())
        with self.assertRaisesRegex(ConfigurationError, 'GRANT CREATE ON DATABASE .* TO "application"'):
            backend.acquire()
        backend.close()
        with case.superuser() as connection:  # who works is not who logs in
            connection.execute("CREATE ROLE login_only LOGIN; GRANT application TO login_only")
            connection.execute(f"ALTER DATABASE {case.name} SET role = 'application'")
        case.url = case.server.url(case.name, user="login_only")
        backend = case.backend(acquire=False)
        try:
            with self.assertRaisesRegex(ConfigurationError, 'GRANT CREATE ON DATABASE .* TO "application"'):
                backend.acquire()
        finally:
            backend.close()
            with case.superuser() as connection:
                connection.execute("SET ROLE NONE; DROP ROLE login_only")

    def test_a_missing_driver(self) -> None:
        code = (
            "import sys; sys.modules['psycopg'] = None\n"
            "from protean_testing import SQLAlchemyStore\n"
            "store = SQLAlchemyStore(adopt=True, url='postgresql+psycopg2://localhost/shop_test')\n"
            "store.check()"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        self.assertIn('pip install "protean-testing[postgresql]"', done.stderr)
        self.assertIn("ConfigurationError", done.stderr)


class ErrorTests(PostgreSQLTestCase):
    def test_no_password_in_an_error(self) -> None:
        with self.superuser() as connection:
            connection.execute("ALTER ROLE owner PASSWORD 's3cr3t'")
        url = make_url(self.url).set(password="s3cr3t")
        backend = PostgreSQLBackend(Database(name="shop", url=url, engine=lambda: self.engine))
        self.addCleanup(backend.close)
        backend.check(())
        backend.acquire()
        with self.superuser() as connection:
            connection.execute('CREATE TABLE "s3cr3t" (a int)')
        backend.created()
        snapshot = backend.save()
        with self.superuser() as connection:
            connection.execute('DROP TABLE "s3cr3t"')
        with self.assertRaises(ProteanTestingError) as caught:
            backend.reset(snapshot)
        self.assertNotIn("psycopg", repr(caught.exception.__cause__))
        with self.assertRaises(psycopg.Error):
            self.run_sql('SELECT * FROM "s3cr3t"')
