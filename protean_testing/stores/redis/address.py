"""The address of a Redis database, from a URL or from the application's own client."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from ...errors import ConfigurationError, Secret
from ...waiting import Patience

_EXAMPLE = "It looks like redis://:password@localhost:6379/1, rediss://... or unix:///path/redis.sock?db=1."
_KEPT = (
    "host",
    "port",
    "path",
    "db",
    "username",
    "password",
    "credential_provider",
    "socket_keepalive",
    "socket_keepalive_options",
    "socket_type",
)
_HERE = ("localhost", "127.0.0.1", "::1", "")


@dataclass(frozen=True, repr=False)
class Address:
    """One database of one server.

    Attributes:
        url: For redis-py and other clients, with the password.
        connection_class: Redis-py's, for a socket, TCP or TLS.
        arguments: Of the connection class.
    """

    url: str
    connection_class: type[Any]
    arguments: dict[str, Any]

    @property
    def db(self) -> int:
        return int(self.arguments.get("db") or 0)

    @property
    def password(self) -> str | None:
        in_url = urlsplit(self.url).password
        return self.arguments.get("password") or (unquote(in_url) if in_url else None)

    @cached_property  # asked for many times in each scope
    def key(self) -> tuple[Hashable, ...]:
        """Equal for two URLs of one database."""
        if "path" in self.arguments:
            return (os.path.realpath(self.arguments["path"]), self.db)
        return (*self._host_and_port, self.db)

    def __str__(self) -> str:
        """Without user and password, the same for every URL of one database."""
        if "path" in self.arguments:
            return f"unix://{os.path.realpath(self.arguments['path'])}?db={self.db}"
        host, port = self._host_and_port
        return f"redis://{f'[{host}]' if ':' in host else host}:{port}/{self.db}"

    __repr__ = __str__

    @property
    def plain(self) -> str:
        """A URL without user and password."""
        is_tls = issubclass(self.connection_class, redis.SSLConnection)
        return str(self).replace("redis:", "rediss:", 1) if is_tls else str(self)

    @property
    def login(self) -> tuple[str, ...]:
        """The arguments of AUTH; none if the server asks for nothing."""
        provider = self.arguments.get("credential_provider")
        if provider is not None:
            return tuple(provider.get_credentials())
        user, password = self.arguments.get("username"), self.arguments.get("password")
        return () if not password else (user, password) if user else (password,)

    def for_watchdog(self, **more: Any) -> dict[str, Any] | None:
        """What a watchdog must know to look at the keys; None if it cannot, which is over TLS."""
        if issubclass(self.connection_class, redis.SSLConnection):
            return None
        path, host = self.arguments.get("path"), self.arguments.get("host") or "localhost"
        return {
            "path": path and os.path.abspath(path),
            "host": host,
            "port": int(self.arguments.get("port") or 6379),
            "login": [Secret(part) for part in self.login],
            "db": self.db,
            **more,
        }

    @property
    def _host_and_port(self) -> tuple[str, int]:
        host = str(self.arguments.get("host") or "").lower()
        return ("localhost" if host in _HERE else host, int(self.arguments.get("port") or 6379))

    def pool(self) -> redis.ConnectionPool:
        """Connections for a client in tests."""
        return redis.ConnectionPool(
            connection_class=self.connection_class, **{**self.arguments, "decode_responses": False}
        )

    def patience(self, wait: float) -> Patience:
        """What is known of the server by all that use it."""
        return Patience(("redis", self.key[:-1]), least=wait)

    def connection(self, timeout: float) -> Any:
        """A connection of our own, not yet open. It tries nothing twice."""
        timeout = self.patience(timeout).seconds
        kept = {
            name: Secret(value) if name == "password" else value
            for name, value in self.arguments.items()
            if name in _KEPT or name.startswith("ssl_")
        }  # fmt: skip
        connection = self.connection_class(
            **kept,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        connection.socket_timeout = timeout  # redis-py 5.0 loses it on its way to a unix socket
        return connection


def from_url(url: str) -> Address:
    """The address in a URL.

    Raises:
        ConfigurationError: It cannot be read.
    """
    url = Secret(url)
    try:
        arguments = _hidden(parse_url(url))  # type: ignore[no-untyped-call]
        number = urlsplit(url).path.strip("/")
        if not url.startswith("unix:") and number:
            int(number)  # redis-py takes database 0 for what is no number
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(
            "a Redis URL cannot be read (it is not shown here, since it may hold a password). " + _EXAMPLE
        ) from None
    return Address(url, arguments.pop("connection_class", redis.Connection), arguments)


def _hidden(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a connection; tracebacks that print local variables do not show the password."""
    password = arguments.get("password")
    return {**arguments, "password": Secret(password)} if isinstance(password, str) else arguments


def with_db(address: Address, number: int) -> Address:
    """Another database of the same server."""
    parts = urlsplit(address.url)
    query = {name: value for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "db"}
    if parts.scheme == "unix":
        return from_url(f"{address.url.partition('?')[0]}?{urlencode({**query, 'db': number})}")
    return from_url(parts._replace(path=f"/{number}", query=urlencode(query)).geturl())


def from_client(client: Any) -> Address:
    """The address of a client's connections.

    Raises:
        ConfigurationError: It has no single address.
    """
    pool = getattr(client, "connection_pool", None)
    if isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster):
        raise ConfigurationError(
            "RedisStore does not support Redis Cluster: it keeps the data of one database."
        )
    if pool is None or hasattr(pool, "sentinel_manager"):
        raise ConfigurationError(
            f"RedisStore cannot tell where a {type(client).__name__} leads to: pass the URL of the database, "
            "or a redis.Redis, or a callable that returns one, as client=."
        )
    arguments = _hidden(
        {
            name: value
            for name, value in pool.connection_kwargs.items()
            if value is not None and (name in _KEPT or name.startswith("ssl_"))
        }
    )
    if isinstance(client, redis.asyncio.Redis):
        return from_url(_url(arguments, is_tls="ssl_cert_reqs" in arguments))
    is_tls = issubclass(pool.connection_class, redis.SSLConnection)
    return Address(_url(arguments, is_tls=is_tls), pool.connection_class, arguments)


def _url(arguments: dict[str, Any], *, is_tls: bool) -> str:
    user, password = arguments.get("username"), arguments.get("password")
    if "credential_provider" in arguments:
        user, password = (*arguments["credential_provider"].get_credentials(), None)[:2]
        if password is None:
            user, password = None, user
    login = "" if password is None else f"{quote(user or '', safe='')}:{quote(password, safe='')}@"
    db = int(arguments.get("db") or 0)
    if "path" in arguments:
        return f"unix://{login}{quote(arguments['path'])}?db={db}"
    host = arguments.get("host", "localhost")
    where = f"{login}{f'[{host}]' if ':' in host else host}:{arguments.get('port', 6379)}/{db}"
    if not is_tls:
        return f"redis://{where}"
    options = {name: value for name, value in arguments.items() if name.startswith("ssl_")}
    return f"rediss://{where}" + (f"?{urlencode(options)}" if options else "")
