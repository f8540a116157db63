"""Which requests are inside the application: no new ones are let in while data is restored."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Container

REFUSED = b"protean_testing: the test that this request belongs to is over.\n"
"""What a request gets, with status 503, that comes between two tests."""


class Traffic:
    """Counts requests in and out, from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: dict[int, str] = {}
        self._numbers = itertools.count()
        self._closed = False

    def enter(self, request: str) -> int | None:
        """Let a request in. Returns what `leave` wants, or None if it is refused."""
        with self._changed:
            if self._closed:
                return None
            number = next(self._numbers)
            self._inside[number] = request
            return number

    def leave(self, number: int) -> None:
        """The request is over. Harmless a second time."""
        with self._changed:
            self._inside.pop(number, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Let nothing in from now on."""
        with self._changed:
            self._closed = True

    def open(self) -> None:
        with self._changed:
            self._closed = False

    def inside(self, *, within: float, but: Container[int] = ()) -> dict[int, str]:
        """What is inside after `within` seconds at most in which all may leave; `but` is not looked at."""

        def left() -> dict[int, str]:
            return {number: request for number, request in self._inside.items() if number not in but}

        with self._changed:
            self._changed.wait_for(lambda: not left(), within)
            return left()
