"""Which run owns a place that tests may destroy, written down beside the user's other state.

For stores in which no mark of ours may be left, such as a SQLite file or a Redis database. A place is a text
that means one store on this machine. Its record is one small file that names the run; a lock held for as long
as the run lives tells a live run from a dead one.
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

STATE_VARIABLE = "PROTEAN_TESTING_STATE"
"""Names the directory of the records where the user's state directory is not wanted."""


@dataclass
class Claim:
    """A place held by this run.

    Attributes:
        place: What was claimed.
        left_over: True where a run that is dead now had the place and never released it.
        facts: What that run had remembered, for example what was there before it came.
    """

    place: str
    left_over: bool
    facts: dict[str, Any]
    _lock: filelock.BaseFileLock = field(repr=False)
    _pid: int = field(default_factory=os.getpid, repr=False)

    def remember(self, **facts: Any) -> None:
        """Write down what the next run must know should this one die (JSON values, no passwords)."""
        if self.owned:
            _write(self.place, facts)

    @property
    def owned(self) -> bool:
        """False once it was released, and in a forked child."""
        return self._pid == os.getpid() and self._lock.is_locked

    def release(self) -> None:
        """Give the place back: nothing of this run is left in it. Harmless a second time."""
        if self.owned:
            _record(self.place).unlink(missing_ok=True)
            self._let_go()

    def abandon(self) -> None:
        """Let the place go with something of ours still in it: the next run finds it left over."""
        if self.owned:
            self._let_go()

    def _let_go(self) -> None:
        with suppress(OSError):  # an open file cannot be removed on Windows
            _lock_file(self.place).unlink(missing_ok=True)
        self._lock.release()


def claim(place: str) -> Claim:
    """Take a place for this run, until `Claim.release` or the end of the process.

    Parameters:
        place: A text that means one store on this machine, the same in every run, without a password.

    Raises:
        UnsafeStoreError: A live run has it.
        ConfigurationError: The directory of the records cannot be written.
    """
    lock = _lock(place)
    record = _read(place)
    if record is not None and record.in_our_way:  # a file system without locks
        lock.release()
        raise _in_use(place, record)
    facts = {} if record is None else record.facts
    _write(place, facts)
    return Claim(place, record is not None, facts, lock)


def left_over(place: str) -> dict[str, Any] | None:
    """What the dead run that left this place had remembered; None where no dead run left it.

    Parameters:
        place: As for `claim`.

    Raises:
        UnsafeStoreError: A live run has it.
    """
    record = _read(place)
    if record is None:
        return None
    _lock(place).release()
    if record.in_our_way:
        raise _in_use(place, record)
    return record.facts


@dataclass(frozen=True)
class _Run:
    host: str
    pid: int
    created: float
    since: str
    facts: dict[str, Any]

    @property
    def in_our_way(self) -> bool:
        return self.pid != os.getpid() and self.alive

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


def _record(place: str) -> Path:
    return _directory() / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"


def _lock_file(place: str) -> Path:
    return _record(place).with_suffix(".lock")


def _lock(place: str) -> filelock.BaseFileLock:
    path = _lock_file(place)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = filelock.FileLock(path, timeout=0, thread_local=False)
        lock.acquire()
    except filelock.Timeout:
        raise _in_use(place, _read(place)) from None
    except OSError as error:
        raise ConfigurationError(
            f"the record of used test databases cannot be written: {error.strerror} ({path.parent}). "
            f"Name another directory in {STATE_VARIABLE}."
        ) from None
    return lock


def _read(place: str) -> _Run | None:
    try:
        return _Run(**json.loads(_record(place).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(place: str, facts: dict[str, Any]) -> None:
    me = psutil.Process()
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    record = {
        "host": platform.node(),
        "pid": me.pid,
        "created": me.create_time(),
        "since": since,
        "facts": facts,
    }
    path = _record(place)
    fresh = path.with_suffix(f".{me.pid}")
    fresh.write_text(json.dumps(record), encoding="utf-8")
    fresh.replace(path)  # whole or not at all, whenever we are killed


def _in_use(place: str, run: _Run | None) -> UnsafeStoreError:
    if run is None:
        who = "a run that is just starting"
    elif run.pid == os.getpid():
        who = f"this very process (pid {run.pid}) since {run.since}"
    else:
        who = f"pid {run.pid} on {run.host} since {run.since}"
    return UnsafeStoreError(
        f"{place} is in use by {who}: two runs in one place would destroy each other's data. "
        "Wait for it to end, or give this run a database of its own."
    )
