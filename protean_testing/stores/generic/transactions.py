"""Transactions of the code under test that are still open on MySQL or MariaDB."""

from __future__ import annotations

import re
from time import monotonic, sleep

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ...errors import OpenTransactionError
from .mysql import is_mariadb, rows

GRACE = 0.25
"""Seconds that a session has to sleep while we look before its transaction counts as left open."""

_PAUSE = 0.02
_TRANSACTION = re.compile(r"^---TRANSACTION [^\n]*ACTIVE.*?(?=^---|\Z)", re.MULTILINE | re.DOTALL)


def make_way(connection: Connection, wait: float, *, end: bool, readers: bool) -> list[str]:
    """Wait until no other session that uses this database is in a transaction.

    Parameters:
        wait: Seconds for those at work.
        end: Whether the sessions that sleep are ended; otherwise they are an error as well.
        readers: Count transactions that have only read, too.

    Returns:
        What was ended, in words.

    Raises:
        OpenTransactionError: Something stayed open.
    """
    begin = monotonic()
    still: dict[object, float] = {}
    ended: dict[int, str] = {}
    while found := _open_transactions(connection, readers):
        now = monotonic()
        for number, sleeps, version, words in found:
            if (
                number in ended
                or not sleeps
                or now - still.setdefault((number, version), now) < min(GRACE, wait)
            ):
                continue
            if not end:
                raise OpenTransactionError(f"  {words}")
            try:
                connection.exec_driver_sql(f"KILL {number}")
            except DBAPIError as error:
                raise OpenTransactionError(f"  {words}\nOur user may not end it: {error.orig}") from None
            ended[number] = words
        if now - begin > wait + GRACE:
            raise OpenTransactionError("\n".join(f"  {words}" for *_, words in found))
        sleep(_PAUSE)
    return list(ended.values())


def _open_transactions(connection: Connection, readers: bool) -> list[tuple[int, bool, object, str]]:
    # information_schema.innodb_trx is as old as 0.1 s; this is not.
    (row,) = rows(connection, "SHOW ENGINE INNODB STATUS")
    active: dict[int, str] = {}
    for transaction in _TRANSACTION.findall(row[2]):
        thread = re.search(r"thread id (\d+)", transaction)
        writes = re.search(r"[1-9]\d* lock struct|undo log entries", transaction)
        if thread and (readers or writes):
            active[int(thread[1])] = ", ".join(re.findall(r"\d+ row lock|undo log entries \d+", transaction))
    if not active:
        return []
    return [
        (
            number,
            command == "Sleep",
            active[number],
            f"connection {number} of {user} at {host}, {active[number]}, "
            + (f"asleep for {float(time) / 1000:.1f} s" if command == "Sleep" else f"at work: {info}"),
        )
        for number, user, host, command, time, info in rows(
            connection,
            f"SELECT id, user, host, command, {'time_ms' if is_mariadb(connection) else 'time * 1000'}, info "
            "FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() "
            f"AND id IN ({', '.join(map(str, active))})",
        )
    ]
