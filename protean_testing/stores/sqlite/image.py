"""Copy a whole database into memory, and back."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any

from .location import OurConnection, connect
from .rows import COUNTERS, IMAGE, Rows, Tables, quoted

_numbers = itertools.count(1)
_HEADER = ("user_version", "application_id")
_ROLLBACK = b"\1\1"


class Busy(Exception):
    """Somebody holds a lock that the copy needs."""


def copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Make the target all that the source is, in one transaction of SQLite's own, or leave it as it is.

    Raises:
        Busy: The source is in a transaction with writes, or the target is in use.
    """

    def progress(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Busy  # the driver would try again for ever; what else fails, as a full disk, it raises

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
    found = {f"PRAGMA {name}": Counter(cursor.execute(f"PRAGMA {name}")) for name in _HEADER}
    for name, definition in cursor.execute("SELECT name, sql FROM sqlite_schema").fetchall():
        found[f'definition of "{name}"'] = Counter([definition])
    for _, name, kind, *_ in cursor.execute("PRAGMA main.table_list").fetchall():
        if kind in ("table", "shadow") and name != "sqlite_schema":
            table = name.replace('"', '""')
            found[f'table "{name}"'] = Counter(cursor.execute(f'SELECT * FROM "{table}"'))
    return found


def read_header(connection: sqlite3.Connection) -> tuple[int, ...]:
    """What an application may write into the header of a database."""
    return tuple(connection.execute(f"PRAGMA main.{pragma}").fetchone()[0] for pragma in _HEADER)


def write_header(connection: sqlite3.Connection, values: tuple[int, ...]) -> None:
    for pragma, value in zip(_HEADER, values, strict=True):
        connection.execute(f"PRAGMA main.{pragma} = {value}")


_PARTS = "SELECT type, name, tbl_name, sql FROM {}.sqlite_schema"
_DIFFER = "SELECT " + " OR ".join(
    f"EXISTS ({_PARTS.format(one)} EXCEPT {_PARTS.format(other)})"
    for one, other in (("main", IMAGE), (IMAGE, "main"))
)


def differs_in_schema(connection: sqlite3.Connection) -> bool:
    """Whether the database is of another schema, or of another layout, than the image that is attached."""
    pragmas = (f"PRAGMA {{}}.{name}" for name in ("page_size", "auto_vacuum"))
    return connection.execute(_DIFFER).fetchone() == (1,) or any(
        connection.execute(one.format("main")).fetchone() != connection.execute(one.format(IMAGE)).fetchone()
        for one in pragmas
    )


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else's lock is all that is wrong."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Image:
    """A copy of a database, in memory of its own.

    Attributes:
        connection: To read it from.
        name: For ``ATTACH``.
        uri: The same, to be read there and not written.
        filled: The tables that hold rows in it, once somebody has looked.
    """

    def __init__(self) -> None:
        self.name = f"file:/protean_testing_image_{os.getpid()}_{next(_numbers)}?vfs=memdb"
        self.connection: OurConnection = connect(self.name)
        self.uri = f"{self.name}&mode=ro"
        self.filled: frozenset[str] = frozenset()

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

    def take_rows_of(self, older: Image) -> None:
        """Become the older one, but for tables that it has not, or not in the same way."""
        connection = self.connection
        connection.execute(f"ATTACH ? AS {IMAGE}", (older.uri,))
        connection.execute("BEGIN")
        same = f"SELECT name FROM {IMAGE}.sqlite_schema JOIN main.sqlite_schema USING (name, sql)"
        others = connection.execute(
            f"SELECT name FROM main.sqlite_schema WHERE type = 'table' EXCEPT {same}"
        ).fetchall()
        triggers = connection.execute(
            "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {quoted(name)}")
        tables = Tables(connection, leave={COUNTERS, *(name for (name,) in others)})
        filled = {name: f"{IMAGE}.{quoted(name)}" for name in tables.filled(connection, IMAGE)}
        Rows(connection, tables, filled, in_memory=True).restore(connection)
        for _, sql in triggers:
            connection.execute(sql)
        if connection.execute(f"SELECT 1 FROM {IMAGE}.sqlite_schema WHERE name = '{COUNTERS}'").fetchone():
            connection.execute(
                f"DELETE FROM main.{COUNTERS} WHERE name IN (SELECT name FROM {IMAGE}.sqlite_schema)"
            )
            connection.execute(f"INSERT INTO main.{COUNTERS} SELECT name, seq FROM {IMAGE}.{COUNTERS}")
        write_header(connection, read_header(older.connection))
        connection.execute("COMMIT")
        connection.execute(f"DETACH {IMAGE}")

    def close(self) -> None:
        self.connection.close()
