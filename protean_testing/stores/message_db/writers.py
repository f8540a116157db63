"""Find and end sessions whose open transaction has written messages."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...waiting import GRACE
from .position import MESSAGES


def end_sleepers(connection: Any) -> list[str]:
    """End those that sleep. Returns each in words; those that may not be ended are waited for."""
    from ..postgresql.connection import psycopg

    query = (
        "SELECT pid, left(query, 120), pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND state LIKE 'idle in%' "
        f"AND state_change < clock_timestamp() - interval '{GRACE} s' AND pid IN (SELECT pid "
        f"FROM pg_locks WHERE relation = '{MESSAGES}'::regclass AND mode <> 'AccessShareLock')"
    )
    with suppress(psycopg.errors.InsufficientPrivilege):
        found = connection.execute(query).fetchall()
        return [
            f"pid {pid}, idle in transaction, last statement: {last}" for pid, last, ended in found if ended
        ]
    return []


def holders(connection: Any) -> str:
    """Say whose transaction is open, for an error."""
    query = (
        "SELECT a.pid, a.state, left(a.query, 120) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
        f"WHERE l.relation = '{MESSAGES}'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted"
    )
    held = connection.execute(query).fetchall()
    who = "; ".join(f"pid {pid}, {state}: {last}" for pid, state, last in held) or "it is prepared"
    return f"a transaction that wrote messages is still open ({who})."
