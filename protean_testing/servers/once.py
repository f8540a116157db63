"""Start one server for the whole process, whoever asks first."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from threading import RLock, Thread
from typing import Generic, Protocol, TypeVar

from ..errors import ConfigurationError

FORK_WITHIN = 30.0  # seconds that a fork waits for a server that is being started


class Stoppable(Protocol):
    stopped: bool


S = TypeVar("S", bound=Stoppable)


class Once(Generic[S]):
    """Starts a server at the first call and returns the same one later; a failure is remembered too.

    A forked child does not share its parent's server, which may end before it: it starts its own. A fork
    while another thread starts one waits for that: the child would find locks that nobody releases, those of
    modules that are being imported among them, and keep pipes open whose end is waited for. That wait ends:
    hooks of other libraries may have run before ours, and hold what the other thread needs (filelock 4.3
    lets nobody take a lock from there on, so nothing here uses it). A server that was stopped is started
    anew.
    """

    def __init__(self, start: Callable[[], S]) -> None:
        self._start = start
        self._forget()
        os.register_at_fork(
            before=lambda: self._lock.acquire(timeout=FORK_WITHIN),
            after_in_parent=self._release,
            after_in_child=self._forget,
        )

    def _release(self) -> None:
        with suppress(RuntimeError):  # the fork did not get it in time
            self._lock.release()

    def _forget(self) -> None:
        self._lock = RLock()
        self._server: S | None = None
        self._failure: str | None = None

    def __call__(self) -> S:
        with self._lock:
            if self._failure is not None:
                raise ConfigurationError(self._failure)
            if self._server is None or self._server.stopped:
                try:
                    self._server = self._start()
                except ConfigurationError as error:
                    self._failure = str(error)
                    raise
            return self._server

    def begin(self) -> None:
        """Start it beside other work. The next call waits for it, and tells of what failed."""
        if self._server is None or self._server.stopped:
            Thread(target=self._try, name="protean_testing server").start()

    def _try(self) -> None:
        with suppress(Exception):
            self()
