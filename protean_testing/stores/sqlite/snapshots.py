"""Take and restore snapshots of a database that several connections share, in memory or in a file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from typing import TypeVar

from .image import Image, copy, differs_in_schema, read_header, write_header
from .location import Location, is_rubbish
from .open_transactions import patiently
from .pages import Pages
from .rows import COUNTERS, IMAGE, Inexact, Rows, Tables, copy_rows, quoted
from .snapshot import Snapshot

T = TypeVar("T")

_LAYERS = "protean_testing_layers"
"""The name under which the database with the rows of snapshots inside of others is attached."""

_MANY = 16  # tables that have to be looked at each time before the pages are read anew

# Microseconds, measured; only their proportions matter.
_PER_TABLE, _PER_ROW = 60.0, 0.5  # of a layer
_PER_IMAGE = 1000.0
_PER_TABLE_LOOKED_AT = 1.0
_PER_KILOBYTE_SCANNED = 0.4


class Snapshots:
    """Takes snapshots over a connection of its own.

    SQLite tells a connection whether any other one, of whatever process, has committed something
    (``PRAGMA data_version``). So nobody has to be watched, and until then a new snapshot shares all that the
    last one has. Afterwards it adds a layer: copies of the tables that have changed.

    Parameters:
        location: Where the database is.
        wait: Seconds to wait for transactions of others.
        fleeting: See Location.connect.
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
        self._in_memory = location.file is None
        self._target = None if location.file is None else location.file.resolve()
        self._mode: int | None = None  # the permissions of the file
        self._taken: set[Snapshot] = set()
        self._forgotten: set[Snapshot] = set()  # what they have may be in use by others
        self._images: set[Image] = set()
        self._layers = Image()
        self._layers_made = 0
        self._spare: dict[tuple[Tables, str], list[str]] = {}  # empty layers: SQLite knows what reads them
        self._roots: tuple[int, dict[int, str]] = (-1, {})
        self._open()

    def _open(self) -> None:
        self._connection = self._alone(lambda: self._location.connect(fleeting=self._fleeting))
        self._connection.execute(f"ATTACH ? AS {_LAYERS}", (self._layers.name,))
        self._file = self._identity()
        if self._target is not None and self._mode is None:
            self._mode = self._target.stat().st_mode & 0o7777
        self._attached: Image | None = None
        self._planned: tuple[int, Tables] | None = None
        self.invalidate()

    def invalidate(self) -> None:
        """Rely on nothing that SQLite has said: the next restore compares every row."""
        self._current: Snapshot | None = None  # the database is like this one
        self._version = -1  # as long as this is the version of its data
        self._schemas: dict[Image, int] = {}  # the version of the schema in which it is that of an image
        self._pages: Pages | None = None

    # Taking

    def take(self) -> Snapshot:
        """Take what is in the database now.

        Raises:
            StillOpen: A transaction with writes is open.
        """
        if self._identity() != self._file:
            self._connection.close()
            self._open()
        current, self._current = self._current, None  # if this is interrupted, nothing is known
        snapshot = None if current is None else self._take_layer(current)
        snapshot = snapshot or self._take_whole()
        self._taken.add(snapshot)
        self._current = snapshot
        return snapshot

    def _take_layer(self, current: Snapshot) -> Snapshot | None:
        """Take what has changed since the database was like `current`; None if all of it has to be taken."""
        self._attach(current.image)
        self._alone(lambda: self._connection.execute("BEGIN IMMEDIATE"))
        try:
            version = self._pragma("data_version")
            if version == self._version:
                snapshot, written = replace(current), frozenset[str]()
            elif self._schema_differs(current.image):
                return None
            else:
                among = self._among(current, current)
                written = frozenset(self._rows_of(current).differing(self._connection, among))
                snapshot = self._layered(current, written)
            self._scan(current, written)
            self._connection.execute("COMMIT")
        except (Inexact, sqlite3.Error):
            # An error: a table needs what only the application's connections have, such as a collation.
            return None
        finally:
            self._connection.rollback()
        self._version = version
        snapshot.before, snapshot.written = current, written
        while snapshot.before not in self._taken and snapshot.before is not None:  # else the chain would grow
            more, snapshot.before = snapshot.before.written, snapshot.before.before
            snapshot.written = None if snapshot.written is None or more is None else snapshot.written | more
        return snapshot

    def _layered(self, current: Snapshot, written: frozenset[str]) -> Snapshot:
        """Copy the rows of what was written to tables of our own.

        Raises:
            Inexact: They could not be restored from there, or a copy of everything costs less.
            sqlite3.Error: The same.
        """
        tables, connection = current.tables, self._connection
        if not tables.triggered.isdisjoint(name.lower() for name in written):
            raise Inexact
        counts = {
            name: connection.execute(f"SELECT count(*) FROM main.{quoted(name)}").fetchone()[0]
            for name in written
        }
        cost = len(counts) * _PER_TABLE + sum(counts.values()) * _PER_ROW
        if cost > self._rows_of(current).whole + _PER_IMAGE:
            raise Inexact
        layers = dict(current.layers)
        for name, count in counts.items():
            layers[name] = None
            if count:
                spare = self._spare.get((tables, name))
                self._layers_made += not spare
                layers[name] = layer = spare.pop() if spare else f"{_LAYERS}.layer_{self._layers_made}"
                copy_rows(connection, tables, name, layer)
        snapshot = Snapshot(current.image, tables, layers, read_header(connection))
        filled = {name for name in written if layers[name]}
        for statement in self._rows_of(snapshot, like=current.rows).statements(filled):
            connection.execute(statement)  # changes nothing yet, or fails as it would when it is needed
        return snapshot

    def _take_whole(self) -> Snapshot:
        image = Image()
        try:
            self._version, schema = self._fill(image)
        except BaseException:
            image.close()
            raise
        self._images.add(image)
        self._attach(image)
        tables = self._tables(schema)
        image.filled = frozenset(tables.filled(self._connection, IMAGE))
        self._schemas[image], self._pages = schema, None
        return Snapshot(image, tables, {}, read_header(image.connection))

    def _fill(self, image: Image) -> tuple[int, int]:
        """Copy all that there is, and return the versions of the data and of the schema."""
        while True:
            try:
                self._alone(lambda: self._connection.execute("BEGIN IMMEDIATE"))
                version, schema = self._pragma("data_version"), self._pragma("schema_version")
                self._tables(schema)
            finally:
                self._connection.rollback()
            self._alone(lambda: image.take(self._connection))
            if self._pragma("data_version") == version:
                return version, schema

    def forget(self, snapshot: Snapshot) -> None:
        """Let go of what no other snapshot needs."""
        self._taken.discard(snapshot)
        self._forgotten.add(snapshot)
        needed = self._taken | ({self._current} if self._current else set())
        for image in self._images - {one.image for one in needed}:
            if image is self._attached:
                self._attach(None)
            self._images.discard(image)
            self._schemas.pop(image, None)
            image.close()
        used = {layer for one in needed for layer in one.layers.values()}
        for one in self._forgotten - needed:
            self._forgotten.discard(one)
            for name, layer in one.layers.items():
                if layer is not None and layer not in used:
                    used.add(layer)
                    self._connection.execute(f"DELETE FROM {layer}")
                    self._spare.setdefault((one.tables, name), []).append(layer)

    def widen(self, snapshots: Iterable[Snapshot]) -> None:
        """Let tables that have come since belong to the snapshots as they are now.

        Raises:
            StillOpen: A transaction with writes is open.
        """
        older, wider = set(self._images), dict[Image | Snapshot, Image]()
        for snapshot in snapshots:
            key = snapshot if snapshot.layers else snapshot.image
            if key not in wider:
                wider[key] = image = Image()
                self._images.add(image)
                _, schema = self._fill(image)
                with closing(self._without_layers(snapshot)) as flat:
                    image.take_rows_of(flat)
                self._attach(image)
                image.filled = frozenset(self._tables(schema).filled(self._connection, IMAGE))
            snapshot.image, snapshot.tables = wider[key], self._tables(schema)
            snapshot.layers, snapshot.rows = {}, None
        self.invalidate()
        self._attach(None)
        for image in older:
            self._images.discard(image)
            image.close()

    @contextmanager
    def flat(self, snapshot: Snapshot) -> Iterator[Image]:
        """All that a snapshot is, as one image to read."""
        is_flat = nullcontext(snapshot.image)
        with closing(self._without_layers(snapshot)) if snapshot.layers else is_flat as image:
            yield image

    def _without_layers(self, snapshot: Snapshot) -> Image:
        """All that a snapshot is, as one image."""
        image = Image()
        copy(snapshot.image.connection, image.connection)
        connection = image.connection
        Tables(connection)  # switches triggers off, if that can be; else no table of a layer has one
        connection.execute(f"ATTACH ? AS {_LAYERS}", (self._layers.name,))
        for name, layer in sorted(snapshot.layers.items(), key=lambda one: one[0] == COUNTERS):
            connection.execute(f"DELETE FROM main.{quoted(name)}")
            if layer:
                found = connection.execute(f"SELECT * FROM {layer} LIMIT 0").description
                columns = ", ".join(quoted(column) for column, *_ in found)
                connection.execute(f"INSERT INTO main.{quoted(name)} ({columns}) SELECT * FROM {layer}")
        write_header(connection, snapshot.header)
        connection.execute(f"DETACH {_LAYERS}")
        return image

    def close(self) -> None:
        """Let go of all of them."""
        self._connection.close()
        for image in (*self._images, self._layers):
            image.close()
        self._images.clear()

    # Restoring

    def restore(self, snapshot: Snapshot) -> tuple[bool, list[str]]:
        """Make the database what it was.

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
            self._attach(snapshot.image)
            replaced |= self._begin(snapshot.image, ended)
            version = self._pragma("data_version")
            if version == self._version and not replaced and self._is_like(snapshot):
                self._connection.rollback()
                return False, ended
            different = self._restore(snapshot, version, replaced, ended)
        except BaseException:
            self._connection.rollback()
            self.invalidate()
            raise
        self._current, self._version = snapshot, version
        if replaced and self._replaced is not None:
            self._replaced()
        return different, ended

    def _restore(self, snapshot: Snapshot, version: int, replaced: bool, ended: list[str]) -> bool:
        try:
            if replaced or self._schema_differs(snapshot.image):
                raise Inexact
            current, self._current = self._current, None  # until it is that
            rows, among = self._rows_of(snapshot), self._among(current, snapshot, version)
            if rows.cost(among) > rows.whole:
                raise Inexact
            written = rows.restore(self._connection, among)
            different = self._restore_header(snapshot) or bool(written)
            self._scan(snapshot, written | (current.written_since(snapshot) or set() if current else set()))
        except (Inexact, sqlite3.Error):
            # An error: a row needs what only the application's connections have, such as a function.
            self._connection.rollback()
            self._restore_whole(snapshot, ended)
            return True
        if different:
            self._alone(lambda: self._connection.execute("COMMIT"), ended, readers=True)
        else:
            self._connection.rollback()
        return different

    def _restore_whole(self, snapshot: Snapshot, ended: list[str]) -> None:
        self.invalidate()
        self._alone(self._copy_image, ended, readers=True)
        self._file = self._identity()
        if snapshot.layers or snapshot.header != read_header(snapshot.image.connection):
            self._alone(lambda: self._connection.execute("BEGIN IMMEDIATE"), ended)
            for statement in self._rows_of(snapshot).statements(snapshot.layers.keys()):
                self._connection.execute(statement)
            self._restore_header(snapshot)
            self._alone(lambda: self._connection.execute("COMMIT"), ended, readers=True)

    def _copy_image(self) -> None:
        assert self._attached is not None
        journal = self._connection.execute("PRAGMA main.journal_mode").fetchone()
        if not self._fleeting or journal == ("wal",):
            copy(self._attached.connection, self._connection)
            return
        self._connection.execute("PRAGMA main.journal_mode = OFF")  # twice as fast
        try:
            copy(self._attached.connection, self._connection)
        finally:
            self._connection.execute("PRAGMA main.journal_mode = MEMORY")

    def _restore_header(self, snapshot: Snapshot) -> bool:
        """Returns whether it was another one."""
        if read_header(self._connection) == snapshot.header:
            return False
        write_header(self._connection, snapshot.header)
        return True

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

    def _begin(self, image: Image, ended: list[str]) -> bool:
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
        self._attach(image)
        self._alone(lambda: self._connection.execute("BEGIN IMMEDIATE"), ended)
        return True

    # What is known of the database

    def _is_like(self, snapshot: Snapshot) -> bool:
        current = self._current
        if current is None or current.header != snapshot.header:
            return False
        return current.written_since(snapshot) == set()

    def _among(
        self, current: Snapshot | None, snapshot: Snapshot, version: int | None = None
    ) -> set[str] | None:
        """The tables that may differ from a snapshot; None for any. The schema is the same.

        Parameters:
            current: What the database was like when it was of the version that is known.
            version: Of the data, if it may be that one.
        """
        written = None if current is None else current.written_since(snapshot)
        if written is not None and version == self._version:
            return written
        if current is None or written is None:
            self._pages = None
        if self._pages is None or self._pages.schema != self._pragma("schema_version"):
            return None
        assert current is not None and written is not None
        changed, elsewhere = self._pages.changed(self._connection)
        if elsewhere:
            changed |= set(current.filled)
            self._pages.is_outdated = True
        return changed | written | self._pages.written

    def _scan(self, snapshot: Snapshot, written: Set[str]) -> None:
        """Be able to see by the pages what will change, now that the database is like a snapshot.

        Parameters:
            written: The tables that differ from what they were when the pages were read, also if they have
                come to be what they are in the snapshot by themselves.
        """
        if not self._in_memory:  # where pages are larger, and would have to be read from the file
            return
        schema = self._pragma("schema_version")
        if self._pages is not None and self._pages.schema == schema and not self._pages.is_outdated:
            self._pages.written |= written
            if len(self._pages.written) <= _MANY:
                return
        self._pages = None
        kilobytes = self._pragma("page_count") * self._pragma("page_size") / 1024
        by_rows = self._rows_of(snapshot).cost() + len(snapshot.tables.names) * _PER_TABLE_LOOKED_AT
        if kilobytes * _PER_KILOBYTE_SCANNED < by_rows:
            if self._roots[0] != schema:
                query = "SELECT rootpage, tbl_name FROM main.sqlite_schema WHERE rootpage > 0"
                self._roots = schema, dict(self._connection.execute(query))
            self._pages = Pages(self._connection, self._roots[1], schema)

    def _schema_differs(self, image: Image) -> bool:
        version = self._pragma("schema_version")
        if version == self._schemas.get(image):
            return False
        if differs_in_schema(self._connection):
            return True
        self._schemas[image] = version
        return False

    def _rows_of(self, snapshot: Snapshot, like: Rows | None = None) -> Rows:
        if snapshot.rows is None:
            snapshot.rows = Rows(
                self._connection, snapshot.tables, snapshot.filled, in_memory=self._in_memory, like=like
            )
        return snapshot.rows

    def _tables(self, schema: int) -> Tables:
        if self._planned is None or self._planned[0] != schema:
            self._planned = schema, Tables(self._connection)
        return self._planned[1]

    def _identity(self) -> tuple[int, int] | None:
        if self._location.file is None:
            return None
        try:
            status = self._location.file.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    # The connection

    def _attach(self, image: Image | None) -> None:
        """Have an image attached. Its schema is read anew, which takes its time."""
        if self._attached is image:
            return
        if self._attached is not None:
            self._connection.execute(f"DETACH {IMAGE}")
            self._attached = None
        if image is not None:
            self._connection.execute(f"ATTACH ? AS {IMAGE}", (image.uri,))
            self._attached = image

    def _alone(self, action: Callable[[], T], ended: list[str] | None = None, *, readers: bool = False) -> T:
        result, lines = patiently(
            action, key=self._location.key, wait=self._wait, end=ended is not None, readers=readers
        )
        if ended is not None:
            ended += lines
        return result

    def _pragma(self, name: str) -> int:
        (value,) = self._connection.execute(f"PRAGMA main.{name}").fetchone()
        return int(value)
