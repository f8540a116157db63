"""A store's place that goes away before the run ends: a short error, and everything else goes on."""

from __future__ import annotations

import re
from contextlib import closing
from itertools import count

import psycopg

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql
from protean_testing.stores.message_db.install import install

from .mariadb_server import MariaDB
from .message_db import bring
from .redis_servers import OwnServer
from .suite import MODELS, Outcome, SuiteTestCase

SUITE = """
other = SQLAlchemyStore(Base.metadata, name="other", dialect="sqlite")
place_of_shop = os.environ["PLACE"]
shop = {store}

class ATests(DatabaseTestCase):
    stores = [shop, other]
    def test_1_loses(self):
        place(other.engine)
        write()
        lose()
    def test_2(self):
        self.assertEqual(customers(other.engine), [])

class BTests(DatabaseTestCase):
    stores = [other]
    def test_1(self):
        self.assertEqual(customers(other.engine), [])

class CTests(DatabaseTestCase):
    stores = [shop]
    def test_1(self):
        raise AssertionError("a store that is lost was used")
"""
SQL = 'SQLAlchemyStore(Base.metadata, name="shop", url=place_of_shop)'
WRITE_SQL = """
def write():
    place(shop.engine)
    shop.engine.dispose()
"""

_numbers = count(1)


class LostTestCase(SuiteTestCase):
    def run_suite(self, store: str, code: str, place: str, **variables: str) -> Outcome:
        self.write(
            "test_it.py",
            SUITE.format(store=store) + code,
            before=MODELS + "from protean_testing import MessageDBStore, RedisStore\n",
        )
        return self.unittest("test_it", timeout=60, PLACE=place, **variables)

    def assertLost(self, outcome: Outcome, *texts: str) -> None:
        """Told by each test that needed it, named with the one that lost it; the others have run."""
        self.assertFailed(outcome, *texts)
        self.assertNotIn("AssertionError", outcome.err)
        failed = re.findall(r"^ERROR: (.*)$", outcome.err, re.MULTILINE)
        self.assertEqual([one for one in failed if "BTests" in one], [], outcome.err)
        self.assertTrue(failed[0].startswith("test_1_loses"), outcome.err)
        self.assertTrue(any("CTests" in one for one in failed), outcome.err)
        self.assertLessEqual(len(failed), 6, outcome.err)
        for error in outcome.err.split("=" * 70)[1:]:
            self.assertIn("store 'shop'", error)
            self.assertIn("test_1_loses", error)
            frames = re.findall(r'File ".*?(\w+/\w+\.py)"', error)
            self.assertLessEqual(len(frames), 1, error)
            self.assertNotIn("exception", error)
            self.assertLessEqual(len(error.splitlines()), 14, error)


class PostgreSQLTests(LostTestCase):
    server: PrivatePostgreSQL

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_postgresql()
        cls.addClassCleanup(cls.server.stop)

    def run_sql(self, *statements: str, database: str = "postgres") -> None:
        with closing(
            psycopg.connect(self.server.url(database).replace("+psycopg", ""), autocommit=True)
        ) as one:
            for statement in statements:
                one.execute(statement.encode())

    def lose(self, *statements: str) -> tuple[Outcome, str]:
        number = next(_numbers)
        name, role = f"lost{number}_test", f"lost{number}"
        self.run_sql(f"CREATE ROLE {role} LOGIN", f"CREATE DATABASE {name} OWNER {role}")
        self.run_sql(f"ALTER SCHEMA public OWNER TO {role}", database=name)
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        done = [one.format(name=name, role=role, end=end) for one in statements]
        admin = self.server.url("postgres").replace("+psycopg", "")
        lose = f"""
def lose():
    import psycopg
    with psycopg.connect({admin!r}, autocommit=True) as connection:
        for statement in {done!r}:
            connection.execute(statement)
"""
        return self.run_suite(SQL, WRITE_SQL + lose, self.server.url(name, user=role)), name

    def test_a_database(self) -> None:
        for statements, said in (
            (("DROP DATABASE {name} WITH (FORCE)",), 'database "{name}" does not exist'),
            (("{end}", "ALTER DATABASE {name} RENAME TO {name}_2"), 'database "{name}" does not exist'),
            (
                ("ALTER DATABASE {name} ALLOW_CONNECTIONS false", "{end}"),
                "not currently accepting connections",
            ),
            (("ALTER ROLE {role} NOLOGIN", "{end}"), "is not permitted to log in"),
            (("ALTER ROLE {role} RENAME TO {role}_2", "{end}"), "does not exist"),
            (("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC, {role}", "{end}"), "permission denied"),
            (("DROP DATABASE {name} WITH (FORCE)", "CREATE DATABASE {name}"), "dropped"),
        ):
            with self.subTest(statements):
                outcome, name = self.lose(*statements)
                self.assertLost(outcome, said.format(name=name))

    def test_message_db(self) -> None:
        code = """
import psycopg
def execute(statement):
    with psycopg.connect(place_of_shop, autocommit=True) as connection:
        connection.execute(statement)
def write():
    execute(
        "SET search_path = message_store; "
        "SELECT write_message(gen_random_uuid()::varchar, 's-1', 'T', '{}'::jsonb)"
    )
def lose():
"""
        lose = """
    with psycopg.connect(place_of_shop, dbname="postgres", autocommit=True) as connection:
        name = psycopg.conninfo.conninfo_to_dict(place_of_shop)["dbname"]
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
"""
        for how, said in (
            ('    execute("DROP SCHEMA message_store CASCADE")\n', "message_store"),
            (lose, "does not exist"),
        ):
            with self.subTest(said):
                name = f"lost{next(_numbers)}_test"
                self.run_sql(f"CREATE DATABASE {name}")
                place = self.server.url(name).replace("+psycopg", "")
                bring()
                with closing(psycopg.connect(place, autocommit=True)) as connection:
                    install(connection)
                store = 'MessageDBStore(url=place_of_shop, name="shop")'
                outcome = self.run_suite(store, code + how, place)
                self.assertLost(outcome, said)


class SQLiteTests(LostTestCase):
    def run_with_file(self, lose: str) -> Outcome:
        directory = self.directory / f"data{next(_numbers)}"
        directory.mkdir()
        file = directory / "shop_test.db"
        code = f"{WRITE_SQL}\nFILE = {str(file)!r}\ndef lose():\n    {lose}\n"
        return self.run_suite(SQL, code, f"sqlite:///{file}")

    def test_a_file_is_made_again(self) -> None:
        """CTests is the one test that fails: the store can be used."""
        for lose in (
            "os.remove(FILE)",
            "os.truncate(FILE, 100)",
            "file = open(FILE, 'wb'); file.write(b'no database at all' * 300); file.close()",
        ):
            with self.subTest(lose):
                outcome = self.run_with_file(lose)
                self.assertFailed(outcome, "a store that is lost was used", "FAILED (failures=1)")

    def test_its_directory(self) -> None:
        self.assertLost(
            self.run_with_file("import shutil; shutil.rmtree(os.path.dirname(FILE))"), "unable to open"
        )


class MariaDBTests(LostTestCase):
    def test_a_database(self) -> None:
        server = MariaDB()
        self.addCleanup(server.stop)
        for statements, said in (
            (("DROP DATABASE {name}",), "Unknown database"),
            (("DROP USER 'u'@'localhost'", "{end}"), "denied"),
            (("DROP DATABASE {name}", "CREATE DATABASE {name}"), ""),  # which is made again
        ):
            with self.subTest(statements):
                name = f"lost{next(_numbers)}_test"
                server.create(name)
                with server.connect("mysql") as connection, connection.cursor() as cursor:
                    cursor.execute("DROP USER IF EXISTS 'u'@'localhost'")
                    cursor.execute("CREATE USER 'u'@'localhost'")
                    cursor.execute("GRANT ALL ON *.* TO 'u'@'localhost'")
                done = [one.format(name=name, end="KILL USER 'u'@'localhost'") for one in statements]
                models = MODELS.replace(
                    "customer: Mapped[str]", "customer: Mapped[str] = mapped_column(String(9))"
                )
                lose = f"""
def lose():
    import pymysql
    with pymysql.connect(unix_socket={str(server.socket)!r}, user="root", autocommit=True) as connection:
        for statement in {done!r}:
            connection.cursor().execute(statement)
"""
                source = SUITE.format(store=SQL) + WRITE_SQL + lose
                self.write("test_it.py", source, before="from sqlalchemy import String\n" + models)
                outcome = self.unittest("test_it", timeout=60, PLACE=server.url(name, "u"))
                if said:
                    self.assertLost(outcome, said)
                else:
                    self.assertFailed(outcome, "a store that is lost was used", "FAILED (failures=1)")


class RedisTests(LostTestCase):
    def test_a_server(self) -> None:
        code = """
import redis
def client(): return redis.Redis.from_url(place_of_shop)
def write(): client().set("a", "b")
def lose(): client().shutdown(nosave=True)
"""
        store = 'RedisStore(url=place_of_shop, name="shop", wait=1)'
        self.assertLost(self.run_suite(store, code, OwnServer(self).url), "no answer")
