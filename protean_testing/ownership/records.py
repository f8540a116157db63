"""Acquire a database or Redis among the runs of this machine: a lock, and a record in the state directory.

For stores in which no marker may be left, such as a Redis database. A location is a text that means one
store on this machine. Its record is one small file that names the run; a lock held for as long as the run
lives distinguishes a live run from a dead one.

A record says who is alive, and what was there before. It never says that something may be deleted: for that
a store needs a proof of its own (a marker in the location; in Redis, when each key was last touched).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import filelock
import platformdirs
import psutil

from ..errors import ConfigurationError, UnsafeStoreError
from .watching import Signs, Watchdog, read_signs

STATE_VARIABLE = "PROTEAN_TESTING_STATE"
"""Names the directory of the records if the user's state directory is not wanted."""


@dataclass
class Acquired:
    """A location that this run has acquired.

    Attributes:
        location: What was acquired.
        left_over: True if a run that is dead now had the location and never released it.
        facts: What that run had remembered, for example what was there before it came.
    """

    location: str
    left_over: bool
    facts: dict[str, Any]
    _lock: filelock.BaseFileLock = field(repr=False)
    _pid: int = field(default_factory=os.getpid, repr=False)
    _watchdog: Watchdog | None = field(default=None, repr=False)
    _gone: bool = field(default=False, repr=False)

    def remember(self, **facts: Any) -> None:
        """Write down what the next run must know should this one die (JSON values, no passwords)."""
        if self.owned:
            _write(self.location, facts)

    @property
    def owned(self) -> bool:
        """False once it was released, in a forked child, and if another run has taken the location.

        The lock is not asked: filelock lets go of it before the exit handlers that end a run.
        """
        if self._gone or self._pid != os.getpid():
            return False
        record = _read(_record(self.location))
        return record is None or record.is_mine

    def file(self, suffix: str) -> Path:
        """A file beside the record, for what is too large for it. It goes when the location is released."""
        return _record(self.location).with_suffix(f".{suffix}")

    def watch(self, **facts: Any) -> None:
        """Have it written down when this run was last alive, also if it is killed; see `Left.signs`.

        Parameters:
            facts: What else the watchdog must know; it may hold passwords.
        """
        if self.owned and self._watchdog is None:
            self.file("signs").unlink(missing_ok=True)  # those of the run before
            self._watchdog = Watchdog(self.file("signs"), self.file("watch"), **facts)

    def release(self) -> None:
        """Release the location: nothing of this run is left in it. Harmless a second time."""
        if self.owned:
            self._end_watchdog(left=False)
            _remove(_record(self.location))
            self._let_go()

    def abandon(self, *, is_silent: bool = False) -> None:
        """Release the location with something of ours still in it: the next run finds it left over.

        Parameters:
            is_silent: Its server does not answer, the watchdog neither: who takes it next waits for that one.
        """
        if self.owned:
            self._end_watchdog(left=True, waits=not is_silent)
            self._let_go()

    def _end_watchdog(self, *, left: bool, waits: bool = True) -> None:
        if self._watchdog is not None:
            self._watchdog.end(left=left)
            if waits:
                read_signs(self.file("signs"), self.file("watch"))  # it has ended
            self._watchdog = None

    def _let_go(self) -> None:
        self._gone = True
        with suppress(OSError):  # an open file cannot be removed on Windows
            if self._lock.is_locked:
                _lock_file(self.location).unlink(missing_ok=True)
        self._lock.release()


@dataclass(frozen=True)
class Left:
    """What is written down of a run that is dead, or never released its location.

    Attributes:
        facts: What it had remembered.
        run: Who had the location last, for messages.
    """

    facts: dict[str, Any]
    run: str
    _path: Path = field(repr=False)

    @property
    def signs(self) -> Signs | None:
        """When it was last alive; None if that is not known. Waits for a watchdog that still writes."""
        return read_signs(self.file("signs"), self.file("watch"))

    def file(self, suffix: str) -> Path:
        """As of `Acquired.file`."""
        return self._path.with_suffix(f".{suffix}")


def all_left(kind: str) -> list[Left]:
    """Every location that a run left and no live run has, by records with this ``kind`` among their facts.

    Unreadable records, and those of other versions, are nobody's.
    """
    found = []
    with suppress(OSError):
        for path in sorted(_directory().glob("*.json")):
            record = _read(path)
            if record is None or record.facts.get("kind") != kind or record.in_our_way:
                continue
            # Asking for a lock keeps a run out that begins just now: only if it may be held.
            may_live = record.host != platform.node() or psutil.pid_exists(record.pid)
            if not (may_live and _is_locked(path.with_suffix(".lock"))):
                found.append(Left(record.facts, str(record), path))
    return found


def acquire(location: str, *, name: str = "") -> Acquired:
    """Acquire a location for this run, until `Acquired.release` or the end of the process.

    Parameters:
        location: A text that means one store on this machine, the same in every run, without a password.
        name: What messages call it instead.

    Raises:
        UnsafeStoreError: A live run has it.
        ConfigurationError: The directory of the records cannot be written.
    """
    lock = _lock(location, name)
    record = _read(_record(location))
    if record is not None and record.in_our_way:  # a file system without locks
        lock.release()
        raise _in_use(name or location, record)
    facts = {} if record is None else record.facts
    _write(location, facts)
    return Acquired(location, record is not None, facts, lock)


def left_over(location: str, *, name: str = "") -> dict[str, Any] | None:
    """What the dead run that left this location had remembered; None if no dead run left it.

    Parameters:
        location, name: As for `acquire`.

    Raises:
        UnsafeStoreError: A live run has it.
    """
    record = _read(_record(location))
    if record is None:
        return None
    _lock(location, name).release()
    if record.in_our_way:
        raise _in_use(name or location, record)
    return record.facts


@dataclass(frozen=True)
class _Run:
    host: str
    pid: int
    created: float
    since: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}"

    @property
    def in_our_way(self) -> bool:
        return self.pid != os.getpid() and self.alive

    @property
    def is_mine(self) -> bool:
        return self.pid == os.getpid() and self.host == platform.node() and self.alive

    @property
    def alive(self) -> bool:
        if self.host != platform.node():
            return False  # its lock would be held
        try:
            process = psutil.Process(self.pid)
            is_dead = process.status() == psutil.STATUS_ZOMBIE  # its parent has not looked yet
            return not is_dead and abs(process.create_time() - self.created) < 1
        except psutil.Error:
            return False


def _directory() -> Path:
    given = os.environ.get(STATE_VARIABLE)
    return Path(given) if given else Path(platformdirs.user_state_dir("protean_testing", appauthor=False))


def _record(location: str) -> Path:
    return _directory() / f"{hashlib.sha256(location.encode()).hexdigest()[:32]}.json"


def _lock_file(location: str) -> Path:
    return _record(location).with_suffix(".lock")


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    lock = filelock.FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    lock.release()
    return False


def _lock(location: str, name: str = "") -> filelock.BaseFileLock:
    path = _lock_file(location)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = filelock.FileLock(path, timeout=0, thread_local=False)
        lock.acquire()
    except filelock.Timeout:
        raise _in_use(name or location, _read(_record(location))) from None
    except OSError as error:
        raise ConfigurationError(
            f"the record of used test databases cannot be written: {error.strerror} ({path.parent}). "
            f"Name another directory in {STATE_VARIABLE}."
        ) from None
    return lock


def _read(path: Path) -> _Run | None:
    """None too for one that is half written, or of another version: nothing follows from that."""
    try:
        run = _Run(**json.loads(path.read_text(encoding="utf-8")))
        numbers = isinstance(run.pid, int) and isinstance(run.created, int | float)
        return run if numbers and isinstance(run.facts, dict) else None
    except (OSError, ValueError, TypeError):
        return None


def _remove(record: Path) -> None:
    """The record, and what is beside it; the record last, since it alone says that there is more."""
    for path in record.parent.glob(f"{record.stem}.*"):
        if path.suffix not in (".lock", record.suffix):
            path.unlink(missing_ok=True)
    record.unlink(missing_ok=True)


def _write(location: str, facts: dict[str, Any]) -> None:
    me = psutil.Process()
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    record = {
        "host": platform.node(),
        "pid": me.pid,
        "created": me.create_time(),
        "since": since,
        "facts": facts,
    }
    path = _record(location)
    fresh = path.with_suffix(f".{me.pid}")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(record), encoding="utf-8")
    fresh.replace(path)  # whole or not at all, whenever we are killed


def _in_use(location: str, run: _Run | None) -> UnsafeStoreError:
    if run is None:
        who = "a run that is just starting"
    elif run.pid == os.getpid():
        who = f"this very process (pid {run.pid}) since {run.since}"
    else:
        who = str(run)
    return UnsafeStoreError(
        f"{location} is in use by {who}: two runs in one place would destroy each other's data. "
        "Wait for it to end, or give this run a database of its own."
    )
