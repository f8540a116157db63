"""Give out async clients, and close their connections at the end of the scope."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis.asyncio


@dataclass(frozen=True)
class _Given:
    client: redis.asyncio.Redis
    depth: int
    loop: asyncio.AbstractEventLoop


class AsyncClients:
    """Remembers each with its event loop, and with how many scopes were open."""

    def __init__(self) -> None:
        self._given: list[_Given] = []

    def new(self, url: str, depth: int) -> redis.asyncio.Redis:
        client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(url)
        with suppress(RuntimeError):  # no loop runs yet
            self._given.append(_Given(client, depth, asyncio.get_running_loop()))
        return client

    def hang_up(self, depth: int) -> None:
        """Close the connections of those given out when more scopes were open, where their loop still runs.

        This cannot be awaited: the data is restored by sync code, often inside that very loop.
        """
        ending = [given for given in self._given if given.depth > depth]
        self._given = [given for given in self._given if given.depth <= depth]
        for given in ending:
            if given.loop is _running():
                _abort(given.client)
            elif given.loop.is_running():
                given.loop.call_soon_threadsafe(_abort, given.client)


def _abort(client: Any) -> None:
    pool = client.connection_pool
    for connection in (*pool._available_connections, *pool._in_use_connections):
        writer = getattr(connection, "_writer", None)
        if writer is not None:
            connection._reader = connection._writer = None
            writer.transport.abort()


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
