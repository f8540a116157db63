"""Where a private server keeps its files, and how what dead runs left is found and removed.

Each server has an *entry*, a small file in the user's cache directory: one line names the directories and
the run, written before they are made; a second one the server's process. The server's guard holds a lock
on it for as long as it lives.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .extra import library

NAME = "protean_testing"
LONGEST = 60  # characters of a directory for sockets; the whole path of a socket may have about 100
PLAIN = re.compile(r"[\w./+@-]+", re.ASCII)  # a comma or a blank in a socket's path means something to libpq
FALLBACKS = ("/tmp", "/var/tmp", "/dev/shm")


def cache() -> Path:
    """This user's directory for templates and entries: in the platform's cache directory, or in the
    temporary one where that is not ours to write in (a container's made-up user, ``sudo``)."""
    path: Path = library("platformdirs").user_cache_path(NAME, appauthor=False)
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    if nearest.stat().st_uid != os.geteuid() or not os.access(nearest, os.W_OK | os.X_OK):
        path = Path(tempfile.gettempdir()) / f"{NAME}-{os.geteuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} belongs to somebody else, so a private server cannot keep its files there."
        )
    return path


def new_entry() -> tuple[Path, int]:
    """Make an entry. Returns its path and a descriptor that holds the lock on it, for the guard."""
    directory = cache() / "servers"
    directory.mkdir(mode=0o700, exist_ok=True)
    entry = directory / secrets.token_hex(4)
    lock = os.open(entry, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return entry, lock


def write_down(entry: Path, **what: Any) -> None:
    with open(entry, "a") as file:
        file.write(json.dumps(what) + "\n")


def roots() -> list[str]:
    """Directories in which those of a server can be made, the best first."""
    tried = dict.fromkeys((tempfile.gettempdir(), *FALLBACKS))
    return [path for path in tried if os.access(path, os.W_OK | os.X_OK)]


def make_directories(entry: Path, reached: Sequence[str]) -> tuple[Path, Path]:
    """Make the directories of one server, mode 0700.

    Parameters:
        entry: What they are written down in.
        reached: Those of `roots` that the server can reach.

    Returns:
        The one for data and log, and the one for sockets, which has a short path; often the same.

    Raises:
        ConfigurationError: None of `reached` will do.
    """
    name = f"{NAME}-{entry.name}"
    short = [root for root in reached if len(root) + 1 + len(name) <= LONGEST and PLAIN.fullmatch(root)]
    if not short:
        raise ConfigurationError(
            "a private server needs a directory with a short path for its socket, which it can write to; "
            f"tried {', '.join(dict.fromkeys((tempfile.gettempdir(), *FALLBACKS)))}. Set TMPDIR to such a one."
        )
    files, sockets = Path(reached[0], name), Path(short[0], name)
    wanted = list(dict.fromkeys((files, sockets)))
    write_down(entry, run=process(os.getpid()), directories=[str(path) for path in wanted])
    for path in wanted:
        path.mkdir(mode=0o700)
    return files, sockets


def process(pid: int) -> tuple[int, float] | None:
    """A process's pid and creation time, which no other process shares; None where there is none."""
    psutil = library("psutil")
    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else (pid, found.create_time())
    except psutil.NoSuchProcess:
        return None


def lives(known: Sequence[float] | None) -> bool:
    """True where the process that `process` told of is still there."""
    now = process(int(known[0])) if known else None
    return now is not None and known is not None and abs(now[1] - known[1]) < 1


def reap() -> None:
    """End the servers and remove the directories of runs that are dead, and their guards too."""
    for entry in sorted((cache() / "servers").glob("*")):
        reap_entry(entry)


def reap_entry(entry: Path, *, own: bool = False) -> None:
    """Remove what one entry names if its guard is gone, and so is its run (or it is this one: `own`)."""
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
        for line in file:
            if line.endswith("\n"):
                known |= json.loads(line)
        if lives(known.get("run")) and not own:
            return
        _end(known.get("server"), known.get("stop", signal.SIGKILL))
        for directory in known.get("directories", ()):
            shutil.rmtree(directory, ignore_errors=True)
        entry.unlink(missing_ok=True)


def _end(server: Sequence[float] | None, signum: int) -> None:
    """End a server that outlived its guard, where the kernel does not see to that."""
    until = time.monotonic() + 5
    while server is not None and lives(server):
        os.kill(int(server[0]), signum if time.monotonic() < until else signal.SIGKILL)
        time.sleep(0.02)
