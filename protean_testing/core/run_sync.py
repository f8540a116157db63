"""Waits for what a store's method returns, so that sync and async stores share one lifecycle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from inspect import isawaitable
from os import register_at_fork
from typing import Any


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One event loop in a thread of its own: a store's client stays bound to it for the whole run."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="protean_testing", daemon=True).start()
    return loop


register_at_fork(after_in_child=_loop.cache_clear)  # its thread is not there


def run_sync(value: Any) -> Any:
    """The value itself, or what it comes to if it is awaitable.

    Works with and without a running event loop; the awaitable runs in a loop of this library's own.
    """
    if not isawaitable(value):
        return value

    ended: list[SystemExit] = []

    async def main() -> Any:
        try:
            return await value
        except SystemExit as error:  # a task that raised it would end the loop
            ended.append(error)

    coroutine: Coroutine[Any, Any, Any] = main()
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        result = future.result()
    except BaseException:
        future.cancel()  # interrupted, it would go on beside what comes next
        raise
    if ended:
        raise ended[0]
    return result
