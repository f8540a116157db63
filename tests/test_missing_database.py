# ruff: noqa: E501
"""A given database that does not exist is created for the run, if it is a test's; what is not ours stays."""

from __future__ import annotations

import signal
from contextlib import closing

import psycopg

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql

from .mariadb_server import MariaDB
from .suite import MODELS, SuiteTestCase

SUITE = """
class OrderTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, url=os.environ["PLACE"])]
    def check(self):
        self.assertEqual(self.place(), 1)
        if "KILL" in os.environ:
            os.kill(os.getpid(), 9)
    test_1 = test_2 = check
    def place(self):
        with self.engine.begin() as connection:
            connection.execute(text("INSERT INTO items (id) VALUES (1)"))
            return connection.scalar(text("SELECT count(*) FROM items"))
"""


class PostgreSQLTests(SuiteTestCase):
    server: PrivatePostgreSQL

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_postgresql()
        cls.addClassCleanup(cls.server.stop)
        cls.run_sql("postgres", "CREATE ROLE plain LOGIN", "CREATE ROLE maker LOGIN CREATEDB")

    @classmethod
    def run_sql(cls, database: str, *statements: str) -> None:
        url = cls.server.url(database).replace("+psycopg", "")
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def setUp(self) -> None:
        super().setUp()
        models = MODELS.replace("customer: Mapped[str]", "customer: Mapped[str | None]")
        self.write("test_it.py", SUITE, before=models.replace('ForeignKey("orders.id")', "nullable=True"))

    def databases(self) -> set[str]:
        url = self.server.url().replace("+psycopg", "")
        with closing(psycopg.connect(url)) as connection:
            found = connection.execute("SELECT datname FROM pg_database WHERE datname ~ 'shop'").fetchall()
        return {name for (name,) in found}

    def place(self, name: str, user: str = "maker") -> str:
        return self.server.url(name, user=user)

    def test_created_and_dropped(self) -> None:
        for user in ("maker", "postgres"):
            self.assertPassed(self.unittest("test_it", PLACE=self.place("new_shop_test", user)), tests=2)
            self.assertEqual(self.databases(), set())

    def test_in_workers(self) -> None:
        done = self.python(
            "-m", "pytest", "-q", "-n", "2", "test_it.py", PLACE=self.place("workers_shop_test")
        )
        self.assertIn("2 passed", done.out)
        self.assertEqual(self.databases(), set())

    def test_of_a_run_that_was_killed_it_goes_with_the_next(self) -> None:
        place = self.place("killed_shop_test")
        self.assertEqual(self.unittest("test_it", PLACE=place, KILL="1").code, -signal.SIGKILL)
        self.assertEqual(self.databases(), {"killed_shop_test"})
        self.assertPassed(self.unittest("test_it", PLACE=place), tests=2)
        self.assertEqual(self.databases(), set())

    def test_what_is_there_or_came_since_or_is_a_copy_stays(self) -> None:
        self.run_sql("postgres", "CREATE DATABASE own_shop_test OWNER maker")
        self.addCleanup(self.run_sql, "postgres", "DROP DATABASE own_shop_test")
        self.assertPassed(self.unittest("test_it", PLACE=self.place("own_shop_test", "postgres")), tests=2)
        self.assertEqual(self.databases(), {"own_shop_test"})
        place = self.place("since_shop_test", "postgres")
        self.unittest("test_it", PLACE=place, KILL="1")
        self.run_sql("since_shop_test", "CREATE TABLE mine AS SELECT 1 AS id")
        self.run_sql("postgres", "CREATE DATABASE copy_shop_test TEMPLATE since_shop_test")
        self.addCleanup(self.run_sql, "postgres", "DROP DATABASE copy_shop_test")
        self.addCleanup(self.run_sql, "postgres", "DROP DATABASE since_shop_test")
        comment = "SELECT format('COMMENT ON DATABASE copy_shop_test IS %L', shobj_description(oid, 'pg_database')) "
        url = self.server.url().replace("+psycopg", "")
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            (text,) = connection.execute(
                (comment + "FROM pg_database WHERE datname = 'since_shop_test'").encode()
            ).fetchone() or ("",)
            connection.execute(text.encode())
        self.run_sql(
            "copy_shop_test", "DROP SCHEMA protean_testing CASCADE", "DROP TABLE items, orders, mine CASCADE"
        )
        self.run_sql("copy_shop_test", "DROP EVENT TRIGGER IF EXISTS protean_testing")
        self.unittest("test_it", PLACE=self.place("copy_shop_test", "postgres"))
        self.unittest("test_it", PLACE=place)
        self.assertEqual(self.databases(), {"own_shop_test", "since_shop_test", "copy_shop_test"})

    def test_what_is_not_created_says_how_to(self) -> None:
        done = self.unittest("test_it", PLACE=self.place("shop"))
        self.assertFailed(done, "there is no database 'shop' on the server", "-U maker shop")
        done = self.unittest("test_it", PLACE=self.place("shop_test", "plain"))
        self.assertFailed(done, "createdb -h /", "-U plain shop_test", 'ALTER ROLE "plain" CREATEDB')
        self.assertEqual(self.databases(), set())


class MariaDBTests(SuiteTestCase):
    def test_created_and_dropped(self) -> None:
        server = MariaDB()
        self.addCleanup(server.stop)
        models = MODELS.replace("customer: Mapped[str]", "customer: Mapped[int | None]")
        self.write("test_it.py", SUITE, before=models.replace('ForeignKey("orders.id")', "nullable=True"))
        self.assertPassed(self.unittest("test_it", PLACE=server.url("new_shop_test")), tests=2)
        with server.connect("mysql") as connection, connection.cursor() as cursor:
            cursor.execute("SHOW DATABASES LIKE 'new_shop_test'")
            self.assertEqual(cursor.fetchall(), ())
