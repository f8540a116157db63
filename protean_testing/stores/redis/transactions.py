"""Find clients that the code under test left inside a MULTI, subscribed, or waiting for a key.

What is queued behind a MULTI would be written into a later test; who waits for a key would take it there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from redis.exceptions import ResponseError

from ...errors import OpenTransactionError
from ...waiting import make_way
from .connection import Wire, checked

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

    sleeps = True

    @property
    def version(self) -> OpenMulti:
        return self

    def __str__(self) -> str:
        return f"client {self.number} ({self.address}): MULTI, {self.queued} queued, the last {self.command}"


def clients_in(clients: bytes, db: int) -> Iterator[dict[str, str]]:
    """The clients in the answer of CLIENT LIST that are in this database."""
    for line in clients.decode(errors="replace").splitlines():
        facts = dict(fact.partition("=")[::2] for fact in line.split(" "))
        if facts.get("db") == str(db):
            yield facts


def open_multis(clients: bytes, db: int) -> list[OpenMulti]:
    """Those of `clients_in` that are behind a MULTI."""
    if not _IN_MULTI.search(clients):  # after every test, so without splitting the answer
        return []
    return [
        OpenMulti(int(one["id"]), int(one["multi"]), one.get("addr", ""), one.get("cmd", "").upper())
        for one in clients_in(clients, db)
        if "x" in one["flags"]
    ]


def waiting(clients: bytes, db: int, before: Collection[int]) -> dict[int, str]:
    """Those of `clients_in` that subscribe, or wait in a command.

    Parameters:
        before: The numbers of clients that may.

    Returns:
        By the client's number, what it does.
    """
    found: dict[int, str] = {}
    if {int(number) for number in _WAITING.findall(clients)} <= set(before):
        return found
    for one in clients_in(clients, db):
        number = int(one["id"])
        if number not in before and {"P", "b"} & set(one["flags"]):
            channels = sum(int(one.get(kind, 0)) for kind in ("sub", "psub", "ssub"))
            command = one.get("cmd", "").upper()
            what = f"{channels} subscriptions" if "P" in one["flags"] else f"waits in {command}"
            found[number] = f"client {number} ({one.get('addr', '')}): {what}"
    return found


def wait_until_closed(
    found: list[OpenMulti], wire: Wire, db: int, wait: float, *, end: bool
) -> list[OpenMulti]:
    """Wait for those at work, see `waiting.make_way`.

    Parameters:
        found: Those that are open now.
        wait: Seconds for those at work.
        end: Whether the clients of those that are still are disconnected; otherwise they are an error too.
    """
    known = [found]

    def look() -> list[OpenMulti]:
        return known.pop() if known else open_multis(checked(wire.attempt(("CLIENT", "LIST")))[0], db)

    def kill(multi: OpenMulti) -> None:
        (killed,) = wire.attempt(("CLIENT", "KILL", "ID", multi.number))
        if isinstance(killed, ResponseError):
            raise OpenTransactionError(f"  {multi}\nIt could not be ended: {killed}")

    return make_way(look, wait, kill if end else None)
