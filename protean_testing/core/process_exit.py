"""When this process is over, also where multiprocessing ends it without any exit handler."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any


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
    is ended by SIGTERM. That calls `last` too, if nobody else has a handler for it and the worker is idle.

    Parameters:
        last: Called in the end; again if it was registered again.
    """
    atexit.unregister(last)
    if not _was_started_by_multiprocessing():
        atexit.register(last)
        return
    ending = _endings.get(os.getpid())
    if ending is None:
        from multiprocessing import util

        ending = _endings[os.getpid()] = _Ending(last)
        util.Finalize(None, ending, exitpriority=0)  # before Python 3.13 it ends without exit handlers
        if is_pool_worker() and threading.current_thread() is threading.main_thread():
            ending.also_at_sigterm()
    atexit.unregister(ending)
    atexit.register(ending)


def is_of_signal(error: BaseException) -> bool:
    """True if a handler of signals has raised an error: one of its frames is that of the handler."""
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def _code(handler: Any) -> CodeType | None:
    """The code of a function, a method, a partial or an object that can be called."""
    handler = getattr(handler, "func", handler)
    function = handler if hasattr(handler, "__code__") else type(handler).__call__
    return getattr(function, "__code__", None)


class _Ending:
    """Calls `last` once: at the end of a worker, or when it is ended by SIGTERM, or its parent is dead.

    A pool worker would wait for its next task for ever then. The signal is waited for by a thread: a handler
    would be too late where it comes just before the worker begins to wait, which is when ``Pool.terminate``
    most often sends it.
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
        from multiprocessing import connection, parent_process

        parent = parent_process()
        assert parent is not None
        while parent.sentinel not in connection.wait([self._told, parent.sentinel]):
            if signal.SIGTERM in os.read(self._told, 64) and self._is_ours():
                break  # else it is another signal, or one for the code under test
        if not _in_unittest(sys._current_frames().get(threading.main_thread().ident or 0)):
            self()
        if not self._lock.locked():  # else the worker is ending by itself
            os._exit(128 + signal.SIGTERM)

    def _is_ours(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._handle

    def _leave_child_alone(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


_endings: dict[int, _Ending] = {}
"""By process: a forked one has its own."""


def _in_unittest(frame: FrameType | None) -> bool:
    """True if a suite or a test is on, so that any call may have been interrupted."""
    while frame is not None:
        if frame.f_globals.get("__name__") in ("unittest.case", "unittest.suite"):
            return True
        frame = frame.f_back
    return False
