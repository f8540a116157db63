"""Attacks on PostgreSQL databases that have nothing to do with the role: what was the user's is as it was."""

from __future__ import annotations

import psycopg

from ..oracle.postgresql import VERSIONS, server
from ..postgresql_testcase import libpq
from .postgresql import (
    BESIDE,
    CALLED,
    KEEP,
    SPOILED,
    SUITE,
    PostgreSQLAttackTestCase,
    new_number,
)


class CopyTests(PostgreSQLAttackTestCase):
    """A database that is another one, though it looks the same."""

    def setUp(self) -> None:
        super().setUp()
        self.store(BESIDE)
        self.kill_suite()
        self.prod = f"prod{new_number()}"
        self.addCleanup(self.server.drop_database, self.prod)

    def assertRefusedCopy(self, name: str, *texts: str) -> None:
        self.sql("CREATE TABLE IF NOT EXISTS theirs (a int); INSERT INTO theirs VALUES (1)", name=name)
        before = self.content(name)
        outcome = self.run_suite(URL=self.server.url(name, user=self.role))
        self.assertRefused(outcome, *texts)
        self.assertUntouched(before, name)

    def test_copied_from_a_template(self) -> None:
        self.sql(f"CREATE DATABASE {self.prod} TEMPLATE {self.name}", name="postgres")
        self.assertRefusedCopy(self.prod, "does not contain")
        copy = f"copy{new_number()}_test"
        self.addCleanup(self.server.drop_database, copy)
        self.sql(f"CREATE DATABASE {copy} TEMPLATE {self.name}", name="postgres")
        self.assertRefusedCopy(copy, "it is a copy", f"clean 'postgresql+psycopg://postgres@/{copy}")
        before = self.content(copy)
        self.clean(self.server.url(copy))
        self.assertEqual(self.content(copy), before)
        self.assertRefusedCopy(copy, "no run of these tests made this", "public.orders")

    def test_renamed(self) -> None:
        self.sql(f"ALTER DATABASE {self.name} RENAME TO {self.prod}", name="postgres")
        self.assertRefusedCopy(self.prod, "does not contain")

    def test_dumped_and_restored(self) -> None:
        """The marker's text, in a database where no run was."""
        (marker,) = self.sql("SELECT marker FROM protean_testing.owner")[0]
        copy = self.new_database(f"copy{new_number()}_test")
        self.sql("CREATE SCHEMA protean_testing; CREATE TABLE protean_testing.owner (marker text)", name=copy)
        with psycopg.connect(libpq(self.server.url(copy)), autocommit=True) as connection:
            connection.execute("INSERT INTO protean_testing.owner VALUES (%s)", (marker,))
        self.assertRefusedCopy(copy, "it is a copy")


class OneRoleTests(PostgreSQLAttackTestCase):
    """What has nothing to do with the role."""

    def test_what_the_user_makes_beside_a_living_run(self) -> None:
        self.store(BESIDE)
        self.assertPassed(self.run_suite(LATE="CREATE TABLE theirs (a int);; CREATE SCHEMA mine"), 1)
        self.assertEqual(
            self.sql("SELECT to_regclass('theirs')::text, to_regnamespace('mine')::text"),
            [("theirs", "mine")],
        )
        self.assertEqual(self.left(), [])

    def test_an_empty_table_after_a_kill(self) -> None:
        self.theirs("CREATE TABLE before (a int)")
        self.store(BESIDE)
        self.kill_suite()
        self.theirs("CREATE TABLE theirs (a int)")
        self.assertPassed(self.run_suite(), 1)
        self.assertEqual(self.sql("SELECT to_regclass('theirs')::text"), [("theirs",)])

    def test_rows_of_others_where_nobody_knows_what_is_created(self) -> None:
        self.theirs()
        before = self.content()
        self.store(CALLED)
        self.assertRefused(self.run_suite(), "holds data", "table public.customers", "adopt=True")
        self.assertUntouched(before)
        self.store(CALLED + ", unsafe=True")
        self.kill_suite(DO=SPOILED)
        self.assertPassed(self.run_suite(DO=SPOILED), 1)
        self.assertUntouched(before)

    def test_killed_while_the_schema_was_made(self) -> None:
        self.store(CALLED)
        self.kill_suite(STAGE="create")
        self.assertEqual(self.sql("SELECT version_num FROM alembic_version"), [("1",)])
        self.assertPassed(self.run_suite(), 1)
        self.assertEqual(
            self.sql("SELECT to_regclass('orders'), to_regclass('alembic_version')"), [(None, None)]
        )
        self.theirs()
        before = self.content()
        self.store(CALLED + ", unsafe=True")
        self.kill_suite(STAGE="create")
        self.store(CALLED)
        self.assertRefused(self.run_suite(), "table public.customers", "adopt=True")
        self.store(BESIDE)
        self.assertRefused(self.run_suite(), "table public.orders", "python -m protean_testing clean")
        self.clean(self.url)
        self.assertUntouched(before)

    def test_into_our_own_schema(self) -> None:
        self.theirs()
        before = self.content()
        self.store(BESIDE)
        self.assertPassed(self.run_suite(LATE="ALTER TABLE more.notes SET SCHEMA protean_testing"), 1)
        self.assertUntouched(before)
        late = "CREATE TABLE protean_testing.theirs AS SELECT 1 AS a"
        self.assertFailed(self.run_suite(LATE=late), "SET SCHEMA public", "theirs")
        self.assertEqual(self.sql("SELECT a FROM protean_testing.theirs"), [(1,)])

    def test_a_second_store_with_a_table_of_the_users(self) -> None:
        self.theirs("CREATE TABLE parcels (id int); INSERT INTO parcels VALUES (7)")
        before = self.content()
        self.suite(
            SUITE.replace("{store}", BESIDE)
            + """
from sqlalchemy import Column, Integer, MetaData, Table
other = MetaData()
Table("parcels", other, Column("id", Integer, primary_key=True))

class SecondTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(other, url=url)]
    def test_2(self): self.fail("must not run")
"""
        )
        outcome = self.run_suite()
        self.assertFailed(outcome, "table public.parcels", "adopt=True")
        self.assertUntouched(before)

    def test_a_kept_schema_and_what_came_beside_it(self) -> None:
        self.store(KEEP)
        self.assertPassed(self.run_suite(), 1)
        self.theirs()
        theirs = self.content()
        for statement in (SPOILED, "ALTER TABLE customers RENAME TO c2"):
            with self.subTest(statement):
                self.assertPassed(self.run_suite(DO=statement), 1)
                self.assertEqual(self.content(), theirs)
                self.kill_suite(DO=statement)
                self.assertPassed(self.run_suite(), 1)
                self.assertEqual(self.content(), theirs)

    def test_an_empty_database_is_not_made_before_a_refusal(self) -> None:
        prod = self.new_database(f"prod{new_number()}")
        theirs = self.new_database(f"{prod}_test_empty")
        self.sql("CREATE TABLE theirs (a int); INSERT INTO theirs VALUES (1)", name=theirs)
        self.suite(
            """
            class EmptyTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(empty=True)]
                def test_1(self):
                    with self.engine.begin() as connection:
                        connection.execute(text("CREATE TABLE t (a int)"))
                    ready()
            """
        )
        there = self.databases()
        self.sql("CREATE ROLE plain LOGIN", name="postgres")
        self.addCleanup(self.sql, "DROP ROLE plain", name="postgres")
        given = {"TEST_DB": "postgresql"}
        url = self.server.url(prod, user="postgres")
        self.assertRefused(self.run_suite(DATABASE_URL=url, **given), "does not contain")
        plain = self.run_suite(DATABASE_URL=self.server.url(self.name, user="plain"), **given)
        self.assertFailed(plain, "ALTER ROLE", "CREATEDB")
        self.assertEqual(self.databases(), there)
        self.kill_suite(DATABASE_URL=self.url, **given)
        self.assertGreater(self.databases(), there)
        self.assertPassed(self.run_suite(DATABASE_URL=self.url, **given), 1)
        self.assertEqual(self.databases(), there)
        self.assertEqual(self.sql("SELECT a FROM theirs", name=theirs), [(1,)])

    def test_a_lock_that_was_lost_with_its_connection(self) -> None:
        self.suite(
            SUITE.replace("{store}", BESIDE).replace("        ready()", "        lose(self)")
            + """
def lose(test):
    if os.environ.get("SECOND"):
        return ready()
    sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'protean_testing' AND datname = current_database()")
    second = subprocess.Popen([sys.executable, "-m", "unittest", "test_attack"], stdout=subprocess.PIPE,
                              env={**os.environ, "SECOND": "1", "KILL": "1"})
    test.addCleanup(second.kill)
    assert second.stdout.readline() == b"ready\\n"
    place(test.engine, "second")
""".replace("\\\\n", "\\n")
        )
        outcome = self.run_suite()
        self.assertFailed(outcome, "another run has begun to use it since", "nothing more is done there")
        self.assertEqual(self.sql("SELECT customer FROM orders"), [("second",)])
        self.assertPassed(self.run_suite(SECOND="1"), 1)

    def test_two_servers_with_one_name_are_two_places(self) -> None:
        if "15" not in VERSIONS:
            self.fail("PostgreSQL 15 is needed")
        other = server("15")
        other.create_database(self.name)
        self.addCleanup(other.drop_database, self.name)
        self.suite(
            """
            class TwoTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, url=os.environ["URL"], name="one"),
                          SQLAlchemyStore(Base.metadata, url=os.environ["OTHER"], name="two")]
                def test_1(self):
                    place(self.db.store("one").engine, "one")
                    self.assertEqual(customers(self.db.store("two").engine), [])
            """
        )
        for worker in ({}, {"PROTEAN_TESTING_WORKER": "w1"}):
            self.assertPassed(self.run_suite(OTHER=other.url(self.name), **worker), 1)

    def test_a_schema_of_our_name(self) -> None:
        self.theirs("CREATE SCHEMA protean_testing; CREATE TABLE protean_testing.owner (a int)")
        self.store(BESIDE)
        self.assertRefused(self.run_suite(), "schema protean_testing, which is not ours")
        self.assertEqual(self.sql("SELECT count(*) FROM protean_testing.owner"), [(0,)])

    def test_two_jobs_at_once(self) -> None:
        self.store(BESIDE)
        first = self.start_suite(DO="INSERT INTO orders (customer) VALUES ('first')")
        self.assertRefused(self.run_suite(), f"pid {first.pid}", "give this run a database of its own")
        self.assertEqual(self.sql("SELECT customer FROM orders"), [("first",)])
