"""Give each worker process a Redis database of its own: a higher number on the given server.

The number is the worker's while it holds the record of it on this machine, and a connection to it, which
tells other machines. What is no worker's, and not empty, is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from contextlib import suppress

from redis.exceptions import RedisError, ResponseError

from ... import ownership
from ...errors import ConfigurationError, UnsafeStoreError
from ...ownership import all_left
from ...workers import worker
from . import server
from .acquire import refuse_too_many, watch
from .address import Address, from_url, with_db
from .connection import LOST, Wire
from .handle import RedisHandle
from .ownership import KIND, ask_now, clean_command, judge, location_text, new_facts
from .transactions import clients_in
from .values import Values, parts

TIME_LIMIT = 10.0  # seconds
MOST = 256
"""Numbers from this on are not looked for."""

_own: dict[Hashable, Number] = {}  # by the given address, and by their own
os.register_at_fork(after_in_child=_own.clear)


class Number:
    """One database of a server, for this worker alone.

    Attributes:
        address: Where it is.
    """

    def __init__(self, given: Address, held: RedisHandle, acquired: ownership.Acquired) -> None:
        self.address = held.address
        self._given, self._held, self._acquired = given, held, acquired
        self._users: list[RedisHandle] = []

    def handle(self, prefix: str, wait: float) -> RedisHandle:
        """A handle in it."""
        handle = RedisHandle(self.address, prefix, wait, private=True, own=self)
        self._users.append(handle)
        return handle

    def left(self, handle: RedisHandle) -> None:
        """Release it, if this was the last handle in it."""
        if handle in self._users:
            self._users.remove(handle)
        if self._users:
            return
        for key in (self._given.key, self.address.key):
            _own.pop(key, None)
        try:
            try:
                holds_keys = _holds_keys(self._held.wire)
            except LOST:  # the server has ended this connection long ago: on a new one
                holds_keys = _holds_keys(self._held.wire)
            if holds_keys:
                self._acquired.abandon()
            else:
                self._acquired.release()
        except RedisError:
            self._acquired.abandon()
        finally:
            self._held.close()

    def refuse_too_many(self, store: str, limit: int) -> None:
        """As of `taking`, for the given database, which each worker copies."""
        given = RedisHandle(self._given, "", TIME_LIMIT)
        try:
            refuse_too_many(given, store, limit)
        finally:
            given.close()

    def copy_given(self) -> None:
        """Put a copy of every key of the given database into it.

        Raises:
            redis.exceptions.RedisError: The server refuses.
        """
        source = _wire(self._given, TIME_LIMIT)
        try:
            for names in parts(Values(source, b"").names()):
                source.call(*(("COPY", name, name, "DB", self.address.db, "REPLACE") for name in names))
        finally:
            source.close()


def worker_number(given: Address, store: str, wait: float) -> Number | None:
    """The database of this worker in place of a given one; None if this process is no worker.

    Parameters:
        given: A database of the server; the worker's has a higher number.
        store: What messages call the store.
        wait: Seconds to wait for the server.

    Raises:
        ConfigurationError: The server cannot be used, or has no number left.
    """
    me = worker()
    if me is None:
        return None
    if given.key not in _own:
        handle = RedisHandle(given, "", wait)
        try:
            server.check(handle, store)
        finally:
            handle.close()
        number = _taken(given, store, wait)
        _own[given.key] = _own[number.address.key] = number
    return _own[given.key]


def worker_redis_url(url: str, store: str, wait: float = TIME_LIMIT) -> str:
    """Where this process has the Redis database that `url` gives: see `worker_number`."""
    number = worker_number(from_url(url), store, wait)
    return url if number is None else number.address.url


def sweep(given: Address) -> None:
    """Clear the numbers that dead workers of this machine have left, of what can be proven to be theirs."""
    wire = _wire(given, TIME_LIMIT)
    try:
        now = ask_now(wire)
    except LOST:
        return
    finally:
        wire.close()
    for left in all_left(KIND):
        if not (left.facts.get("own") and left.facts.get("server") == now.server):
            continue
        with suppress(UnsafeStoreError, RedisError):
            acquired = ownership.acquire(location_text(left.facts))
            wire = _wire(with_db(given, left.facts["db"]), TIME_LIMIT)
            settled = False
            try:
                settled = acquired.facts == left.facts and judge(wire, left, now).settle()
            finally:
                acquired.release() if settled else acquired.abandon()
                wire.close()


def _taken(given: Address, store: str, wait: float) -> Number:
    sweep(given)
    used: list[str] = []
    last = given.db
    for address in _higher(given):
        handle = RedisHandle(address, "", wait)
        wire = handle.wire
        try:
            wire.call(("PING",))
        except ResponseError:  # there is no such number
            handle.close()
            break
        last = address.db
        facts = new_facts(ask_now(wire), address, b"", own=True)
        try:
            acquired = ownership.acquire(location_text(facts), name=f"Redis database {address}")
        except UnsafeStoreError:
            used.append(f"{last} by another worker")
        else:
            handle.introduce()
            if not _others_are_in(wire, address.db) and not _holds_keys(wire):
                acquired.remember(**facts)
                watch(acquired, handle)
                return Number(given, handle, acquired)
            acquired.abandon() if acquired.left_over else acquired.release()
            used.append(f"{last} by others, or for keys that we did not make")
        handle.close()
    listed = ", ".join(used) or "there is none"
    raise ConfigurationError(
        f"store {store!r}: each worker has a Redis database of its own, with a higher number than {given}. "
        f"The server has {last + 1} databases, and none of them is left: {listed}.\n"
        "Run fewer workers, give a lower number, raise `databases` in the server's settings, or leave the "
        "URL out for private servers. What killed workers left is listed and cleared by:  "
        f"{clean_command(with_db(given, given.db + 1), b'')}"
    )


def _higher(given: Address) -> Iterator[Address]:
    for number in range(given.db + 1, MOST):
        yield with_db(given, number)


def _wire(address: Address, wait: float) -> Wire:
    return Wire(lambda: address.connection(wait))


def _others_are_in(wire: Wire, db: int) -> bool:
    """Whether somebody was connected to it before us, from whatever machine."""
    me, clients = wire.attempt(("CLIENT", "ID"), ("CLIENT", "LIST"))
    if isinstance(me, ResponseError) or isinstance(clients, ResponseError):
        return False  # we may not ask
    return any(int(one["id"]) < int(me) for one in clients_in(clients, db))


def _holds_keys(wire: Wire) -> bool:
    return bool(Values(wire, b"").names(1))
