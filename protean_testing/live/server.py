"""An application on a port, for as long as a scope lasts, and still whenever data is restored."""

from __future__ import annotations

import inspect
import os
import socket
from collections.abc import Callable
from typing import Any, Literal

from ..errors import ConfigurationError, LeakError
from ..store import validate
from .traffic import Traffic

HANG_UP = 1.0  # seconds for a request to end once its connection is closed


class LiveServer:
    """Serves an application until the scope ends that it was started in. Made by ``db.serve(app)``.

    Parameters:
        application: A WSGI or ASGI application.
        interface: Which of the two it is, if that cannot be seen from it.
        host: The address to listen at.
        port: The port; a free one if it is 0.
        wait: Seconds for the requests of a test to end, before its data is restored.

    Attributes:
        url: ``http://127.0.0.1:40123``, without a slash at its end.
        host: The address.
        port: The port.

    Raises:
        ConfigurationError: It cannot be served: no such port, no such interface, no uvicorn for ASGI.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        *,
        interface: Literal["wsgi", "asgi"] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        wait: float = 2.0,
    ) -> None:
        validate(self, wait=wait, host=host)
        if interface not in (None, "wsgi", "asgi"):
            raise ConfigurationError(f"interface={interface!r} is not known: say 'wsgi' or 'asgi'.")
        if not callable(application):
            raise ConfigurationError(f"{application!r} is no WSGI or ASGI application: it cannot be called.")
        self._wait = wait
        self._traffic = Traffic()
        self._late: dict[int, str] = {}
        try:
            listening = socket.create_server((host, port), backlog=128)
        except OSError as error:
            raise ConfigurationError(
                f"{host}:{port} cannot be served: {os.strerror(error.errno or 0)}."
            ) from error
        self.host, self.port = listening.getsockname()[:2]
        self.url = f"http://{self.host}:{self.port}"
        try:
            if (interface or _interface(application)) == "asgi":
                from .asgi import ASGIThread

                self._thread: Any = ASGIThread(application, listening, self._traffic)
            else:
                from .wsgi import WSGIThread

                self._thread = WSGIThread(application, listening, self._traffic)
        except BaseException:
            listening.close()
            raise

    def pause(self, label: str) -> None:
        """Wait for the requests to end, and let no new one in.

        Parameters:
            label: The test that ends, for messages.

        Raises:
            LeakError: A request does not end; its connection was closed.
        """
        self._traffic.close()
        left = self._traffic.inside(within=self._wait, but=self._late)
        if not left:
            return
        self._late.update(dict.fromkeys(left, label))
        self._thread.hang_up()
        self._traffic.inside(within=HANG_UP)
        raise LeakError(
            f"{label} ended while its live server was still at {_named(left)}, after {self._wait:g} s.\n"
            "The connection was closed. Wait in the test for what it has asked for, or close what it reads "
            "from: a response, a websocket, the browser's page.",
            store="live server",
        )

    def check(self) -> None:
        """Make sure that nothing is inside.

        Raises:
            LeakError: A request of a test that is over still is.
        """
        left = self._traffic.inside(within=0)
        if left:
            tests = ", ".join(sorted({self._late[number] for number in left}))
            raise LeakError(
                f"the live server is still at {_named(left)} of {tests}, and could write into the next test. "
                "Give the application's own waiting a time limit.",
                store="live server",
            )

    def resume(self) -> None:
        """Let requests in again."""
        self._traffic.open()

    def close(self) -> None:
        """End it, and close its port."""
        self._traffic.close()
        self._thread.stop()

    def __repr__(self) -> str:
        return f"<LiveServer {self.url}>"


def _named(requests: dict[int, str]) -> str:
    return ", ".join(sorted(requests.values()))


def _interface(application: Any) -> str:
    call = getattr(application, "__call__", application)  # noqa: B004
    return "asgi" if any(map(inspect.iscoroutinefunction, (application, call))) else "wsgi"
