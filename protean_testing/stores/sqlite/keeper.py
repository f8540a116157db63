"""The keeper of a SQLite database."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Engine

from ...errors import ConfigurationError, OpenTransactionError, StoreError
from ...leaks import tell_of_leak
from ...store import LeftBy
from ..keeper import Database
from .image import copy, everything
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
        self._numbers = itertools.count(1)
        self._marks: dict[int, Mark | PrivateMark] = {}  # by number, in the order of their making
        self._spare: list[Mark | PrivateMark] = []

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        """See Keeper.check."""
        with self._told("looked at"):
            self._base.check(tables)

    def claim(self) -> bool:
        """See Keeper.claim."""
        with self._told("prepared"):
            return self._base.claim()

    def created(self) -> None:
        """See Keeper.created."""
        with self._told("saved"):
            self._base.created()
            for mark in self._marks.values():
                mark.widen()

    def save(self) -> int:
        """See Keeper.save. The mark is a number; what it stands for is used again once it is forgotten."""
        with self._told("saved"):
            newest = next(reversed(self._marks.values()), None)
            self._base.ready(newest.image if newest else None)
            if self._spare:
                self._spare[-1].take()
            else:
                self._spare.append(self._base.mark())
        number = next(self._numbers)
        self._marks[number] = self._spare.pop()
        return number

    def reset(self, mark: int) -> bool:
        """See Keeper.reset."""
        self._end_after(mark)
        with self._told("reset"):
            different, ended = self._marks[mark].reset()
        self._report(ended)
        return different

    def mend(self, mark: int) -> bool:
        """See Keeper.mend."""
        self._marks[mark].doubt()
        return self.reset(mark)

    def look_at_all(self) -> dict[str, Counter[Any]]:
        """See Keeper.look_at_all."""
        with self._told("looked at"), closing(self._base.image()) as now:
            return everything(now.connection)

    def forget(self, mark: int) -> None:
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

    @contextmanager
    def away(self) -> Iterator[None]:
        """See Keeper.away. Nobody copies it behind its back."""
        yield

    def keep(self) -> bool:
        """See Keeper.keep."""
        if self._marks:
            self.reset(next(iter(self._marks)))
        self._close_marks()
        with self._told("kept"):
            return self._base.keep()

    def rest(self) -> None:
        """See Keeper.rest. The connection is what keeps memory alive, and a file locked."""

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        """See Keeper.free. Nobody waits for ever: SQLite itself gives up after some seconds."""
        return []

    def close(self) -> None:
        """See Keeper.close."""
        self._close_marks()
        self._base.close()

    def _end_after(self, mark: int) -> None:
        if mark not in self._marks:
            raise StoreError(
                f"store {self._database.name!r}: this mark is void, an older one was reset or forgotten.",
                store=self._database.name,
            )
        while next(reversed(self._marks)) != mark:
            self._retire()

    def _retire(self) -> None:
        self._spare.append(self._marks.popitem()[1])  # its connection knows the schema and has its statements

    def _close_marks(self) -> None:
        while self._marks:
            self._retire()
        while self._spare:
            self._spare.pop().close()

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
        if not ended:
            return
        message = (
            f"left something open on store {self._database.name!r}:\n  "
            + "\n  ".join(ended)
            + "\nIt was ended and the data was reset. Close it in the test:  "
            "with self.db.session() as session: ..."
        )
        tell_of_leak(message, self._database.name, self._database.on_leak)
