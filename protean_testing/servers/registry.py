"""The server registry: what this user's servers own, so that what dead runs left is found and removed.

Each server has an *entry*, a small file in the user's cache directory: its lines name the run and its
directories, written before they are made, and the server's process. Its watchdog holds a lock on it for as
long as it lives.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..clock import monotonic, now, sleep
from ..errors import ConfigurationError
from .extra import library
from .watchdog import remove

if sys.platform != "win32":
    import fcntl

NAME = "protean_testing"
FRESH = 60.0  # seconds in which an entry without a line is one that is being written


def cache() -> Path:
    """This user's directory for templates and entries: in the platform's cache directory, or in the
    temporary one if that is not ours to write in (a container's made-up user, ``sudo``)."""
    path: Path = library("platformdirs").user_cache_path(NAME, appauthor=False)
    nearest = next(parent for parent in (path, *path.parents) if os.path.exists(parent))
    if nearest.stat().st_uid != os.geteuid() or not os.access(nearest, os.W_OK | os.X_OK):
        path = Path(tempfile.gettempdir()) / f"{NAME}-{os.geteuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} is somebody else's, so private servers cannot keep their files there."
        )
    return path


def new_entry() -> tuple[Path, int]:
    """Make an entry. Returns its path and a descriptor that holds the lock on it, for the watchdog."""
    directory = cache() / "servers"
    directory.mkdir(mode=0o700, exist_ok=True)
    entry = directory / secrets.token_hex(4)
    lock = os.open(entry, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return entry, lock


def write_down(entry: Path, **what: Any) -> None:
    with open(entry, "a") as file:
        file.write(json.dumps(what) + "\n")


def process(pid: int) -> tuple[int, float] | None:
    """A process's pid and creation time, which no other process shares; None if there is none."""
    psutil = library("psutil")
    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else (pid, found.create_time())
    except psutil.NoSuchProcess:
        return None


def lives(known: Sequence[float] | None) -> bool:
    """True if the process that `process` told of is still there."""
    now = process(int(known[0])) if known else None
    return now is not None and known is not None and abs(now[1] - known[1]) < 1


def remove_stale() -> None:
    """End the servers and remove the directories of runs that are dead, as their watchdogs are."""
    for entry in sorted((cache() / "servers").glob("*")):
        remove_stale_entry(entry)


def remove_stale_entry(entry: Path, *, own: bool = False) -> None:
    """Remove what one entry names if its watchdog and its run are gone, or if the run is this one (`own`)."""
    try:
        file = open(entry)
    except FileNotFoundError:
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        known: dict[str, Any] = {}
        directories: list[str] = []
        for line in file:
            try:
                known |= json.loads(line)
            except ValueError:
                continue  # the machine went down while it was written
            directories += known.pop("directories", ())
        young = not known and os.fstat(file.fileno()).st_mtime > now() - FRESH
        if not own and (young or lives(known.get("run"))):
            return
        _end(known.get("server"), known.get("stop", signal.SIGTERM))
        if remove(directories, within=1.0):
            entry.unlink(missing_ok=True)


def _end(server: Sequence[float] | None, signum: int) -> None:
    """End a server that outlived its watchdog, if the kernel does not see to that."""
    until = monotonic() + 5
    while server is not None and lives(server):
        os.kill(int(server[0]), signum if monotonic() < until else signal.SIGKILL)
        sleep(0.02)
