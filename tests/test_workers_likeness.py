# ruff: noqa: E501 -- lines of the suites that are written here
"""A worker's database has all that the given one has, and its schema dumps as that of a single process."""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path

import psycopg
from psycopg import sql as psycopg_sql

from protean_testing.servers.postgresql import start_postgresql

from .server_log import ServerLogTestCase
from .suite import Outcome

PROGRAMS = Path("/usr/lib/postgresql/15/bin")  # pg_dump must be of the server's version

ADMINISTRATOR = """
CREATE ROLE reader; CREATE ROLE app LOGIN;
CREATE EXTENSION citext VERSION '1.5'; CREATE EXTENSION hstore SCHEMA public;
CREATE SCHEMA shared AUTHORIZATION app; GRANT USAGE ON SCHEMA shared TO reader;
CREATE DOMAIN shared.price AS numeric(9, 2) CHECK (VALUE >= 0);
CREATE FUNCTION shared.slug(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower($1) $$;
CREATE TYPE shared.pair AS (a int, b int);
CREATE TABLE shared.country (code text PRIMARY KEY);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO app;
REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO reader;
ALTER DATABASE shop_test SET work_mem TO '9MB'; ALTER DATABASE shop_test SET search_path TO public, shared;
ALTER DATABASE shop_test SET "TimeZone" TO 'Europe/Paris';
ALTER ROLE app IN DATABASE shop_test SET statement_timeout TO '7s';
ALTER ROLE postgres IN DATABASE shop_test SET lock_timeout TO '8s';
REVOKE ALL ON DATABASE shop_test FROM PUBLIC; GRANT CONNECT, TEMPORARY ON DATABASE shop_test TO app;
GRANT CREATE ON DATABASE shop_test TO reader WITH GRANT OPTION;
COMMENT ON DATABASE shop_test IS 'of the shop''s tests'; ALTER DATABASE shop_test CONNECTION LIMIT 44;
ALTER DATABASE shop_test OWNER TO app
"""

EVERYTHING = r"""
import os, re, subprocess, sys, time, unittest
from pathlib import Path
import sqlalchemy as sa
from protean_testing import DatabaseTestCase, SQLAlchemyStore

STATEMENTS = '''
CREATE TYPE kind AS ENUM ('book', 'toy');
CREATE DOMAIN quantity AS int CHECK (VALUE > 0) DEFAULT 1;
CREATE SEQUENCE numbers START 5 INCREMENT 2;
CREATE TABLE customer (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email citext UNIQUE NOT NULL,
  country text REFERENCES shared.country ON DELETE RESTRICT, tags hstore, slug text GENERATED ALWAYS AS (shared.slug('X')) STORED);
CREATE TABLE item (id serial PRIMARY KEY, customer_id int REFERENCES customer DEFERRABLE INITIALLY DEFERRED, kind kind,
  price shared.price NOT NULL, many quantity, at tsrange, CHECK (price <> 13), UNIQUE NULLS NOT DISTINCT (customer_id, kind),
  EXCLUDE USING gist (at WITH &&));
CREATE TABLE parts (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE part_rest PARTITION OF parts DEFAULT;
CREATE TABLE heir (more int) INHERITS (customer);
CREATE INDEX item_price ON item (price) INCLUDE (kind) WHERE price > 1;
CREATE VIEW seen AS SELECT email, count(*) FROM customer GROUP BY 1;
CREATE MATERIALIZED VIEW kept AS SELECT code FROM shared.country;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touching BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE nothing AS ON DELETE TO parts DO INSTEAD NOTHING;
CREATE POLICY mine ON customer USING (id > 0); ALTER TABLE customer ENABLE ROW LEVEL SECURITY;
CREATE STATISTICS price_and_kind ON price, kind FROM item; ALTER TABLE item ALTER price SET STATISTICS 50;
CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.one (a text COLLATE "C");
GRANT INSERT (email) ON customer TO app; GRANT SELECT ON seen TO reader; GRANT USAGE ON SEQUENCE numbers TO app;
ALTER DEFAULT PRIVILEGES IN SCHEMA elsewhere GRANT SELECT ON TABLES TO app;
COMMENT ON TABLE customer IS 'who buys'; COMMENT ON COLUMN item.price IS 'in euros'; COMMENT ON TYPE kind IS 'what';
INSERT INTO customer (email) VALUES ('Ann@x'), ('Bob@x');
INSERT INTO item (customer_id, kind, price, many) VALUES (1, 'book', 3, 2);
INSERT INTO parts VALUES (1, 1), (2, 7);
SELECT nextval('numbers')
'''

def make(engine):
    with open(os.environ["LOG"], "a") as log:
        print("made", file=log)
    with engine.begin() as connection:
        connection.exec_driver_sql(STATEMENTS)

class Everything(DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=make, inputs=[])]

    def dump(self, *options):
        command = [os.environ["PG_DUMP"], "--create", "--no-sync", "-N", "protean_testing", *options, "-d", self.db.libpq_url]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        name = self.db.engine.url.database
        text = text.replace(name, "shop_test")
        parts = [part for part in re.split(r"(?=^--\n-- (?:Name|Data))", text, flags=re.M) if "protean_testing" not in part]
        return re.sub(r"^\\(un)?restrict .*$", "", "".join(parts), flags=re.M)

    def look(self):
        file = Path(os.environ["LOG"]).parent / f"{os.getpid()}_{self._testMethodName}_{type(self).__name__}.dump"
        file.write_text(self.dump())
        with open(os.environ["LOG"], "a") as log:
            print("dumped", self.db.engine.url.database, file, file=log)
        with self.db.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO customer (email) VALUES ('new@x')")
            connection.exec_driver_sql("DELETE FROM shared.country WHERE code = 'xx'")
        time.sleep(float(os.environ.get("PAUSE", 0)))   # another process has its turn

class OneTests(Everything):
    def test_1(self): self.look()
    def test_2(self): self.look()

class TwoTests(Everything):
    def test_1(self): self.look()
    def test_2(self): self.look()

def work(barrier):
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(OneTests)
    barrier.wait(60)
    sys.exit(not unittest.TextTestRunner(verbosity=0).run(suite).wasSuccessful())

if __name__ == "__main__":
    import multiprocessing
    context = multiprocessing.get_context(sys.argv[1])
    barrier = context.Barrier(2)
    processes = [context.Process(target=work, args=(barrier,)) for _ in range(2)]
    for process in processes: process.start()
    for process in processes: process.join()
    sys.exit(any(process.exitcode for process in processes))
"""

DJANGO = """
import os, sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=[], TEST_RUNNER="protean_testing.django.Runner",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    if "START_METHOD" in os.environ:
        import multiprocessing
        multiprocessing.set_start_method(os.environ["START_METHOD"])
    execute_from_command_line(sys.argv)
"""


class LikenessTestCase(ServerLogTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super(ServerLogTestCase, cls).setUpClass()
        cls.server = start_postgresql(binaries=PROGRAMS, settings={"log_statement": "ddl"})
        cls.addClassCleanup(cls.server.stop)

    def setUp(self) -> None:
        self.addCleanup(self.drop_roles)  # after the database, in which they have privileges
        super().setUp()

    def drop_roles(self) -> None:
        with psycopg.connect(self.server.url().replace("+psycopg", ""), autocommit=True) as connection:
            for (role,) in connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)'"
            ).fetchall():
                connection.execute(psycopg_sql.SQL("DROP ROLE {}").format(psycopg_sql.Identifier(role)))

    def environment(self, **variables: str) -> dict[str, str]:
        return super().environment(**{"PG_DUMP": str(PROGRAMS / "pg_dump"), **variables})


class LikenessTests(LikenessTestCase):
    maxDiff = None

    def setUp(self) -> None:
        super().setUp()
        for statement in re.split(r";\n|; (?=[A-Z])", ADMINISTRATOR):
            self.rows(statement)
        self.write("test_everything.py", EVERYTHING)

    def tearDown(self) -> None:
        self.assertEqual(self.databases(), [])
        super().tearDown()

    def dumps(self, *command: str, workers: bool = True, **variables: str) -> set[str]:
        """What every test of a run has dumped."""
        outcome = self.python(*command, timeout=240, **variables)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        return self.read(outcome, workers)

    def read(self, outcome: Outcome, workers: bool) -> set[str]:
        lines = [line.split() for line in outcome.log if line.startswith("dumped")]
        self.assertEqual(len(lines), 4, outcome.log)
        self.made = outcome.count("made")
        for _, database, _ in lines:
            self.assertEqual("_protean_testing_" in database, workers, database)
        return {Path(file).read_text() for _, _, file in lines}

    def assertSame(self, found: set[str], alone: str) -> None:
        for one in found:
            if one != alone:
                self.fail(
                    "\n".join(difflib.unified_diff(alone.splitlines(), one.splitlines(), "alone", "worker"))
                )

    def test_every_runner(self) -> None:
        (alone,) = self.dumps("-m", "unittest", "test_everything", workers=False)
        for part in (
            "CREATE TYPE public.kind",
            "statement_timeout",
            "DEFAULT PRIVILEGES",
            "Ann@x",
            "part_rest",
        ):
            self.assertIn(part, alone)
        self.write("manage.py", DJANGO)
        self.write(".stestr.conf", "[DEFAULT]\ntest_path=.\ntop_dir=.\ngroup_regex=([^\\.]+\\.)+\n")
        stestr = str(Path(sys.executable).parent / "stestr")
        pytest = ("-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-n", "2")
        ways: dict[str, tuple[str, ...]] = {
            "xdist": (*pytest, "test_everything.py"),
            "Django": ("manage.py", "test", "--parallel", "2", "--noinput", "test_everything"),
            "Django, spawned": ("manage.py", "test", "--parallel", "2", "--noinput", "test_everything"),
            "stestr": (stestr, "run", "--concurrency", "2"),
            "unittest-parallel": (
                *("-m", "unittest_parallel", "-j", "2", "--level", "class"),
                *("-s", ".", "-p", "test_everything.py"),
            ),
            "fork": ("test_everything.py", "fork"),
            "spawn": ("test_everything.py", "spawn"),
            "forkserver": ("test_everything.py", "forkserver"),
        }
        for name, command in ways.items():
            with self.subTest(name):
                method = {"START_METHOD": "spawn"} if name == "Django, spawned" else {}
                self.assertSame(self.dumps(*command, PAUSE="0.2", **method), alone)
                self.assertEqual(self.databases(), [])
                self.assertEqual(
                    self.rows("SELECT shared.slug('A')"), [("a",)], "the given one is left alone"
                )

    def test_kept(self) -> None:
        (alone,) = self.dumps("-m", "unittest", "test_everything", workers=False)
        for made in (1, 0):
            with self.subTest("alone", made=made):
                again = self.dumps(
                    "-m", "unittest", "test_everything", workers=False, PROTEAN_TESTING_KEEP="1"
                )
                self.assertSame(again, alone)
                self.assertEqual(self.made, made)
        for made in (1, 0):
            with self.subTest("workers", made=made):
                self.assertSame(self.dumps("test_everything.py", "fork", PROTEAN_TESTING_KEEP="1"), alone)
                self.assertEqual(self.made, made)
        with self.subTest("an administrator has changed the given one"):
            self.rows("CREATE FUNCTION shared.more() RETURNS int LANGUAGE sql AS 'SELECT 1'")
            for made in (1, 0):
                found = self.dumps("test_everything.py", "fork", PROTEAN_TESTING_KEEP="1")
                self.assertEqual(self.made, made)
                self.assertIn("CREATE FUNCTION shared.more()", found.pop())
        self.dumps("-m", "unittest", "test_everything", workers=False)
        self.dumps("test_everything.py", "fork")


SIMPLE = """
import os
import sqlalchemy as sa
from protean_testing import DatabaseTestCase, SQLAlchemyStore
metadata = sa.MetaData()
sa.Table("one", metadata, sa.Column("id", sa.Integer, primary_key=True))
class SimpleTests(DatabaseTestCase):
    metadata = metadata
    def test_1(self):
        with self.db.engine.connect() as connection:
            print(connection.exec_driver_sql(os.environ["ASK"]).scalar())
"""


class RefusalTests(LikenessTestCase):
    """What cannot be copied is named, with the line that allows it."""

    def setUp(self) -> None:
        super().setUp()
        self.write("test_simple.py", SIMPLE)

    def ask(self, query: str = "SELECT 1", user: str = "postgres") -> Outcome:
        return self.unittest(
            "test_simple",
            ASK=query,
            PROTEAN_TESTING_WORKER="1",
            DATABASE_URL=self.server.url("shop_test", user=user),
        )

    def test_somebody_is_in_it(self) -> None:
        self.rows("CREATE FUNCTION theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        with psycopg.connect(self.url.replace("+psycopg", "")):
            outcome = self.ask()
        self.assertFailed(
            outcome,
            "'shop_test' holds what a new database has not (function public.theirs())",
            "is being accessed by other users",
            "End those sessions",
        )
        self.assertEqual(self.databases(), [])
        self.assertEqual(self.ask("SELECT theirs()").out, "1\n")

    def test_a_role_that_may_not_copy_it(self) -> None:
        self.rows("CREATE ROLE plain LOGIN CREATEDB")
        self.assertPassed(self.ask(user="plain"), 1)
        self.rows("CREATE DOMAIN theirs AS int")
        outcome = self.ask(user="plain")
        self.assertFailed(
            outcome,
            "(type public.theirs)",
            "permission denied to copy database",
            'ALTER DATABASE "shop_test" IS_TEMPLATE true',
        )
        self.rows("ALTER DATABASE shop_test IS_TEMPLATE true")
        self.addCleanup(self.rows, "ALTER DATABASE shop_test IS_TEMPLATE false")
        self.assertEqual(self.ask("SELECT 3::theirs", user="plain").out, "3\n")
        self.assertEqual(self.databases(), [])

    def test_settings_that_the_role_may_not_give(self) -> None:
        self.rows("CREATE ROLE plain LOGIN CREATEDB")
        self.rows("CREATE ROLE app")
        self.rows("ALTER DATABASE shop_test SET log_statement TO 'all'")
        outcome = self.ask(user="plain")
        self.assertFailed(outcome, "'shop_test' has the setting log_statement", "GRANT SET ON PARAMETER")
        self.rows("GRANT SET ON PARAMETER log_statement TO plain")
        self.assertEqual(self.ask("SHOW log_statement", user="plain").out, "all\n")
        self.rows("ALTER ROLE app IN DATABASE shop_test SET work_mem TO '5MB'")
        self.assertFailed(self.ask(user="plain"), "has the setting work_mem of role 'app'")
        self.assertEqual(self.databases(), [])
        self.rows("ALTER ROLE app IN DATABASE shop_test RESET work_mem")
        self.rows("ALTER ROLE plain IN DATABASE shop_test SET work_mem TO '5MB'")
        self.assertEqual(self.ask("SHOW work_mem", user="plain").out, "5MB\n")
        self.rows("REVOKE SET ON PARAMETER log_statement FROM plain")

    def test_privileges_of_the_servers_own(self) -> None:
        self.rows("REVOKE EXECUTE ON FUNCTION pg_sleep FROM PUBLIC")
        may = "SELECT has_function_privilege('pg_read_all_data', 'pg_sleep(float8)', 'EXECUTE')"
        self.assertEqual(self.ask(may).out, "False\n")
        self.assertEqual(self.databases(), [])

    def test_a_subscription(self) -> None:
        self.rows(
            "CREATE SUBSCRIPTION theirs CONNECTION 'dbname=x' PUBLICATION x "
            "WITH (connect = false, enabled = false, slot_name = NONE)"
        )
        self.addCleanup(self.rows, "DROP SUBSCRIPTION theirs")
        self.assertFailed(self.ask(), "subscription theirs", "Run these tests in one process")
        self.assertEqual(self.databases(), [])
