"""The directory beside a SQLite file that a run uses: a lock, the ownership marker, a copy of what was there.

Nothing of it may be in the database, which code under test can introspect. The directory of ``shop_test.db``
is ``.shop_test.db.protean_testing``, and has to prove that it belongs to that very file:

- A hard link to the file. An inode number is used again once its file is removed, unless a link holds it.
- A stamp: an empty file of which the marker knows the inode and the time of its last change. No tool that
  copies can set the latter, while ``cp -a`` copies hard links as hard links.
"""

from __future__ import annotations

import os
import sys
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

from ...ownership import Marker, new_marker
from ...ownership.watching import Watchdog, read_signs
from ...waiting import turns

ENDING = ".protean_testing"
JOURNALS = ("-journal", "-wal", "-shm")
_BEAT = 2_000_000_000  # nanoseconds that a run may have lived on, if its watchdog died with it
_PAUSE = 0.01  # seconds
_RETRY = 0.3  # seconds: somebody who only looks whether it is free holds the lock for a moment

Proof = Literal["itself", "gone", "replaced", "unlinked", "copied"]
"""What the marker proves of the file that is there now: it is the very one; it is gone; another one is in its
place; it was not linked yet when the run was killed (or no links can be made); or it came with a copy."""


class RunDirectory:
    """The directory beside one file.

    Parameters:
        file: The file itself, without any symbolic link on the way to it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.directory = file.with_name(f".{file.name}{ENDING}")
        self._lock: int | None = None
        self._pid = 0
        self._watchdog: Watchdog | None = None

    # Who is alive

    def acquire(self) -> bool:
        """Take the file for this run. False if a live run has it."""
        for _ in turns(_RETRY, first=_PAUSE, longest=_PAUSE):
            self.directory.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # the run that ended has just removed it
                self._lock = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT, 0o666)
                self._pid = os.getpid()
                if _locked(self._lock) and self.is_held:
                    _held.add(self)
                    return True
                self.release()
        return False

    def is_in_use(self) -> bool:
        """Whether a live run has the file; nothing is made."""
        if self.is_held:
            return False
        try:
            lock = os.open(self._path("lock"), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _locked(lock)
        finally:
            os.close(lock)

    @property
    def is_held(self) -> bool:
        """Whether this process has it; False in a forked child, and if the directory was removed."""
        if self._lock is None or self._pid != os.getpid():
            return False
        try:
            return os.path.samestat(os.fstat(self._lock), os.stat(self._path("lock")))
        except OSError:
            return False

    @property
    def is_inherited(self) -> bool:
        """Whether this process was forked from the one that has it."""
        return self._pid not in (0, os.getpid())

    def release(self) -> None:
        """Let the file go. Harmless a second time."""
        if self._watchdog is not None and not self.is_inherited:
            self._end_watchdog(left=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    # When it died

    def watch(self) -> None:
        """Have it written down when this run was last alive, also if it is killed."""
        if self._watchdog is None:
            self._path("signs").unlink(missing_ok=True)
            self._watchdog = Watchdog(self._path("signs"), self._path("watch"))

    def was_written_since(self) -> bool:
        """Whether the file was written after the run that used it last had died, as far as that is known."""
        signs = read_signs(self._path("signs"), self._path("watch"))
        if signs is None:
            return False
        ended = self._path("signs").stat().st_mtime_ns + (0 if signs.dead else _BEAT)
        for ending in ("", *JOURNALS[:2]):
            with suppress(FileNotFoundError):
                if self.file.with_name(self.file.name + ending).stat().st_mtime_ns > ended:
                    return True
        return False

    def was_opened(self) -> None:
        """Whoever opens a file that a killed run left may write it: SQLite undoes what was half written."""
        with suppress(OSError):
            os.utime(self._path("signs"))

    def _end_watchdog(self, *, left: bool) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.end(left=left)
            read_signs(self._path("signs"), self._path("watch"))  # it has ended

    # Whose the file is

    def marker(self) -> Marker | None:
        """What the last run wrote."""
        try:
            return Marker.from_json(self._path("marker.json").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None

    @property
    def is_damaged(self) -> bool:
        """Whether there is a marker that cannot be read."""
        return self.marker() is None and self._path("marker.json").exists()

    def copies(self) -> list[Path]:
        """All copies of what was in the file, whosever."""
        return sorted(self.directory.glob("before-*.db"))

    def proof(self, marker: Marker) -> Proof:
        """Say what the marker proves of the file that is there now."""
        facts = marker.facts
        is_living = self.is_held and marker.is_this_run  # whatever was done to the stamp meanwhile
        if not is_living and self._stamped(facts.get("name", "")) != marker.identity:
            return "copied"
        if not facts.get("linked"):
            return "unlinked"
        link = self._path(f"link-{facts['name']}")
        if not link.exists():
            return "copied"
        if not self.file.exists():
            return "gone"
        return "itself" if os.path.samefile(link, self.file) else "replaced"

    def copy_of(self, marker: Marker) -> Path | None:
        """The copy of what was in the file before the run that wrote the marker."""
        path = self._path(f"before-{marker.facts.get('name', '')}.db")
        return path if marker.facts.get("copied") else None

    def other_links(self) -> int:
        """How many names the file has that nobody here knows."""
        if not self.file.exists():
            return 0
        links = self.directory.glob("link-*")
        ours = sum(os.path.samefile(link, self.file) for link in links)  # of a copied directory as well
        return self.file.stat().st_nlink - 1 - ours

    def new_name(self) -> str:
        """What tells the files of one run from those of the next."""
        return uuid.uuid4().hex[:8]

    def path_of_copy(self, name: str) -> Path:
        return self._path(f"before-{name}.db")

    def scratch(self) -> Path:
        """A file for what is being put together; `tidy` removes it."""
        return self._path(f"scratch-{self.new_name()}.db")

    def begin(self, name: str, before: set[str], **facts: Any) -> Marker:
        """Write the marker of this run, in place of that of the last one: from one moment to the next."""
        self._path(f"stamp-{name}").touch()
        marker = new_marker(self._stamped(name) or "", before, name=name, **facts)
        return self.write(self.linked(marker))

    def linked(self, marker: Marker) -> Marker:
        """Link the file that is there now; the marker that says so, if the file system can."""
        link = self._path(f"link-{marker.facts['name']}")
        link.unlink(missing_ok=True)
        try:
            os.link(self.file, link)
        except OSError:  # it is not there yet, or no links here: then only what holds no rows is removed
            return replace(marker, facts={**marker.facts, "linked": False})
        return replace(marker, facts={**marker.facts, "linked": True})

    def write(self, marker: Marker) -> Marker:
        """Write the marker, whole or not at all whenever we are killed."""
        fresh = self._path("marker.new")
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(marker.to_json())
            if marker.facts.get("copied"):
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(self._path("marker.json"))
        if marker.facts.get("copied"):
            sync(self.directory)
        self.tidy(marker)
        return marker

    def tidy(self, marker: Marker | None) -> None:
        """Remove what belongs to another run than that of the marker."""
        name = "" if marker is None else marker.facts["name"]
        kept = {"lock", "marker.json"} | {f"stamp-{name}", f"link-{name}"} | {f"before-{name}.db"}
        with suppress(FileNotFoundError):
            for path in self.directory.iterdir():
                if path.name not in kept and path.name.startswith(_OURS if marker else (*_OURS, *_SIGNS)):
                    path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all of it and let the file go; the directory stays if somebody else put something there."""
        if self.is_held:
            self._end_watchdog(left=False)
            self._path("marker.json").unlink(missing_ok=True)
            self.tidy(None)
            if sys.platform == "win32":  # an open file cannot be removed
                self.release()
            self._path("lock").unlink(missing_ok=True)
        self.release()
        with suppress(OSError):  # somebody else has put something there
            self.directory.rmdir()

    def empty_file(self) -> None:
        """Leave the file without any content, as it was."""
        for ending in JOURNALS:
            self.file.with_name(self.file.name + ending).unlink(missing_ok=True)
        os.truncate(self.file, 0)

    def remove_file(self) -> None:
        """Remove the file itself, and what SQLite keeps beside it."""
        for ending in ("", *JOURNALS):
            self.file.with_name(self.file.name + ending).unlink(missing_ok=True)

    def _stamped(self, name: str) -> str | None:
        try:
            status = os.stat(self._path(f"stamp-{name}"))
        except OSError:
            return None
        return f"{status.st_ino}:{status.st_ctime_ns}"

    def _path(self, name: str) -> Path:
        return self.directory / name


_OURS = ("stamp-", "link-", "before-", "scratch-", "marker.")
_SIGNS = ("signs", "watch")
_held: WeakSet[RunDirectory] = WeakSet()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, would survive a loss of power."""
    with suppress(PermissionError):  # a directory on Windows
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _after_fork() -> None:
    for directory in list(_held):
        directory.release()  # else a child that lives on would hold the lock of a run that was killed


os.register_at_fork(after_in_child=_after_fork)
