"""When this process is over, also where multiprocessing ends it without any exit handler."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

_told: set[int] = set()
"""Processes in which multiprocessing knows what to do."""


def is_pool_worker() -> bool:
    """True in a worker of a ``multiprocessing.Pool``: it runs one suite after the other until it is ended."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and "PoolWorker" in process.current_process().name


def _was_started_by_multiprocessing() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def at_exit(last: Callable[[], object]) -> None:
    """Call `last` when this process is over, before whatever was registered earlier.

    A pool worker is either told to end, or (``Pool.terminate``, which is also the end of ``with Pool()``) it
    is ended by SIGTERM. That calls `last` too, where nobody else has a handler for it and the worker is idle.

    Parameters:
        last: Called in the end; again where it was registered again.
    """
    atexit.unregister(last)
    atexit.register(last)
    if not _was_started_by_multiprocessing() or os.getpid() in _told:
        return
    _told.add(os.getpid())
    from multiprocessing import util

    ending = _Ending(last)
    util.Finalize(None, ending, exitpriority=0)  # what was forked ends by os._exit
    if is_pool_worker() and threading.current_thread() is threading.main_thread():
        ending.also_at_sigterm()


class _Ending:
    """Calls `last` once: at the end of a worker, or when it is ended by SIGTERM.

    The signal is waited for by a thread. A handler would be too late where it comes just before the worker
    begins to wait for its next task, which is when ``Pool.terminate`` most often sends it.
    """

    def __init__(self, last: Callable[[], object]) -> None:
        self._last = last
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._done = False

    def __call__(self) -> None:
        with self._lock:
            if not self._done and self._pid == os.getpid():
                self._done = True
                self._last()

    def also_at_sigterm(self) -> None:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return
        self._told, self._tell = os.pipe()
        os.set_blocking(self._tell, False)
        before = signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            return
        signal.signal(signal.SIGTERM, self._handle)
        os.register_at_fork(after_in_child=self._leave_child_alone)
        threading.Thread(target=self._wait, name="protean_testing SIGTERM", daemon=True).start()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        os.write(self._tell, bytes([number]))

    def _wait(self) -> None:
        while (
            signal.SIGTERM not in os.read(self._told, 64) or signal.getsignal(signal.SIGTERM) != self._handle
        ):
            pass  # another signal, or another handler, of the code under test
        if not _in_unittest(sys._current_frames().get(threading.main_thread().ident or 0)):
            self()
        if not self._lock.locked():  # else the worker is ending by itself
            os._exit(128 + signal.SIGTERM)

    def _is_ours(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._handle

    def _leave_child_alone(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _in_unittest(frame: FrameType | None) -> bool:
    """True where a suite or a test is on, so that any call may have been interrupted."""
    while frame is not None:
        if frame.f_globals.get("__name__") in ("unittest.case", "unittest.suite"):
            return True
        frame = frame.f_back
    return False
