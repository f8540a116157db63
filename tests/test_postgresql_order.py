"""In which order rows come without ORDER BY: nothing promises it, and many tests rely on it all the same."""

from __future__ import annotations

from .postgresql_testcase import Mixin, PostgreSQLTestCase, everywhere

RESETS = 220  # now and then there is a VACUUM


@everywhere
class OrderTests(Mixin):
    def test_what_was_inserted_last_comes_last(self) -> None:
        for shared in (0, 3, 20, 70):
            with self.subTest(rows_of_the_class=shared):
                backend = self.backend(schema="CREATE TABLE t (id serial PRIMARY KEY, a int)")
                backend.save()
                self.run_sql(f"INSERT INTO t (a) SELECT n FROM generate_series(1, {shared}) n")
                snapshot = backend.save()
                with self.connect() as connection:
                    for _ in range(RESETS if shared == 3 and self.reset == "fast" else 4):
                        connection.execute("INSERT INTO t (a) SELECT n FROM generate_series(1, 5) n")
                        found = connection.execute("SELECT id, a FROM t").fetchall()
                        self.assertEqual([key for key, _ in found], list(range(1, shared + 6)))
                        backend.reset(snapshot)
                backend.drop()
                backend.close()


class ChangedTests(PostgreSQLTestCase):
    def test_few_rows_of_the_class(self) -> None:
        backend = self.backend(schema="CREATE TABLE t (id serial PRIMARY KEY, a int)")
        backend.save()
        self.run_sql("INSERT INTO t (a) SELECT n FROM generate_series(1, 20) n")
        snapshot = backend.save()
        self.run_sql("UPDATE t SET a = 0 WHERE id IN (3, 12)", "DELETE FROM t WHERE id = 7")
        backend.reset(snapshot)
        self.assertEqual(self.rows("SELECT id, a FROM t"), [(n, n) for n in range(1, 21)])
