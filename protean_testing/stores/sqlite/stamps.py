"""Put the schema and data of a moment into databases that an application makes anew for each test."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Engine

from ...errors import ConfigurationError, UnsafeStoreError
from ..sql.backend import Database
from ..sql.urls import shown
from .image import Image, copy
from .location import Location, OurConnection, location_of
from .open_transactions import patiently
from .private import PrivateMemory, within
from .shared import SharedDatabase


class Stamps:
    """Copies one database into others.

    Parameters:
        database: What the user said about it.
        base: The database.
    """

    def __init__(self, database: Database, base: PrivateMemory | SharedDatabase) -> None:
        self._database, self._base = database, base
        self._location = location_of(database.url, database.name)
        self._image: Image | None = None
        self._watching: OurConnection | None = None
        self._seen: tuple[object, object] | None = None
        self._files: set[object] = set()  # that were stamped

    def stamp(self, engine: Engine) -> None:
        """See `SQLiteBackend.stamp`."""
        location = location_of(engine.url, self._database.name)
        if location.file is not None:
            self._stamp_file(location, location.file, shown(engine.url))
        elif location.private:
            image = self._now()
            within(engine, lambda connection: copy(image.connection, connection))
        else:
            raise ConfigurationError(
                f"store {self._database.name!r}: only an engine on sqlite:// or on a file of its own is "
                f"stamped, not {engine.url!r}: every engine on that URL shares one memory."
            )

    def _stamp_file(self, location: Location, file: Path, named: str) -> None:
        if location.key == self._location.key:
            raise ConfigurationError(
                f"store {self._database.name!r}: {named} is its own database, and needs no stamp."
            )
        image = self._now()

        def write() -> None:
            with closing(location.connect(fleeting=True)) as connection:
                is_new = not connection.execute("PRAGMA main.page_count").fetchone()[0]
                is_empty = is_new or not connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
                if not is_empty and _identity(file) not in self._files:
                    raise UnsafeStoreError(
                        f"store {self._database.name!r}: refusing to stamp {named}: it holds tables that are "
                        "not of a stamp of this run. Give the application a new file for each test, e.g. in "
                        "a temporary directory, or remove that one."
                    )
                copy(image.connection, connection)
            self._files.add(_identity(file))

        patiently(write, key=location.key, wait=self._database.wait, end=False)

    def _now(self) -> Image:
        """A copy of what is in the database now: the last one, if nobody has committed anything since."""
        seen = self._version()
        if self._image is None or seen is None or seen != self._seen:
            image = self._base.image()
            self._forget_image()
            self._image, self._seen = image, seen
        return self._image

    def _version(self) -> tuple[object, object] | None:
        """Another one if anybody has committed; None if that is not known."""
        if self._location.private:
            return None
        file = self._location.file
        identity = _identity(file) if file is not None else 0
        if self._watching is None or self._seen is None or self._seen[0] != identity:
            self.close()
            self._watching = self._location.connect()
        return identity, self._watching.execute("PRAGMA main.data_version").fetchone()

    def _forget_image(self) -> None:
        if self._image is not None:
            self._image.close()
        self._image = self._seen = None

    def close(self) -> None:
        """Let go of the copy, and of the connection that tells of commits."""
        self._forget_image()
        if self._watching is not None:
            self._watching.close()
            self._watching = None


def _identity(file: Path) -> object:
    with suppress(OSError):
        found = os.stat(file)
        return found.st_dev, found.st_ino
    return None
