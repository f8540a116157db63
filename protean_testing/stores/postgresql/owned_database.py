"""A PostgreSQL database that a run holds: the connection with its lock, and who stands in the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from ...errors import ProteanTestingError
from ...ownership import Marker
from ...waiting import turns
from ..driver_errors import lost, translated
from ..sql.backend import Database
from ..sql.urls import with_secrets
from . import ownership, transactions
from .connection import Connection, NoAnswer, psycopg
from .transactions import OpenTransaction

Result = TypeVar("Result")

TRIES = 10
"""How often a lock may be in the way of one call, each time of another transaction."""


class OwnedDatabase:
    """One database, reached by one connection that is made anew where it was lost.

    Parameters:
        database: Where it is, and what may be done to it.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._secrets = with_secrets(database.url)
        self._open: Connection | None = None
        self._rests = False
        self._marker: Marker | None = None
        self._is_lost = False  # another run has had the database since
        self._ended: list[OpenTransaction] = []

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _connection(self) -> Connection:
        if self._open is None:
            self._open = Connection(self.database)
        elif self._rests:
            self._rests = False
            self._reconnect()
        return self._open

    def _make_way(self, modes: tuple[str, ...], *, end: bool = True) -> bool:
        """Wait until no transaction holds such a lock. Returns whether one had to be ended."""
        connection = self._connection
        ended = transactions.wait_until_closed(
            lambda: transactions.open_transactions(connection, modes), connection, self.database.wait, end=end
        )
        self._ended += ended
        return bool(ended)

    def _end_idle_readers(self) -> None:
        """Sessions that still look at what single tests saw."""
        connection = self._connection
        if not transactions.any_sleeps(connection):
            return
        self._ended += transactions.wait_until_closed(
            lambda: [
                one for one in transactions.open_transactions(connection, transactions.READERS) if one.sleeps
            ],
            connection,
            self.database.wait,
            end=True,
        )

    def _again(self, what: str, work: Callable[[], Result]) -> Result:
        """Do `work`; again where a transaction is in the way, or the connection was lost."""
        with self._translated(what):
            if self._is_lost:
                raise self._in_other_hands()
            for _ in range(TRIES):
                try:
                    return work()
                except psycopg.errors.LockNotAvailable:
                    if not self._make_way(transactions.LOCKERS):
                        self._make_way(transactions.READERS)
                except psycopg.OperationalError as error:
                    if self._connection.alive or isinstance(error, NoAnswer):
                        raise
                if not self._connection.alive:
                    self._reconnect()
            return work()

    def _reconnect(self) -> None:
        """Connect again, and see that nobody else had the database meanwhile: the lock went with the session.

        Raises:
            LostStoreError: It is gone, or was dropped and made again.
            UnsafeStoreError: Somebody had, or has it.
        """
        connection, database = self._connection, self.database
        connection.renew()
        if self._marker is None:
            return
        is_ours = False
        for _ in turns(self.database.wait):  # the server may see later than we that it was lost
            if is_ours := ownership.take_lock(connection):
                break
        there = ownership.read_marker(connection)
        if is_ours and there is None:
            connection.close()
            why = "It was dropped and made again, or emptied: nothing of this run is in it."
            raise lost(database.name, database.shown, why)
        if not is_ours or there is None or there.run != self._marker.run:
            self._is_lost = True
            connection.close()
            raise self._in_other_hands()

    def _in_other_hands(self) -> ProteanTestingError:
        return self.database.refusal(
            "the connection that held its lock was lost, and another run has begun to use it since: nothing "
            "more is done there.",
            "Give each run a database of its own.",
        )

    def _translated(self, what: str) -> AbstractContextManager[None]:
        """Say which store could not do it, without the password."""
        return translated(what, self.database.name, psycopg.Error, self._secrets)
