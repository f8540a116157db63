"""Find runs that are alive in a database, of whatever machine, by the names of their connections."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import psutil
from redis.exceptions import ResponseError

from ...clock import monotonic, sleep
from ...errors import UnsafeStoreError
from ...ownership import marker
from .connection import Command, Wire

_GONE_WITHIN = 1.0  # seconds in which one that came after us, and saw us, has left
_PAUSE = 0.02
_NAME = re.compile(
    rb"^id=(\d+) .*? name=protean_testing:(\w+):([^:]*):(\d+):(\S*) .*? db=(\d+) ", re.MULTILINE
)


@dataclass(frozen=True)
class LiveRun:
    """A run whose connection is there.

    Attributes:
        number: The server's number of the connection: they are counted.
        host, pid: Its process.
        prefix: Of its keys.
    """

    number: int
    host: str
    pid: int
    prefix: bytes

    @property
    def has_just_died(self) -> bool:
        """Whether the server will soon see that it is gone."""
        return self.host == platform.node() and not psutil.pid_exists(self.pid)

    def __str__(self) -> str:
        prefix = f" with prefix {self.prefix.decode(errors='backslashreplace')!r}" if self.prefix else ""
        return f"pid {self.pid} on {self.host}{prefix}"


WATCHDOG = "protean_testing_watchdog"
"""The name of a watchdog's connection: it is no run, and outlives one for a moment."""


def name_of_connection(prefix: bytes) -> str:
    """What this run calls its connections."""
    host = quote(platform.node(), safe="")
    return f"protean_testing:{marker.RUN}:{host}:{os.getpid()}:{quote(prefix, safe='')}"


def introduction(prefix: bytes | None) -> list[Command]:
    """The first commands of a connection of ours: its name, and that what it reads counts as no use of a key.

    Parameters:
        prefix: Of the keys; None before they are this run's.
    """
    named = [] if prefix is None else [("CLIENT", "SETNAME", name_of_connection(prefix))]
    return [*named, ("CLIENT", "NO-TOUCH", "ON")]


def opened(connection: Any, prefix: bytes | None) -> Any:
    """Connect, and introduce ourselves as far as the server and our rights let us."""
    connection.connect()
    for command in introduction(prefix):
        connection.send_command(*command)
        with suppress(ResponseError):
            connection.read_response(disable_decoding=True)
    return connection


def live_runs(wire: Wire, db: int, prefix: bytes) -> list[LiveRun] | None:
    """The other runs whose keys may be this store's too; None if the user may not see them."""
    (clients,) = wire.attempt(("CLIENT", "LIST"))
    if isinstance(clients, ResponseError):
        return None
    found = []
    for number, run, host, pid, quoted, at in _NAME.findall(clients):
        theirs = unquote_to_bytes(quoted)
        overlaps = theirs.startswith(prefix) or prefix.startswith(theirs)
        if overlaps and int(at) == db and run.decode() != marker.RUN:
            machine = unquote_to_bytes(host).decode(errors="replace")
            found.append(LiveRun(int(number), machine, int(pid), theirs))
    return found


def refuse_live_runs(wire: Wire, db: int, prefix: bytes, where: str, *, named: bool) -> bool:
    """Refuse a database in which another run is at work.

    Parameters:
        where: The database, for messages.
        named: Whether our own connection has its name already. Of two that come at once the first one stays.

    Returns:
        False if the user may not see the other clients.

    Raises:
        UnsafeStoreError: Naming that run.
    """
    until = monotonic() + _GONE_WITHIN
    while found := live_runs(wire, db, prefix):
        (me,) = wire.attempt(("CLIENT", "ID"))
        first = next((run for run in found if not run.has_just_died), found[0])
        comes_first = not named or not isinstance(me, int) or first.number < me
        if (comes_first and not first.has_just_died) or monotonic() > until:
            raise UnsafeStoreError(
                f"{where} is in use by {first}: two runs in one place would destroy each other's data. "
                "Wait for it to end, or give this run a database of its own, or a prefix with which none of "
                "the other's keys begins."
            )
        sleep(_PAUSE)
    return found is not None
