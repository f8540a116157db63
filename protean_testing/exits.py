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

    def ending() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Pool.terminate says it in both ways at once
        last()

    def terminated(number: int, frame: FrameType | None) -> None:
        if not _in_unittest(frame):
            ending()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    ours = is_pool_worker() and threading.current_thread() is threading.main_thread()
    if ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, terminated)
        util.Finalize(None, ending, exitpriority=0)  # what was forked ends by os._exit
    else:
        util.Finalize(None, last, exitpriority=0)


def _in_unittest(frame: FrameType | None) -> bool:
    """True where a suite or a test is on, so that any call may have been interrupted."""
    while frame is not None:
        if frame.f_globals.get("__name__") in ("unittest.case", "unittest.suite"):
            return True
        frame = frame.f_back
    return False
