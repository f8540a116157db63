"""The handle of one database, or of the keys there with one prefix, which the stores in it share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol
from weakref import WeakSet

import redis
from redis.exceptions import ResponseError

from ... import ownership
from . import live
from .address import Address
from .async_clients import AsyncClients
from .connection import Wire
from .data import Data


class Own(Protocol):
    """A worker's own database in place of a given one, see `worker_number.Number`."""

    def left(self, handle: RedisHandle) -> None: ...

    def refuse_too_many(self, store: str, limit: int) -> None: ...

    def copy_given(self) -> None: ...


class RedisHandle:
    """Where a store is, and all that is open there.

    Attributes:
        address: The database.
        prefix: The keys of the store begin with it.
        wait: Seconds to wait for the server.
        private: True if the server was started for this run alone, or the number is this worker's own.
        own: That number.
        server: What the server calls itself, once the database was acquired.
        closed: True when it is not used any more.
        acquired: What keeps other runs out; a private database needs none.
        data: None before the database was acquired, and after it was released.
        forbidden: What the user of the server may not do, as far as it was reported.
    """

    def __init__(
        self,
        address: Address,
        prefix: str,
        wait: float,
        *,
        private: bool = False,
        own: Own | None = None,
    ) -> None:
        self.address = address
        self.prefix = prefix.encode()
        self.wait = wait
        self.private = private
        self.own = own
        self.server = ""
        self.closed = False
        self.wire = Wire(self._connect)
        self.acquired: ownership.Acquired | None = None
        self.data: Data | None = None
        self.forbidden: set[str] = set()
        self.async_clients = AsyncClients()
        self._listener = Wire(self._connect)
        self._alive = Wire(self._connect)
        self._is_introduced = False
        self._client: redis.Redis | None = None

    @property
    def key(self) -> Hashable:
        return ("redis", self.address.key, self.prefix)

    def __str__(self) -> str:
        prefix = f" with prefix {self.prefix.decode()!r}" if self.prefix else ""
        return f"Redis database {self.address}{prefix}"

    def overlaps(self, other: RedisHandle) -> bool:
        """Whether keys can belong to both, though they are not equal."""
        return (
            self.address.key == other.address.key and self.prefix != other.prefix and self.shares_keys(other)
        )

    def shares_keys(self, other: RedisHandle) -> bool:
        """Whether keys can belong to both, if they are in one database."""
        return self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)

    def is_on_server_of(self, other: RedisHandle) -> bool:
        """Whether the other is in the same database by another URL, as far as that is known."""
        here, there = (self.server, self.address.db), (other.server, other.address.db)
        return bool(self.server) and here == there and self.address.key != other.address.key

    def introduce(self) -> bool:
        """Tell other runs, of whatever machine, that these keys are this run's. False if we may not."""
        self._is_introduced = True
        replies = self.wire.attempt(*live.introduction(self.prefix))
        return not isinstance(replies[0], ResponseError)

    def sign_of_life(self) -> int:
        """The server's number of a connection that nobody uses, and that ends when this process does."""
        (number,) = self._alive.attempt(("CLIENT", "ID"))
        return number if isinstance(number, int) else 0

    def _connect(self) -> Any:
        prefix = self.prefix if self._is_introduced else None
        return live.opened(self.address.connection(self.wait), prefix)

    def new_data(self, report: Callable[[str, str], None]) -> Data:
        return Data(self.wire, self._listener, self.address.db, self.prefix, self.wait, report)

    def client(self) -> redis.Redis:
        if self._client is None:
            self._client = redis.Redis(connection_pool=self.address.pool())
        return self._client

    def close(self) -> None:
        """Harmless when repeated: several stores may share this handle."""
        if self.closed:
            return
        self.closed = True
        if self.acquired is not None:
            self.acquired.abandon(is_silent=self.address.patience(0.0).is_gone)
        self.wire.close()
        self._listener.close()
        self._alive.close()
        if self._client is not None:
            self._client.connection_pool.disconnect()
        in_use.discard(self)
        if self.own is not None:
            self.own.left(self)


in_use: WeakSet[RedisHandle] = WeakSet()
"""The handles of databases that this process has acquired."""
