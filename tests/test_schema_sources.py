# ruff: noqa: E501 -- lines of the suites that are written here
"""What makes a schema beside metadata and callables: files of SQL statements, and Alembic's migrations."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing

from .interpreters import run
from .mariadb_server import MariaDB
from .suite import MODELS, SuiteTestCase

TYPES = r"""
-- a comment; with a semicolon, and a 'quote
\restrict Qk3aVb
SELECT pg_catalog.set_config('search_path', '', false);
BEGIN;
CREATE TYPE public.mood AS ENUM ('sad', 'ok;');
COMMIT;
CREATE FUNCTION public.half(n int) RETURNS int LANGUAGE plpgsql AS $body$
BEGIN
    RETURN n / 2;  -- 100% of it
END;
$body$;
\unrestrict Qk3aVb
"""

TABLES = """
CREATE TABLE public.orders (id int GENERATED ALWAYS AS IDENTITY, total int, mood public.mood);
INSERT INTO public.orders (total, mood) VALUES (public.half(8), 'ok;');
"""

CONCURRENTLY = "CREATE INDEX CONCURRENTLY ON public.orders (total);"

LITE = """
PRAGMA foreign_keys = OFF;
CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, total int DEFAULT 4, mood text DEFAULT 'ok;');
CREATE TRIGGER double AFTER INSERT ON orders BEGIN
    UPDATE orders SET total = total * 2 WHERE id = new.id AND total > 4;
END;
INSERT INTO orders DEFAULT VALUES;
"""

MARIA = """
CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, total int DEFAULT 4, mood varchar(9) DEFAULT 'ok;');
INSERT INTO orders () VALUES ();
CREATE TRIGGER noted BEFORE INSERT ON orders FOR EACH ROW BEGIN SET new.total = new.total * 2; END;
"""

SUITE = """
import os, sys, unittest
from pathlib import Path
from sqlalchemy import text
from protean_testing import DatabaseTestCase, SQLAlchemyStore

HERE = Path(__file__).parent

class Orders:
    def check(self):
        with self.db.session() as session:
            self.assertEqual(session.execute(text("SELECT id, total, mood FROM orders")).all(), [(1, 4, "ok;")])
            session.execute(text("INSERT INTO orders (total) VALUES (3)"))
            session.commit()
            self.assertEqual(session.scalar(text("SELECT max(id) FROM orders")), 2)
    test_1 = test_2 = check

class OneTests(Orders, DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=%s)]

class TwoTests(Orders, DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=%s)]
"""


ENDS = """
import os, signal, sys, time
from functools import partial
from protean_testing import Store

def at_once():
    sys.exit(1)

async def asynchronous(engine):
    sys.exit(1)

class Own(Store):
    name = "own"
    def identity(self): return "own"
    async def create_schema(self): sys.exit(1)
    def reset_data(self, snapshot): return False

def function(number, frame, code=143):
    sys.exit(code)

class Handler:
    def method(self, number, frame): sys.exit(143)
    __call__ = method

def killed():
    signal.signal(signal.SIGTERM, eval(os.environ["HANDLER"]))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""

ENDING = """
import ends, unittest
from protean_testing import CallableStore, DatabaseTestCase, SQLAlchemyStore, Store

class OneTests(DatabaseTestCase):
    stores = [STORE]
    def test_1(self): pass

class TwoTests(OneTests): pass

class Later(Store):
    async def save_data(self): return 1
    async def reset_data(self, snapshot): return False

class ThreeTests(OneTests):
    stores = [Later()]
"""


class SQLFilesTests(SuiteTestCase):
    def suite(self, schema: str) -> None:
        self.write("test_it.py", SUITE % (schema, schema))

    def test_postgresql_runs_what_pg_dump_writes(self) -> None:
        self.write("types.sql", TYPES)
        self.write("tables.sql", TABLES)
        self.write("index.sql", CONCURRENTLY)
        self.suite("[HERE / 'types.sql', str(HERE / 'tables.sql'), 'index.sql']")
        done = self.unittest("test_it", TEST_DB="postgresql", PROTEAN_TESTING_SUMMARY="1")
        self.assertPassed(done, tests=4)
        self.assertIn("schema of 'database' created once", done.err)

    def test_sqlite_runs_triggers_and_pragmas(self) -> None:
        self.write("schema.sql", LITE)
        self.suite("'schema.sql'")
        for place in ("memory", "sqlite"):
            self.assertPassed(self.unittest("test_it", TEST_DB=place), tests=4)

    def test_mariadb_runs_many_statements(self) -> None:
        server = MariaDB()
        self.addCleanup(server.stop)
        with server.connect("mysql") as connection:
            connection.cursor().execute("CREATE DATABASE shop_test")
        self.write("schema.sql", MARIA)
        url = f"url={server.url('shop_test')!r}"
        self.write("test_it.py", SUITE % ((f"HERE / 'schema.sql', {url}",) * 2))
        self.assertPassed(self.unittest("test_it"), tests=4)

    def test_a_kept_schema_is_made_anew_if_a_file_changes(self) -> None:
        self.write("schema.sql", LITE)
        self.suite("'schema.sql', keep=True, url='sqlite:///kept_test.db'")
        self.assertPassed(self.unittest("test_it"), tests=4)

        def tables() -> set[str]:
            with closing(sqlite3.connect(self.directory / "kept_test.db")) as connection:
                return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}

        self.assertIn("orders", tables())
        self.write("schema.sql", LITE + "CREATE TABLE more (id int);")
        self.assertPassed(self.unittest("test_it"), tests=4)
        self.assertIn("more", tables())

    def test_a_statement_that_fails_is_found_by_file_and_line(self) -> None:
        self.write("schema.sql", "CREATE TABLE one (id int);\n\nCREATE TABLE two (id nonsense);\n")
        self.suite("HERE / 'schema.sql'")
        done = self.unittest("test_it", TEST_DB="postgresql")
        self.assertFailed(
            done, "could not make the schema of store 'database' from", 'schema.sql, line 3: type "nonsense"'
        )

    def test_what_only_a_client_knows_is_refused(self) -> None:
        for place, text, says in (
            (
                "postgresql",
                "\\i other.sql\n",
                "\\i  is a command of psql. Name that file",
            ),
            (
                "postgresql",
                "CREATE TABLE one (id int);\nCOPY one (id) FROM stdin;\n1\n\\.\n",
                "pg_dump --inserts",
            ),
            (
                "postgresql",
                f"CREATE TABLE public.orders (total int);\n{CONCURRENTLY}\n",
                "Put it into a file of its own",
            ),
            ("memory", "CREATE TABLE one (id int);\n.read other.sql\n", "is a command of sqlite3's shell"),
            ("memory", TABLES, "If the schema is for PostgreSQL, set  TEST_DB=postgresql"),
        ):
            with self.subTest(text):
                self.write("schema.sql", text)
                self.suite("'schema.sql'")
                self.assertFailed(self.unittest("test_it", TEST_DB=place), says)

    def test_a_callable_is_given_an_engine_where_it_takes_one(self) -> None:
        """What is optional is something else: `create_all` of Flask-SQLAlchemy, `upgrade` of Flask-Migrate."""
        source = """
        from functools import partial
        from sqlalchemy import create_engine
        engine = create_engine("sqlite:///shop_test.db")
        def without(): Base.metadata.create_all(engine)
        def optional(directory=None, revision="head"):
            assert directory is None
            without()
        def named(test_engine=None): Base.metadata.create_all(test_engine)
        def required(bind, directory=None): Base.metadata.create_all(bind)
        def both(directory, bind): required(bind)
        class Extension:
            def create_all(self, bind_key="__all__"): optional()
        def options(**options): optional(**options)
        makers = (without, optional, options, named, required, partial(both, "migrations"), Extension().create_all)
        for make in makers:
            with test_database(SQLAlchemyStore(schema=make, engine=engine)) as db:
                place(db.engine)
            end_run()
            engine.dispose()
        """
        self.write("it.py", source.replace("\n        ", "\n"), before=MODELS)
        done = self.python("it.py")
        self.assertEqual(done.code, 0, done.err)

    def test_a_callable_that_ends_the_program(self) -> None:
        """As the commands of click and Flask-Migrate do, if they fail."""
        self.write("ends.py", ENDS)
        for schema in ("ends.at_once", "ends.asynchronous", "ends.Own()"):
            with self.subTest(schema):
                stores = schema if "Own" in schema else f"SQLAlchemyStore(schema={schema})"
                self.write("test_it.py", ENDING.replace("STORE", stores))
                outcome = self.unittest("test_it")
                self.assertFailed(outcome, "has ended the program (SystemExit(1)). What it logged or printed")
                self.assertFailed(outcome, "what makes the schema of store '")
                self.assertEqual(outcome.err.count("ERROR: setUpClass"), 2, "the run went on")
                self.assertEqual(outcome.ran, 1, outcome.err)

    def test_the_handler_of_a_signal_ends_the_run(self) -> None:
        self.write("ends.py", ENDS)
        self.write("test_it.py", ENDING.replace("STORE", "SQLAlchemyStore(schema=ends.killed)"))
        for handler in ("function", "Handler().method", "Handler()", "partial(function, code=143)"):
            with self.subTest(handler):
                outcome = self.unittest("test_it", HANDLER=handler)
                self.assertEqual(outcome.code, 143, outcome.err)
                self.assertNotIn("has ended the program", outcome.err)

    def test_what_is_no_file_is_refused_with_what_to_write(self) -> None:
        self.write("there/one.sql", "")
        for schema, says in {
            "'missing.sql'": "Path(__file__).with_name('missing.sql')",
            "'there'": "sorted(Path('there').glob('*.sql'))",
            "'CREATE TABLE one (id int)'": "It looks like SQL: write that into a file",
            "'alembic.ini'": "schema=alembic('alembic.ini')",
            "7": "paths to .sql files",
            "[]": "paths to .sql files",
        }.items():
            with self.subTest(schema):
                self.suite(schema)
                self.assertFailed(self.unittest("test_it"), says)


MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0001", None
def upgrade():
    op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True), sa.Column("customer", sa.String, nullable=False),
                    sqlite_autoincrement=True)
    op.create_table("items", sa.Column("id", sa.Integer, primary_key=True),
                    sa.Column("order_id", sa.Integer, sa.ForeignKey("orders.id"), nullable=False))
    op.execute("INSERT INTO orders (customer) VALUES ('first')")
"""

ALEMBIC = """
import logging
from protean_testing import alembic

class Both:
    def check(self):
        self.assertEqual(customers(self.engine), ["first"])
        self.assertEqual(place(self.engine), 2)
        with self.db.session() as session:
            self.assertEqual(session.scalar(text("SELECT version_num FROM alembic_version")), "0001")
        self.assertFalse(logging.getLogger("mine").disabled)
    test_1 = test_2 = check

logging.getLogger("mine")

class OneTests(Both, DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=alembic(INI))]

class TwoTests(Both, DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=alembic(INI))]

class LoopTests(unittest.IsolatedAsyncioTestCase):
    async def test_in_a_loop(self):
        async with test_database(SQLAlchemyStore(schema=alembic(INI))) as db:
            self.assertEqual(customers(db.engine), ["first"])

@uses_database(SQLAlchemyStore(Base.metadata, schema=alembic(INI)))
def models(db):
    pass
"""

OWN_URL = """
import os
from alembic import context
from sqlalchemy import create_engine
engine = create_engine(os.environ["OWN_URL"])
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

LEAVES_ENGINES = """
from alembic import context
from sqlalchemy import create_engine
engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
ENGINES.append(engine)
"""

TAKES_CONNECTION = """
from alembic import context
connection = context.config.attributes["connection"]
context.configure(connection=connection)
connection.exec_driver_sql("SELECT 1")      # so that the transaction is nobody's who would commit it
context.run_migrations()
"""


class AlembicTests(SuiteTestCase):
    """With the files that ``alembic init`` writes, whose env.py is the one of most projects."""

    def project(self, template: str = "generic", env: str = "", ini: str = "'backend/alembic.ini'") -> None:
        shutil.rmtree(self.directory / "backend", ignore_errors=True)
        (self.directory / "backend").mkdir()
        made = run(
            [sys.executable, "-m", "alembic", "init", "--template", template, "migrations"],
            cwd=self.directory / "backend",
            env=self.environment(),
            timeout=60,
        )
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)
        if env:
            self.write("backend/migrations/env.py", env)
        self.write("backend/migrations/versions/0001_tables.py", MIGRATION)
        self.write("test_it.py", ALEMBIC.replace("INI", ini), before=MODELS)

    def test_the_project_s_own_env(self) -> None:
        for template in ("generic", "async"):
            for place in ("memory", "sqlite", "postgresql"):
                with self.subTest(f"{template}, {place}"):
                    self.project(template)
                    done = self.unittest("test_it", TEST_DB=place, PROTEAN_TESTING_SUMMARY="1")
                    self.assertPassed(done, tests=5)
                    self.assertIn("schema of 'database' created once", done.err)
                    self.assertNotIn("Warning", done.err)

    def test_an_env_that_takes_the_connection(self) -> None:
        for place in ("memory", "postgresql"):
            self.project(env=TAKES_CONNECTION)
            self.assertPassed(self.unittest("test_it", TEST_DB=place), tests=5)

    def test_a_file_that_lies_in_the_directory_of_its_migrations(self) -> None:
        """As Flask-Migrate's, which does not say where they are."""
        self.project()
        self.write("backend/migrations/alembic.ini", "[alembic]\n")
        self.write("test_it.py", ALEMBIC.replace("INI", "'backend/migrations/alembic.ini'"), before=MODELS)
        (self.directory / "backend/alembic.ini").unlink()
        env = (self.directory / "backend/migrations/env.py").read_text()
        self.write("backend/migrations/env.py", env.replace("fileConfig(config.config_file_name)", "pass"))
        self.assertPassed(self.unittest("test_it"), tests=5)

    def test_another_database_is_not_touched(self) -> None:
        self.project(env=OWN_URL)
        done = self.unittest("test_it.OneTests", OWN_URL="sqlite:///developer.db")
        self.assertFailed(
            done,
            "env.py of alembic('backend/alembic.ini') connects to sqlite:///developer.db",
            'config.get_main_option("sqlalchemy.url")',
        )
        with closing(sqlite3.connect(self.directory / "developer.db")) as connection:
            self.assertEqual(connection.execute("SELECT * FROM sqlite_master").fetchall(), [])

    def test_an_env_that_ends_the_program(self) -> None:
        self.project(env="import sys\nsys.exit('no settings')\n")
        outcome = self.unittest("test_it")
        self.assertFailed(outcome, "store 'database' has ended the program (SystemExit('no settings'))")
        self.assertGreater(outcome.err.count("ERROR: "), 1, "the run went on")

    def test_engines_that_it_leaves_are_disposed(self) -> None:
        self.project(env="from test_it import ENGINES\n" + LEAVES_ENGINES)
        with (self.directory / "test_it.py").open("a") as file:
            file.write(
                "\nENGINES = []\n"
                "class DisposedTests(Both, DatabaseTestCase):\n"
                "    stores = [SQLAlchemyStore(schema=alembic('backend/alembic.ini'))]\n"
                "    def test_disposed(self):\n"
                "        self.assertEqual([engine.pool.checkedin() for engine in ENGINES], [0])\n"
            )
        self.assertPassed(self.unittest("test_it.DisposedTests", TEST_DB="postgresql"), tests=3)

    def test_workers_make_it_once_and_copy_it(self) -> None:
        self.project()
        self.write(
            "backend/migrations/versions/0001_tables.py", MIGRATION + "    open('made', 'a').write('x')\n"
        )
        done = self.python(
            "-m", "pytest", "-q", "-p", "no:randomly", "-n", "2", "test_it.py", TEST_DB="sqlite"
        )
        self.assertEqual(done.code, 0, done.out)

    def test_what_differs_from_the_models_is_told(self) -> None:
        self.project()
        call = "import test_it; test_it.models()"
        same = self.python("-W", "error", "-c", call)
        self.assertEqual(same.code, 0, same.err)
        stale = MIGRATION.replace(
            'sa.Column("customer", sa.String, nullable=False)', 'sa.Column("old", sa.Integer)'
        )
        self.write(
            "backend/migrations/versions/0001_tables.py",
            stale.replace(
                "INSERT INTO orders (customer) VALUES ('first')", "INSERT INTO orders (old) VALUES (1)"
            ),
        )
        for place in ("memory", "postgresql"):
            done = self.python("-c", call, TEST_DB=place)
            self.assertIn("add column orders.customer", done.err)
            self.assertIn("remove column orders.old", done.err)
            self.assertIn("alembic revision --autogenerate", done.err)

    def test_models_beside_files_and_callables_are_compared_by_their_columns(self) -> None:
        self.write("schema.sql", "CREATE TABLE orders (id INTEGER PRIMARY KEY);")
        source = "with test_database(SQLAlchemyStore(Base.metadata, schema='schema.sql')): pass"
        self.write("it.py", source, before=MODELS)
        done = self.python("it.py")
        self.assertIn("table 'orders' lacks 'customer'", done.err)
        self.assertIn("table 'items' is not there", done.err)

    def test_what_cannot_be_is_refused_with_what_to_write(self) -> None:
        self.project(ini="'alembic.ini'")
        self.assertFailed(self.unittest("test_it"), "alembic(Path(__file__).with_name('alembic.ini'))")
        self.project()
        shutil.rmtree(self.directory / "backend/migrations")
        self.assertFailed(self.unittest("test_it"), "alembic('backend/alembic.ini'): Path doesn't exist")
