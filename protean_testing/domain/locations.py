"""Give a domain's adapters their URLs: as configured, else of servers of this run."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from ..config import environ
from ..config.resolve import database_url, private_database, redis_url
from ..errors import ConfigurationError
from ..workers import worker
from .config import SQL, Config, is_managed

REDIS = ("redis", "redis_pubsub")
_EXAMPLES = {
    "mysql": "mysql+pymysql://user:password@localhost/shop_test",
    "mssql": "mssql+pyodbc://user:password@localhost/shop_test?driver=ODBC+Driver+18+for+SQL+Server",
}
_LAST_REDIS = 15  # the last number of a database on a server as it comes


class Locations:
    """The places of one configuration.

    Parameters:
        config: The configuration; what is for us alone (``testing``) is taken out of it.

    Attributes:
        private: Of the adapters whose place was made for this run what it was made for, by (section, name).
        options: What ``testing`` says for an adapter's store, by (section, name).
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.private: dict[tuple[str, str], Hashable] = {}
        self.options: dict[tuple[str, str], dict[str, Any]] = {}
        for section, name, entry in _entries(config):
            if "testing" in entry:
                self.options[section, name] = dict(entry.pop("testing"))

    def fill(self, key: Hashable) -> None:
        """Write a URL into every adapter that has none, and start the servers that this needs.

        Parameters:
            key: Equal for configurations with the same tables; a database that is the same in two of them
                has one place in the run, and so one schema.

        Raises:
            ConfigurationError: A server cannot be had, or a database that is not managed has no URL.
        """
        number = 0
        for section, name, entry in _entries(self._config):
            provider = entry.get("provider")
            private = False
            made_for: Hashable = None
            if section == "databases" and provider in ("sqlite", "postgresql"):
                if _is_open(entry):
                    if not is_managed(entry):
                        raise ConfigurationError(
                            f"config: database {name!r} is not managed and has no database_uri. Nobody here "
                            "could make its schema: give it the database_uri of one that has it."
                        )
                    made_for = (key, name, json.dumps(entry, sort_keys=True, default=repr))
                    entry["database_uri"], private = database_url(made_for, provider)
            elif section == "databases" and provider in SQL and not entry.get("database_uri"):
                raise ConfigurationError(
                    f"config: database {name!r} has the provider {provider!r} and no database_uri, and there "
                    "is no private server of that kind. Give it the one of a test database:\n"
                    f'  database_uri = "{_EXAMPLES[provider]}"'
                )
            elif section in ("brokers", "caches") and provider in REDIS and not entry.get("URI"):
                number += 1
                entry["URI"], private = redis_url(min(number, _LAST_REDIS))
            elif section == "idempotency" and provider == "redis" and not entry.get("redis_url"):
                number += 1
                entry["redis_url"], private = redis_url(min(number, _LAST_REDIS))
            elif section == "event_store" and provider == "message_db" and not entry.get("database_uri"):
                made_for = (key, "event store")
                entry["database_uri"], private = self._message_db(made_for)
            if private:
                self.private[section, name] = made_for
            elif section != "databases" or is_managed(entry):
                self._move(section, name, entry)

    def _move(self, section: str, name: str, entry: Config) -> None:
        """In a worker process, write the URL of the worker's own place over the given one."""
        provider, options = entry.get("provider"), self.options.get((section, name), {})
        if worker() is None:
            return
        if provider in ("sqlite", "postgresql", "mysql", "message_db"):
            for where, key in ((options, "url"), (entry, "database_uri")):
                if where.get(key):
                    where[key] = _worker_database(where[key])
            _reserve(options.get("url") or entry.get("database_uri"), name, copy=provider == "message_db")
        elif provider in REDIS:
            for key in ("URI", "redis_url"):
                if entry.get(key):
                    from ..stores.redis.worker_number import worker_redis_url

                    entry[key] = worker_redis_url(entry[key], name)

    def _message_db(self, key: Hashable) -> tuple[str, bool]:
        """The URL for Protean, in the role that Message DB makes for its users, and whether it is private."""
        is_full = environ.full_infrastructure()
        if not is_full:
            environ.unused(
                "MESSAGE_DB_URL", "Message DB is a private server. To use it, set  TEST_INFRA=full"
            )
        given = environ.url("MESSAGE_DB_URL") if is_full else None
        if given is not None:
            return given, False
        url = private_database(key, "postgresql").replace("+psycopg", "", 1)
        self.options["event_store", ""] = {"url": url, **self.options.get(("event_store", ""), {})}
        return url.replace("postgres@", "message_store@", 1), True


def _worker_database(given: str) -> str:
    from ..stores.sql.urls import parsed_url, readable
    from ..stores.sql.worker_url import worker_url

    url = parsed_url(given)
    own = worker_url(url)
    if own == url:
        return given
    scheme = given.partition("://")[0]
    return f"{scheme}://{readable(own).partition('://')[2]}"


def _reserve(url: str | None, name: str, *, copy: bool) -> None:
    """A domain connects when it is initialized, before its schema is made."""
    from ..stores.sql.urls import parsed_url
    from ..stores.sql.worker_url import worker_database_of

    own = worker_database_of(parsed_url(url)) if url else None
    if own is not None:
        own.reserve(name or "event store", copy=copy)


def _entries(config: Config) -> Iterator[tuple[str, str, Config]]:
    for section in ("databases", "brokers", "caches"):
        for name, entry in config[section].items():
            yield section, name, entry
    for section in ("event_store", "idempotency"):
        yield section, "", config.get(section) or {}


def _is_open(entry: Config) -> bool:
    """No URL, or a SQLite database in the memory of one connection, which ends with the engine's pool."""
    url = entry.get("database_uri") or ""
    return not url or (url.startswith("sqlite") and url.partition("://")[2] in ("", "/", "/:memory:"))


def passwords(config: Config) -> list[str]:
    """Every password in the configuration's URLs."""
    found: list[str] = []
    for text in _texts(config):
        if "://" in text:
            password = urlsplit(text).password
            found += [password, unquote(password)] if password else []
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
