"""Make the directories of a run and its servers, which are gone after it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigurationError
from .extra import library
from .once import Once
from .registry import NAME, process, write_down
from .watched import Watchdog

LONGEST = 60  # characters of a directory for sockets; the whole path of a socket may have about 100
PLAIN = re.compile(r"[\w./+@-]+", re.ASCII)  # a comma or a blank in a socket's path means something to libpq
FALLBACKS = ("/tmp", "/var/tmp", "/dev/shm")
MEMORY = "/dev/shm"
ROOM = 4 << 30  # bytes that must be free in memory, and there, before data is kept there


def roots() -> list[str]:
    """Directories in which others can be made, the best first: one in memory, then the temporary one."""
    tried = dict.fromkeys((*([MEMORY] if _in_memory() else []), tempfile.gettempdir(), *FALLBACKS))
    return [path for path in tried if os.access(path, os.W_OK | os.X_OK)]


def _in_memory() -> bool:
    """Whether to keep data in memory: a thousand small files are made there in a time that no disk upsets.

    TMPDIR, if it is set, says otherwise.
    """
    if "TMPDIR" in os.environ or not os.path.ismount(MEMORY):
        return False
    room = shutil.disk_usage(MEMORY).free
    return min(room, library("psutil").virtual_memory().available) >= ROOM and not _cleared_at_logout()


def _cleared_at_logout() -> bool:
    """Whether systemd clears the files there at the last logout (RemoveIPC) while this process goes on."""
    user = os.geteuid()
    if user < 1000 or not os.path.exists("/run/systemd/system"):
        return False
    return f"user-{user}.slice" not in Path("/proc/self/cgroup").read_text()


def make_directories(entry: Path, reached: Sequence[str]) -> tuple[Path, Path]:
    """Make the directories of one server, mode 0700.

    Parameters:
        entry: Where they are written down.
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
            "a private server needs a directory that it can write to, with a short path, for its socket; "
            f"none of {', '.join(dict.fromkeys((tempfile.gettempdir(), *FALLBACKS)))} is. Set TMPDIR to one."
        )
    files, sockets = Path(reached[0], name), Path(short[0], name)
    wanted = list(dict.fromkeys((files, sockets)))
    write_down(entry, run=process(os.getpid()), directories=[str(path) for path in wanted])
    for path in wanted:
        path.mkdir(mode=0o700)
    return files, sockets


class _RunDirectory:
    def __init__(self) -> None:
        self._watchdog = Watchdog()
        self.path, _ = make_directories(self._watchdog.entry, roots())
        self.stopped = False


_run_directory = Once(_RunDirectory)


def run_directory() -> Path:
    """A directory of this process's own, mode 0700, removed when the process has ended."""
    return _run_directory().path
