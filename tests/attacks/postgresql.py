"""Attacks on PostgreSQL databases for every role, and what each has to begin with."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from ..oracle.postgresql import dump, server
from ..postgresql_testcase import libpq
from .attack import AttackTestCase

_numbers = count(1)


def new_number() -> int:
    """A number for the name of a database."""
    return next(_numbers)


THEIRS = """
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, mood mood DEFAULT 'happy');
INSERT INTO customers (name) VALUES ('Ann'), ('Bob'), ('Cid');
DELETE FROM customers WHERE name = 'Bob';
CREATE INDEX by_name ON customers (lower(name));
COMMENT ON TABLE customers IS 'of the shop';
GRANT SELECT ON customers TO application;
CREATE TABLE visits (id int GENERATED ALWAYS AS IDENTITY, customer int REFERENCES customers);
INSERT INTO visits (customer) VALUES (1), (3);
CREATE SEQUENCE numbers START 5; SELECT nextval('numbers');
CREATE VIEW names AS SELECT name FROM customers;
CREATE FUNCTION greet(text) RETURNS text LANGUAGE sql AS $$ SELECT 'hello ' || $1 $$;
CREATE SCHEMA more; CREATE TABLE more.notes (t text); INSERT INTO more.notes VALUES ('a'), ('a');
"""

SPOILED = """
UPDATE customers SET name = 'Eve' WHERE id = 1; INSERT INTO customers (name) VALUES ('Dan');
DELETE FROM visits; INSERT INTO visits (customer) VALUES (1); SELECT nextval('numbers');
DELETE FROM more.notes
"""

SUITE = """
import psycopg
url = os.environ["URL"]

def sql(*statements):
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)

def migrate(engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num text)"))
        if not connection.execute(text("SELECT 1 FROM alembic_version")).all():
            connection.execute(text("CREATE TABLE orders (id serial PRIMARY KEY, customer text)"))
            connection.execute(text("INSERT INTO alembic_version VALUES ('1')"))
        if os.environ.get("MORE") and not connection.execute(
                text("SELECT 1 FROM alembic_version WHERE version_num = '2'")).all():
            connection.execute(text("CREATE TABLE items (id serial PRIMARY KEY)"))
            connection.execute(text("UPDATE alembic_version SET version_num = '2'"))
    if os.environ.get("STAGE") == "create":
        ready()

def tearDownModule():
    '''Beside the run: no scope is open any more.'''
    for statement in filter(None, os.environ.get("LATE", "").split(";;")):
        sql(statement)

class ShopTests(DatabaseTestCase):
    stores = [SQLAlchemyStore({store}, url=url, name="shop")]
    statements = os.environ.get("DO", "")
    def test_1(self):
        sql(*filter(None, self.statements.split(";;")))
        ready()

for number, one in enumerate(filter(None, os.environ.get("EACH", "").split("::"))):
    # a class each: a plain owner sees at the end of a class what was renamed
    globals()[f"More{number}Tests"] = type(f"More{number}Tests", (ShopTests,), {"statements": one})
"""

BESIDE, GENERIC = "Base.metadata", "Base.metadata, reset='generic'"
ADOPT, KEEP, CALLED = "adopt=True", "Base.metadata, keep=True", "schema=migrate"
MODES = (BESIDE, GENERIC, ADOPT, KEEP, "adopt=True, reset='generic'")

RENAMES = (
    "ALTER TABLE customers RENAME TO c2",
    "ALTER TABLE customers SET SCHEMA more",
    "CREATE SCHEMA passing;; ALTER TABLE customers SET SCHEMA passing",
    "ALTER SCHEMA more RENAME TO less",
    "ALTER SEQUENCE numbers RENAME TO figures",
    "ALTER SEQUENCE customers_id_seq RENAME TO ids",
    "ALTER VIEW names RENAME TO words",
    "ALTER TYPE mood RENAME TO temper",
    "ALTER FUNCTION greet(text) RENAME TO welcome",
    "ALTER TABLE customers RENAME TO c2;; ALTER TABLE visits RENAME TO customers;; "
    "ALTER TABLE c2 RENAME TO visits",
    "ALTER TABLE customers RENAME TO c2;; CREATE TABLE customers (id int);; INSERT INTO customers VALUES (9)",
)


class PostgreSQLAttackTestCase(AttackTestCase):
    """Attributes: `url` of a database of the test's own, and the names of role and version."""

    version: ClassVar[str] = "18"
    role: ClassVar[str] = "postgres"

    def setUp(self) -> None:
        super().setUp()
        self.server = server(self.version)
        self.name = self.new_database(f"shop{next(_numbers)}_test")
        self.url = self.server.url(self.name, user=self.role)
        self.variables["URL"] = self.url

    def new_database(self, name: str) -> str:
        self.addCleanup(self.server.drop_database, name)
        self.server.create_database(name)
        self.sql(
            f"ALTER DATABASE {name} OWNER TO {self.role}; ALTER SCHEMA public OWNER TO {self.role}", name=name
        )
        return name

    def sql(self, *statements: str, name: str = "", role: str = "postgres") -> list[Any]:
        url = libpq(self.server.url(name or self.name, user=role))
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def theirs(self, statements: str = THEIRS, name: str = "") -> None:
        """What the user has in the database."""
        self.sql(statements, name=name, role=self.role)

    def store(self, store: str) -> None:
        self.suite(SUITE.replace("{store}", store))

    def content(self, name: str = "") -> Any:
        return dump(libpq(self.server.url(name or self.name)))

    def databases(self) -> set[str]:
        return {name for (name,) in self.sql("SELECT datname FROM pg_database")}

    def left(self, name: str = "") -> list[Any]:
        """What is still there of a run: our schema, triggers and event triggers."""
        return self.sql(
            "SELECT nspname::text FROM pg_namespace WHERE nspname = 'protean_testing' UNION ALL "
            "SELECT tgname FROM pg_trigger WHERE tgname ~ '^protean_testing' UNION ALL "
            "SELECT evtname FROM pg_event_trigger WHERE evtname ~ '^protean_testing'",
            name=name,
        )

    def assertUntouched(self, before: Any, name: str = "") -> None:
        self.assertEqual(self.content(name), before)
        if not name:
            self.assertEqual(self.left(), [])


Mixin = PostgreSQLAttackTestCase if TYPE_CHECKING else object


class EveryRole(Mixin):
    """What was there before the run: for every role."""

    def test_rows_of_others_after_a_kill_in_every_mode(self) -> None:
        self.theirs()
        before = self.content()
        for mode in MODES:
            with self.subTest(mode):
                self.store(mode)
                self.kill_suite(DO=SPOILED)
                self.assertNotEqual(self.content()["rows of public.visits"], before["rows of public.visits"])
                self.store(mode.replace("True, reset", "True, reset").replace("keep=True", "keep=False"))
                self.assertPassed(self.run_suite(), 1)
                if "generic" in mode:  # nobody notes who wrote it
                    self.sql("DROP SCHEMA protean_testing_rescued CASCADE")
                self.assertUntouched(before)

    def test_what_the_user_writes_after_a_kill(self) -> None:
        """Into tables that were there before: it stays in a table of its own, and is told of."""
        self.theirs()
        before = self.content()
        place = 'protean_testing_rescued."public.customers"'
        for mode in MODES:
            for by, role in (("the next run", self.role), ("clean", "application")):
                with self.subTest(mode, by=by):
                    self.store(mode)
                    self.sql("GRANT INSERT, UPDATE ON customers TO application")
                    self.sql("GRANT USAGE ON SEQUENCE customers_id_seq TO application")
                    before = self.content()
                    self.kill_suite(DO="INSERT INTO customers (name) VALUES ('Dan')")
                    mine = "INSERT INTO customers (id, name) VALUES (70, 'Mine')"
                    self.sql(mine, "UPDATE customers SET name = 'Annie' WHERE id = 1", role=role)
                    self.theirs("DELETE FROM more.notes")
                    self.store(mode.replace("keep=True", "keep=False"))
                    outcome = self.run_suite() if by == "the next run" else self.clean(self.url)
                    self.assertEqual(outcome.code, 0, outcome.out)
                    for part in ("RescuedRowsWarning", "table public.customers: the rows that", place):
                        self.assertIn(part, outcome.err)
                    rows = self.sql(f"SELECT id, name FROM {place} WHERE name <> 'Dan' ORDER BY 1")
                    self.assertEqual(rows, [(1, "Annie"), (70, "Mine")])
                    self.sql("DROP SCHEMA protean_testing_rescued CASCADE")
                    self.assertUntouched(before)
            if "generic" not in mode:
                with self.subTest(mode, by="nobody"):
                    self.store(mode)
                    self.kill_suite(DO="INSERT INTO customers (name) VALUES ('Dan')")
                    self.store(mode.replace("keep=True", "keep=False"))
                    outcome = self.run_suite()
                    self.assertPassed(outcome, 1)
                    self.assertNotIn("RescuedRowsWarning", outcome.err)
                    self.assertUntouched(before)

    def test_what_a_test_renames(self) -> None:
        self.theirs()
        before = self.content()
        for mode in (BESIDE, ADOPT):
            with self.subTest(mode):
                self.store(mode)
                self.assertPassed(self.run_suite(EACH="::".join(RENAMES)), 1 + len(RENAMES))
                self.assertUntouched(before)

    def test_what_a_killed_test_renamed(self) -> None:
        self.theirs()
        before = self.content()
        self.store(BESIDE)
        for rename in (RENAMES[0], RENAMES[3], RENAMES[9]):
            with self.subTest(rename):
                self.kill_suite(DO=rename + ";; DELETE FROM visits" * (rename == RENAMES[0]))
                self.assertPassed(self.run_suite(), 1)
                self.assertUntouched(before)

    def test_a_table_with_rows_after_a_kill(self) -> None:
        self.store(BESIDE)
        self.kill_suite()
        self.theirs("CREATE TABLE theirs (a int); INSERT INTO theirs VALUES (1)")
        before = self.content()
        outcome = self.run_suite()
        self.assertRefused(outcome, "table public.theirs", "python -m protean_testing clean 'postgresql")
        self.assertEqual(self.content(), before)
        self.assertIn("theirs", self.clean(self.url).out)
        self.assertPassed(self.run_suite(), 1)
        self.assertEqual(self.left(), [])

    def test_what_uses_our_tables(self) -> None:
        """Made beside a living run, and found by the next one."""
        self.theirs("CREATE TABLE theirs (a int)")
        self.store(BESIDE)
        uses = (
            "CREATE VIEW shown AS SELECT * FROM orders",
            "ALTER TABLE theirs ADD FOREIGN KEY (a) REFERENCES orders",
            "CREATE TABLE heir () INHERITS (orders)",
        )
        names = ("view public.shown", "table public.theirs", "table public.heir")
        self.assertFailed(self.run_suite(LATE=";;".join(uses)), "is not dropped", *names)
        before = self.content()
        self.assertRefused(self.run_suite(), "no run has made", *names)
        self.assertEqual(self.content(), before)
        self.theirs("DROP VIEW shown; DROP TABLE heir; ALTER TABLE theirs DROP CONSTRAINT theirs_a_fkey")
        self.assertPassed(self.run_suite(), 1)
        self.assertEqual(self.left(), [])

    def test_a_test_takes_the_users_table_into_its_own(self) -> None:
        self.theirs()
        before = self.content()
        self.store(BESIDE)
        taking = (
            "CREATE TABLE parent (t text);; ALTER TABLE more.notes INHERIT parent",
            "CREATE TABLE parts (t text) PARTITION BY LIST (t);; "
            "ALTER TABLE parts ATTACH PARTITION more.notes DEFAULT",
            "CREATE TABLE owns (a int);; ALTER SEQUENCE numbers OWNED BY owns.a",
        )
        self.assertPassed(self.run_suite(EACH="::".join(taking)), 4)
        self.assertUntouched(before)

    def test_a_test_drops_or_alters_the_users_table(self) -> None:
        for number, (harm, killed) in enumerate(
            (
                ("DROP TABLE visits, customers CASCADE", True),
                ("ALTER TABLE customers DROP COLUMN name CASCADE", False),
                ("ALTER TABLE customers DROP COLUMN name CASCADE;; DELETE FROM visits", True),
            )
        ):
            with self.subTest(harm, killed=killed):
                self.name = self.new_database(f"harmed{number}_{self.role}{self.version}_test")
                self.url = self.variables["URL"] = self.server.url(self.name, user=self.role)
                self.theirs()
                self.store(ADOPT)
                if killed:
                    self.kill_suite(DO=harm)
                outcome = self.run_suite() if killed else self.run_suite(DO=harm)
                place = 'protean_testing_rescued."public.customers"'
                self.assertFailed(outcome, "public.customers", place)
                rows = self.sql(f"SELECT id, name FROM {place} ORDER BY 1")
                self.assertEqual(rows, [(1, "Ann"), (3, "Cid")])
                self.assertPassed(self.run_suite(), 1)
                self.assertEqual(self.sql(f"SELECT id, name FROM {place} ORDER BY 1"), rows)

    def test_a_table_that_refuses_the_rows_that_it_had(self) -> None:
        one = "CREATE OR REPLACE FUNCTION one(int) RETURNS int LANGUAGE {} IMMUTABLE AS $$ {} $$".format
        place = 'protean_testing_rescued."public.odd"'
        for number, (harm, named) in enumerate(
            (
                ("ALTER TYPE temper RENAME VALUE 'calm' TO 'still'", place),
                ("ALTER TYPE pair ADD ATTRIBUTE c int CASCADE", place),
                (f"DELETE FROM odd;; {one('plpgsql', 'BEGIN RAISE EXCEPTION $a$no$a$; END')}", place),
                (one("sql", "SELECT 1 / 0"), place),
                ("DELETE FROM odd", place),
                (
                    "ALTER SEQUENCE numbers START 1 RESTART 1 MAXVALUE 3",
                    '"numbers" was altered; it stood at 5',
                ),
            )
        ):
            with self.subTest(harm):
                self.name = self.new_database(f"refusing{number}_{self.role}{self.version}_test")
                self.url = self.variables["URL"] = self.server.url(self.name, user=self.role)
                value = "'sum(int)'::regprocedure::oid" if harm == "DELETE FROM odd" else "'now'"
                self.theirs(
                    f"{THEIRS}; CREATE TYPE temper AS ENUM ('calm'); CREATE TYPE pair AS (a int, b int); "
                    f"{one('sql', 'SELECT 1')}; "
                    "CREATE TABLE odd (t temper, p pair, f regproc, a int, "
                    "    b int GENERATED ALWAYS AS (one(a)) STORED); "
                    f"INSERT INTO odd VALUES ('calm', ROW(1, 2), {value}, 5); CREATE INDEX ON odd (one(a))"
                )
                fine = "SELECT id, customer FROM visits ORDER BY id"
                before = self.sql(fine)
                self.store(ADOPT)
                self.kill_suite(DO=f"DELETE FROM visits;; {harm}")
                self.assertFailed(self.run_suite(), named)
                self.assertEqual(self.sql(fine), before)
                if named == place:
                    self.assertEqual(self.sql(f"SELECT count(*) FROM {place}"), [(1,)])
                self.theirs(one("sql", "SELECT 1"))  # put right, as the error asks for
                self.assertPassed(self.run_suite(), 1)

    def test_a_table_of_the_same_name(self) -> None:
        for theirs in ("", "INSERT INTO orders VALUES (1)", "CREATE VIEW v AS SELECT * FROM orders"):
            with self.subTest(theirs):
                self.theirs(f"CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY); {theirs}")
                before = self.content()
                for store in (BESIDE, KEEP):
                    self.store(store)
                    outcome = self.run_suite()
                    self.assertRefused(outcome, "table public.orders", "adopt=True", "schema=upgrade")
                    self.assertUntouched(before)

    def test_migrated_databases(self) -> None:
        self.store(CALLED)
        self.theirs(
            "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('1'); "
            "CREATE TABLE orders (id serial PRIMARY KEY, customer text)"
        )
        before = self.content()
        for store, passes in ((BESIDE, False), (ADOPT, True), (CALLED, True)):
            with self.subTest(store):
                self.store(store)
                outcome = self.run_suite(DO="INSERT INTO orders (customer) VALUES ('x')")
                if passes:
                    self.assertPassed(outcome, 1)
                else:
                    self.assertRefused(outcome, "public.orders", "adopt=True", "schema=upgrade")
                self.assertUntouched(before)
        self.kill_suite(DO="DELETE FROM alembic_version")
        self.assertPassed(self.run_suite(), 1)
        self.assertUntouched(before)
        self.assertPassed(self.run_suite(MORE="1"), 1)  # what moves the database on stays
        self.assertEqual(
            self.sql("SELECT version_num, to_regclass('items')::text FROM alembic_version"), [("2", "items")]
        )
        self.assertEqual(self.left(), [])
