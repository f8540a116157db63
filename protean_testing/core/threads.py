"""Threads that a test started and did not stop."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from threading import active_count, current_thread
from threading import enumerate as all_threads

from ..clock import monotonic

PATIENCE = 0.05  # seconds for threads that are about to end
OURS = "protean_testing"  # the name of this library's own


class Background:
    """The threads that were started since a moment. Looking costs nothing where none was.

    Attributes:
        found_left: Those that were found left, and ran when that was last looked at.
    """

    def __init__(self) -> None:
        self.found_left: list[threading.Thread] = []
        self.begin()

    def begin(self) -> None:
        """Threads that run now belong to somebody else; those that were found left stay in mind."""
        self._before = set(all_threads()) if active_count() != 1 else set()  # most often this one alone

    def started(self) -> list[threading.Thread]:
        """Those that were started since and still run."""
        if active_count() == 1:
            return []
        return [
            thread
            for thread in all_threads()
            if thread not in self._before
            and thread is not current_thread()
            and not thread.name.startswith(OURS)
        ]

    def leave(self, patience: float) -> list[threading.Thread]:
        """Wait for those that were started, some seconds, and keep in mind those that stay."""
        started = self.started()
        until = monotonic() + patience
        for thread in started:
            with suppress(RuntimeError):  # another one is starting it at this moment
                thread.join(max(0.0, until - monotonic()))
        left = [thread for thread in started if thread.is_alive()]
        self.found_left += left
        return left

    def left(self) -> list[threading.Thread]:
        """Those of earlier tests that still run, or did when this was last asked."""
        left = self.found_left
        if left:
            self.found_left = [thread for thread in left if thread.is_alive()]
        return left


def named(threads: Iterable[threading.Thread]) -> str:
    """How many they are, and their names."""
    names = sorted(repr(thread.name) for thread in threads)
    return f"thread{'s' * (len(names) > 1)} {', '.join(names)}"
