"""Attacks on PostgreSQL databases by tests that do odd things, and by runs after one of another kind."""

from __future__ import annotations

from .postgresql import ADOPT, BESIDE, KEEP, SPOILED, PostgreSQLAttackTestCase, new_number


class OddTests(PostgreSQLAttackTestCase):
    """What is there, and what tests do to it."""

    def attacked(self, *statements: str, mode: str = ADOPT) -> None:
        before = self.content()
        self.store(mode)
        self.assertPassed(self.run_suite(EACH="::".join(statements)), 1 + len(statements))
        self.assertUntouched(before)

    def test_new_files_for_the_users_tables(self) -> None:
        self.theirs()
        self.attacked(
            "DELETE FROM visits;; VACUUM FULL",
            "DELETE FROM visits;; REINDEX TABLE customers",
            "TRUNCATE visits, customers RESTART IDENTITY CASCADE;; INSERT INTO customers (name) VALUES ('z')",
        )

    def test_the_schema_is_dropped(self) -> None:
        for mode in (BESIDE, ADOPT):
            with self.subTest(mode):
                self.name = self.new_database(f"dropped{new_number()}_test")
                self.url = self.variables["URL"] = self.server.url(self.name, user=self.role)
                self.theirs()
                self.store(mode)
                outcome = self.run_suite(DO="DROP SCHEMA public CASCADE")
                place = 'protean_testing_rescued."public.customers"'
                self.assertFailed(outcome, "public.customers", place)
                rows = self.sql(f"SELECT r::text FROM {place} r ORDER BY 1")  # a type of theirs is gone, too
                self.assertEqual(len(rows), 2)
                self.assertRegex(str(rows), "Ann.*Cid")

    def test_what_the_database_sets(self) -> None:
        self.theirs(
            "CREATE TABLE odd (f float8, d date, b bytea, t text); INSERT INTO odd VALUES "
            r"(0.1 + 0.2, '2020-05-06', '\x00ff5c', 'a\b'), ('NaN', 'infinity', NULL, '')"
        )
        self.theirs()
        for setting in (
            "search_path = more, public",
            "default_transaction_isolation = serializable",
            "row_security = off",
            "DateStyle = German",
            "standard_conforming_strings = off",
            "bytea_output = escape",
            "client_encoding = 'LATIN1'",
            "extra_float_digits = -15",
        ):
            self.sql(f"ALTER DATABASE {self.name} SET {setting}")
        before = self.content()
        self.store(ADOPT)
        spoiled = SPOILED + "; UPDATE public.odd SET f = 1; DELETE FROM public.odd WHERE d = 'infinity'"
        spoiled = spoiled.replace("customers", "public.customers").replace(" visits", " public.visits")
        spoiled = spoiled.replace("'numbers'", "'public.numbers'")
        self.kill_suite(DO=spoiled)
        self.assertNotEqual(self.content(), before)
        self.assertPassed(self.run_suite(), 1)
        self.assertUntouched(before)

    def test_a_publication_of_all_tables(self) -> None:
        self.theirs()
        self.sql("CREATE PUBLICATION everything FOR ALL TABLES")
        before = self.content()
        for mode in (BESIDE, KEEP):
            with self.subTest(mode):
                self.store(mode)
                self.assertPassed(self.run_suite(DO="UPDATE customers SET name = 'Eve'"), 1)
        self.store(BESIDE)
        self.assertPassed(self.run_suite(), 1)
        self.assertUntouched(before)

    def test_triggers_and_rules_that_forbid(self) -> None:
        self.theirs(
            "CREATE TABLE ledger (id serial PRIMARY KEY, a int); INSERT INTO ledger (a) VALUES (1), (2); "
            "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RAISE EXCEPTION 'never'; END $$; "
            "CREATE TRIGGER never BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger EXECUTE FUNCTION never(); "
            "ALTER TABLE ledger ENABLE ALWAYS TRIGGER never; "
            "CREATE TABLE hidden (a int); INSERT INTO hidden VALUES (1); "
            "CREATE RULE silent AS ON DELETE TO hidden DO INSTEAD NOTHING"
        )
        before = self.content()
        self.store(ADOPT)
        statement = "INSERT INTO ledger (a) VALUES (3);; INSERT INTO hidden VALUES (2)"
        self.assertPassed(self.run_suite(DO=statement), 1)
        self.assertUntouched(before)
        self.kill_suite(DO=statement)
        self.assertPassed(self.run_suite(), 1)
        self.assertUntouched(before)


class OneAfterAnotherTests(PostgreSQLAttackTestCase):
    """A run of one kind is killed, and one of another kind follows."""

    def setUp(self) -> None:
        super().setUp()
        self.theirs()
        self.before = self.content()

    def test_of_another_kind(self) -> None:
        for first, second in ((ADOPT, BESIDE), (BESIDE, KEEP), (KEEP, ADOPT)):
            with self.subTest(first, second=second):
                self.store(first)
                self.kill_suite(DO=SPOILED)
                self.store(second)
                self.assertPassed(self.run_suite(), 1)
                self.store(BESIDE)
                self.assertPassed(self.run_suite(), 1)
                self.assertUntouched(self.before)

    def test_a_worker(self) -> None:
        for mode in (ADOPT, BESIDE):
            with self.subTest(mode):
                self.store(mode)
                self.kill_suite(DO=SPOILED)
                self.assertPassed(self.run_suite(PROTEAN_TESTING_WORKER="w1"), 1)
                self.assertPassed(self.run_suite(), 1)
                self.assertUntouched(self.before)

    def test_dropped_and_made_anew(self) -> None:
        self.store(BESIDE)
        self.kill_suite(DO=SPOILED)
        self.server.drop_database(self.name)
        self.server.create_database(self.name)
        self.theirs("CREATE TABLE orders (a int); INSERT INTO orders VALUES (1)")
        before = self.content()
        self.assertRefused(self.run_suite(), "public.orders")
        self.assertUntouched(before)

    def test_the_marker_is_damaged(self) -> None:
        self.store(ADOPT)
        self.kill_suite(DO=SPOILED)
        ((marker,),) = self.sql("SELECT marker FROM protean_testing.owner")
        put = f"INSERT INTO protean_testing.owner VALUES ('{marker}')"
        for damage in ("DELETE FROM protean_testing.owner", "INSERT INTO protean_testing.owner VALUES ('{')"):
            with self.subTest(damage):
                self.sql("DELETE FROM protean_testing.owner", damage)
                outcome = self.run_suite()
                self.assertRefused(outcome, "copies of rows", "without a marker", "DROP SCHEMA")
                query = next(
                    one for one in outcome.err.splitlines() if one.startswith("The rows of public.visits")
                )
                rows = self.sql(query.partition(":  ")[2])
                self.assertEqual(sorted(rows), [(1, 1), (2, 3)])
        self.sql("DELETE FROM protean_testing.owner", put)
        self.assertPassed(self.run_suite(), 1)
        self.assertUntouched(self.before)
