"""Free a test that hangs on a lock which an earlier test left behind, by ending the session that holds it.

Such locks write nothing, so no reset finds them: SELECT FOR UPDATE, LOCK TABLE, an advisory lock, a
transaction that has read what a later test alters.
"""

from __future__ import annotations

import os
from _thread import start_new_thread
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

from ..clock import monotonic, sleep
from ..store import Store

AFTER = 2.0
"""Seconds that a test lasts before anybody looks: one that does not last pays nothing."""

_EVERY = 0.5  # seconds
_REMEMBERED = 10_000  # tests


class _Open(NamedTuple):
    """A scope that is open, or the test that runs on it."""

    began: float
    label: str
    stores: Sequence[Store]


class HangWatch:
    """Knows which test runs, and when those before it ran; a thread looks at the stores of one that lasts.

    Attributes:
        is_on: A store that can free a test is in use; before that nobody need report a scope.
        has_freed: Sessions were ended, and not reported yet.
    """

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """The thread is not there in a forked child, and its lock may be held."""
        self._lock = Lock()
        self.is_on = False
        self.has_freed = False
        self._over: deque[tuple[float, float, str]] = deque(maxlen=_REMEMBERED)  # begin, end, label
        self._open: dict[object, _Open] = {}
        self._tests: dict[object, _Open] = {}  # the tests that run now, and not their classes
        self._since = 0.0
        self._freed: list[tuple[Store, str, str, str]] = []

    # What the scopes report

    def begin(self, scope: object, label: str, stores: Sequence[Store], *, is_test: bool) -> None:
        """A scope begins, or a test on it does.

        Parameters:
            scope: Anything that is the same at its end.
            label: What messages call it.
            stores: Those of its stores that can free a test.
        """
        self._since = now = monotonic()
        self._open[scope] = entry = _Open(now, label, stores)
        if is_test:
            self._tests[scope] = entry
        if stores and not self.is_on:
            self.is_on = True
            start_new_thread(self._look, ())  # `threading` does not know it: tests may count threads

    def end(self, scope: object, label: str) -> None:
        """Its end begins."""
        self._since = now = monotonic()
        entry = self._open.pop(scope, None)
        self._tests.pop(scope, None)
        if not self._tests:  # else it was a part of a test that still runs
            self._over.append((now if entry is None else entry.began, now, label))
        if not self._open:
            self._since = 0.0

    def freed(self, store: Store) -> list[tuple[str, str, str]]:
        """The sessions that were ended on a store: which test had left each, what it was, which test hung."""
        with self._lock:
            found = [(label, text, hung) for one, label, text, hung in self._freed if one is store]
            self._freed = [entry for entry in self._freed if entry[0] is not store]
            self.has_freed = bool(self._freed)
        return found

    # The thread

    def _look(self) -> None:
        while True:
            sleep(_EVERY)
            since = self._since
            if not since or monotonic() - since < AFTER:
                continue
            try:
                stores = {id(store): store for entry in list(self._open.values()) for store in entry.stores}
                entries = list(self._tests.values()) or list(self._open.values())
                hung = entries[-1].label if entries else "a later test"  # freed, it may be over at once
                for store in stores.values():
                    found = store.free(self._left_by)
                    with self._lock:
                        self._freed += [(store, label, text, hung) for label, text in found]
                        self.has_freed = bool(self._freed)
            except Exception:  # the server is gone, or the run ended meanwhile: whoever needs it will say so
                continue

    def _left_by(self, earliest: float, latest: float) -> str | None:
        """The test that is over and in which this moment lies; None for any other moment.

        Parameters:
            earliest, latest: Of the same moment, as `monotonic` would give it.
        """
        if any(latest >= entry.began for entry in list(self._tests.values())):
            return None
        over = list(self._over)
        location = bisect_right([end for _, end, _ in over], earliest)
        for began, _, label in over[location:]:
            if began <= latest:
                return label
        return None


watch = HangWatch()
