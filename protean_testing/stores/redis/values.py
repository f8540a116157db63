"""Read keys of every type by DUMP, and write them by RESTORE."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from redis.exceptions import NoPermissionError, ResponseError

from .connection import Command, Wire, checked

AT_ONCE = 1000
"""Keys in one round trip."""


class Value(NamedTuple):
    """What a key holds.

    Attributes:
        payload: As DUMP gives it. Of a stream it has groups, consumers, pending entries, counters and the
            times of delivery; of a hash the times when fields expire.
        expiry: When the key expires, in milliseconds since 1970; None for never.
    """

    payload: bytes
    expiry: int | None

    @property
    def is_telling(self) -> bool:
        """Whether every change of a key of this type makes the server tell those who track it.

        Streams do not: what is done to a group is never told. Types that are unknown here may not.
        """
        return self.payload[0] in _TELLING


# The first byte of a dump: strings, lists, sets, sorted sets and hashes, in encodings up to RDB version 11.
_TELLING = frozenset({0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 16, 17, 18, 20})


class Values:
    """Reads and writes the keys that begin with a prefix, in the database of a connection."""

    def __init__(self, wire: Wire, prefix: bytes) -> None:
        self._wire = wire
        self._prefix = prefix
        self._expiry = "PEXPIRETIME"

    def names(self, limit: int | None = None) -> list[bytes]:
        """The keys that are there, or the first of them."""
        found: dict[bytes, None] = {}  # SCAN may give a key twice
        match = ("MATCH", pattern(self._prefix)) if self._prefix else ()
        cursor = b"0"
        while True:
            ((cursor, names),) = self._wire.call(("SCAN", cursor, *match, "COUNT", AT_ONCE))
            found.update(dict.fromkeys(names))
            if cursor == b"0" or (limit is not None and len(found) >= limit):
                return list(found)[:limit]

    def read(self, names: Iterable[bytes]) -> dict[bytes, Value]:
        """What these keys hold. Those that are not there are left out."""
        found = {}
        for some in parts(names):
            replies = self._wire.attempt(
                *(("DUMP", name) for name in some), *((self._expiry, name) for name in some)
            )
            payloads, expiries = replies[: len(some)], replies[len(some) :]
            if isinstance(expiries[0], ResponseError) and "unknown command" in str(expiries[0]):
                self._expiry = "PTTL"  # Redis 6.2
                return self.read(names)
            now = self.time() if self._expiry == "PTTL" else 0
            for name, payload, expiry in zip(some, checked(payloads), checked(expiries), strict=True):
                if payload is not None:
                    found[name] = Value(payload, None if expiry < 0 else now + expiry)
        return found

    def write(self, values: Mapping[bytes, Value | None]) -> dict[bytes, Value]:
        """Make these keys hold these values (None: nothing), all in one transaction.

        Returns:
            How they look now: the same content can have another payload than before.
        """
        if not values:
            return {}
        kept = {name: value for name, value in values.items() if value is not None}
        commands = [_written(name, value) for name, value in values.items()]
        *_, done = self._wire.call(("MULTI",), *commands, *(("DUMP", name) for name in kept), ("EXEC",))
        payloads = checked(done)[len(values) :]
        return {
            name: Value(payload or value.payload, value.expiry)
            for (name, value), payload in zip(kept.items(), payloads, strict=True)
        }

    def delete(self, names: Collection[bytes]) -> int:
        """How many of these keys there were."""
        return sum(self._wire.call(("UNLINK", *some))[0] for some in parts(names))

    def flush(self) -> None:
        """Delete every key of the database; one by one if the user may not FLUSHDB."""
        (reply,) = self._wire.attempt(("FLUSHDB", "ASYNC"))
        if isinstance(reply, NoPermissionError):
            self.delete(self.names())
        else:
            checked([reply])

    def same(self, one: Value | None, other: Value | None) -> bool:
        """Whether two values are equal; on Redis 6.2 a time to live is only known within 2 ms."""
        if self._expiry == "PEXPIRETIME" or one is None or other is None:
            return one == other
        close = one.expiry == other.expiry or (
            one.expiry is not None and other.expiry is not None and abs(one.expiry - other.expiry) <= 2
        )
        return close and one.payload == other.payload

    def time(self) -> int:
        """The server's time in milliseconds since 1970."""
        ((seconds, micros),) = self._wire.call(("TIME",))
        return int(seconds) * 1000 + int(micros) // 1000


def dump(wire: Wire, values: Values) -> dict[str, list[Any]]:
    """Keys, functions, settings and users, for `verify`. Keys with a time to live go by themselves."""
    held = values.read(values.names())
    found: dict[str, list[Any]] = {
        f"key {name!r}": [value.payload] for name, value in held.items() if value.expiry is None
    }
    functions, settings, users = wire.attempt(("FUNCTION", "LIST"), ("CONFIG", "GET", "*"), ("ACL", "LIST"))
    for library in _allowed(functions):
        found[f"library of functions {library[1]!r}"] = [repr(library)]
    pairs = _allowed(settings)
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        found[f"setting {name.decode()}"] = [value]
    for user in _allowed(users):
        found[f"user {user.split()[1]!r}"] = [user]
    return found


def _allowed(reply: Any) -> list[Any]:
    """Nothing if the server does not know the command, or our user may not say it."""
    return [] if isinstance(reply, ResponseError) else list(reply)


def _written(name: bytes, value: Value | None) -> Command:
    if value is None:
        return ("UNLINK", name)
    return ("RESTORE", name, value.expiry or 0, value.payload, "REPLACE", "ABSTTL")


_GLOB = re.compile(rb"([\\*?\[\]^-])")


def pattern(prefix: bytes) -> bytes:
    """What matches the names that begin with a prefix."""
    return _GLOB.sub(rb"\\\1", prefix) + b"*"


def parts(names: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The names, as many at a time as one call should take."""
    rest = iter(names)
    while some := list(islice(rest, AT_ONCE)):
        yield some
