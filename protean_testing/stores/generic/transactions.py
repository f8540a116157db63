"""Transactions of the code under test that are still open on MySQL or MariaDB."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ... import waiting
from ...errors import OpenTransactionError
from .idle_locks import Clients, Process, is_used, processes
from .mysql import rows
from .rows import Key

_TRANSACTION = re.compile(r"^---TRANSACTION [^\n]*ACTIVE.*?(?=^---|\Z)", re.MULTILINE | re.DOTALL)


_SECONDS = re.compile(r"^---TRANSACTION [^\n]*ACTIVE[^\n]*? (\d+) sec", re.MULTILINE)


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


class Transactions:
    """Finds the transactions that are open in one database.

    Attributes:
        oldest: For how many seconds the oldest that is open on the whole server has been, at the last look.
    """

    def __init__(self) -> None:
        self.oldest = 0
        self._foreign: set[int] = set()  # sessions in other databases that are not of this process

    def make_way(
        self, connection: Connection, wait: float, tables: Collection[Key], *, end: bool, readers: bool
    ) -> list[str]:
        """Wait until no other session that uses the database is in a transaction, see `waiting.make_way`.

        Parameters:
            connection: Stands in the database.
            wait: Seconds for those at work.
            tables: All that are there.
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

        look = partial(self._open, connection, tables, readers)
        return list(map(str, waiting.make_way(look, wait, kill if end else None)))

    def _open(self, connection: Connection, tables: Collection[Key], readers: bool) -> list[OpenTransaction]:
        # information_schema.innodb_trx is as old as 0.1 s; this is not.
        (row,) = rows(connection, "SHOW ENGINE INNODB STATUS")
        active: dict[int, str] = {}
        writers = set()
        self.oldest = max(map(int, _SECONDS.findall(row[2])), default=0)
        for transaction in _TRANSACTION.findall(row[2]):
            if thread := re.search(r"thread id (\d+)", transaction):
                number = int(thread[1])
                active[number] = ", ".join(re.findall(r"\d+ row lock|undo log entries \d+", transaction))
                if re.search(r"[1-9]\d* lock struct|undo log entries", transaction):
                    writers.add(number)
        active = {number: words for number, words in active.items() if number not in self._foreign}
        if not active:
            return []
        found = [one for one in processes(connection) if one.number in active]
        inside = [one for one in found if one.is_here]
        chosen = inside if inside else self._elsewhere(connection, tables, found)
        return [
            OpenTransaction(one.number, one.sleeps, active[one.number], f"{one}, {active[one.number]}")
            for one in chosen
            if readers or one.number in writers
        ]

    def _elsewhere(
        self, connection: Connection, tables: Collection[Key], found: Collection[Process]
    ) -> list[Process]:
        """Those of this process that have used our tables and stand in another database since (``USE``)."""
        if not found:
            return []
        clients = Clients.found()
        self._foreign |= {one.number for one in found if one.number not in clients.numbers}
        own = [one for one in found if one.number in clients.numbers]
        return own if own and is_used(connection, tables) else []
