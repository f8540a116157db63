"""What a test uses of a SQL store: URLs, engines, sessions, connections of the driver."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine
from sqlalchemy.orm import Session, scoped_session

from ...errors import ConfigurationError
from ...store import LocatedStore
from .backend import Backend
from .handle import DatabaseHandle
from .queries import Queries
from .roles import make_role
from .urls import async_url, in_private_memory, readable, sync_url

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession


class SQLAccess(LocatedStore):
    """The half of `SQLAlchemyStore` that tests see.

    Attributes:
        session_factory: Makes the sessions; None for those of SQLAlchemy.
        role: What they connect as; empty for the role of the URL.
    """

    session_factory: Any = None
    role: str = ""

    @abstractmethod
    def _live(self) -> DatabaseHandle: ...

    @abstractmethod
    def _backend(self) -> Backend: ...

    @property
    def url(self) -> str:
        """The URL for SQLAlchemy, with its driver and real password."""
        return readable(self._url_of_tests())

    @property
    def async_url(self) -> str:
        """The URL with a driver that an async engine takes."""
        return readable(async_url(self._url_of_tests()))

    @property
    def libpq_url(self) -> str:
        """The URL without SQLAlchemy's driver."""
        url = self._url_of_tests()
        return readable(url.set(drivername=url.get_backend_name()))

    @property
    def engine(self) -> Engine:
        """An engine on the database, the application's own if the store was given that."""
        handle = self._live()
        return self._role_engine(handle) if self.role else handle.engine()

    @property
    def async_engine(self) -> AsyncEngine:
        """An async engine without a pool: it may be used in any event loop."""
        handle = self._live()
        return self._role_engine(handle, is_async=True) if self.role else handle.async_engine()

    def _url_of_tests(self) -> URL:
        url = self._live().url
        return url.set(username=self.role) if self.role else url

    def _role_engine(self, handle: DatabaseHandle, *, is_async: bool = False) -> Any:
        if self.role not in handle.roles:
            make_role(self.role, self.name, handle)
        return handle.engine_as(self.role, is_async=is_async)

    def stamp(self, engine: Engine) -> None:
        """Put the schema and data of this moment into a fresh engine's ``sqlite://`` memory, or its new file.

        Raises:
            ConfigurationError: This is no SQLite store.
        """
        stamp = getattr(self._backend(), "stamp", None)
        if stamp is None:
            raise ConfigurationError(
                f"store {self.name!r} is not SQLite: a new engine on its URL needs no stamp."
            )
        stamp(engine)

    def queries(self) -> Queries:
        """Record the statements on this database, whichever engine sends them."""
        return Queries(self._live().is_at)

    # Sessions

    def new_session(self, **arguments: Any) -> tuple[Session, Callable[[], object]]:
        """A session of the factory, and what closes it.

        Parameters:
            arguments: As the factory takes them, or ``sqlalchemy.orm.Session``.
        """
        factory = self.session_factory
        if isinstance(factory, scoped_session):
            if arguments or not factory.registry.has():
                factory.remove()
                factory(**{"bind": self.engine, **arguments})
            return factory, factory.remove  # type: ignore[return-value]
        make = Session if factory is None or _is_async(factory) else factory
        session: Session = make(**{"bind": self.engine, **arguments})
        return session, lambda: self._close(session)

    def new_async_session(self, **arguments: Any) -> tuple[AsyncSession, Callable[[], Awaitable[object]]]:
        """The same for an async one; without a factory, a commit leaves its objects readable."""
        from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

        factory = self.session_factory if _is_async(self.session_factory) else None
        if isinstance(factory, async_scoped_session):
            if arguments or not factory.registry.has():
                factory.registry.clear()
                factory(**{"bind": self.async_engine, **arguments})
            return factory, factory().close  # type: ignore[return-value]  # its end is in another task
        if factory is None:
            arguments = {"expire_on_commit": False, **arguments}
        session: AsyncSession = (factory or AsyncSession)(**{"bind": self.async_engine, **arguments})
        return session, session.close

    def _close(self, session: Session) -> None:
        """Close a session that was given out, also where its server does not answer any more."""
        with self._live().limited():
            session.close()

    # Connections

    def connect(self, **arguments: Any) -> Any:
        """A connection of the driver itself, such as ``psycopg.Connection`` or ``sqlite3.Connection``.

        Parameters:
            arguments: As the driver's ``connect`` takes them, over those of the URL.
        """
        dialect = self.engine.dialect
        positional, named = self._arguments(dialect, sync_url, arguments)
        return dialect.loaded_dbapi.connect(*positional, **named)

    async def async_connect(self, **arguments: Any) -> Any:
        """The same of an async driver: ``psycopg.AsyncConnection``, aiosqlite's or asyncpg's connection."""
        url, dialect = async_url(self._url_of_tests()), self.engine.dialect  # which makes the role
        if url.get_driver_name().startswith("psycopg"):  # an async engine would need greenlet
            dialect = url.set(drivername="postgresql+psycopg").get_dialect()()
            connect = dialect.import_dbapi().AsyncConnection.connect
        else:
            dialect = self.async_engine.dialect
            connect = getattr(dialect.loaded_dbapi, dialect.driver).connect
        positional, named = self._arguments(dialect, async_url, arguments)
        return await connect(*positional, **named)

    def _arguments(
        self, dialect: Any, kind: Callable[[URL], URL], more: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        url = self._url_of_tests()
        if in_private_memory(url):
            raise ConfigurationError(
                f"store {self.name!r} is on sqlite://, memory that nothing but its engine can reach. Take a "
                "connection from there:  self.engine.raw_connection()"
            )
        positional, named = dialect.create_connect_args(kind(url))
        return positional, {**named, **more}


def _is_async(factory: Any) -> bool:
    """Whether a session factory makes async sessions."""
    asyncio: Any = sys.modules.get("sqlalchemy.ext.asyncio")  # importing it needs greenlet
    if factory is None or asyncio is None:
        return False
    made = factory.session_factory if isinstance(factory, asyncio.async_scoped_session) else factory
    made = made.class_ if isinstance(made, asyncio.async_sessionmaker) else made
    return isinstance(made, type) and issubclass(made, asyncio.AsyncSession)


def checked_factory(factory: Any) -> Any:
    """The session factory that was given.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(factory, Session) or not (factory is None or callable(factory)):
        raise ConfigurationError(
            f"SQLAlchemyStore: session_factory= makes a session for each call, and {factory!r} does not.\n"
            "Pass a sessionmaker, a scoped_session or a class:  session_factory=sessionmaker(autoflush=False)"
        )
    return factory
