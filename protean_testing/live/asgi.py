"""Serves an ASGI application with uvicorn, in an event loop of a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ..clock import monotonic, sleep
from ..errors import ConfigurationError
from .traffic import REFUSED, Traffic

START_WITHIN = 30.0  # seconds
STOP_WITHIN = 2  # seconds for connections to close

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ASGIThread:
    """Serves an application from a thread, its lifespan included.

    Parameters:
        application: The ASGI application.
        listening: The socket to serve.
        traffic: Counts the requests, and the open websockets.

    Raises:
        ConfigurationError: uvicorn is not installed, or the application does not start.
    """

    def __init__(self, application: Callable[..., Any], listening: socket.socket, traffic: Traffic) -> None:
        try:
            import uvicorn
        except ImportError as error:
            raise ConfigurationError(
                f'an ASGI application is served by uvicorn: {error}.\npip install "protean-testing[live]"'
            ) from error
        self._application, self._traffic = application, traffic
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        config = uvicorn.Config(
            self._counted,
            interface="asgi3",
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=STOP_WITHIN,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="protean_testing live server", daemon=True
        )
        self._thread.start()
        until = monotonic() + START_WITHIN
        while not self._server.started:
            if not self._thread.is_alive() or monotonic() > until:
                self._server.should_exit = True
                raise ConfigurationError("the ASGI application does not start: its lifespan has failed.")
            sleep(0.002)

    def hang_up(self) -> None:
        """Cancel the requests that do not end."""
        if self._loop is not None:
            for task in tuple(self._tasks):
                self._loop.call_soon_threadsafe(task.cancel)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        number = self._traffic.enter(f"{scope.get('method', 'WEBSOCKET')} {scope['path']}")
        if number is None:
            await _refuse(scope, send)
            return
        task = asyncio.current_task()
        assert task is not None
        self._loop = asyncio.get_running_loop()
        self._tasks.add(task)
        try:
            await self._application(scope, receive, send)
        finally:
            self._tasks.discard(task)
            self._traffic.leave(number)


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1012})
        return
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": REFUSED})
