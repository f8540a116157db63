"""Async clients that were given out: their connections are closed at the end of the scope."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import redis.asyncio


class AsyncClients:
    """Remembers each with its event loop, and with how many scopes were open."""

    def __init__(self) -> None:
        self._given: WeakKeyDictionary[Any, tuple[int, asyncio.AbstractEventLoop]] = WeakKeyDictionary()

    def new(self, url: str, depth: int) -> redis.asyncio.Redis:
        client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(url)
        with suppress(RuntimeError):  # no loop runs yet
            self._given[client] = (depth, asyncio.get_running_loop())
        return client

    def hang_up(self, depth: int) -> None:
        """Close the connections of those given out when more scopes were open, where their loop still runs.

        This cannot be awaited: the data is given back by sync code, often inside that very loop.
        """
        for client, (given_at, loop) in list(self._given.items()):
            if given_at <= depth or loop.is_closed():
                continue
            if loop is _running():
                _abort(client)
            elif loop.is_running():
                loop.call_soon_threadsafe(_abort, client)


def _abort(client: Any) -> None:
    pool = client.connection_pool
    for connection in (*pool._available_connections, *pool._in_use_connections):
        writer = getattr(connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
