"""Transactions that a test left open on PostgreSQL: waited for, ended, and named."""

from __future__ import annotations

import threading
import time
import warnings
from typing import Any

import psycopg

from protean_testing.errors import LeakError, LeakWarning, OpenTransactionError, StoreError

from .postgresql_testcase import Mixin, PostgreSQLTestCase, everywhere

TABLE = "CREATE TABLE t (id serial PRIMARY KEY, a int); INSERT INTO t (a) VALUES (1)"


@everywhere
class OpenTransactionTests(Mixin):
    def left_open(self, *statements: str, role: str | None = None) -> psycopg.Connection[Any]:
        connection = self.connect(role)
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement.encode())
        return connection

    def assertReset(self, backend: Any, snapshot: Any) -> None:
        backend.reset(snapshot)
        self.assertEqual(self.rows("SELECT id, a FROM t"), [(1, 1)])

    def test_a_writer_is_ended_and_named(self) -> None:
        backend = self.backend(schema=TABLE, on_leak="fail")
        snapshot = backend.save()
        connection = self.left_open("INSERT INTO t (a) VALUES (2)")
        pid = connection.info.backend_pid
        with self.assertRaises(LeakError) as caught:
            backend.reset(snapshot)
        for part in (f"pid {pid}", "idle in transaction", "INSERT INTO t (a) VALUES (2)", "'shop'"):
            self.assertIn(part, str(caught.exception))
        with self.assertRaises(psycopg.OperationalError):
            connection.execute("COMMIT")
        self.assertEqual(self.rows("SELECT id, a FROM t"), [(1, 1)])
        self.assertFalse(backend.reset(snapshot))

    def test_a_leak_may_be_a_warning_or_nothing(self) -> None:
        for on_leak, expected in (("warn", [LeakWarning]), ("reset", [])):
            with self.subTest(on_leak):
                backend = self.backend(schema=TABLE, on_leak=on_leak)
                snapshot = backend.save()
                self.left_open("UPDATE t SET a = 7")
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always", LeakWarning)
                    self.assertReset(backend, snapshot)
                self.assertEqual([one.category for one in caught if one.category is LeakWarning], expected)
                backend.drop()
                backend.close()

    def test_a_savepoint_that_was_rolled_back_keeps_a_sequence(self) -> None:
        backend = self.backend(schema="CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (CACHE 5), a int)")
        snapshot = backend.save()
        self.run_sql("INSERT INTO t (a) VALUES (1)")
        connection = self.left_open("SAVEPOINT s", "INSERT INTO t (a) VALUES (2)", "ROLLBACK TO SAVEPOINT s")
        with self.assertWarnsRegex(LeakWarning, f"pid {connection.info.backend_pid}"):
            backend.reset(snapshot)
        self.run_sql("INSERT INTO t (a) VALUES (3)")
        self.assertEqual(self.rows("SELECT id, a FROM t"), [(1, 3)])

    def test_a_worker_that_is_only_slow_is_waited_for(self) -> None:
        backend = self.backend(schema=TABLE, on_leak="fail", wait=5)
        snapshot = backend.save()
        connection = self.left_open("INSERT INTO t (a) VALUES (2)")

        def work() -> None:
            connection.execute("SELECT pg_sleep(0.6)")
            connection.execute("COMMIT")

        worker = threading.Thread(target=work)
        worker.start()
        time.sleep(0.1)
        self.assertReset(backend, snapshot)
        worker.join()

    def test_a_worker_that_never_ends_is_an_error(self) -> None:
        backend = self.backend(schema=TABLE, wait=0.4)
        snapshot = backend.save()
        connection = self.left_open("INSERT INTO t (a) VALUES (2)")
        sleeper = threading.Thread(target=lambda: connection.execute("SELECT pg_sleep(1.5)"))
        sleeper.start()
        time.sleep(0.1)
        with self.assertRaisesRegex(OpenTransactionError, r"running on t: SELECT pg_sleep\(1.5\)"):
            backend.reset(snapshot)
        sleeper.join()
        connection.close()
        self.assertReset(backend, snapshot)

    def test_held_rows(self) -> None:
        backend = self.backend(schema=TABLE, on_leak="fail")
        snapshot = backend.save()
        self.run_sql("UPDATE t SET a = 5", "INSERT INTO t (a) VALUES (6)")
        self.left_open("SELECT * FROM t FOR UPDATE")
        with self.assertRaisesRegex(LeakError, "FOR UPDATE"):
            backend.reset(snapshot)
        self.assertEqual(self.rows("SELECT id, a FROM t"), [(1, 1)])

    def test_a_prepared_transaction_is_rolled_back(self) -> None:
        backend = self.backend(schema=TABLE, on_leak="fail")
        snapshot = backend.save()
        self.left_open("INSERT INTO t (a) VALUES (2)", "PREPARE TRANSACTION 'two phases'")
        line = "prepared transaction 'two phases'.*ROLLBACK PREPARED 'two phases'"
        with self.assertRaisesRegex(LeakError, line):
            backend.reset(snapshot)
        self.assertEqual(self.rows("SELECT id, a FROM t"), [(1, 1)])
        self.assertEqual(self.rows("SELECT gid FROM pg_prepared_xacts"), [])

    def test_a_scope_cannot_begin_with_a_writer(self) -> None:
        backend = self.backend(schema=TABLE)
        backend.save()
        connection = self.left_open("INSERT INTO t (a) VALUES (2)")
        with self.assertRaisesRegex(
            OpenTransactionError, r"(?s)cannot begin.*INSERT INTO t.*session.commit\(\)"
        ):
            backend.save()
        connection.execute("COMMIT")
        snapshot = backend.save()
        self.run_sql("DELETE FROM t")
        backend.reset(snapshot)
        self.assertEqual(self.rows("SELECT id, a FROM t"), [(1, 1), (2, 2)])

    def test_a_scope_may_begin_with_a_reader(self) -> None:
        backend = self.backend(schema=TABLE, on_leak="fail")
        backend.save()
        connection = self.left_open("SELECT * FROM t")
        snapshot = backend.save()
        connection.execute("INSERT INTO t (a) VALUES (2)")
        connection.execute("COMMIT")
        self.assertReset(backend, snapshot)

    def test_a_reader_is_ended_with_the_scope_around_tests(self) -> None:
        backend = self.backend(schema=TABLE, on_leak="fail")
        outer = backend.save()
        inner = backend.save()
        self.run_sql("INSERT INTO t (a) VALUES (2)")
        if (self.role, self.reset) == ("owner", "generic"):
            return  # its TRUNCATE finds the reader in the way after every test
        connection = self.left_open("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT * FROM t")
        self.assertReset(backend, inner)
        connection.execute("SELECT 1")
        backend.forget(inner)
        with self.assertRaisesRegex(LeakError, "idle in transaction"):
            backend.reset(outer)
        with self.assertRaises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    def test_readers_do_not_stop_the_drop(self) -> None:
        backend = self.backend(schema=TABLE)
        backend.save()
        self.left_open("SELECT * FROM t")
        backend.drop()
        self.assertEqual(self.rows("SELECT 1 FROM pg_class WHERE relname = 't'"), [])

    def test_what_began_before_the_scope_and_writes_inside_of_it(self) -> None:
        backend = self.backend(schema=TABLE)
        backend.save()
        connection = self.left_open("SELECT * FROM t FOR UPDATE")
        snapshot = backend.save()
        connection.execute("INSERT INTO t (a) VALUES (2)")
        connection.execute("COMMIT")
        self.assertReset(backend, snapshot)
        connection.execute("BEGIN")
        connection.execute("SELECT txid_current()")
        backend.reset(snapshot)
        with connection.transaction(force_rollback=True):
            connection.execute("INSERT INTO t (a) VALUES (2)")
        connection.execute("ROLLBACK")
        backend.reset(snapshot)
        self.assertEqual(self.value("SELECT last_value FROM t_id_seq"), 1)

    def test_the_application_is_never_the_victim_of_a_deadlock(self) -> None:
        backend = self.backend(schema=TABLE, wait=5, on_leak="reset")
        snapshot = backend.save()
        self.run_sql("UPDATE t SET a = 2")
        connection = self.left_open("SELECT * FROM t FOR UPDATE")
        results: list[Any] = []

        def work() -> None:
            time.sleep(0.15)
            try:
                connection.execute("INSERT INTO t (a) VALUES (3)")  # while the reset waits for its row
                connection.execute("COMMIT")
                results.append("committed")
            except psycopg.Error as error:
                results.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        backend.reset(snapshot)
        worker.join()
        self.assertEqual(results, ["committed"])
        backend.reset(snapshot)
        self.assertEqual(self.rows("SELECT id, a FROM t"), [(1, 1)])


class MissingRightTests(PostgreSQLTestCase):
    role = "owner"

    def test_a_session_that_may_not_be_ended_is_an_error_that_names_the_grant(self) -> None:
        backend = self.backend(schema=TABLE, wait=0.3)
        snapshot = backend.save()
        connection = self.connect("postgres")
        connection.execute("BEGIN; INSERT INTO t (a) VALUES (2)")
        with self.assertRaisesRegex(StoreError, "may not"):
            backend.reset(snapshot)
        connection.execute("ROLLBACK")
        self.run_sql(
            "GRANT SELECT, INSERT ON t TO application; GRANT USAGE ON SEQUENCE t_id_seq TO application"
        )
        other = self.connect("application")
        other.execute("BEGIN; INSERT INTO t (a) VALUES (2)")
        with self.assertRaisesRegex(StoreError, "GRANT pg_signal_backend"):
            backend.reset(snapshot)
        with self.superuser() as superuser:
            superuser.execute("GRANT pg_signal_backend, pg_monitor TO owner")
        try:
            with self.assertWarnsRegex(LeakWarning, "INSERT INTO t"):
                backend.reset(snapshot)
        finally:
            with self.superuser() as superuser:
                superuser.execute("REVOKE pg_signal_backend, pg_monitor FROM owner")
        self.assertEqual(self.rows("SELECT a FROM t"), [(1,)])


class LostConnectionTests(PostgreSQLTestCase):
    def test_the_keeper_connects_again(self) -> None:
        backend = self.backend(schema=TABLE)
        snapshot = backend.save()
        self.run_sql("INSERT INTO t (a) VALUES (2)")
        self.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                  f"WHERE datname = '{self.name}' AND pid <> pg_backend_pid()")  # fmt: skip
        self.assertTrue(backend.reset(snapshot))
        self.assertEqual(self.rows("SELECT a FROM t"), [(1,)])
        with self.connect() as connection:
            taken = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
        self.assertEqual(taken, (1,), "the lock of a live run")


class LeftAtTheEndTests(PostgreSQLTestCase):
    def test_one_that_wrote_nothing_that_remains(self) -> None:
        backend = self.backend(schema=TABLE)
        around = backend.save()
        test = backend.save()
        connection = self.connect()
        connection.execute("BEGIN; SELECT pg_current_xact_id(), count(*) FROM t")
        self.assertFalse(backend.reset(test))
        backend.forget(test)
        with self.assertWarnsRegex(LeakWarning, f"pid {connection.info.backend_pid}"):
            backend.reset(around)
        self.assertEqual(self.value("SELECT last_value FROM t_id_seq"), 1)

    def test_one_that_dropped_a_view(self) -> None:
        self.role = "granted"  # who is not told of it
        self.setUp()
        backend = self.backend(schema=TABLE + "; CREATE VIEW v AS SELECT 1 AS n")
        around = backend.save()
        test = backend.save()
        self.connect().execute("BEGIN; DROP VIEW v")
        backend.reset(test)
        backend.forget(test)
        with self.assertWarnsRegex(LeakWarning, "DROP VIEW v"):
            backend.reset(around)
        self.assertEqual(self.rows("SELECT n FROM v"), [(1,)])
