"""Transactions that the code under test left open: waited for, found, and ended."""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.pool import Pool

from ...clock import sleep
from ...core.leaks import differences
from ...waiting import turns
from ..sql.checkouts import caller
from .image import Busy, everything, is_busy
from .location import OurConnection, connect

T = TypeVar("T")

_INFO = "protean_testing"
_LOOKED_AT = 10_000_000  # bytes, for what a message tells of a transaction
_QUIET = 0.05
"""Seconds in which a connection at work would change something."""


class StillOpen(Exception):
    """Somebody holds a lock, and it could not be ended. Its text says who."""


def patiently(
    action: Callable[[], T], *, key: str, wait: float, end: bool, readers: bool = False
) -> tuple[T, list[str]]:
    """Do something for which nobody else may hold a lock.

    A transaction is waited for, but not one that this very thread left open: it cannot go on meanwhile.

    Parameters:
        action: Does it, or raises SQLite's "locked" or `Busy`, having changed nothing.
        key: The place, see `Location.key`.
        wait: Seconds.
        end: Roll back what this process left open and does not use; False: only find it.
        readers: Whether one who only reads is in the way as well.

    Returns:
        What `action` returned, and a line about each transaction that was ended.

    Raises:
        StillOpen: Somebody is in the way all the same.
    """
    try:
        return _attempt(action), []  # most often nobody is in the way
    except Busy:
        attempt = partial(_attempt, action)
    ended: list[str] = []
    looked = not readers  # unread results are found by a look at every object: once is enough
    for turn in turns(wait, first=0.0005):
        with suppress(Busy):
            return attempt(), ended
        everywhere = not looked and turn.seconds > _QUIET
        looked |= everywhere
        for left in _left_open(key, readers=readers, everywhere=everywhere):
            if not left.stuck:
                continue
            if not end:
                raise StillOpen(str(left))
            if left.end():
                with suppress(Busy):
                    return attempt(), [*ended, str(left)]
                if left.transaction:
                    ended.append(str(left))
    suspects = _left_open(key, readers=readers, everywhere=True)
    if end:
        before = [left.connection.total_changes for left in suspects]
        sleep(_QUIET)
        for left, changes in zip(suspects, before, strict=True):
            if left.connection.total_changes == changes and left.end():
                with suppress(Busy):
                    return attempt(), [*ended, str(left)]
                if left.transaction:
                    ended.append(str(left))
    raise StillOpen(str(suspects[0]) if suspects else "a connection of another process")


def _attempt(action: Callable[[], T]) -> T:
    """What the action returns; SQLite's "locked" becomes `Busy`."""
    try:
        return action()
    except sqlite3.OperationalError as error:
        if is_busy(error):
            raise Busy from None
        raise


# Who took which connection


@dataclass
class _Taken:
    key: str
    where: str = ""
    thread: int = 0


_records: WeakSet[Any] = WeakSet()
_records_lock = threading.Lock()


def watch() -> None:
    """From now on, remember where connections to SQLite files and shared memory are checked out."""
    if not event.contains(Pool, "checkout", _checked_out):
        event.listen(Pool, "checkout", _checked_out)


def _checked_out(dbapi_connection: Any, record: Any, proxy: Any) -> None:
    taken = record.info.get(_INFO)
    if taken is None:
        connection = driver_connection(dbapi_connection)
        taken = record.info[_INFO] = _Taken(location_key(connection) or "" if connection else "")
        if taken.key:
            with _records_lock:
                _records.add(record)
    if taken.key:
        taken.where, taken.thread = caller(), threading.get_ident()


def driver_connection(dbapi_connection: Any) -> sqlite3.Connection | None:
    """The `sqlite3` connection at the bottom of a pool's connection; None where it is another driver's."""
    connection = getattr(dbapi_connection, "driver_connection", dbapi_connection)
    connection = getattr(connection, "_conn", connection)  # aiosqlite's
    return connection if isinstance(connection, sqlite3.Connection) else None


def location_key(connection: sqlite3.Connection) -> str | None:
    """What SQLite calls a connection's main database, empty for memory without a name.

    None where the connection does not answer: most likely it refuses other threads than its own.
    """
    try:
        cursor = connection.cursor()
        cursor.row_factory = None
        return str(cursor.execute("PRAGMA database_list").fetchone()[2])
    except (sqlite3.Error, TypeError):
        return None


# Who is in the way


@dataclass
class _Left:
    """A connection with something open on it.

    Attributes:
        transaction: It is in a transaction; else it may have a result that was not read to its end.
        stuck: It cannot go on: it belongs to this very thread, or to one that has ended.
        written: What it had written, by table; known once it was ended.
    """

    connection: sqlite3.Connection
    cursors: list[sqlite3.Cursor]
    transaction: bool
    where: str
    stuck: bool
    written: str = ""

    def end(self) -> bool:
        written = _all_in(self.connection) if self.transaction else {}
        try:
            self.connection.rollback()
            self.written = ", ".join(differences(_all_in(self.connection), written)) if written else ""
            for cursor in self.cursors:
                cursor.close()
        except sqlite3.Error:
            return False
        return True

    def __str__(self) -> str:
        kind = "a transaction" if self.transaction else "a result that was not read to its end"
        kind += f" ({self.written})" if self.written else ""
        return f"{kind}, on the connection taken at {self.where}" if self.where else kind


def _left_open(key: str, *, readers: bool, everywhere: bool = False) -> list[_Left]:
    """Connections to the database that may be in the way: those of pools, or everywhere in this process."""
    known: dict[int, _Taken] = {}
    connections: list[sqlite3.Connection] = []
    with _records_lock:
        records = list(_records)
    for record in records:
        connection = driver_connection(record.dbapi_connection)
        taken = record.info.get(_INFO)
        if connection is not None and taken is not None and taken.key == key:
            known[id(connection)] = taken
            connections.append(connection)
    cursors: dict[int, list[sqlite3.Cursor]] = {}
    if everywhere:
        for thing in gc.get_objects():
            if isinstance(thing, sqlite3.Connection) and id(thing) not in known:
                connections.append(thing)
            elif readers and isinstance(thing, sqlite3.Cursor):
                cursors.setdefault(id(thing.connection), []).append(thing)
    elsewhere = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
    found = []
    for connection in connections:
        unread = cursors.get(id(connection), [])
        try:
            transaction = connection.in_transaction
        except sqlite3.Error:  # closed
            continue
        if isinstance(connection, OurConnection) or not (transaction or unread):
            continue
        taken = known.get(id(connection))
        if taken is None and location_key(connection) not in (key, None):
            continue
        if not (readers or _writes(connection)):
            continue
        stuck = taken is not None and taken.thread not in elsewhere
        where = taken.where if taken else ""
        found.append(_Left(connection, unread, transaction, where, stuck))
    return sorted(found, key=lambda left: not left.transaction)


def _all_in(connection: sqlite3.Connection) -> dict[str, Counter[Any]]:
    """Everything that it sees; nothing where that would take long, or it refuses."""
    try:
        cursor = connection.cursor()
        cursor.row_factory = None
        (pages,), (size,) = (
            cursor.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
        return everything(connection) if pages * size <= _LOOKED_AT else {}
    except sqlite3.Error:
        return {}


def _writes(connection: sqlite3.Connection) -> bool:
    """Whether its transaction has written: then SQLite lets nobody copy from it."""
    scratch = connect(":memory:")
    seen = []

    def progress(status: int, remaining: int, total: int) -> None:
        seen.append(status)
        raise Busy

    try:
        connection.backup(scratch, pages=1, progress=progress)
    except Busy:
        pass
    except sqlite3.Error:  # it refuses other threads than its own
        return True
    finally:
        scratch.close()
    return seen != [sqlite3.SQLITE_OK] and seen != [sqlite3.SQLITE_DONE]
