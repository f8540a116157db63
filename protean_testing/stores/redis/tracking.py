"""Know which keys were written: the server tells a second connection, whoever the writer is.

This is the server's own client-side caching in its broadcasting mode
(https://redis.io/docs/latest/develop/reference/client-side-caching/): no setting of the server is changed,
and nothing is kept in the database. By the time a writer has its reply, what it wrote is on its way to us.
"""

from __future__ import annotations

import re
from typing import Any

from redis.exceptions import ResponseError

from .connection import LOST, Command, Wire
from .settings import calls_in

_CHANNEL = b"__redis__:invalidate"


class Tracking:
    """Collects the names of written keys, in whatever database of the server they are.

    Parameters:
        wire: The connection that writes for us; its own writes are not among them.
        listener: A connection for this alone.
        prefix: Only keys that begin with it.

    Attributes:
        written: The keys written between `begin` or `settled` and the last `ask`; None if that is not known.
        listener_number: The server's number of the second connection; 0 if there is none.
        calls: How often settings had been changed at the last `ask`.
    """

    def __init__(self, wire: Wire, listener: Wire, prefix: bytes) -> None:
        self._wire = wire
        self._listener = listener
        self._prefix = prefix
        self.written: set[bytes] | None = None
        self._since = (0, 0)
        self._swaps = b""
        self.listener_number = 0
        self.calls: list[bytes] = []

    def begin(self) -> ResponseError | None:
        """Collect from now on.

        Returns:
            The server's answer if it does not let us; else None.
        """
        prefix = ("PREFIX", self._prefix) if self._prefix else ()
        self._listener.open()
        replies = self._listener.attempt(("CLIENT", "ID"), ("SUBSCRIBE", _CHANNEL))
        _, *more, statistics = self._wire.attempt(
            ("CLIENT", "TRACKING", "OFF"),
            ("CLIENT", "TRACKING", "ON", "REDIRECT", _number(replies[0]), "BCAST", *prefix, "NOLOOP"),
            ("INFO", "commandstats"),
        )
        refused = next((one for one in replies + more if isinstance(one, ResponseError)), None)
        if refused is not None:
            self._listener.close()
            return refused
        self.written = set()
        self.listener_number = _number(replies[0])
        self._since = self._generations
        self._swaps = swaps_in(statistics)
        return None

    def end(self) -> None:
        """Collect no more."""
        if self.written is not None:
            self.written = None
            self._listener.close()
            self._wire.attempt(("CLIENT", "TRACKING", "OFF"))

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands of others and collect what was written before, in one round trip.

        Returns:
            The replies to the commands.
        """
        if self.written is not None:
            try:
                self._listener.send(("PING",))  # its answer comes after all that was sent before
            except LOST:
                self.written = None
        # What is not told is counted: a database that was swapped for another, a setting that was changed.
        *replies, statistics = self._wire.attempt(*commands, ("INFO", "commandstats"))
        self.calls = calls_in(statistics)
        if self.written is None:
            return replies
        if self._since != self._generations or swaps_in(statistics) != self._swaps or not self._listen():
            self.written = None
        return replies

    def settled(self) -> None:
        """Begin a new set: what was written is dealt with."""
        if self.written is not None:
            self.written = set()

    @property
    def _generations(self) -> tuple[int, int]:
        return (self._wire.generation, self._listener.generation)

    def _listen(self) -> bool:
        """Read what the server has sent. False if everything may have been written, or something was lost."""
        assert self.written is not None
        try:
            while True:
                reply = self._listener.receive()
                if isinstance(reply, ResponseError):  # a script is running
                    return False
                kind, *_, names = reply
                if kind == b"pong":
                    return True
                if names is None:  # a database was flushed
                    return False
                self.written.update(names)
        except LOST:
            return False


def _number(reply: object) -> int:
    return reply if isinstance(reply, int) else 0


def swaps_in(statistics: object) -> bytes:
    """How many databases were swapped; nothing if none was, or if we may not know."""
    found = re.search(rb"cmdstat_swapdb:calls=(\d+)", statistics) if isinstance(statistics, bytes) else None
    return found[1] if found else b""
