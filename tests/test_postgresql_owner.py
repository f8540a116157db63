"""As a plain owner, whose foreign keys cannot be kept still: tables are given back in an order that holds."""

from __future__ import annotations

import unittest
from typing import Any, ClassVar

from .oracle.postgresql import VERSIONS
from .postgresql_testcase import Mixin, PostgreSQLTestCase

SCHEMA = """
CREATE TABLE country (code text PRIMARY KEY, name text);
CREATE TABLE customer (id serial PRIMARY KEY, country text REFERENCES country, name text UNIQUE);
CREATE TABLE an_order (
    id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customer ON DELETE RESTRICT
);
CREATE TABLE a_line (order_id int REFERENCES an_order ON DELETE CASCADE, n int, PRIMARY KEY (order_id, n));
CREATE TABLE egg (id serial PRIMARY KEY, hen_id int);
CREATE TABLE hen (id serial PRIMARY KEY, egg_id int REFERENCES egg ON DELETE RESTRICT);
ALTER TABLE egg ADD FOREIGN KEY (hen_id) REFERENCES hen;
CREATE TABLE part (id serial PRIMARY KEY, whole_id int REFERENCES part ON DELETE RESTRICT);
"""
TABLES = ("country", "customer", "an_order", "a_line", "egg", "hen", "part")
CLASS_DATA = (
    "INSERT INTO country VALUES ('AT', 'Austria'), ('IT', 'Italy'), ('SE', 'Sweden')",
    "INSERT INTO customer (country, name) VALUES ('AT', 'Ann'), ('IT', 'Ivo'), (NULL, 'Nick')",
    "INSERT INTO part (whole_id) VALUES (NULL), (1), (2)",
)


class OrderTests(Mixin):
    """What each of these writes is gone, and what was there is there, with the same ids to come."""

    role = "owner"

    def setUp(self) -> None:
        super().setUp()
        self.kept = self.backend(schema=SCHEMA)
        self.kept.save()

    def content(self) -> dict[str, Any]:
        places = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"
        rows = {name: self.rows(f"SELECT t::text FROM {name} t ORDER BY 1") for name in TABLES}
        return {**rows, "sequences": self.rows(places)}

    def assertGivesBack(self, *tests: str) -> None:
        snapshot, before = self.kept.save(), self.content()
        for test in tests:
            with self.subTest(test):
                self.run_sql(test)
                self.assertNotEqual(self.content(), before)
                self.assertTrue(self.kept.reset(snapshot))
                self.assertEqual(self.content(), before)

    def test_tables_that_refer_to_each_other(self) -> None:
        self.assertGivesBack(
            "INSERT INTO customer (name) VALUES ('new'); INSERT INTO an_order (customer_id) VALUES (1); "
            "INSERT INTO a_line VALUES (1, 1), (1, 2)",
            "INSERT INTO customer (name) VALUES ('new'); INSERT INTO an_order (customer_id) VALUES (1)",
            "INSERT INTO country VALUES ('XX'); INSERT INTO customer (country) VALUES ('XX')",
            "INSERT INTO part (whole_id) VALUES (NULL), (1), (2), (3)",
        )

    def test_a_circle(self) -> None:
        self.assertGivesBack(
            "INSERT INTO egg VALUES (1, NULL); INSERT INTO hen VALUES (1, 1); UPDATE egg SET hen_id = 1",
            "INSERT INTO hen VALUES (5, NULL); INSERT INTO egg VALUES (7, 5)",
        )

    def test_rows_of_a_class_that_rows_of_a_test_refer_to(self) -> None:
        self.run_sql(*CLASS_DATA)
        self.assertGivesBack(
            "UPDATE customer SET name = 'x' WHERE id = 2; INSERT INTO an_order (customer_id) VALUES (1), (2)",
            "INSERT INTO customer (name) VALUES ('new'); INSERT INTO an_order (customer_id) VALUES (4), (1)",
            "DELETE FROM customer WHERE id = 3; INSERT INTO an_order (customer_id) VALUES (1)",
            "UPDATE customer SET id = 30 WHERE id = 3; INSERT INTO an_order (customer_id) VALUES (30)",
        )

    def test_rows_of_a_class_that_other_rows_of_it_refer_to(self) -> None:
        self.run_sql(*CLASS_DATA)
        self.assertGivesBack(
            "UPDATE country SET name = 'x' WHERE code = 'AT'",
            "INSERT INTO country VALUES ('XX'); UPDATE customer SET country = 'XX'",
            "DELETE FROM customer; DELETE FROM country",
            "DELETE FROM country WHERE code = 'SE'; UPDATE customer SET country = 'IT' WHERE country = 'AT'",
            "UPDATE part SET whole_id = 3; DELETE FROM part WHERE id = 1",
            "DELETE FROM part",
        )

    def test_rows_of_a_class_that_are_truncated(self) -> None:
        self.run_sql(*CLASS_DATA)
        self.assertGivesBack(
            "TRUNCATE customer CASCADE",
            "TRUNCATE country CASCADE; INSERT INTO country VALUES ('AT', 'new')",
            "TRUNCATE part; INSERT INTO customer (name) VALUES ('new')",
        )

    def test_a_reference_that_an_outer_scope_adds(self) -> None:
        self.run_sql(
            "CREATE TABLE later (id serial PRIMARY KEY)",
            "ALTER TABLE country ADD later_id int REFERENCES later",
        )
        self.assertGivesBack(
            "INSERT INTO later VALUES (1); INSERT INTO country VALUES ('XX', 'new', 1)",
            "INSERT INTO country VALUES ('XX', 'new', NULL)",
        )

    def test_names_that_mean_something_elsewhere(self) -> None:
        self.run_sql(
            'CREATE TABLE "%1$L %s" (since int PRIMARY KEY, copies int, "100%" text)',
            "INSERT INTO \"%1$L %s\" VALUES (1, 1, '%'), (2, 2, 'x')",
        )
        snapshot = self.kept.save()
        before = self.rows('SELECT * FROM "%1$L %s" ORDER BY 1')
        for test in (
            'UPDATE "%1$L %s" SET copies = 7, "100%" = NULL WHERE since = 1',
            'DELETE FROM "%1$L %s" WHERE since = 2; INSERT INTO "%1$L %s" VALUES (3)',
        ):
            self.run_sql(test)
            self.assertTrue(self.kept.reset(snapshot))
            self.assertEqual(self.rows('SELECT * FROM "%1$L %s" ORDER BY 1'), before)


class Order18Tests(OrderTests, PostgreSQLTestCase):
    version: ClassVar[str] = "18"


if "15" in VERSIONS:

    class Order15Tests(OrderTests, PostgreSQLTestCase):
        version: ClassVar[str] = "15"


if __name__ == "__main__":
    unittest.main()
