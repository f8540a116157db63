"""Free a test that hangs on a lock which an earlier test left behind, by ending the session that holds it.

Such locks write nothing, so no reset comes upon them: SELECT FOR UPDATE, LOCK TABLE, an advisory lock, a
transaction that has read what a later test alters.
"""

from __future__ import annotations

import os
from _thread import start_new_thread
from bisect import bisect_right
from collections import deque
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING

from ..store import Store

if TYPE_CHECKING:
    from .scopes import Scope

AFTER = 2.0
"""Seconds that a test lasts before anybody looks: one that does not last pays nothing."""

_EVERY = 0.5  # seconds
_REMEMBERED = 10_000  # tests


class HangWatch:
    """Knows which test runs, and when those before it ran; a thread looks at the stores of one that lasts."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """The thread is not there in a forked child, and its lock may be held."""
        self._lock = Lock()
        self._looks = False
        self._over: deque[tuple[float, float, str]] = deque(maxlen=_REMEMBERED)  # begin, end, label
        self._open: dict[Scope, float] = {}
        self._of_test: dict[Scope, float] = {}  # of the test that runs now, not of its class
        self._since = 0.0
        self._ended: list[tuple[Store, str, str, str]] = []

    # What the scopes tell

    def begin(self, scope: Scope, *, is_test: bool) -> None:
        """A scope begins, or a test in it does."""
        self._since = now = monotonic()
        self._open[scope] = now
        if is_test:
            self._of_test[scope] = now
        if not self._looks and any(type(store).free is not Store.free for store in scope.stores):
            self._looks = True
            start_new_thread(self._look, ())  # `threading` does not know it: tests may count threads

    def end(self, scope: Scope) -> None:
        """Its end begins."""
        self._since = now = monotonic()
        began = self._open.pop(scope, now)
        self._of_test.pop(scope, None)
        if not self._of_test:  # else it was a part of a test that still runs
            self._over.append((began, now, scope.label))
        if not self._open:
            self._since = 0.0

    def ended(self, store: Store) -> list[tuple[str, str, str]]:
        """The sessions that were ended on a store: which test had left each, what it was, which test hung."""
        if not self._ended:
            return []
        with self._lock:
            found = [(label, text, hung) for one, label, text, hung in self._ended if one is store]
            self._ended = [entry for entry in self._ended if entry[0] is not store]
        return found

    # The thread

    def _look(self) -> None:
        while True:
            sleep(_EVERY)
            since = self._since
            if not since or monotonic() - since < AFTER:
                continue
            try:
                stores = {
                    id(resource.store): resource.store
                    for scope in list(self._open)
                    for resource in scope.resources
                }
                scopes = list(self._of_test) or list(self._open)
                hung = scopes[-1].label if scopes else "a later test"  # freed, it may be over at once
                for store in stores.values():
                    if type(store).free is not Store.free:
                        found = store.free(self._left_by)
                        with self._lock:
                            self._ended += [(store, label, text, hung) for label, text in found]
            except Exception:  # the server is gone, or the run ended meanwhile: whoever needs it will say so
                continue

    def _left_by(self, earliest: float, latest: float) -> str | None:
        """The test that is over and in which this moment lies; None for any other moment.

        Parameters:
            earliest, latest: Of the same moment, as `monotonic` would give it.
        """
        if any(latest >= began for began in list(self._of_test.values())):
            return None
        over = list(self._over)
        location = bisect_right([end for _, end, _ in over], earliest)
        for began, _, label in over[location:]:
            if began <= latest:
                return label
        return None


watch = HangWatch()
