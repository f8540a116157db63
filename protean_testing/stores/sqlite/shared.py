"""A database that several connections share: a file, or memory with a name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from typing import TypeVar

from ..keeper import Database
from .files import TestFile, drop_others, others
from .image import Image
from .mark import Mark
from .open_transactions import patiently, watch
from .place import OurConnection, Place

T = TypeVar("T")


class SharedDatabase:
    """Reached by connections of our own.

    Parameters:
        place: Where it is.
        database: What the user said about it.
    """

    def __init__(self, place: Place, database: Database) -> None:
        self._place, self._database = place, database
        self._file = None if place.file is None else TestFile(place.file, place, database)
        self._alive: OurConnection | None = None
        self._before: set[tuple[str, str]] = set()

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        if self._file is not None:
            self._file.check(tables)

    def claim(self) -> bool:
        watch()
        if self._file is not None:
            return self._file.claim()
        else:
            self._alive = self._alone(self._place.connect)  # memory is gone with its last connection
            if not self._database.adopt:
                self._before = others(self._alive, self._database.tables)
                drop_others(self._place, self._before, wait=self._database.wait)
            if self._alive.execute("PRAGMA page_count").fetchone() == (0,):
                self._alive.execute("PRAGMA page_size = 1024")  # a look at a table reads a page
                self._alive.execute("PRAGMA user_version = 0")  # the first write fixes the size
        return False

    def keep(self) -> bool:
        return self._file is not None and self._file.keep()

    def created(self) -> None:
        """Whoever saves sees it."""

    def ready(self, newest: Image | None) -> None:
        """It always is."""

    def mark(self) -> Mark:
        """What is in it now."""
        fleeting = self._file is None or self._file.ours
        return Mark(self._place, wait=self._database.wait, fleeting=fleeting)

    def image(self) -> Image:
        """What is in it now."""
        with closing(self._alone(self._place.connect)) as connection:
            return Image.made(lambda image: self._alone(lambda: image.take(connection)))

    def drop(self) -> None:
        if self._file is not None:
            self._file.drop()
        elif self._alive is not None and not self._database.adopt:
            drop_others(self._place, self._before, wait=self._database.wait)

    def close(self) -> None:
        if self._file is not None:
            self._file.abandon()
        if self._alive is not None:
            self._alive.close()

    def _alone(self, action: Callable[[], T]) -> T:
        return patiently(action, key=self._place.key, wait=self._database.wait, end=False)[0]
