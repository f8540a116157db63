"""Where a SQLite URL leads, and connections of our own to it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote

from sqlalchemy import URL

from ...errors import ConfigurationError

OLDEST = (3, 37)
"""The first version with ``PRAGMA table_list``; memory shared by name came with 3.36."""


class OurConnection(sqlite3.Connection):
    """A connection of a backend's own: never taken for one that the code under test left open."""


@dataclass(frozen=True)
class Location:
    """Where a database is.

    Attributes:
        source: What `sqlite3.connect` is given.
        file: The file; None for memory.
        private: True for memory that one connection alone can see.
        key: What SQLite itself calls it in ``PRAGMA database_list``.
    """

    source: str
    file: Path | None
    private: bool
    key: str

    def connect(self, *, fleeting: bool = False) -> OurConnection:
        """A connection without SQLite's own wait for locks, and on which nothing acts of itself.

        Parameters:
            fleeting: The database is lost anyway if the run dies: its journal need not outlive the run.

        Raises:
            sqlite3.OperationalError: It is locked: some settings read the schema.
        """
        connection = connect(self.source)
        try:
            self._prepare(connection, fleeting)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection, fleeting: bool) -> None:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
        if self.file is not None:
            connection.execute("PRAGMA cache_size = -64000")
        else:
            # Every commit of another connection empties the cache: to allocate a large one takes ten times
            # as long as to copy the pages, which are in memory anyway.
            connection.execute("PRAGMA cache_size = 20")
            connection.execute("PRAGMA cache_spill = OFF")  # else others see a transaction half done
        if fleeting and connection.execute("PRAGMA main.journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA main.journal_mode = MEMORY")


def connect(source: str) -> OurConnection:
    """A connection for any thread, without transactions of the driver's."""
    return sqlite3.connect(
        source,
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=2000,
        factory=OurConnection,
    )


def is_rubbish(error: sqlite3.DatabaseError) -> bool:
    """Whether the file holds no database, or a damaged one."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def location_of(url: URL, name: str) -> Location:
    """Where the URL leads, by what SQLAlchemy makes of it.

    Parameters:
        url: With any driver that reads plain SQLite databases.
        name: The store's, for messages.

    Raises:
        ConfigurationError: The driver is none of those, or SQLite is too old.
    """
    if url.get_driver_name() not in ("pysqlite", "aiosqlite", "pysqlite_numeric"):
        raise ConfigurationError(
            f"store {name!r}: databases of {url.drivername} cannot be read by Python's sqlite3. "
            "Use sqlite:// or sqlite+aiosqlite://."
        )
    if sqlite3.sqlite_version_info < OLDEST or not hasattr(sqlite3.Connection, "serialize"):
        raise ConfigurationError(
            f"store {name!r}: this Python has SQLite {sqlite3.sqlite_version}. "
            f"It takes {'.'.join(map(str, OLDEST))} or newer, built with deserialize."
        )
    plain = url.set(drivername="sqlite")
    arguments, options = plain.get_dialect()().create_connect_args(plain)
    source = arguments[0]
    if not (options.get("uri") and source.startswith("file:")):
        if source in ("", ":memory:"):
            return Location(":memory:", None, True, "")
        file = Path(source).absolute()
        return Location(str(file), file, False, str(file.resolve()))
    path, _, query = source.removeprefix("file:").partition("?")
    asked = {key: values[-1] for key, values in parse_qs(query).items()}
    path = unquote(path.partition("#")[0])
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]
    if asked.get("vfs") == "memdb" and path.startswith("/"):
        return Location(source, None, False, path)
    if asked.get("mode") == "memory" or asked.get("vfs") == "memdb" or path in ("", ":memory:"):
        return Location(source, None, True, "")
    file = Path(path).absolute()
    return Location(source, file, False, str(file.resolve()))
