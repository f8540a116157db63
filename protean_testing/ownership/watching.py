"""Start the watchdog of a run, and read what that of a dead run wrote."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

from ..clock import monotonic, sleep

_READY_WITHIN = 5.0  # seconds
_WRITTEN_WITHIN = 5.0  # seconds after the death of a run


def uptime() -> float:
    """Seconds of the clock that the watchdog uses: nobody sets it, and it begins again with the machine."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class Signs:
    """What is known of a dead run's last moments.

    Attributes:
        dead: Whether its very death was seen; else it was last seen alive then, and died later.
        uptime: When, by a clock of this machine that nobody sets; it begins again with the machine.
        server: When, in milliseconds since 1970, by the Redis server's clock.
        keys: Hashes of what the keys held when it died, by their names (latin-1); None if that is not known.
        complete: Whether these are all that there were.
        looked: When a run has looked at them since, by the server's clock.
    """

    dead: bool
    uptime: float
    server: int | None = None
    keys: dict[str, str] | None = field(default=None, repr=False)
    complete: bool = False
    looked: int | None = None


class Watchdog:
    """A process that outlives this one for a moment, see `watchdog`. Without one less can be proven later.

    Parameters:
        signs: The file that it writes.
        lock: A file that it keeps locked while it works.
        facts: What else it must know.
    """

    def __init__(self, signs: Path, lock: Path, **facts: Any) -> None:
        self._pid = os.getpid()
        self._orders: int | None = None
        if os.name != "posix" or not sys.executable:
            return
        asked, self._orders = os.pipe()
        ready, answer = os.pipe()
        try:
            starter = subprocess.Popen(  # it ends at once, and leaves the watchdog
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("watchdog.py"))],
                stdin=asked,
                stdout=answer,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
            os.close(answer)
            answer = -1
            line = {"signs": str(signs), "lock": str(lock), "run": os.getpid(), **facts}
            os.write(self._orders, json.dumps(line).encode() + b"\n")
            starter.wait()
            poll = select.poll()  # descriptors above 1023 are none for select.select
            poll.register(ready, select.POLLIN)
            poll.poll(_READY_WITHIN * 1000)
            _watched.add(self)
        except OSError:
            self._close()
        finally:
            for descriptor in (asked, ready, answer):
                if descriptor >= 0:
                    os.close(descriptor)

    def end(self, *, left: bool) -> None:
        """End it.

        Parameters:
            left: Whether something of this run is still in the location: then it writes down what.
        """
        if self._orders is not None and self._pid == os.getpid():
            with suppress(OSError):
                os.write(self._orders, b"left\n" if left else b"over\n")
        self._close()

    def _close(self) -> None:
        orders, self._orders = self._orders, None
        if orders is not None:
            with suppress(OSError):
                os.close(orders)


_watched: WeakSet[Watchdog] = WeakSet()


def _after_fork() -> None:
    for watchdog in list(_watched):
        watchdog._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def read_signs(signs: Path, lock: Path) -> Signs | None:
    """What the watchdog of a dead run wrote, once it has written it; None if it is not known."""
    _await_end(lock)
    try:
        return Signs(**json.loads(signs.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _await_end(lock: Path) -> None:
    """Wait until no watchdog holds its lock, so that it has written the last that it will."""
    if os.name != "posix":
        return
    import fcntl

    until = monotonic() + _WRITTEN_WITHIN
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return
    try:
        while monotonic() < until:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                sleep(0.005)
    finally:
        os.close(descriptor)
