"""Runs that are alive in a database, of whatever machine: by the names of their connections."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from redis.exceptions import ResponseError

from ...errors import UnsafeStoreError
from ...ownership import marker
from .wire import Wire

_GONE_WITHIN = 1.0  # seconds in which one that came after us, and saw us, has left
_PAUSE = 0.02
_NAME = re.compile(rb"^id=(\d+) .*? name=protean_testing:(\w+):([^:]*):(\d+):(\S*) .*? db=(\d+) ", re.MULTILINE)


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

    def __str__(self) -> str:
        prefix = f" with prefix {self.prefix.decode(errors='backslashreplace')!r}" if self.prefix else ""
        return f"pid {self.pid} on {self.host}{prefix}"


def name_of_connection(prefix: bytes) -> str:
    """What this run calls its connections."""
    host = quote(platform.node(), safe="")
    return f"protean_testing:{marker.RUN}:{host}:{os.getpid()}:{quote(prefix, safe='')}"


def introduce(connection: Any, prefix: bytes) -> None:
    """Name a connection of ours, and have its reads count as no use of a key. Neither is needed."""
    connection.send_command("CLIENT", "SETNAME", name_of_connection(prefix))
    unwatched(connection, read_only=True)


def unwatched(connection: Any, *, read_only: bool = False) -> None:
    """Have what a connection reads count as no use of a key, as far as the server can (Redis 7.2)."""
    connection.send_command("CLIENT", "NO-TOUCH", "ON")
    for _ in range(2 if read_only else 1):
        try:
            connection.read_response(disable_decoding=True)
        except ResponseError:
            pass  # it may not, or is too old


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
        where: The place, for messages.
        named: Whether our own connection has its name already. Of two that come at once the first one stays.

    Returns:
        False if the user may not see the other clients.

    Raises:
        UnsafeStoreError: Naming that run.
    """
    until = time.monotonic() + _GONE_WITHIN
    while found := live_runs(wire, db, prefix):
        (me,) = wire.attempt(("CLIENT", "ID"))
        first = found[0]
        if not named or not isinstance(me, int) or first.number < me or time.monotonic() > until:
            raise UnsafeStoreError(
                f"{where} is in use by {first}: two runs in one place would destroy each other's data. "
                "Wait for it to end, or give this run a database of its own, or a prefix with which none of "
                "the other's keys begins."
            )
        time.sleep(_PAUSE)
    return found is not None
