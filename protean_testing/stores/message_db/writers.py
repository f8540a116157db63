"""Find and end sessions whose open transaction has written messages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import OpenTransactionError
from ...waiting import make_way, turns
from .position import MESSAGES


@dataclass(frozen=True)
class Writer:
    """One that is open now.

    Attributes:
        pid: The server's process; None for a prepared transaction.
        state: As in pg_stat_activity; empty if our role may not see it.
        statement: The last one, or the one that runs.
        changed: Is another one whenever the session does something.
    """

    pid: int | None
    state: str
    statement: str
    changed: str

    @property
    def version(self) -> tuple[object, ...]:
        return self.pid, self.changed

    @property
    def sleeps(self) -> bool:
        return self.state.startswith("idle in")

    def __str__(self) -> str:
        if self.pid is None:
            return "a prepared transaction"
        what = f"{self.state}, last statement" if self.sleeps else self.state
        return f"pid {self.pid}, {what}: {self.statement}"


def lock_messages(connection: Any, wait: float, *, end: bool) -> list[str]:
    """Begin a transaction beside which no other one that writes messages is open.

    Parameters:
        wait: Seconds for those that are.
        end: End sessions that are in the way, see `waiting.make_way`.

    Returns:
        Those that were ended, in words.

    Raises:
        OpenTransactionError: One is still open.
    """
    from ..postgresql.connection import psycopg

    ended: list[str] = []
    for turn in turns(wait):
        try:
            connection.execute(f"BEGIN; LOCK TABLE {MESSAGES} IN SHARE ROW EXCLUSIVE MODE NOWAIT")
            break
        except psycopg.errors.LockNotAvailable:
            connection.execute("ROLLBACK")
            if turn.is_last:
                raise
        try:
            look = partial(_open_writers, connection)
            ended += map(str, make_way(look, wait, partial(_end, connection) if end else None))
        except OpenTransactionError as error:
            raise OpenTransactionError(f"a transaction that wrote messages is still open.\n{error}") from None
    return ended


def _open_writers(connection: Any) -> list[Writer]:
    """Those that are open beside `connection`."""
    found = connection.execute(
        "SELECT l.pid, coalesce(a.state, ''), coalesce(left(a.query, 120), ''), "
        "concat(a.xact_start, ' ', a.state_change) FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) "
        f"WHERE l.relation = '{MESSAGES}'::regclass AND l.mode <> 'AccessShareLock' AND l.granted"
    )
    return [Writer(*values) for values in found]


def _end(connection: Any, writer: Writer) -> None:
    """End its session.

    Raises:
        OpenTransactionError: Our role may not.
    """
    from ..postgresql.connection import psycopg

    if writer.pid is None:
        raise OpenTransactionError(
            f"  {writer}\nEnd it with ROLLBACK PREPARED: pg_prepared_xacts has its name."
        )
    try:
        connection.execute(f"SELECT pg_terminate_backend({writer.pid}, 1000)")
    except psycopg.errors.InsufficientPrivilege:
        raise OpenTransactionError(
            f"  {writer}\nOur role may not end it. Allow it with:  GRANT pg_signal_backend TO our role"
        ) from None
