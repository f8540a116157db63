"""The keeper of a SQLite database."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager

from sqlalchemy import Engine

from ...errors import ConfigurationError, LeakError, LeakWarning, OpenTransactionError, StoreError
from ...store import ended_scope
from ..keeper import Database
from .image import copy
from .mark import Mark
from .open_transactions import StillOpen
from .place import place_of
from .private import PrivateMark, PrivateMemory, within
from .shared import SharedDatabase


class SQLiteKeeper:
    """Keeps a SQLite database: nothing is installed in it, and nobody is watched.

    A mark is an image of the whole database, in memory. A reset asks SQLite whether anything was committed
    since, and then puts back the rows that differ; the whole image where the schema differs, or where that is
    cheaper.

    Parameters:
        database: In a file, in memory with a name (``file:/name?vfs=memdb&uri=true``), or in the private
            memory of the engine that `Database.engine` gives.

    Raises:
        ConfigurationError: The URL is for another driver, or SQLite is too old.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        place = place_of(database.url, database.name)
        self._base = PrivateMemory(database) if place.private else SharedDatabase(place, database)
        self._marks: list[Mark | PrivateMark] = []
        self._spare: list[Mark | PrivateMark] = []

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        """See Keeper.check."""
        with self._told("looked at"):
            self._base.check(tables)

    def claim(self) -> None:
        """See Keeper.claim."""
        with self._told("prepared"):
            self._base.claim()

    def created(self) -> None:
        """See Keeper.created."""
        with self._told("saved"):
            self._base.created()
            for mark in self._marks:
                mark.widen()

    def save(self) -> Mark | PrivateMark:
        """See Keeper.save."""
        with self._told("saved"):
            self._base.ready(self._marks[-1].image if self._marks else None)
            if self._spare:
                self._spare[-1].take()
            else:
                self._spare.append(self._base.mark())
        self._marks.append(self._spare.pop())
        return self._marks[-1]

    def reset(self, mark: Mark | PrivateMark) -> bool:
        """See Keeper.reset."""
        self._end_after(mark)
        with self._told("reset"):
            different, ended = mark.reset()
        self._report(ended)
        return different

    def forget(self, mark: Mark | PrivateMark) -> None:
        """See Keeper.forget."""
        self._end_after(mark)
        self._retire()

    def stamp(self, engine: Engine) -> None:
        """Put the schema and the data of this moment into a fresh engine's private ``sqlite://`` memory.

        Raises:
            ConfigurationError: The engine's database is not private memory.
        """
        if not place_of(engine.url, self._database.name).private:
            raise ConfigurationError(
                f"store {self._database.name!r}: only an engine on sqlite:// is stamped, not {engine.url!r}."
            )
        with self._told("read"), closing(self._base.image()) as now:
            within(engine, lambda connection: copy(now.connection, connection))

    def drop(self) -> None:
        """See Keeper.drop."""
        self._close_marks()
        with self._told("dropped"):
            self._base.drop()

    def close(self) -> None:
        """See Keeper.close."""
        self._close_marks()
        self._base.close()

    def _end_after(self, mark: Mark | PrivateMark) -> None:
        if mark not in self._marks:
            raise StoreError(
                f"store {self._database.name!r}: this mark is void, an older one was reset or forgotten.",
                store=self._database.name,
            )
        while self._marks[-1] is not mark:
            self._retire()

    def _retire(self) -> None:
        self._spare.append(self._marks.pop())  # its connection knows the schema and has its statements

    def _close_marks(self) -> None:
        for marks in (self._marks, self._spare):
            while marks:
                marks.pop().close()

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        """Say of an error to which store it happened, and what to do."""
        what = f"store {self._database.name!r} ({self._database.url.render_as_string()}) could not be {done}"
        try:
            yield
        except StillOpen as error:
            raise OpenTransactionError(
                f"{what}: {error} is still open.\n"
                "Commit or close it before:  with self.db.session() as session: ...",
                store=self._database.name,
            ) from None
        except sqlite3.Error as error:
            raise StoreError(f"{what}: {error}.", store=self._database.name) from error

    def _report(self, ended: list[str]) -> None:
        if not ended or self._database.on_leak == "reset":
            return
        message = (
            f"{ended_scope.get()} left something open on store {self._database.name!r}:\n  "
            + "\n  ".join(ended)
            + "\nIt was ended and the data was reset. Close it in the test:  "
            "with self.db.session() as session: ..."
        )
        if self._database.on_leak == "fail":
            raise LeakError(message, store=self._database.name)
        warnings.warn(message, LeakWarning, stacklevel=3)
