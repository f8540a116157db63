"""Transactions of the code under test that are still open on MySQL or MariaDB."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ... import waiting
from ...errors import OpenTransactionError
from .mysql import is_mariadb, rows

_TRANSACTION = re.compile(r"^---TRANSACTION [^\n]*ACTIVE.*?(?=^---|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class OpenTransaction:
    """A session that is in a transaction.

    Attributes:
        number: The server's number of the connection.
        sleeps: It waits for its client.
        state: Is another one whenever it does something.
        words: Whose it is, and what it does.
    """

    number: int
    sleeps: bool
    state: str
    words: str

    @property
    def version(self) -> tuple[int, str]:
        return self.number, self.state

    def __str__(self) -> str:
        return self.words


def make_way(connection: Connection, wait: float, *, end: bool, readers: bool) -> list[str]:
    """Wait until no other session that uses this database is in a transaction, see `waiting.make_way`.

    Parameters:
        wait: Seconds for those at work.
        end: Whether the sessions that sleep are ended; otherwise they are an error as well.
        readers: Count transactions that have only read, too.

    Returns:
        What was ended, in words.
    """

    def kill(one: OpenTransaction) -> None:
        try:
            connection.exec_driver_sql(f"KILL {one.number}")
        except DBAPIError as error:
            raise OpenTransactionError(f"  {one}\nOur user may not end it: {error.orig}") from None

    look = partial(_open_transactions, connection, readers)
    return list(map(str, waiting.make_way(look, wait, kill if end else None)))


def _open_transactions(connection: Connection, readers: bool) -> list[OpenTransaction]:
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
        OpenTransaction(
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
