"""Start a private Redis or Valkey."""

from __future__ import annotations

import secrets
import signal
from functools import partial
from pathlib import Path
from typing import Any

from ..clock import monotonic
from ..errors import ConfigurationError
from . import binaries as find
from .extra import expect, library
from .once import Once
from .process import WatchedProcess

READY_WITHIN = 60.0  # seconds
TRIES = 3  # for a TCP port, which another process may take first


class PrivateRedis:
    """A running server, reached by a socket in a directory of mode 0700, or by TCP with a password.

    Attributes:
        version: Of the server: of Valkey its own, as in ``"9.1.2"``.
        seconds: From the call that started it to its first answer.
        origin: Where its program came from, for messages.
        log: What it wrote.
        stopped: True after `stop`.
    """

    version: str
    seconds: float

    def __init__(self, process: WatchedProcess, origin: str, port: int | None) -> None:
        self.origin = origin
        self.log = process.log
        self.stopped = False
        self._process = process
        self._port = port
        self._password = secrets.token_urlsafe(24)

    def url(self, db: int = 0) -> str:
        """The URL of one of its databases, for redis-py.

        Parameters:
            db: The number of the database, 0 to 15.
        """
        if self._port is None:
            return f"unix://{self._socket}?db={db}"
        return f"redis://:{self._password}@127.0.0.1:{self._port}/{db}"

    def stop(self) -> None:
        """End the server and remove its files. Harmless when repeated; nothing in a forked child."""
        self._process.stop()
        self.stopped = True

    @property
    def _socket(self) -> Path:
        return self._process.sockets / "redis.sock"

    def _configure(self) -> Path:
        """Write its configuration, in a file, since the password must not be among the arguments."""
        lines = [
            f"unixsocket {self._socket}",
            "unixsocketperm 700",
            "bind 127.0.0.1",
            f"port {self._port or 0}",
            'save ""',
            "appendonly no",
            "daemonize no",
        ]
        if self._port is not None:
            lines.append(f"requirepass {self._password}")
        path = self._process.files / "redis.conf"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")
        return path

    def _await(self, began: float) -> bool:
        """Wait for the first answer. False if the server ended instead."""
        redis: Any = library("redis")
        retry: Any = library("redis.retry").Retry(library("redis.backoff").NoBackoff(), 0)
        password = None if self._port is None else self._password
        with redis.Redis(
            unix_socket_path=str(self._socket), password=password, retry=retry, socket_timeout=READY_WITHIN
        ) as client:
            while True:
                try:
                    about = client.info("server")
                    break
                except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                    pass
                if self._process.ended(within=0.002) is not None:
                    return False
                if monotonic() > began + READY_WITHIN:
                    raise ConfigurationError(
                        f"Redis of {self.origin} did not answer within {READY_WITHIN:.0f} s."
                    )
        self.version = str(about.get("valkey_version") or about["redis_version"])
        self.seconds = monotonic() - began
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.origin}>"


def start_redis(*, binary: Path | None = None, tcp: bool = False) -> PrivateRedis:
    """Start a server of its own. It ends with this process at the latest, however that ends.

    Parameters:
        binary: Its program; otherwise see `binaries.redis`.
        tcp: Listen on 127.0.0.1 too, with a random password, and say so in `url`.

    Raises:
        ConfigurationError: No server is found, a library is missing, or it does not start; the message
            has what to install, or the end of the log.
    """
    began = monotonic()
    expect("redis")
    found = find.redis(binary)
    try:
        for _ in range(TRIES if tcp else 1):
            port = int(library("port_for").select_random()) if tcp else None
            process = WatchedProcess(found.program)
            try:
                server = PrivateRedis(process, found.origin, port)
                process.start([found.program, server._configure()], stop=signal.SIGKILL)
                if server._await(began):
                    return server
                said = process.said()
            except BaseException:
                process.stop()
                raise
            process.stop()
            if "in use" not in said:
                break
    except (OSError, library("redis").RedisError) as error:
        raise ConfigurationError(f"Redis of {found.origin} could not be started: {error}") from error
    raise ConfigurationError(f"Redis of {found.origin} did not start:\n{said}")


private_redis = Once(start_redis)
"""This process's own server, started by the first call."""

private_tcp_redis = Once(partial(start_redis, tcp=True))
"""Another one, for clients that know no Unix sockets."""
