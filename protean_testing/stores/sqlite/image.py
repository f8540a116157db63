"""A database as it was, whole, in memory."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any

from .location import OurConnection, connect

_numbers = itertools.count(1)
_ROLLBACK = b"\1\1"


class Busy(Exception):
    """Somebody holds a lock that the copy needs."""


def copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Make the target all that the source is, in one transaction of SQLite's own, or leave it as it is.

    Raises:
        Busy: The source is in a transaction with writes, or the target is in use.
    """

    def progress(status: int, remaining: int, total: int) -> None:
        if status not in (sqlite3.SQLITE_OK, sqlite3.SQLITE_DONE):
            raise Busy  # the driver would try again for ever

    try:
        source.backup(target, progress=progress)
    except sqlite3.OperationalError as error:
        if is_busy(error) or "in use" in str(error):
            raise Busy from None
        raise


def everything(connection: sqlite3.Connection) -> dict[str, Counter[Any]]:
    """Rows, definitions, and what an application may write into the header."""
    cursor = connection.cursor()
    cursor.row_factory = None
    found = {
        f"PRAGMA {name}": Counter(cursor.execute(f"PRAGMA {name}"))
        for name in ("user_version", "application_id")
    }
    for name, definition in cursor.execute("SELECT name, sql FROM sqlite_schema").fetchall():
        found[f'definition of "{name}"'] = Counter([definition])
    for _, name, kind, *_ in cursor.execute("PRAGMA main.table_list").fetchall():
        if kind in ("table", "shadow") and name != "sqlite_schema":
            table = name.replace('"', '""')
            found[f'table "{name}"'] = Counter(cursor.execute(f'SELECT * FROM "{table}"'))
    return found


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else's lock is all that is wrong."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Image:
    """A copy of a database, in memory of its own.

    Attributes:
        connection: To read it from.
        uri: For ``ATTACH``: it can be read there and not written.
    """

    def __init__(self) -> None:
        name = f"file:/protean_testing_image_{os.getpid()}_{next(_numbers)}?vfs=memdb"
        self.connection: OurConnection = connect(name)
        self.uri = f"{name}&mode=ro"

    @classmethod
    def made(cls, fill: Callable[[Image], object]) -> Image:
        """A new one, filled; closed if that fails."""
        image = cls()
        try:
            fill(image)
        except BaseException:
            image.close()
            raise
        return image

    def take(self, source: sqlite3.Connection) -> None:
        """Become what the source is now.

        Raises:
            Busy: A transaction with writes is open.
        """
        if source.execute("PRAGMA main.journal_mode").fetchone()[0] != "wal":
            copy(source, self.connection)
            return
        passing = connect(":memory:")
        if source.execute("PRAGMA main.page_count").fetchone()[0]:
            pages = bytearray(source.serialize())
            pages[18:20] = _ROLLBACK  # memory has no WAL, and could not be opened
            passing.deserialize(pages)
        copy(passing, self.connection)
        passing.close()

    def close(self) -> None:
        self.connection.close()
