"""The backend of a SQLite database."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Engine

from ...changes import Written
from ...core.leaks import report_leak
from ...errors import OpenTransactionError, StoreError
from ...store import LeftBy
from ..driver_errors import lost
from ..sql.backend import Database
from .differences import differences
from .image import everything
from .location import location_of
from .open_transactions import StillOpen
from .private import PrivateMemory
from .shared import SharedDatabase
from .stamps import Stamps


class SQLiteBackend:
    """Keeps a SQLite database: nothing is installed in it, and nobody is watched.

    A snapshot is an image of the whole database, in memory. A reset asks SQLite whether anything
    was committed since, and then restores the rows that differ; the whole image if the schema differs, or if
    that is cheaper.

    Parameters:
        database: In a file, in memory with a name (``file:/name?vfs=memdb&uri=true``), or in the private
            memory of the engine that `Database.engine` gives.

    Raises:
        ConfigurationError: The URL is for another driver, or SQLite is too old.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        location = location_of(database.url, database.name)
        self._base: PrivateMemory | SharedDatabase = (
            PrivateMemory(database) if location.private else SharedDatabase(location, database)
        )
        self._stamps = Stamps(database, self._base)
        self._numbers = itertools.count(1)
        self._snapshots: dict[int, Any] = {}  # by number, in the order of their making

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        """See Backend.check."""
        with self._translating("looked at"):
            self._base.check(tables)

    def acquire(self) -> bool:
        """See Backend.acquire."""
        with self._translating("prepared"):
            return self._base.acquire()

    def created(self) -> None:
        """See Backend.created."""
        with self._translating("saved"):
            self._base.created(self._snapshots.values())

    def save(self) -> int:
        """See Backend.save. A snapshot is a number."""
        with self._translating("saved"):
            snapshot = self._base.snapshots.take()
        number = next(self._numbers)
        self._snapshots[number] = snapshot
        return number

    def reset(self, snapshot: int) -> bool:
        """See Backend.reset."""
        self._end_after(snapshot)
        try:  # after every test, and mostly there is nothing to translate
            different, ended = self._base.snapshots.restore(self._snapshots[snapshot])
        except (StillOpen, sqlite3.Error):
            with self._translating("reset"):
                raise
        if ended:
            self._report(ended)
        return different

    def sessions_are_stale(self) -> bool:
        """See Backend.sessions_are_stale. What they hold is seen where they come back to their pool."""
        return False

    def written_since(self, snapshot: int) -> list[Written]:
        """See Backend.written_since."""
        with self._translating("looked at"), closing(self._base.image()) as now:
            with self._base.snapshots.flat(self._snapshots[snapshot]) as then:
                return list(differences(now.connection, then))

    def restore_fully(self, snapshot: int) -> bool:
        """See Backend.restore_fully."""
        self._base.snapshots.invalidate()
        return self.reset(snapshot)

    def dump_data(self) -> dict[str, Counter[Any]]:
        """See Backend.dump_data."""
        with self._translating("looked at"), closing(self._base.image()) as now:
            return everything(now.connection)

    def forget(self, snapshot: int) -> None:
        """See Backend.forget."""
        self._end_after(snapshot)
        self._forget_newest()

    def stamp(self, engine: Engine) -> None:
        """Put the schema and the data of this moment into another database.

        It is the private memory of a fresh engine, or a file that is new, empty or was stamped before.

        Raises:
            ConfigurationError: The engine's database is shared memory, or this very one.
            UnsafeStoreError: The file holds something else.
        """
        with self._translating("read"):
            self._stamps.stamp(engine)

    def drop(self) -> None:
        """See Backend.drop."""
        self._forget_all()
        self._stamps.close()
        with self._translating("dropped"):
            self._base.drop()

    @contextmanager
    def away(self) -> Iterator[None]:
        """See Backend.away. Nobody copies it behind its back."""
        yield

    def keep(self) -> bool:
        """See Backend.keep."""
        if self._snapshots:
            self.reset(next(iter(self._snapshots)))
        self._forget_all()
        with self._translating("kept"):
            return self._base.keep()

    def rest(self) -> None:
        """See Backend.rest. The connection is what keeps memory alive, and a file locked."""

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        """See Backend.free. Nobody waits for ever: SQLite itself gives up after some seconds."""
        return []

    def close(self) -> None:
        """See Backend.close."""
        self._forget_all()
        self._stamps.close()
        self._base.close()

    def _end_after(self, snapshot: int) -> None:
        if snapshot not in self._snapshots:
            raise StoreError(
                f"store {self._database.name!r}: this snapshot is void, an older one was reset or forgotten.",
                store=self._database.name,
            )
        while next(reversed(self._snapshots)) != snapshot:
            self._forget_newest()

    def _forget_newest(self) -> None:
        _, newest = self._snapshots.popitem()
        self._base.snapshots.forget(newest)

    def _forget_all(self) -> None:
        self._snapshots.clear()
        self._base.end_snapshots()

    @contextmanager
    def _translating(self, done: str) -> Iterator[None]:
        """Say of an error to which store it happened, and what to do."""
        try:
            yield
        except StillOpen as error:
            raise OpenTransactionError(
                f"{self._failed(done)}: {error} is still open.\n"
                "Commit or close it before:  with self.db.session() as session: ...",
                store=self._database.name,
            ) from None
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN:
                raise lost(self._database.name, self._database.shown, str(error)) from None
            raise StoreError(f"{self._failed(done)}: {error}.", store=self._database.name) from None

    def _failed(self, done: str) -> str:
        return f"store {self._database.name!r} ({self._database.shown}) could not be {done}"

    def _report(self, ended: list[str]) -> None:
        message = (
            f"left something open on store {self._database.name!r}:\n  "
            + "\n  ".join(ended)
            + "\nIt was ended and the data was reset. Close it in the test:  "
            "with self.db.session() as session: ..."
        )
        report_leak(message, self._database.name, self._database.on_leak)
