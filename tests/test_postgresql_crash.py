"""A server that crashes loses what is unlogged: our notes, while the rows that they stood for remain."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any

import psycopg

from .postgresql_testcase import Mixin, everywhere

SCHEMA = """
CREATE TABLE t (id serial PRIMARY KEY, a int);
CREATE UNLOGGED TABLE passing (id serial PRIMARY KEY, a int);
"""


@everywhere
class CrashTests(Mixin):
    def crash(self, *, wait: bool = True) -> None:
        """Kill the process of one session: the server ends all of them, and starts again."""
        with suppress(psycopg.OperationalError), self.superuser() as victim, self.superuser() as other:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            other.execute("SELECT pg_sleep(10)")
        for _ in range(500 * wait):
            with suppress(psycopg.OperationalError):
                return self.run_sql("SELECT")
            time.sleep(0.02)
        self.assertFalse(wait, "the server did not come back")

    def state(self) -> Any:
        return self.rows(
            "SELECT (SELECT array_agg((id, a) ORDER BY id) FROM t)::text, "
            "(SELECT array_agg((id, a) ORDER BY id) FROM passing)::text, "
            "(SELECT last_value FROM t_id_seq), (SELECT last_value FROM passing_id_seq)"
        )

    def test_what_was_written_before_and_after(self) -> None:
        backend = self.backend(schema=SCHEMA)
        backend.save()
        self.run_sql("INSERT INTO t (a) SELECT n FROM generate_series(1, 60) n")
        self.run_sql("INSERT INTO passing (a) VALUES (1), (2)")
        snapshot, before = backend.save(), self.state()
        self.run_sql(
            "INSERT INTO t (a) VALUES (1000)", "DELETE FROM t WHERE a < 5", "UPDATE passing SET a = 3"
        )
        self.crash()
        self.run_sql("DELETE FROM t WHERE a < 10", "INSERT INTO passing (a) VALUES (4)")
        self.assertTrue(backend.reset(snapshot))
        self.assertEqual(self.state(), before)
        for _ in range(2):
            self.run_sql("UPDATE t SET id = id + 1000 WHERE a > 50", "INSERT INTO passing (a) VALUES (5)")
            self.assertTrue(backend.reset(snapshot))
            self.assertEqual(self.state(), before)

    def test_while_it_starts_again(self) -> None:
        backend = self.backend(schema=SCHEMA)
        snapshot, before = backend.save(), self.state()
        for _ in range(3):
            self.run_sql("INSERT INTO t (a) VALUES (1)")
            self.crash(wait=False)
            backend.reset(snapshot)
            self.assertEqual(self.state(), before)

    def test_at_once_after_a_scope_began(self) -> None:
        """Nothing was written since that would have flushed the log."""
        backend = self.backend(
            schema=SCHEMA + "INSERT INTO t (a) VALUES (0); INSERT INTO passing (a) VALUES (0)"
        )
        first, before = backend.save(), self.state()
        self.crash()
        self.run_sql("INSERT INTO t (a) SELECT n FROM generate_series(1, 60) n")
        snapshot, inner = backend.save(), self.state()
        self.crash()
        backend.reset(snapshot)
        self.assertEqual(self.state(), inner)
        self.run_sql("DELETE FROM t WHERE a > 3", "INSERT INTO passing (a) VALUES (1)")
        self.crash()
        again = backend.save()
        self.run_sql("DELETE FROM t")
        backend.reset(again)
        backend.forget(again)
        self.assertTrue(backend.reset(snapshot))
        self.assertEqual(self.state(), inner)
        backend.forget(snapshot)
        backend.reset(first)
        self.assertEqual(self.state(), before)
