"""URLs of SQL databases as users write them, and as drivers want them."""

from __future__ import annotations

from collections.abc import Hashable

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ...errors import ConfigurationError, Secret, redacted

_SYNC = {"aiosqlite": "pysqlite", "asyncpg": "psycopg", "aiomysql": "pymysql", "asyncmy": "pymysql"}
_ASYNC = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mariadb+aiomysql",
}


class _SafeURL(URL):
    """A URL whose text for messages and tracebacks shows no password, also none of its query."""

    def __repr__(self) -> str:
        return shown(self)

    __str__ = __repr__


def shown(url: URL) -> str:
    """The URL for messages, without passwords."""
    return redacted(url.render_as_string(hide_password=True))


def with_secrets(url: URL) -> str:
    """The URL for `errors.redacted`, which finds the passwords in it."""
    return Secret(url.render_as_string(hide_password=False))


def parsed_url(url: str | URL) -> URL:
    """The URL with the driver that we mean: a bare ``postgresql://`` is psycopg 3."""
    if not isinstance(url, str | URL):
        raise ConfigurationError(f"url= must be a URL, or a callable that returns one, and is {url!r}.")
    url = url if isinstance(url, URL) else Secret(url)
    if isinstance(url, str) and url.startswith("postgres://"):
        url = Secret("postgresql://" + url.removeprefix("postgres://"))
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "a database URL cannot be read (it is not shown here, since it may hold a password). "
            "It looks like postgresql://user:password@host/shop_test or sqlite:////path/shop_test.db."
        ) from None
    bare = parsed.drivername == "postgresql"
    return tuple.__new__(_SafeURL, parsed.set(drivername="postgresql+psycopg") if bare else parsed)


def readable(url: URL) -> str:
    """The URL as text, with the password, and with ``/`` and ``:`` as they are where that means the same.

    A ``%`` is trouble where a URL goes through a configuration file, as Alembic's does.
    """
    text = url.render_as_string(hide_password=False)
    who, at, handle = text.partition("@") if url.username else ("", "", text)
    return who + at + handle.replace("%2F", "/").replace("%3A", ":")


def sync_url(url: URL) -> URL:
    """The URL with a sync driver for the same database."""
    backend, _, driver = url.drivername.partition("+")
    return url.set(drivername=f"{backend}+{_SYNC[driver]}") if driver in _SYNC else url


def async_url(url: URL) -> URL:
    """The URL with an async driver for the same database."""
    backend = url.get_backend_name()
    return url if url.get_dialect().is_async else url.set(drivername=_ASYNC.get(backend, backend))


def server_of(url: URL) -> Hashable:
    """Equal for all databases of one server, as `waiting.Patience` wants it."""
    query = url.query
    host = url.host or query.get("host") or query.get("unix_socket")
    return (url.get_backend_name(), host, str(url.port or query.get("port")))


def in_private_memory(url: URL) -> bool:
    """True for a ``sqlite://`` database that one connection alone can see."""
    return url.get_backend_name() == "sqlite" and (not url.database or url.database == ":memory:")
