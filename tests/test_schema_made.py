"""A callable that makes nothing in the store's database is refused; SQLite is named if it is the reason."""

from __future__ import annotations

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql

from .mariadb_server import MariaDB
from .suite import MODELS, SuiteTestCase

KINDS = """
import itertools, psycopg, sqlite3, subprocess
from functools import partial
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

numbers = itertools.count()
THINGS = "CREATE TABLE things (id INTEGER PRIMARY KEY)"
BASE = os.environ.get("BASE", "")          # a URL that ends in the name of a database
MAKES = sys.argv[-1] == "makes"

def run(engine, *statements):
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))

def fresh():
    '''The URL of an empty database.'''
    name = f"kinds_{next(numbers)}_test"
    if not BASE:
        return f"sqlite:///{name}.db"
    url = make_url(BASE)
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    return url.set(database=name).render_as_string(hide_password=False)

ELSEWHERE = fresh()

def nothing(): pass
def nothing_with_an_engine(engine):
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
def elsewhere():
    run(create_engine(ELSEWHERE), "DROP TABLE IF EXISTS things", THINGS)
def not_committed(engine):
    with engine.connect() as connection:
        connection.execute(text(THINGS))
async def asynchronous(engine): pass
def generator(engine):
    run(engine, THINGS)
    yield
class Migrations:
    def upgrade(self, revision="head"): elsewhere()

def table(engine): run(engine, THINGS)
def view(engine): run(engine, "CREATE VIEW one AS SELECT 1 AS one")
def function(engine): run(engine, "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'")
def enum(engine): run(engine, "CREATE TYPE mood AS ENUM ('sad', 'ok')")
def domain(engine): run(engine, "CREATE DOMAIN age AS int CHECK (VALUE > 0)")
def schema(engine): run(engine, "CREATE SCHEMA audit")
def extension(engine): run(engine, "CREATE EXTENSION pg_trgm")
async def async_table(engine):
    async with engine.begin() as connection:
        await connection.execute(text(THINGS))

class KindTests(unittest.TestCase):
    def refused(self, schema, *texts, url=None, **options):
        if url is None and "engine" not in options:
            url = fresh()
        with self.assertRaises(ConfigurationError) as raised:
            with test_database(SQLAlchemyStore(schema=schema, url=url, **options)):
                pass
        for text in ("made nothing in it", *texts):
            self.assertIn(text, str(raised.exception))
        return raised.exception

    def made(self, schema, **options):
        url = options.pop("url", None) or fresh()
        with test_database(SQLAlchemyStore(schema=schema, url=url, **options)) as db:
            self.assertTrue(db.url)

    def test_nothing(self):
        self.refused(nothing, "def nothing(engine)")
        self.refused(nothing_with_an_engine, "with engine.begin() as connection")
        self.refused(partial(nothing_with_an_engine))
        self.refused(lambda engine: None)

    def test_elsewhere(self):
        self.refused(elsewhere, "def elsewhere(engine)", "Does it go by another URL?")
        self.refused(Migrations().upgrade, "with engine.begin()")

    def test_an_engine_of_theirs(self):
        engine = create_engine(fresh())
        self.refused(elsewhere, engine=engine)
        self.refused(elsewhere, engine=lambda: engine)

    def test_generator(self):
        with self.assertRaisesRegex(ConfigurationError, "is a generator"), test_database(
            SQLAlchemyStore(schema=generator, url=fresh())
        ):
            pass

    def test_what_is_there_already(self):
        url = fresh()
        run(create_engine(url), "CREATE TABLE others (id INTEGER PRIMARY KEY)")
        self.refused(elsewhere, "pass adopt=True", url=url)

    def test_migrated_already(self):
        url = fresh()
        run(create_engine(url), THINGS)
        def upgrade(engine): run(engine, THINGS.replace("TABLE", "TABLE IF NOT EXISTS"))
        self.made(upgrade, url=url)
        url = fresh()
        run(create_engine(url), THINGS)
        def own_engine(): upgrade(create_engine(url))
        self.made(own_engine, url=url)

    def test_table_or_view(self):
        self.made(table)
        self.made(view)

if __name__ == "__main__":
    unittest.main()
"""

POSTGRESQL = """
import shutil
from test_kinds import *
from test_kinds import KindTests as _KindTests
del KindTests

class KindTests(_KindTests):
    def test_async(self):
        self.refused(asynchronous, "made nothing")
        self.made(async_table)

    def test_not_committed(self):
        self.refused(not_committed, "commit")

    def test_other_objects(self):
        for kind in function, enum, domain, schema, extension:
            with self.subTest(kind.__name__):
                self.made(kind)

    def test_drivers_of_their_own(self):
        url = fresh()
        def plain():
            with psycopg.connect(url.replace("+psycopg", "")) as connection:
                connection.execute(THINGS)
        self.made(plain, url=url)
"""

DEFAULT = """
from sqlalchemy import ARRAY, Column, Integer, MetaData, String, Table, text
from sqlalchemy.dialects.postgresql import INET, TSVECTOR

def metadata(*columns, **options):
    found = MetaData()
    Table("things", found, Column("id", Integer, primary_key=True), *columns, **options)
    return found

def one(sql):
    def make(engine):
        with engine.begin() as connection:
            connection.execute(text(sql))
    return make

def two_statements(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE a (id int);\\nCREATE TABLE b (id int);")

def raw(engine):
    connection = engine.raw_connection()
    connection.cursor().execute("CREATE EXTENSION pg_trgm")

def by_psycopg(engine):
    import psycopg
    psycopg.connect(engine.url.render_as_string())

async def asynchronous(engine):
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TYPE mood AS ENUM ('sad')"))

STORES = [
    SQLAlchemyStore(metadata(Column("tags", ARRAY(String)))),
    SQLAlchemyStore(metadata(Column("address", INET))),
    SQLAlchemyStore(metadata(Column("words", TSVECTOR))),
    SQLAlchemyStore(metadata(schema="audit")),
    SQLAlchemyStore(schema=one("CREATE EXTENSION pg_trgm")),
    SQLAlchemyStore(schema=one("CREATE TYPE mood AS ENUM ('sad')")),
    SQLAlchemyStore(schema=one("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY)")),
    SQLAlchemyStore(schema=one("CREATE SCHEMA audit")),
    SQLAlchemyStore(schema=two_statements),
    SQLAlchemyStore(schema=raw),
    SQLAlchemyStore(schema=by_psycopg),
    SQLAlchemyStore(schema=asynchronous),
]

for number, store in enumerate(STORES):
    globals()[f"Number{number}Tests"] = type(f"Number{number}Tests", (DatabaseTestCase,), {
        "stores": [store], "test_1": lambda self: None, "__module__": __name__
    })
"""


class SchemaCallableTests(SuiteTestCase):
    server: PrivatePostgreSQL

    def setUp(self) -> None:
        super().setUp()
        self.write("test_kinds.py", KINDS, before=MODELS)

    def test_sqlite(self) -> None:
        self.assertPassed(self.unittest("test_kinds"), 7)

    def test_a_worker_on_sqlite(self) -> None:
        outcome = self.unittest(
            "-k", "test_nothing", "-k", "elsewhere", "test_kinds", PROTEAN_TESTING_WORKER="1"
        )
        self.assertPassed(outcome, 2)

    def test_postgresql(self) -> None:
        server = start_postgresql()
        self.addCleanup(server.stop)
        self.write("test_postgresql.py", POSTGRESQL)
        outcome = self.unittest("test_postgresql.KindTests", BASE=server.url("postgres"))
        self.assertPassed(outcome, 11)

    def test_mariadb(self) -> None:
        server = MariaDB()
        self.addCleanup(server.stop)
        self.assertPassed(self.unittest("test_kinds", BASE=server.url("mysql")), 7)


class OtherDialectTests(SuiteTestCase):
    def test_what_a_database_has_no_type_for(self) -> None:
        """A few lines: the store, the column, the database; no frames of SQLAlchemy's compiler."""
        server = MariaDB()
        self.addCleanup(server.stop)
        self.write(
            "test_types.py",
            """
            import os
            from sqlalchemy import ARRAY, Column, Integer, MetaData, String, Table
            from protean_testing import DatabaseTestCase, SQLAlchemyStore

            metadata = MetaData()
            Table("tags", metadata, Column("id", Integer, primary_key=True), Column("word", String))
            sets = MetaData()
            Table("sets", sets, Column("id", Integer, primary_key=True), Column("words", ARRAY(String(9))))

            class LengthTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(metadata, url=os.environ["URL"], name="tags")]
                def test_1(self): pass
            class ArrayTests(LengthTests):
                stores = [SQLAlchemyStore(sets, url=os.environ["URL"], name="sets")]
            """,
        )
        outcome = self.unittest("test_types", URL=server.create("types_test"))
        self.assertFailed(outcome, "VARCHAR requires a length", "store 'tags'", "store 'sets'", "types_test")
        self.assertNotIn("File ", outcome.err)
        with server.connect("types_test") as connection, connection.cursor() as cursor:
            cursor.execute("SHOW TABLES")
            self.assertEqual(cursor.fetchall(), ())


class SQLiteByDefaultTests(SuiteTestCase):
    def test_what_sqlite_does_not_take(self) -> None:
        """Every kind of error names SQLite, why it is SQLite, and the line to write."""
        self.write("test_default.py", DEFAULT, before=MODELS)
        for variables, why in (
            ({}, "This is SQLite in memory, because TEST_DB is not set."),
            ({"TEST_DB": "sqlite"}, "This is a SQLite file, because TEST_DB is 'sqlite'."),
        ):
            outcome = self.unittest("test_default", **variables)
            self.assertFailed(outcome, "FAILED (errors=12)")
            self.assertEqual(outcome.err.count(why), 12, outcome.err)
            self.assertEqual(outcome.err.count("set  TEST_DB=postgresql"), 12)

    def test_what_a_private_postgresql_lacks(self) -> None:
        """Of what its programs were built without, the error names the variable and what to install."""
        self.write(
            "test_lacking.py",
            """
            from sqlalchemy import Column, MetaData, String, Table
            number = 0
            def tests_of(store):
                global number
                number += 1
                return type(f"Lacking{number}Tests", (DatabaseTestCase,), {
                    "stores": [store], "test_1": lambda self: None, "__module__": __name__
                })
            german = MetaData()
            Table("names", german, Column("name", String(collation="de-x-icu")))
            Of1 = tests_of(SQLAlchemyStore(german))
            for statement in (
                "CREATE EXTENSION pgcrypto", 'CREATE EXTENSION "uuid-ossp"',
                "CREATE TABLE t (x xml DEFAULT '<a/>')",
                "CREATE COLLATION c (provider = icu, locale = 'de')",
            ):
                def make(engine, statement=statement):
                    with engine.begin() as connection:
                        connection.execute(text(statement))
                        connection.execute(text("CREATE TABLE made (id int)"))
                globals()[f"Of{number}More"] = tests_of(SQLAlchemyStore(schema=make))
            """,
            before=MODELS,
        )
        outcome = self.unittest("test_lacking", TEST_DB="postgresql")
        self.assertFailed(outcome, "FAILED (errors=5)")
        self.assertEqual(outcome.err.count("PROTEAN_TESTING_POSTGRESQL=/usr"), 5, outcome.err)
        self.assertEqual(outcome.err.count("docs/platforms.md"), 5, outcome.err)

    def test_an_error_of_the_code_itself(self) -> None:
        self.write(
            "test_own.py",
            """
            def make(engine):
                raise ValueError("their own")

            class OwnTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(schema=make)]
                def test_1(self): pass
            """,
            before=MODELS,
        )
        outcome = self.unittest("test_own")
        self.assertFailed(outcome, "ValueError: their own")
        self.assertNotIn("TEST_DB", outcome.err)
