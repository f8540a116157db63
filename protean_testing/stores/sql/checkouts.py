"""Which connections of an engine's pool are checked out, and where in the code they were taken."""

from __future__ import annotations

import itertools
import sys
from gc import collect
from threading import enumerate as all_threads
from threading import get_ident
from typing import Any
from weakref import WeakSet, ref

from sqlalchemy import Engine, event
from sqlalchemy.pool import StaticPool

_PASSED_OVER = {"sqlalchemy", "contextlib", "asyncio", "aiosqlite", "greenlet", "protean_testing", "protean"}
_INFO = "protean_testing_taken"
_serials = itertools.count(1)

Taken = frozenset[int]
"""The numbers of checkouts, of which every one is another."""


class Checkouts:
    """Listens to the pools of one database. A pool with one connection for all (StaticPool) is left alone."""

    def __init__(self) -> None:
        self._pools: WeakSet[Any] = WeakSet()
        self._records: set[ref[Any]] = set()  # a WeakSet cannot be iterated while others add to it
        self._told: set[int] = set()

    def watch(self, engine: Engine) -> None:
        """Listen to the engine's pool from now on; one that takes its place reports as well."""
        pool = engine.pool
        if pool in self._pools:
            return
        self._pools.add(pool)
        if not isinstance(pool, StaticPool) and not event.contains(pool, "checkout", self._checked_out):
            event.listen(pool, "checkout", self._checked_out)

    def taken(self) -> Taken:
        """Those that are out now."""
        return frozenset(record.info[_INFO][0] for record in self._out())

    def left(self, before: Taken) -> list[str]:
        """A line about each that was taken since `before` and is out; each is reported once.

        What a thread that still runs has taken is passed over: it may be about to give it back.
        """
        for one in self._records.copy():
            record = one()
            if record is not None and record.in_use and record.info[_INFO][0] not in before:
                break
        else:
            return []
        for generation in (1, 2):  # what nobody can reach any more goes back to the pool, old things last
            if not self._stuck(before):
                return []
            collect(generation)
        left = self._stuck(before)
        self._told |= {serial for serial, _ in left}
        return [f"a connection, taken at {where}" if where else "a connection" for _, where in left]

    def connections(self) -> list[Any]:
        """The drivers' connections that are out now."""
        return [record.driver_connection for record in self._out()]

    def _stuck(self, before: Taken) -> list[tuple[int, str]]:
        found = []
        for record in self._out():
            serial, where, thread = record.info[_INFO]
            if serial not in before and serial not in self._told and thread not in _other_threads():
                found.append((serial, where))
        return sorted(found)

    def _out(self) -> list[Any]:
        records = [record() for record in self._records.copy()]
        return [record for record in records if record is not None and record.in_use]

    def _checked_out(self, dbapi_connection: Any, record: Any, proxy: Any) -> None:
        record.info[_INFO] = next(_serials), caller(), get_ident()
        self._records.add(ref(record, self._records.discard))


def _other_threads() -> set[int | None]:
    return {thread.ident for thread in all_threads()} - {get_ident()}


def caller() -> str:
    """File and line of the code under test that is running now."""
    frame = sys._getframe(2)
    while True:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _PASSED_OVER:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        back = frame.f_back
        if back is None and "greenlet" in sys.modules:  # SQLAlchemy's async engines run in one
            back = getattr(sys.modules["greenlet"].getcurrent().parent, "gr_frame", None)
        if back is None:
            return ""
        frame = back
