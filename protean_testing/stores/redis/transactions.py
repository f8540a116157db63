"""Clients that the code under test left in the middle of something.

What is queued behind a MULTI would be written into a later test; who waits for a key would take it there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass

from redis.exceptions import ResponseError

from ...errors import OpenTransactionError
from .wire import Wire, checked

GRACE = 0.25
"""Seconds that a client has to be still while we look before its transaction counts as left open."""

_PAUSE = 0.01
_IN_MULTI = re.compile(rb" flags=[^ ]*x")
_WAITING = re.compile(rb"^id=(\d+) .* flags=[^ ]*[Pb]", re.MULTILINE)


@dataclass(frozen=True)
class OpenMulti:
    """A client that has said MULTI, and neither EXEC nor DISCARD.

    Attributes:
        number: The server's number of the client.
        queued: How many commands wait for EXEC.
        address: Where the client is, as the server sees it.
        command: The last one.
    """

    number: int
    queued: int
    address: str
    command: str

    def __str__(self) -> str:
        return f"client {self.number} ({self.address}): MULTI, {self.queued} queued, the last {self.command}"


def open_multis(clients: bytes, db: int) -> list[OpenMulti]:
    """Those in the answer of CLIENT LIST that are in this database."""
    if not _IN_MULTI.search(clients):
        return []
    found = []
    for line in clients.decode(errors="replace").splitlines():
        facts = dict(fact.partition("=")[::2] for fact in line.split(" "))
        if "x" in facts.get("flags", "") and facts.get("db") == str(db):
            found.append(
                OpenMulti(
                    int(facts["id"]), int(facts["multi"]), facts.get("addr", ""), facts.get("cmd", "").upper()
                )
            )
    return found


def waiting(clients: bytes, db: int, before: Collection[int]) -> dict[int, str]:
    """Those in the answer of CLIENT LIST that subscribe, or wait in a command, in this database.

    Parameters:
        before: The numbers of clients that may.

    Returns:
        By the client's number, what it does.
    """
    found: dict[int, str] = {}
    if {int(number) for number in _WAITING.findall(clients)} <= set(before):
        return found
    for line in clients.decode(errors="replace").splitlines():
        facts = dict(fact.partition("=")[::2] for fact in line.split(" "))
        number, flags, command = int(facts["id"]), facts["flags"], facts.get("cmd", "").upper()
        if number in before or facts.get("db") != str(db) or not {"P", "b"} & set(flags):
            continue
        channels = sum(int(facts.get(kind, 0)) for kind in ("sub", "psub", "ssub"))
        what = f"{channels} subscriptions" if "P" in flags else f"waits in {command}"
        found[number] = f"client {number} ({facts.get('addr', '')}): {what}"
    return found


def wait_until_closed(
    found: list[OpenMulti], wire: Wire, db: int, wait: float, *, end: bool
) -> list[OpenMulti]:
    """Wait for those at work.

    Parameters:
        found: Those that are open now.
        wait: Seconds for those at work.
        end: Whether the clients of those that are still are disconnected; otherwise they are an error too.

    Returns:
        What was ended.

    Raises:
        OpenTransactionError: One stayed open.
    """
    begin = time.monotonic()
    still: dict[OpenMulti, float] = {}
    ended: list[OpenMulti] = []
    while found:
        now = time.monotonic()
        for multi in found:
            if now - still.setdefault(multi, now) < min(GRACE, wait):
                continue
            if not end:
                raise OpenTransactionError(str(multi))
            (killed,) = wire.attempt(("CLIENT", "KILL", "ID", multi.number))
            if isinstance(killed, ResponseError):
                raise OpenTransactionError(f"  {multi}\nIt could not be ended: {killed}")
            ended.append(multi)
        if now - begin > wait + GRACE:
            raise OpenTransactionError("\n".join(f"  {multi}" for multi in found))
        time.sleep(_PAUSE)
        found = open_multis(checked(wire.attempt(("CLIENT", "LIST")))[0], db)
    return ended
