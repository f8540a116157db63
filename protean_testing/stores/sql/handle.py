"""One SQL database, its engines, and what the stores in it share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sqlalchemy import URL, Engine, MetaData, create_engine, event
from sqlalchemy.orm import scoped_session
from sqlalchemy.pool import NullPool

from ...errors import ConfigurationError, is_secret
from ...waiting import Patience, limited
from .backend import Backend
from .checkouts import Checkouts
from .missing import Missing
from .sibling import Sibling
from .urls import async_url, in_private_memory, server_of, shown, sync_url
from .worker_url import empty_url, worker_database_of, worker_url

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


AnEngine: TypeAlias = "Engine | AsyncEngine | Callable[[], Engine | AsyncEngine]"


class Maker(Protocol):
    """A store of a database, as the others there see it."""

    name: str
    metadata: tuple[MetaData, ...]

    def schema_key(self) -> Hashable: ...

    def tables(self) -> set[tuple[str | None, str]]: ...

    def make(self) -> None: ...


class DatabaseHandle:
    """One database, and what the stores in it share."""

    def __init__(
        self,
        url: URL,
        *,
        engine: AnEngine | None = None,
        private: bool = False,
        sibling: Sibling | None = None,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self.private = private
        self.own = worker_database_of(url)
        self.sibling = sibling
        self.at_end = at_end
        self.missing: Missing | None = None
        self.closed = False
        self.acquired = False
        self.was_written = False  # since the schema was made
        self.idle_resets = 0  # those that found nothing to restore
        self.makers: list[Maker] = []
        self.made: list[Maker] = []  # those of them that came to their end
        self.backend: Backend | None = None
        self._given = engine
        self.may_change_engines = callable(engine)
        self._engine: Engine | None = None
        self._async_engine: AsyncEngine | None = None
        self._is_stale = False
        self.checkouts = Checkouts()
        self.scoped: list[Any] = []
        self.roles: set[str] = set()  # that are there, for tests to connect as
        self._as_roles: dict[tuple[str, bool], Any] = {}
        # Where it is. A private ``sqlite://`` database is known by its engine alone.
        self.key: Hashable = engine if engine is not None and in_private_memory(url) else _key(url)

    def is_at(self, engine: Engine) -> bool:
        """Whether that engine, of whoever it is, reaches this database."""
        if in_private_memory(self.url):
            return engine in self._engines()
        return _key(engine.url) == self.key

    def has(self, engine: Engine) -> bool:
        """Whether it is one of this place's own, or the application's."""
        return any(engine.pool is own.pool for own in self._engines())

    @property
    def shown(self) -> str:
        """The URL for messages, without its password."""
        return shown(self.url)

    @property
    def place(self) -> str:
        """Where it is, in words for people."""
        if self.url.query.get("vfs") == "memdb":
            return "SQLite in memory"
        kind = {"postgresql": "PostgreSQL", "sqlite": "SQLite file"}.get(self.url.get_backend_name())
        return f"private {kind}" if self.private and kind else self.shown

    def engine(self) -> Engine:
        """The application's current engine, else one of our own."""
        if self._given is not None:
            engine = engine_of(self._given)
            if isinstance(engine, Engine):
                return engine
            if in_private_memory(self.url):
                raise ConfigurationError(
                    "an async engine on sqlite+aiosqlite:// has memory that nothing else can reach, so it "
                    "cannot be reset.\nGive the application our database_url, or the URL of a file."
                )
        if self._engine is None:
            self._engine = _made(create_engine, sync_url(self.url))
            if self.url.get_backend_name() == "sqlite" and not in_private_memory(self.url):
                event.listen(self._engine, "checkin", self._checked_in)
            self.watch()
        return self._engine

    def async_engine(self) -> AsyncEngine:
        """The application's async engine, else one of our own without a pool."""
        if self._given is not None:
            engine = engine_of(self._given)
            if not isinstance(engine, Engine):
                return engine
        if self._async_engine is None:
            self._async_engine = _made(_create_async_engine, async_url(self.url), poolclass=NullPool)
            self.watch()
        return self._async_engine

    def engine_as(self, role: str, *, is_async: bool = False) -> Any:
        """An engine that connects as another role."""
        url = self.url.set(username=role)
        if (role, is_async) not in self._as_roles:
            create = _create_async_engine if is_async else create_engine
            named, kind = {"poolclass": NullPool} if is_async else {}, async_url if is_async else sync_url
            self._as_roles[role, is_async] = _made(create, kind(url), **named)
            self.watch()
        return self._as_roles[role, is_async]

    async def leave_loop(self) -> None:
        """Close what the application's async engine keeps in its pool: it is bound to the loop that ends."""
        if self._given is not None:
            engine = engine_of(self._given)
            if not isinstance(engine, Engine):
                await engine.dispose()

    def limited(self, *more: Any) -> AbstractContextManager[None]:
        """Let the calls of connections that are checked out have an end inside: they are ours there.

        Parameters:
            more: Connections of SQLAlchemy.
        """
        if self.url.get_backend_name() == "sqlite":
            return nullcontext()
        connections = [one.connection.driver_connection for one in more] + self.checkouts.connections()
        return limited(connections, Patience(server_of(self.url)))

    @property
    def ends_by_itself(self) -> bool:
        """Whether all of it goes at once: a worker's own database, or one on a server of this run."""
        if self.own is not None:
            return not self.own.needs_backend
        return self.private and self.url.get_backend_name() == "postgresql"

    def has_sessions_of(self, factory: Any) -> None:
        """Note a ``scoped_session`` whose sessions are on this database."""
        if isinstance(factory, scoped_session) and factory not in self.scoped:
            self.scoped.append(factory)

    def remove_sessions(self) -> None:
        """Remove the session that each of them has in this thread, whoever began it."""
        with self.limited():
            for factory in self.scoped:
                with suppress(RuntimeError):  # its scope is an application's, which is not there
                    factory.remove()

    def watch(self) -> Checkouts:
        """Who has taken connections of the current engines."""
        for engine in self._engines():
            self.checkouts.watch(engine)
        return self.checkouts

    def _checked_in(self, connection: Any, _: object) -> None:
        """Note that a connection of our own engine to SQLite goes back with temporary tables on it."""
        if connection is not None and not self._is_stale:
            question = "SELECT 1 FROM sqlite_temp_schema LIMIT 1"
            self._is_stale = connection.execute(question).fetchone() is not None

    def renew_own_pool(self, *, is_stale: bool) -> None:
        """Have new connections in our own engine's pool, if those there may hold what a test has left."""
        if (is_stale or self._is_stale) and self._engine is not None and not in_private_memory(self.url):
            self._is_stale = False
            self._engine.dispose()

    def renew_pools(self) -> None:
        """Connections that wait in a pool may have been ended: let the next ones be new."""
        if self.url.get_backend_name() != "sqlite":
            for engine in self._engines():
                engine.dispose(close=False)

    def _engines(self) -> Iterator[Engine]:
        """The current ones; of an async one the engine inside of it."""
        engines: list[Any] = [self._engine, self._async_engine, *self._as_roles.values()]
        for one in [*engines, *([] if self._given is None else [engine_of(self._given)])]:
            if one is not None:
                yield getattr(one, "sync_engine", one)

    def rest(self) -> None:
        """Close what is open until this is used again: in a private database, where only our run is."""
        if not self.private:
            return
        for engine in self._engines():
            engine.dispose()
            engine.clear_compiled_cache()
        if self.backend is not None:
            self.backend.rest()

    def make_all(self) -> None:
        """Make every schema of this database again."""
        for maker in self.makers:
            maker.make()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody of this process is connected, as far as that is known here."""
        engines = [self.engine()] if self._given is not None else []
        for engine in (*engines, *filter(None, [self._engine])):
            engine.dispose()
        with self.backend.away() if self.backend is not None else nullcontext():
            yield

    def close(self) -> None:
        """Close what is open. Harmless when repeated: several stores may share this place."""
        if self.closed:
            return
        self.closed = True
        if self.backend is not None:
            self.backend.close()
        if self._engine is not None:
            self._engine.dispose()
        for (_, is_async), engine in self._as_roles.items():
            if not is_async:
                engine.dispose()
        if self.own is not None:
            self.own.drop()
        self.at_end()


def empty_handle(url: URL) -> DatabaseHandle:
    """Say where an empty database beside `url` will be. Nothing is created yet.

    On PostgreSQL and MySQL it has a name that no other run has, so whatever is in it is the run's own.
    Elsewhere it is ``<name>_empty``.
    """
    if url.get_backend_name() in ("postgresql", "mysql", "mariadb"):
        return DatabaseHandle(empty_url(url))
    beside = sync_url(url).set(database=f"{url.database}_empty")
    if url.get_backend_name() == "sqlite":
        return DatabaseHandle(worker_url(beside))  # a file comes and goes with its backend
    sibling = Sibling(sync_url(url), beside)
    return DatabaseHandle(beside, sibling=sibling, at_end=sibling.drop)


def _key(url: URL) -> Hashable:
    query = sorted((name, value) for name, value in url.query.items() if not is_secret(name))
    return (url.get_backend_name(), url.host, url.port, url.database, tuple(query))


def engine_of(given: AnEngine) -> Engine | AsyncEngine:
    """The current engine.

    Raises:
        ConfigurationError: What was given is none, and gives none.
    """
    engine: Any = given if not callable(given) else given()
    if not isinstance(getattr(engine, "sync_engine", engine), Engine):
        raise ConfigurationError(
            f"engine= must be an Engine or a callable that returns one, and gave {type(engine).__name__}."
        )
    return engine  # type: ignore[no-any-return]


def _create_async_engine(url: URL, **arguments: Any) -> AsyncEngine:
    from sqlalchemy.ext.asyncio import create_async_engine  # needs greenlet

    return create_async_engine(url, **arguments)


def _made(create: Callable[..., Any], url: URL, **arguments: Any) -> Any:
    try:
        return create(url, **arguments)
    except ImportError as error:
        raise ConfigurationError(
            f"{url.drivername} needs a driver that is not installed: {error}.\n"
            'Install it, for example with: pip install "protean-testing[postgresql]" (PostgreSQL), PyMySQL '
            "(MariaDB), aiomysql (async), aiosqlite (async SQLite) or sqlalchemy[asyncio] (any async engine)."
        ) from error
