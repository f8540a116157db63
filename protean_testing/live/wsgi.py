"""Serves a WSGI application (PEP 3333) with the standard library's server, a thread for each request."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from .traffic import REFUSED, Traffic

_LINE = 1 << 16  # bytes of a line between chunks, at most
POLL = 0.02  # seconds until it sees that it is to stop


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the output belongs to the tests."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, listening: socket.socket, application: Any) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = map(str, listening.getsockname()[:2])  # type: ignore[assignment]
        self.setup_environ()
        self.set_app(application)
        self.connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the client went away, and what the application raised was reported already."""


class WSGIThread:
    """Serves an application from a thread.

    Parameters:
        application: The WSGI application.
        listening: The socket to serve.
        traffic: Counts the requests.
    """

    def __init__(self, application: Callable[..., Any], listening: socket.socket, traffic: Traffic) -> None:
        self._server = _Server(listening, _counted(application, traffic))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL,), name="protean_testing live server", daemon=True
        )
        self._thread.start()

    def hang_up(self) -> None:
        """Close the connections of requests that do not end: whoever writes or reads there gets an error."""
        for connection in tuple(self._server.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _decode_chunks(environ: dict[str, Any]) -> None:
    """A body in chunks has no length, and an application of PEP 3333 reads none without: give it one."""
    stream, body = environ["wsgi.input"], bytearray()
    while size := int(stream.readline(_LINE).partition(b";")[0], 16):
        body += stream.read(size)
        stream.readline(_LINE)
    while stream.readline(_LINE).strip():
        pass  # fields behind the body
    del environ["HTTP_TRANSFER_ENCODING"]
    environ["CONTENT_LENGTH"], environ["wsgi.input"] = str(len(body)), BytesIO(body)


def _counted(application: Callable[..., Any], traffic: Traffic) -> Callable[..., Iterable[bytes]]:
    """The application, which is left when its response was sent and closed."""

    def counted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        number = traffic.enter(f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')}")
        if number is None:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            yield REFUSED
            return
        environ["wsgi.multithread"] = True
        try:
            if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
                _decode_chunks(environ)
            response = application(environ, start_response)
            try:
                yield from response
            finally:
                if hasattr(response, "close"):
                    response.close()
        finally:
            traffic.leave(number)

    return counted
