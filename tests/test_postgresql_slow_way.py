"""A fast reset that fails: the slow one takes its place, that is told, and the next one is fast again."""

from __future__ import annotations

import unittest

from .postgresql_testcase import PostgreSQLTestCase

SCHEMA = "CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1)"


class SlowWayTests(PostgreSQLTestCase):
    def test_what_is_installed_is_written_again(self) -> None:
        for damage in (
            "DROP FUNCTION protean_testing.clear(int)",
            "DROP FUNCTION protean_testing.put(int, bigint, int[])",
            "CREATE OR REPLACE FUNCTION protean_testing.clear(one int) RETURNS bigint LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'broken'; END $$",
        ):
            with self.subTest(damage=damage):
                self.setUp()
                backend = self.backend(schema=SCHEMA)
                snapshot = backend.save()
                self.run_sql("INSERT INTO orders VALUES (2)")
                backend.reset(snapshot)
                self.run_sql("SET session_replication_role = replica; SET event_triggers = off; " + damage)
                self.run_sql("INSERT INTO orders VALUES (3)")
                with self.assertLogs("protean_testing", "INFO") as logs:
                    self.assertTrue(backend.reset(snapshot))
                self.assertEqual(self.rows("SELECT * FROM orders"), [(1,)])
                self.assertEqual([record.levelname for record in logs.records], ["INFO"])
                self.assertIn("the fast reset of store 'shop' failed", logs.output[0])
                self.run_sql("INSERT INTO orders VALUES (4)")
                with self.assertNoLogs("protean_testing", "INFO"):
                    self.assertTrue(backend.reset(snapshot))
                self.assertEqual(self.rows("SELECT * FROM orders"), [(1,)])

    def test_what_fails_again_and_again_is_a_warning(self) -> None:
        backend = self.backend(schema=SCHEMA)
        snapshot = backend.save()
        levels = []
        for number in (2, 3):
            self.run_sql(
                "SET event_triggers = off; DROP FUNCTION protean_testing.put(int, bigint, int[])",
                f"INSERT INTO orders VALUES ({number})",
            )
            with self.assertLogs("protean_testing", "INFO") as logs:
                backend.reset(snapshot)
            levels += [record.levelname for record in logs.records]
            self.assertEqual(self.rows("SELECT * FROM orders"), [(1,)])
        self.assertEqual(levels, ["INFO", "WARNING"])


class OwnerTests(PostgreSQLTestCase):
    role = "owner"

    def test_rows_that_change_places(self) -> None:
        """They are updated in place, and meet: nothing is broken, so nothing is written again."""
        schema = (
            "CREATE TABLE line (id int PRIMARY KEY, place int UNIQUE); INSERT INTO line VALUES (1, 1), (2, 2)"
        )
        for ddl in (
            "",
            "CREATE UNIQUE INDEX made ON line ((place % 7)); UPDATE line SET place = 14 WHERE id = 2",
        ):
            with self.subTest(ddl):
                self.setUp()
                backend = self.backend(schema=schema)
                snapshot = backend.save()
                for _ in range(2):
                    self.run_sql("UPDATE line SET place = -place; UPDATE line SET place = 3 + place; " + ddl)
                    with self.assertNoLogs("protean_testing", "WARNING"):
                        self.assertTrue(backend.reset(snapshot))
                    self.assertEqual(self.rows("SELECT * FROM line ORDER BY id"), [(1, 1), (2, 2)])
                    self.assertIsNone(self.value("SELECT to_regclass('made')"))
                    self.run_sql("INSERT INTO line VALUES (3, 3)")
                    with self.assertNoLogs("protean_testing", "INFO"):
                        self.assertTrue(backend.reset(snapshot))


if __name__ == "__main__":
    unittest.main()
