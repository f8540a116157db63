"""An application's private ``sqlite://`` memory: the only way in is the application's own connection."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine, event
from sqlalchemy.pool import NullPool, SingletonThreadPool, StaticPool
from sqlalchemy.util import greenlet_spawn

from ...errors import ConfigurationError, NeverResetWarning
from ...waiting import turns
from ..sql.backend import Database
from .content import objects, refuse_rows
from .image import Busy, Image, copy
from .open_transactions import StillOpen, driver_connection
from .rows import quoted

T = TypeVar("T")
_POLL = 0.005
_QUIET = 0.05
"""Seconds in which a transaction at work would change something."""


@dataclass(eq=False)
class PrivateSnapshot:
    """What was in an application's memory at one moment.

    Attributes:
        image: A copy of it, which several snapshots may share.
        pages: The same as bytes.
    """

    image: Image
    pages: bytes


class PrivateMemory:
    """A database that lives and dies with the application's engine.

    Parameters:
        database: Its `engine` gives the application's current engine; a fresh one may be empty.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._before = Image()
        self._prepared: Image | None = None
        self._taken: list[PrivateSnapshot] = []
        self._threads: set[int] = set()  # in which it was looked at

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        """Nothing in it can matter to anybody else but the application."""
        if self._prepared is None:
            self._within(lambda connection: refuse_rows(connection, self._database, tables))

    def acquire(self) -> bool:
        self._within(self._before.take)
        if not self._database.adopt:
            stale = {name for schema, name in self._database.tables if schema in (None, "main")}
            with closing(Image.made(lambda image: image.take(self._before.connection))) as without:
                found = [
                    name for kind, name in objects(without.connection) if kind == "table" and name in stale
                ]
                for name in found:
                    without.connection.execute(f"DROP TABLE {quoted(name)}")
                if found:
                    self._within(lambda connection: _overwrite(connection, without))
        return False

    def keep(self) -> bool:
        """It ends with the engine."""
        return False

    def created(self, snapshots: Iterable[PrivateSnapshot]) -> None:
        now = self.image()
        if self._prepared is not None:
            now.take_rows_of(self._prepared)
            self._prepared.close()
        self._prepared = now
        for snapshot in snapshots:
            older, snapshot.image = snapshot.image, self.image()
            snapshot.image.take_rows_of(older)
            snapshot.pages = pages(snapshot.image.connection)
            self._close_unused(older)

    @property
    def snapshots(self) -> PrivateMemory:
        """What takes and restores them."""
        return self

    def take(self) -> PrivateSnapshot:
        """Take what is in it now. If it is empty, most likely of a fresh engine, it is filled before."""
        newest = self._taken[-1] if self._taken else None
        image = newest.image if newest else self._prepared

        def same(connection: sqlite3.Connection) -> bool:
            now = pages(connection)
            if image is not None and not now:
                copy(image.connection, connection)
            return newest is not None and now in (b"", newest.pages)

        if self._within(same) and newest is not None:
            snapshot = PrivateSnapshot(newest.image, newest.pages)
        else:
            image = self.image()
            snapshot = PrivateSnapshot(image, pages(image.connection))
        self._taken.append(snapshot)
        return snapshot

    def restore(self, snapshot: PrivateSnapshot) -> tuple[bool, list[str]]:
        """See Snapshots.restore."""
        engine = self._database.engine()
        ended = self._settle(engine)

        def restore(connection: sqlite3.Connection) -> tuple[bool, list[str]]:
            now = pages(connection)
            if now == snapshot.pages:
                return False, []
            return bool(now), _overwrite(connection, snapshot.image)  # an empty one: a fresh engine

        different, unread = within(engine, restore)
        return different, ended + unread

    @contextmanager
    def flat(self, snapshot: PrivateSnapshot) -> Iterator[Image]:
        """See Snapshots.flat."""
        yield snapshot.image

    def invalidate(self) -> None:
        """A restore compares everything anyhow."""

    def forget(self, snapshot: PrivateSnapshot) -> None:
        """See Snapshots.forget."""
        self._taken.remove(snapshot)
        self._close_unused(snapshot.image)

    def end_snapshots(self) -> None:
        """Let go of all snapshots."""
        for snapshot in self._taken[:]:
            self.forget(snapshot)

    def image(self) -> Image:
        """Copy what is in it now."""
        return Image.made(lambda image: self._within(image.take))

    def drop(self) -> None:
        if self._database.adopt:
            return
        try:
            self._database.engine()
        except Exception:  # the application is gone, and its memory with it
            return
        self._within(lambda connection: _overwrite(connection, self._before))

    def close(self) -> None:
        self._before.close()
        if self._prepared is not None:
            self._prepared.close()

    def _within(self, work: Callable[[sqlite3.Connection], T]) -> T:
        engine = self._database.engine()
        self._threads.add(threading.get_ident())
        if isinstance(engine.pool, SingletonThreadPool) and not event.contains(
            engine.pool, "connect", self._see_connect
        ):
            event.listen(engine.pool, "connect", self._see_connect)
        return within(engine, work)

    def _see_connect(self, *_: object) -> None:
        """Warn if another thread connects: it finds an empty database, and nothing that it writes is seen."""
        thread = threading.current_thread()
        if thread.ident not in self._threads:
            warnings.warn(
                f"store {self._database.name!r}: thread {thread.name!r} has connected to an engine on "
                "sqlite://, which gives every thread an empty database of its own (no such table). Make it "
                "with  "
                'create_engine("sqlite://", poolclass=StaticPool, '
                'connect_args={"check_same_thread": False})  or take self.engine.',
                NeverResetWarning,
                stacklevel=2,
            )

    def _close_unused(self, image: Image) -> None:
        if all(one.image is not image for one in self._taken):
            image.close()

    def _settle(self, engine: Engine) -> list[str]:
        """Wait for a transaction that changes something, and roll back one that does not."""
        seen, since = -1, 0.0
        for turn in turns(self._database.wait + _QUIET, first=_POLL, longest=_POLL):
            changes = within(engine, lambda found: found.total_changes if found.in_transaction else None)
            now = turn.seconds
            if changes is None:
                return []
            if changes != seen:
                seen, since = changes, now
            if now - since > _QUIET:
                within(engine, lambda found: found.rollback())
                return [_TRANSACTION]
        raise StillOpen(_TRANSACTION)


_TRANSACTION = "a transaction, on the application's connection"


def within(engine: Engine, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do something with the one connection of an engine, and leave its transaction alone.

    Raises:
        ConfigurationError: Each connection of this engine has a database of its own.
        StillOpen: A transaction with writes is open.
    """
    pool: Any = engine.pool
    if isinstance(pool, NullPool):
        raise ConfigurationError(
            "an engine on sqlite:// with a NullPool has a new, empty database for each connection.\n"
            "Make it with poolclass=StaticPool."
        )
    try:
        if engine.dialect.is_async:
            with ThreadPoolExecutor(1) as executor:  # this thread may have a running loop
                return executor.submit(asyncio.run, _within_async(pool, work)).result()
        if isinstance(pool, StaticPool):  # returning a connection would roll back its transaction
            return work(_plain(pool.connection.get_connection()))
        taken = engine.raw_connection()
        try:
            return work(_plain(taken.dbapi_connection))
        finally:
            taken.close()
    except Busy:
        raise StillOpen(_TRANSACTION) from None


async def _within_async(pool: Any, work: Callable[[sqlite3.Connection], T]) -> T:
    adapted = await greenlet_spawn(lambda: pool.connection.get_connection())
    # In the thread of aiosqlite's, which alone may use it.
    result: T = await adapted.driver_connection._execute(work, _plain(adapted))
    return result


def _plain(dbapi_connection: Any) -> sqlite3.Connection:
    connection = driver_connection(dbapi_connection)
    if connection is None:
        raise ConfigurationError(
            f"{type(dbapi_connection).__name__} is no connection of sqlite3 or aiosqlite."
        )
    return connection


def pages(connection: sqlite3.Connection) -> bytes:
    """All that a database is, without the counters in its header; empty where there is nothing."""
    cursor = connection.cursor()
    cursor.row_factory = None
    (count,) = cursor.execute("PRAGMA main.page_count").fetchone()
    if not count:
        return b""
    content = bytearray(connection.serialize())
    content[24:28] = content[40:44] = bytes(4)  # changes of data and schema
    content[92:100] = bytes(8)
    return bytes(content)


def _overwrite(connection: sqlite3.Connection, image: Image) -> list[str]:
    """Returns a line about what had to be closed for it."""
    try:
        copy(image.connection, connection)
        return []
    except Busy:
        connection.rollback()
        for thing in gc.get_objects():
            if isinstance(thing, sqlite3.Cursor) and thing.connection is connection:
                thing.close()
        copy(image.connection, connection)
        return ["a result that was not read to its end, on the application's connection"]
