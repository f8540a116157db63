"""A database that several connections share: a file, or memory with a name."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable
from contextlib import closing, suppress
from functools import partial
from typing import TypeVar

from ..sql.backend import Database
from .content import objects, refuse_rows
from .file_ownership import TestFile
from .image import Busy, Image, copy
from .location import Location, OurConnection, connect
from .open_transactions import patiently, watch
from .rows import quoted
from .snapshot import Snapshot
from .snapshots import Snapshots
from .worker_file import sweep

T = TypeVar("T")


class SharedDatabase:
    """Reached by connections of our own.

    Parameters:
        location: Where it is.
        database: What the user said about it.
    """

    def __init__(self, location: Location, database: Database) -> None:
        self._location, self._database = location, database
        self._file = None if location.file is None else TestFile(location.file, location, database)
        self._alive: OurConnection | None = None
        self._before: set[tuple[str, str]] = set()
        self._image: Image | None = None  # of what was there before, if it has tables that are made anew
        self._snapshots: Snapshots | None = None

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        if self._file is not None:
            self._file.check(tables)
        elif self._alive is None:
            with closing(self._location.connect()) as connection:
                refuse_rows(connection, self._database, tables)

    def acquire(self) -> bool:
        watch()
        if self._file is not None and self._location.file is not None:
            if not self._database.private:
                sweep(self._location.file)
            return self._file.acquire()
        self._alive = self._alone(self._location.connect)  # memory is gone with its last connection
        if not self._database.adopt:
            stale = {("table", name) for schema, name in self._database.tables if schema in (None, "main")}
            there = set(objects(self._alive))
            if not stale.isdisjoint(there):
                self._image = self.image()
            self._before = there - stale
            self._drop_others()
        if self._alive.execute("PRAGMA page_count").fetchone() == (0,):
            self._alive.execute("PRAGMA page_size = 512")  # a look at a table reads a page
            self._alive.execute("PRAGMA user_version = 0")  # the first write fixes the size
        return False

    def keep(self) -> bool:
        return self._file is not None and self._file.keep()

    def created(self, snapshots: Iterable[Snapshot]) -> None:
        if self._file is not None:
            self._file.created()
        if self._snapshots is not None:
            self._snapshots.widen(snapshots)

    @property
    def snapshots(self) -> Snapshots:
        """What takes and restores them; it holds a connection from its first use on."""
        if self._snapshots is None:
            self._snapshots = Snapshots(
                self._location,
                wait=self._database.wait,
                fleeting=self._file is None or self._file.fleeting,
                replaced=None if self._file is None else self._file.was_replaced,
            )
        return self._snapshots

    def end_snapshots(self) -> None:
        """Let go of all snapshots, and of the connection that they were taken over."""
        snapshots, self._snapshots = self._snapshots, None
        if snapshots is not None:
            snapshots.close()

    def image(self) -> Image:
        """Copy what is in it now."""
        with closing(self._alone(self._location.connect)) as connection:
            return Image.made(lambda image: self._alone(lambda: image.take(connection)))

    def drop(self) -> None:
        if self._file is not None:
            self._file.drop()
        elif self._alive is not None and not self._database.adopt:
            if self._image is None:
                self._drop_others()
            else:
                image = self._image.connection
                with closing(self._alone(self._location.connect)) as connection:
                    self._alone(lambda: copy(image, connection))

    def close(self) -> None:
        if self._file is not None:
            self._file.abandon()
        for held in (self._alive, self._image):
            if held is not None:
                held.close()

    def _drop_others(self) -> None:
        """Drop from memory all that was not there before.

        Raises:
            StillOpen: Somebody is in the way.
        """
        alone = partial(patiently, key=self._location.key, wait=self._database.wait, end=True)
        connection, _ = alone(self._location.connect)
        with closing(connection):
            if not self._before:
                if not connection.execute("PRAGMA main.page_count").fetchone()[0]:
                    return
                with suppress(Busy, sqlite3.Error), closing(connect(":memory:")) as nothing:
                    copy(nothing, connection)
            alone(lambda: connection.execute("BEGIN IMMEDIATE"))
            while ours := [found for found in objects(connection) if found not in self._before]:
                kind, name = ours[0]
                connection.execute(f"DROP {kind.removeprefix('virtual ')} main.{quoted(name)}")
            alone(lambda: connection.execute("COMMIT"), readers=True)

    def _alone(self, action: Callable[[], T]) -> T:
        return patiently(action, key=self._location.key, wait=self._database.wait, end=False)[0]
