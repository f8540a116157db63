"""Transactions of the code under test that are still open: wait for those at work, end those that sleep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ...core.leaks import report_leak
from ...errors import OpenTransactionError
from ...waiting import make_way
from ..sql.backend import Database
from . import sql
from .connection import Connection, literal, psycopg

WRITERS: tuple[str, ...] = (
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
"""Locks of a transaction that writes, or changes the schema."""

LOCKERS = ("RowShareLock", *WRITERS)
"""Locks of one that holds rows as well (SELECT FOR UPDATE)."""

READERS = ("AccessShareLock", *LOCKERS)
"""Locks of any transaction that saw a table."""

_ANY_SLEEPS = """
SELECT EXISTS (SELECT FROM pg_stat_get_activity(NULL)
                WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND pid <> pg_backend_pid() AND (state IS NULL OR state NOT IN ('active', 'idle')))
    OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
"""

_SHOWN = 200  # characters of a statement


@dataclass(frozen=True)
class OpenTransaction:
    """One that is open now.

    Attributes:
        pid: The server's process; None for a prepared transaction.
        gid: The name of a prepared transaction.
        user: The role it belongs to.
        application: What the session calls itself.
        state: As in pg_stat_activity; empty where our role may not see it.
        seconds: Since its state changed.
        statement: The last one, or the one that runs.
        changed: Is another one whenever the session does something.
        tables: Those on which it holds such locks.
    """

    pid: int | None
    gid: str | None
    user: str
    application: str
    state: str
    seconds: float
    statement: str
    changed: str
    tables: str

    @property
    def version(self) -> tuple[object, ...]:
        return self.pid, self.gid, self.changed

    @property
    def sleeps(self) -> bool:
        return self.pid is None or self.state.startswith("idle")

    def __str__(self) -> str:
        on = f" on {self.tables}" if self.tables else ""
        if self.pid is None:
            ending = f"(ROLLBACK PREPARED {literal(self.gid or '')})"
            return f"prepared transaction {self.gid!r} of role {self.user}{on} {ending}"
        who = f"pid {self.pid}" + (f" ({self.application})" if self.application else "")
        if not self.state:
            return (
                f"{who} of role {self.user}, whose activity our role may not see (GRANT pg_monitor TO it) "
                "nor end (GRANT pg_signal_backend TO it)"
            )
        what = (
            f"running{on}"
            if self.state == "active"
            else f"{self.state} for {self.seconds:.1f} s{on}, last statement"
        )
        return f"{who}, {what}: {self.statement}"


def open_transactions(connection: Connection, modes: tuple[str, ...]) -> list[OpenTransaction]:
    """Those of other sessions that hold one of these locks on a table of this database.

    `READERS` counts sequences and views as well: what is taken or dropped there is in the way of others.
    """
    listed = ", ".join(map(literal, modes))
    kinds = "'r', 'p', 'm', 'S', 'v'" if modes is READERS else "'r', 'p', 'm'"
    statement = sql.text("open_transactions").replace(":modes", listed).replace(":kinds", kinds)
    return [
        OpenTransaction(
            pid,
            gid,
            user or "?",
            application or "",
            state or "",
            seconds or 0.0,
            _short(statement),
            version,
            tables or "",
        )
        for pid, gid, user, application, state, seconds, statement, version, tables in connection.rows(
            statement, again=True
        )
    ]


def any_sleeps(connection: Connection) -> bool:
    """Whether a transaction may sleep: of other sessions, as far as our role may see them, or prepared."""
    (answer,) = connection.call(_ANY_SLEEPS)
    return answer == "t"


def wait_until_closed(
    look: Callable[[], list[OpenTransaction]], connection: Connection, wait: float, *, end: bool
) -> list[OpenTransaction]:
    """Wait until nothing is open, see `make_way`.

    Parameters:
        look: What is open and in the way now.
        connection: To end sessions by.
        wait: Seconds for those at work.
        end: Whether those that sleep are ended; otherwise they are an error as well.
    """
    return make_way(look, wait, partial(_end, connection) if end else None)


def _end(connection: Connection, open_one: OpenTransaction) -> None:
    try:
        if open_one.pid is None:
            connection.run(f"ROLLBACK PREPARED {literal(open_one.gid or '')}")
        else:
            connection.run(f"SELECT pg_terminate_backend({open_one.pid})")
    except psycopg.errors.UndefinedObject:
        return  # it ended by itself
    except psycopg.errors.InsufficientPrivilege:
        (role,) = connection.call(
            "SELECT quote_ident(current_user)"
        )  # not always the one of the URL (SET role)
        raise OpenTransactionError(
            f"  {open_one}\nOur role may not end it. Allow it with:  "
            f"GRANT pg_signal_backend (or {open_one.user}) TO {role}"
        ) from None


def _short(statement: str | None) -> str:
    text = " ".join((statement or "").split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def report(ended: list[OpenTransaction], database: Database) -> None:
    """Name as a leak what had to be ended."""
    if ended:
        listed = "\n".join(f"  {one}" for one in ended)
        text = (
            f"left a transaction open on store {database.name!r}.\n{listed}\n"
            "It was closed and the data was reset. Close it in the test:  "
            "with self.db.session() as session: ..."
        )
        report_leak(text, database.name, database.on_leak)
