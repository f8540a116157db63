"""Forty tests that each leave something behind, each in another way; tests/test_leaks.py runs them.

Every one fails by what it leaves, and the next one begins clean all the same.
"""

from __future__ import annotations

import threading
import time
import unittest
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    Base = unittest.TestCase
else:
    Base = object  # a TestCase would be collected itself

Test = TypeVar("Test", bound=Callable[..., Any])

KEPT: list[Any] = []
"""What tests leave open: it stays open."""

_going_on = threading.Event()
_workers: list[threading.Thread] = []


def leaves(*texts: str | tuple[str, ...]) -> Callable[[Test], Test]:
    """What the test's error must say: the store, the table or key, and how many. Of a tuple, one text."""

    def decorate(test: Test) -> Test:
        test.leaves = texts  # type: ignore[attr-defined]
        return test

    return decorate


def more_or_changed(key: str) -> tuple[str, str]:
    """What is said of a key that a thread writes on and on, and may have written before."""
    return f"{key}: 1 more", f"{key}: changed"


def go_on(work: Callable[[], object], name: str = "worker") -> None:
    """A thread that works until another test begins."""

    def run() -> None:
        while _going_on.is_set():
            with suppress(Exception):
                work()
            time.sleep(0.01)

    _going_on.set()
    _workers.append(threading.Thread(target=run, name=name))
    _workers[-1].start()


def stop() -> bool:
    """Whether one had to be stopped."""
    _going_on.clear()
    stopped = bool(_workers)
    while _workers:
        _workers.pop().join()
    return stopped


class Leaking(Base):
    """Mixed into each class; `held` says what is in its store."""

    db: Any

    def held(self) -> object:
        raise NotImplementedError

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.before = cls.held(cls)  # type: ignore[arg-type]
        cls.addClassCleanup(stop)

    def setUp(self) -> None:
        super().setUp()
        if stop():
            self.db.reset()  # what a thread wrote after its own test's end
        self.assertEqual(self.held(), self.before)

    def test_zero_nothing_is_left(self) -> None:
        """Of no account: it shows that what leaves nothing passes."""
