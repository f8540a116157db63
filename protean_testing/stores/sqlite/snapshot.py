"""The state of a database that several connections share, in memory or in a file, and the way back to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from .image import Image, copy
from .location import Location, is_rubbish
from .open_transactions import patiently
from .rows import IMAGE, Inexact, Rows, Tables
from .widening import put_rows

T = TypeVar("T")


class Snapshot:
    """What was in a database at one moment.

    It has a connection of its own to the database, and SQLite tells each connection whether any other one, of
    whatever process, has committed something (``PRAGMA data_version``). So nobody has to be watched.

    Parameters:
        place: Where the database is.
        wait: Seconds to wait for transactions of others.
        fleeting: See Place.connect.
        replaced: Called when another file had come into its place, and has the data now.

    Raises:
        StillOpen: A transaction with writes is open.
    """

    def __init__(
        self, location: Location, *, wait: float, fleeting: bool, replaced: Callable[[], object] | None = None
    ) -> None:
        self._location = location
        self._replaced = replaced
        self._wait = wait
        self._fleeting = fleeting
        self._target = None if location.file is None else location.file.resolve()
        self._mode: int | None = None  # the permissions of the file
        self.image = Image()
        with ExitStack() as undo:
            undo.callback(self.image.close)
            self._open()
            undo.callback(self._connection.close)
            self._fill(self.image)
            undo.pop_all()

    def _open(self) -> None:
        self._connection = self._alone(lambda: self._location.connect(fleeting=self._fleeting))
        self._connection.execute(f"ATTACH ? AS {IMAGE}", (self.image.uri,))
        self._file = self._identity()
        if self._target is not None and self._mode is None:
            self._mode = self._target.stat().st_mode & 0o7777
        self._version: int | None = None  # of the data, for this connection, where it equals the image
        self._schema: int | None = None  # the same of the schema
        self._planned: int | None = None  # the version of the schema that `_tables` are of
        self._rows: Rows | None = None

    def take(self) -> None:
        """Become what is in the database now.

        Raises:
            StillOpen: A transaction with writes is open.
        """
        if self._identity() != self._file:
            self._connection.close()
            self._open()
        self._rows = None
        self._fill(self.image)

    def _fill(self, image: Image) -> None:
        while True:
            try:
                self._alone(lambda: self._connection.execute("BEGIN IMMEDIATE"))
                (version,) = self._one("PRAGMA main.data_version")
                (schema,) = self._one("PRAGMA main.schema_version")
                if schema != self._planned:
                    self._tables = Tables(self._connection)
                    self._planned = schema
                self._filled = self._tables.filled(self._connection)
            finally:
                self._connection.rollback()
            self._alone(lambda: image.take(self._connection))
            if self._one("PRAGMA main.data_version") == (version,):
                self._version, self._schema = version, schema
                return

    def reset(self) -> tuple[bool, list[str]]:
        """Bring it back.

        Returns:
            Whether something was different, and a line about each transaction that had to be ended.

        Raises:
            StillOpen: Somebody is in the way, and waiting did not help.
        """
        ended: list[str] = []
        replaced = self._identity() != self._file
        if replaced:  # the file was removed, or another one put in its place
            self._connection.close()
            self._make_way()
            self._open()
            if self._target is not None and self._mode is not None:
                os.chmod(self._target, self._mode)
        try:  # around the BEGIN too: interrupted behind it, the connection would keep the lock
            replaced |= self._begin(ended)
            (version,) = self._one("PRAGMA main.data_version")
            if version == self._version and not replaced:
                self._connection.rollback()
                return False, ended
            try:
                if replaced or self._schema_differs() or self._rows_of_image().dear:
                    raise Inexact
                different = self._rows_of_image().restore(self._connection)
            except (Inexact, sqlite3.Error):
                # An error: a row needs what only the application's connections have, such as a function.
                self._connection.rollback()
                self._alone(self._copy_image, ended, readers=True)
                self._schema, self._file, different = None, self._identity(), True
            else:
                if different:
                    self._alone(lambda: self._connection.execute("COMMIT"), ended, readers=True)
                else:
                    self._connection.rollback()
        except BaseException:
            self._connection.rollback()
            raise
        self._version = version
        if replaced and self._replaced is not None:
            self._replaced()
        return different, ended

    def doubt(self) -> None:
        """Rely on nothing that SQLite has told: the next reset looks at every row."""
        self._version = self._schema = None

    def widen(self) -> None:
        """Let tables that have come since belong to it as they are now.

        Raises:
            StillOpen: A transaction with writes is open.
        """
        wider = Image.made(self._fill)
        put_rows(self.image, wider)
        self.close()
        self.image = wider
        self._open()
        self._filled = self._tables.filled(self._connection, IMAGE)

    def close(self) -> None:
        """Forget it."""
        self._connection.close()
        self.image.close()

    def _make_way(self) -> None:
        """Remove a link from the file's place: to write there would be to write into what it leads to.

        Raises:
            sqlite3.OperationalError: A link on the way to the file leads elsewhere now.
        """
        target, file = self._target, self._location.file
        if target is None or file is None:
            return
        if target.is_symlink() or (target.is_file() and target.stat().st_nlink > 1):
            target.unlink()
        if file.resolve() != target:
            raise sqlite3.OperationalError(f"{file} led to {target}, and leads to {file.resolve()} now")

    def _begin(self, ended: list[str]) -> bool:
        """Begin to write. True if what stands in the file was no database, and was removed from it."""
        try:
            self._alone(lambda: self._connection.execute("BEGIN IMMEDIATE"), ended)
            return False
        except sqlite3.DatabaseError as error:
            if self._target is None or not is_rubbish(error):
                raise
        self._connection.close()
        for ending in ("-journal", "-wal", "-shm"):
            self._target.with_name(self._target.name + ending).unlink(missing_ok=True)
        os.truncate(self._target, 0)
        self._open()
        self._alone(lambda: self._connection.execute("BEGIN IMMEDIATE"), ended)
        return True

    def _copy_image(self) -> None:
        journal = self._one("PRAGMA main.journal_mode")
        if not self._fleeting or journal == ("wal",):
            copy(self.image.connection, self._connection)
            return
        self._connection.execute("PRAGMA main.journal_mode = OFF")  # twice as fast
        try:
            copy(self.image.connection, self._connection)
        finally:
            self._connection.execute("PRAGMA main.journal_mode = MEMORY")

    def _alone(self, action: Callable[[], T], ended: list[str] | None = None, *, readers: bool = False) -> T:
        result, lines = patiently(
            action, key=self._location.key, wait=self._wait, end=ended is not None, readers=readers
        )
        if ended is not None:
            ended += lines
        return result

    def _one(self, question: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(question).fetchone()
        return row

    def _rows_of_image(self) -> Rows:
        if self._rows is None:
            in_memory = self._location.file is None
            self._rows = Rows(self._connection, self._tables, self._filled, in_memory=in_memory)
        return self._rows

    def _schema_differs(self) -> bool:
        (version,) = self._one("PRAGMA main.schema_version")
        if version == self._schema:
            return False
        if self._one(_SCHEMAS_DIFFER) == (1,):
            return True
        self._schema = version
        return False

    def _identity(self) -> tuple[int, int] | None:
        if self._location.file is None:
            return None
        try:
            status = self._location.file.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino


_PARTS = "SELECT type, name, tbl_name, sql FROM {}.sqlite_schema"
_SCHEMAS_DIFFER = "SELECT " + " OR ".join(
    f"EXISTS ({_PARTS.format(one)} EXCEPT {_PARTS.format(other)})"
    for one, other in (("main", IMAGE), (IMAGE, "main"))
)
