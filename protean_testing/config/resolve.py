"""What a class or block declares, and the environment, become stores that know where they are."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from logging import getLogger
from typing import TYPE_CHECKING, Any

from ..clock import perf_counter
from ..core.run import run
from ..errors import ConfigurationError
from ..hooks import Hook
from ..progress import progress
from ..store import LocatedStore, Store
from . import environ

if TYPE_CHECKING:
    from sqlalchemy import MetaData

    from ..servers.once import Once
    from ..servers.redis import PrivateRedis
    from ..stores.sql.store import SQLAlchemyStore

_numbers = itertools.count(1)
logger = getLogger("protean_testing")


def declared(what: Iterable[MetaData | Store | Hook], user: str) -> list[Store | Hook]:
    """What was declared, with a store in place of bare metadata.

    Raises:
        ConfigurationError: Something in it is neither metadata, a store nor a hook.
    """
    if isinstance(what, Store | Hook) or not isinstance(what, Iterable) or hasattr(what, "sorted_tables"):
        raise ConfigurationError(
            f"{user}: stores must be a list. Write  stores = [...]  in place of {what!r}."
        )
    if isinstance(what, Iterator):
        raise ConfigurationError(f"{user}: stores must be a list: {what!r} is empty once it was read.")
    found: list[Store | Hook] = []
    bare = 0
    for item in what:
        if isinstance(item, Store | Hook):
            found.append(item)
        elif hasattr(item, "sorted_tables"):
            bare += 1
            found.append(_sqlalchemy()(item, name="database" if bare == 1 else f"database_{bare}"))
        else:
            raise ConfigurationError(
                f"{user}: {item!r} is neither SQLAlchemy metadata nor a store.{_meant(item)}"
            )
    if not found:
        raise ConfigurationError(f"{user} declares no metadata and no store, so nothing would be restored.")
    return found


def _meant(item: Any) -> str:
    """The line to write in place of what is no store."""
    if isinstance(item, type) and issubclass(item, Store | Hook):
        return f" It is a class: pass {item.__name__}(...)."
    if hasattr(item, "metadata"):
        return " Pass its .metadata."
    if isinstance(item, str):
        return " A URL is an argument of a store: SQLAlchemyStore(Base.metadata, url=...)."
    if isinstance(item, Collection):
        return " Pass what is in it one by one."
    if hasattr(item, "__enter__"):
        return " Pass a context as a hook, by what makes it anew: Hook(app.app_context)."
    return ""


def resolve(stores: Sequence[Store]) -> None:
    """Bind every store that leaves its place open, and start a server if one is needed.

    Raises:
        ConfigurationError: The environment contradicts itself, or no server can be had.
    """
    run.figures.begin()
    test_db = environ.test_db()
    open_ = [store for store in stores if isinstance(store, LocatedStore) and store.needs_url]
    kinds = {store.kind for store in open_}
    wanted = {getattr(store, "dialect", None) or test_db for store in open_ if store.kind == "database"}
    if "redis" in kinds and "postgresql" in wanted and _given_database(test_db) is None:
        if _given_redis() is None:
            _redis(tcp=any(map(_wants_tcp, open_))).begin()  # while PostgreSQL starts
    for store in open_:
        if store.kind == "database":
            _bind_database(store, test_db)
        elif store.kind == "redis":
            _bind_redis(store)


def empty_database() -> Store:
    """A store without any schema."""
    return _sqlalchemy()(empty=True)


def database_url(key: Hashable, dialect: str) -> tuple[str, bool]:
    """Where a database of `dialect` is that nobody gave a URL.

    Parameters:
        key: What it is for: equal keys of one run get the same place.
        dialect: ``"sqlite"`` or ``"postgresql"``.

    Returns:
        ``DATABASE_URL`` where ``TEST_DB`` asks for this dialect; else a new one, and True as it is private.
    """
    test_db = environ.test_db()
    if test_db is None:
        environ.unused("DATABASE_URL", f"TEST_DB is not set. To use it, set  TEST_DB={dialect}")
    given = _given_database(test_db) if test_db == dialect else None
    if given is not None:
        return given, False
    return private_database(key, "memory" if dialect == "sqlite" and test_db != "sqlite" else dialect), True


def private_database(key: Hashable, kind: str) -> str:
    """The URL of a database for this run alone.

    Parameters:
        key: What it is for: equal keys of one run get the same place.
        kind: ``"memory"`` (SQLite), ``"sqlite"`` (a file) or ``"postgresql"``.
    """
    if key not in run.decided:
        run.decided[key] = _new_database(kind)
    return run.decided[key]


def redis_url(db: int) -> tuple[str, bool]:
    """Where a Redis is that nobody gave a URL.

    Parameters:
        db: The number of the database to use on the private server.

    Returns:
        ``REDIS_URL`` where ``TEST_INFRA=full`` asks for it; else that database, and True since it is private.
    """
    given = _given_redis()
    return (given, False) if given is not None else (_private_redis().url(db), True)


def _bind_database(store: Any, test_db: str | None) -> None:
    dialect = store.dialect or ("postgresql" if test_db == "postgresql" else "sqlite")
    key = ("database", store.schema_key(), dialect)
    given = _given_database(test_db) if store.dialect is None else None
    if given is not None:
        store.bind(given)
    elif store.dialect is None:
        store.bind(private_database(key, test_db or "memory"), private=True)
    else:
        if test_db is not None and dialect != ("sqlite" if test_db == "memory" else test_db):
            environ.unused("TEST_DB", f"store {store.name!r} has dialect={dialect!r} of its own.")
        url, is_private = database_url(key, dialect)
        store.bind(url, private=is_private)


def _given_database(test_db: str | None) -> str | None:
    """``DATABASE_URL``, if ``TEST_DB`` asks for such a database."""
    environ.used("TEST_DB", "TEST_INFRA")
    url = environ.url("DATABASE_URL")
    if url is None:
        return None
    scheme, separator, _ = url.partition("://")
    if test_db in (None, "memory"):
        dialect = "sqlite" if scheme.startswith("sqlite") else "postgresql"
        why = "TEST_DB is not set" if test_db is None else f"TEST_DB is {test_db!r}"
        environ.unused(
            "DATABASE_URL", f"{why}, which means SQLite in memory. To use it, set  TEST_DB={dialect}"
        )
        return None
    environ.used("DATABASE_URL")
    if not separator:
        raise ConfigurationError(
            "DATABASE_URL cannot be read (it is not shown here, since it may hold a password). "
            "It looks like postgresql://user:password@host/shop_test."
        )
    dialect = scheme.partition("+")[0]
    dialect = "postgresql" if dialect == "postgres" else dialect
    if dialect != test_db:
        raise ConfigurationError(
            f"TEST_DB={test_db!r}, but DATABASE_URL is a {dialect} database. Change or unset one of them."
        )
    return url


def _new_database(kind: str) -> str:
    """A database for this run alone."""
    name = f"protean_testing_{next(_numbers)}"
    if kind == "postgresql":
        from ..servers.postgresql import private_postgresql

        url: str = _started("PostgreSQL", private_postgresql).create_database(name)
        return url
    if kind == "sqlite":
        from ..servers.directories import run_directory

        return f"sqlite:///{run_directory() / name}.db"
    return f"sqlite:///file:/{name}_{os.getpid()}?vfs=memdb&uri=true"


def _bind_redis(store: Any) -> None:
    given = _given_redis()
    store.bind(_private_redis(tcp=_wants_tcp(store)).url() if given is None else given, private=given is None)


def _wants_tcp(store: LocatedStore) -> bool:
    return getattr(store, "tcp", False)  # of somebody's own kind of Redis store there is none


def _given_redis() -> str | None:
    """``REDIS_URL``, if ``TEST_INFRA=full`` asks for it."""
    if not environ.full_infrastructure():
        environ.unused("REDIS_URL", "Redis is a private server. To use it, set  TEST_INFRA=full")
        return None
    environ.used("TEST_INFRA", "REDIS_URL")
    return environ.url("REDIS_URL")


def _private_redis(*, tcp: bool = False) -> PrivateRedis:
    server: PrivateRedis = _started("Redis", _redis(tcp=tcp))
    return server


def _redis(*, tcp: bool = False) -> Once[PrivateRedis]:
    from ..servers.redis import private_redis, private_tcp_redis

    return private_tcp_redis if tcp else private_redis


def _started(what: str, server: Once[Any]) -> Any:
    """Return a private server, and note how long was waited for it."""
    began = perf_counter()
    with progress(f"starting a private {what}"):
        found = server()
    name, waited = f"{what} {found.version} (private)", perf_counter() - began
    if run.figures.started(name, found.seconds, waited):
        logger.info("%s: up in %.2f s, of which the run waited %.2f s", name, found.seconds, waited)
    return found


def _sqlalchemy() -> type[SQLAlchemyStore]:
    try:
        from ..stores.sql.store import SQLAlchemyStore
    except ImportError as error:
        raise ConfigurationError(
            f'metadata needs SQLAlchemy: {error}.\nInstall it with: pip install "protean-testing[sqlalchemy]"'
        ) from error
    return SQLAlchemyStore
