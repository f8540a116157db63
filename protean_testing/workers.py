"""Recognize a worker process: one of several that share the work of one run."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import platform
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

WORKER_VARIABLE = "PROTEAN_TESTING_WORKER"
"""Names this process if no runner does: it is then a worker beside others with the same parent."""

_PROGRAMS = ("stestr.subunit_runner.run", "subunit.run", "workertrial")
"""What the worker processes of stestr, testrepository and trial run as their main module."""

_OF_ZOPE = "--resume-layer"
"""The first argument of a process that zope.testrunner has started for a layer."""

_SHELLS = ("sh", "bash", "dash", "zsh", "ash", "ksh")
_forked = False


@dataclass(frozen=True)
class Worker:
    """A process that runs a part of the tests.

    Attributes:
        run: The run that it belongs to: ten letters, the same for all its workers and for no other run.
        name: Which of its workers it is, by the runner's own count if there is one: ``gw0``, ``w2``.
        pid: Its process.
        is_named: The name came from outside, so that a database may have it as well.
    """

    run: str
    name: str
    pid: int
    is_named: bool = False

    @property
    def label(self) -> str:
        """What tells it from every other process of the run."""
        return f"{self.name}_{self.pid}"

    def has(self, name: str) -> bool:
        """Whether a database's name says that it is this worker's already, as in ``shop_test_gw0``."""
        return self.is_named and bool(
            re.search(rf"(?<![a-z0-9]){re.escape(self.name)}(?![a-z0-9])", name, re.IGNORECASE)
        )


@cache
def worker() -> Worker | None:
    """This process, if it is a worker of pytest-xdist, Django, nose2, unittest-parallel, stestr, trial,
    zope.testrunner or anything else that starts processes by `multiprocessing` or forks them; None where it
    runs alone.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
        return _worker(run, os.environ["PYTEST_XDIST_WORKER"], is_named=True)
    if os.environ.get(WORKER_VARIABLE):
        return _worker(_program(os.getppid()), os.environ[WORKER_VARIABLE], is_named=True)
    parent = multiprocessing.parent_process()
    if parent is not None:
        number = re.sub(r"\D+", "_", multiprocessing.current_process().name).strip("_")
        return _worker(_process(parent.pid or 0), f"w{number}")
    if _forked or _main().endswith(_PROGRAMS) or sys.argv[1:2] == [_OF_ZOPE]:
        return _worker(_program(os.getppid()), "w")
    return None


def _worker(run: str, name: str, *, is_named: bool = False) -> Worker:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:8]
    return Worker(hashlib.sha256(run.encode()).hexdigest()[:10], plain or "w", os.getpid(), is_named)


def _main() -> str:
    """The name of the main module, as ``python -m`` was given it, or by its file."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    return spec.name if spec is not None else Path(getattr(main, "__file__", None) or "").stem


def _program(pid: int) -> str:
    """The process, or the nearest of its ancestors that is no shell: that one has started every worker."""
    process = psutil.Process(pid)
    while process.name() in _SHELLS and (above := process.parent()) is not None:
        process = above
    return _process(process.pid)


def _process(pid: int) -> str:
    """A text that means one process of one machine, the same whoever asks."""
    try:  # psutil reckons with the time of day, which is set now and then
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = str(psutil.Process(pid).create_time()) if psutil.pid_exists(pid) else ""
    return f"{platform.node()} {pid} {began}"


def _after_fork() -> None:
    global _forked
    _forked = True
    worker.cache_clear()


os.register_at_fork(after_in_child=_after_fork)
