"""The one handle that a test has, `db`, and the block that opens and ends a scope."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from inspect import Parameter, Signature
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from .changes import Changes
from .core.recording import Recording, is_failure, look, note_failure, note_writes
from .core.resource import StackedScope
from .core.scopes import Scope, tests_running
from .errors import ConfigurationError, UnsafeStoreError, without_own_frames
from .failures import note_failures, running
from .hooks import Hook
from .store import LocatedStore, Store

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

    from .live import LiveServer
    from .stores.sql.queries import Queries
    from .stores.sql.store import SQLAlchemyStore

__unittest = True  # unittest leaves frames of this module out of the tracebacks that it prints


class Database:
    """What a test uses of its stores.

    With one SQL store among them, `url`, `engine`, `session` and their like are its own; with more, ask
    for each by its name: ``db.store("warehouse").engine``.
    """

    def __init__(self, stores: Sequence[Store], current: Callable[[], Scope]) -> None:
        self.stores = tuple(stores)
        self._current = current

    def store(self, name: str) -> Any:
        """The store of that name.

        Raises:
            ConfigurationError: There is none.
        """
        for store in self.stores:
            if store.name == name:
                return store
        names = ", ".join(repr(store.name) for store in self.stores) or "none at all"
        raise ConfigurationError(f"there is no store {name!r} here, only {names}.")

    @property
    def url(self) -> str:
        """The database's URL for SQLAlchemy, with its driver and real password."""
        return self._sql().url

    @property
    def async_url(self) -> str:
        """The same with a driver for ``create_async_engine``: aiosqlite, psycopg."""
        return self._sql().async_url

    @property
    def libpq_url(self) -> str:
        """The URL without SQLAlchemy's driver, as psycopg, psql and other clients want it."""
        return self._sql().libpq_url

    @property
    def engine(self) -> Engine:
        """An engine on the database, the application's own if the store was given that."""
        return self._sql().engine

    @property
    def async_engine(self) -> AsyncEngine:
        """An async engine without a pool, so that it may be used in any event loop."""
        return self._sql().async_engine

    def session(self, **arguments: Any) -> Session:
        """A new session; it is closed at the end of the innermost open scope.

        Parameters:
            arguments: As the store's `session_factory` takes them, or ``sqlalchemy.orm.Session``.
        """
        session, close = self._sql().new_session(**arguments)
        self._scope().closing.append(close)
        return session

    def async_session(self, **arguments: Any) -> AsyncSession:
        """A new async session; it is closed at the end of the innermost open scope.

        Its objects stay readable after a commit, unless the store's `session_factory` says otherwise.

        Parameters:
            arguments: As that factory takes them, or ``sqlalchemy.ext.asyncio.AsyncSession``.
        """
        session, close = self._sql().new_async_session(**arguments)
        self._scope().async_closing.append(close)
        return session

    # FastAPI takes the parameters of a dependency for those of the request:
    # app.dependency_overrides[get_session] = self.db.session
    for _method in cast("tuple[Any, ...]", (session, async_session)):
        _method.__signature__ = Signature([Parameter("self", Parameter.POSITIONAL_ONLY)])
    del _method

    def queries(self) -> Queries:
        """Record the statements on the database, of any engine: ``with db.queries() as found:``.

        Returns:
            A list of the statements, in their order.
        """
        return self._sql().queries()

    def connect(self, **arguments: Any) -> Any:
        """A new connection of the driver itself; it is closed at the end of the innermost open scope.

        Parameters:
            arguments: As the driver takes them: ``psycopg.connect``, ``sqlite3.connect``.
        """
        connection = self._sql().connect(**arguments)
        self._scope().closing.append(connection.close)
        return connection

    async def async_connect(self, **arguments: Any) -> Any:
        """The same of an async driver: ``psycopg.AsyncConnection``, aiosqlite's or asyncpg's connection.

        Parameters:
            arguments: As the driver takes them.
        """
        connection = await self._sql().async_connect(**arguments)
        self._scope().async_closing.append(connection.close)
        return connection

    def serve(self, application: Callable[..., Any], **options: Any) -> LiveServer:
        """Serve an application on a port, from a thread, until the innermost open scope ends.

        At the end of each test its requests are waited for before the data is restored.

        Parameters:
            application: A WSGI application, or an ASGI one.
            options: As for `protean_testing.live.LiveServer`: interface, host, port, wait.

        Raises:
            ConfigurationError: It cannot be served.
        """
        from .live import LiveServer

        scope = self._scope()
        server = LiveServer(application, **options)
        scope.keep_companion(server)
        return server

    def note_writes(self, error: BaseException) -> None:
        """Say under the traceback of an error what was written since this handle's own scope began."""
        note_writes(self._current(), error)

    def follow(self, test: object = None) -> None:
        """Have the failures of a test say what was written since this handle's own scope began.

        Parameters:
            test: The test; else the one that runs.
        """
        _follow(self._current(), test)

    def is_inside(self, outer: Database) -> bool:
        """Whether the scope of this handle restores all that the other's does, and began later."""
        ours, theirs = self._current(), outer._current()
        return ours.number > theirs.number and ours.entries.keys() >= theirs.entries.keys()

    async def close_async(self) -> None:
        """Close the async handles that were given out: in the event loop that they were used in."""
        await self._scope().close_async()

    def scope(self) -> Block:
        """A scope inside this one: ``with db.scope():``, or ``async with``. Real commits, gone at its end."""
        return Block(self.stores, label=f"the scope at {caller()}", outer=self._current)

    def changes(self) -> Recorded:
        """Find what a block writes and commits: ``with db.changes() as changes:``. It stays written.

        Beginning it saves the data as `scope` does. At its end the list is there: ``changes.counts()``,
        ``changes["order"].inserted``.
        """
        return Recorded(self.stores, f"the changes at {caller()}", self._current)

    def written(self) -> Changes:
        """What was written and committed since this handle's own scope began, in a test since that began.

        Raises:
            ScopeError: This scope is over.
            StoreError, ExceptionGroup: From the stores; every one of them was tried.
        """
        return look(self._current())

    def reset(self) -> bool:
        """Go back to the start of this handle's own scope.

        Returns:
            True if something had been written.

        Raises:
            ScopeError: An inner scope is still open, or this one is over.
            StoreError, ExceptionGroup: From the stores; every one of them was tried.
        """
        return self._current().reset()

    def _sql(self) -> SQLAlchemyStore:
        self._scope()
        found = sql_stores(self.stores)
        if len(found) == 1:
            return cast("SQLAlchemyStore", found[0])
        names = ", ".join(repr(store.name) for store in found) or "none"
        raise ConfigurationError(
            f"db has no database of its own: there are {len(found)} SQL stores here ({names}), not one.\n"
            "Ask for the one you mean: db.store('name')."
        )

    def _scope(self) -> StackedScope:
        scope = self._current()
        scope.must_be_open()
        return scope.innermost()

    def __repr__(self) -> str:
        return f"<Database of {self._current().label}: {', '.join(store.name for store in self.stores)}>"


class Recorded:
    """A block whose writes are found at its end; see `Database.changes`."""

    def __init__(self, stores: Sequence[Store], label: str, outer: Callable[[], Scope]) -> None:
        self._stores, self._label, self._outer = stores, label, outer
        self._open: list[tuple[Recording, Changes]] = []

    def __enter__(self) -> Changes:
        outer = self._outer()
        outer.must_be_open()
        scope = Recording(self._stores, self._label, nested=True, outer=outer)
        scope.enter()
        scope.test = next(iter(tests_running()), None)
        self._open.append((scope, Changes()))
        return self._open[-1][1]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope, changes = self._open.pop()
        try:
            if error is None:
                changes.become(look(scope))
        finally:
            try:
                if scope.is_open and not scope.outlived_run:
                    scope.leave()
            except Exception as failed:
                if error is None:
                    raise
                error.add_note(f"protean_testing: {type(failed).__name__}: {failed}")

    async def __aenter__(self) -> Changes:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def sql_stores(stores: Iterable[Store]) -> list[Store]:
    """Those that are a SQL database."""
    return [store for store in stores if isinstance(store, LocatedStore) and store.kind == "database"]


class Block:
    """A scope as a context manager, sync and async; it can be entered again, also inside itself.

    Attributes:
        postponed: Takes the end that follows a failure, if a debugger is to come before it.
    """

    _without_effect = False

    def __init__(
        self,
        stores: Sequence[Store | Hook],
        *,
        label: str,
        outer: Callable[[], Scope] | None = None,
    ) -> None:
        self._stores = [store for store in stores if isinstance(store, Store)]
        self._hooks = [hook for hook in stores if isinstance(hook, Hook)]
        self.label = label
        self._outer = outer
        self.postponed: list[Callable[[], object]] | None = None
        self._open: list[tuple[Scope, ExitStack]] = []
        self._without_effect = outer is not None

    def __del__(self) -> None:
        if self._without_effect:
            warnings.warn(
                f"{self.label} was never entered, so nothing is restored at its end. Write:  "
                "with db.scope(): ...",
                RuntimeWarning,
                stacklevel=2,
            )

    def __enter__(self) -> Database:
        self._without_effect = False
        try:
            return self._begun()
        except (ConfigurationError, UnsafeStoreError) as error:
            raise without_own_frames(error) from error.__cause__

    def _begun(self) -> Database:
        stores = self._prepared()
        outer = self._outer() if self._outer else None
        if outer is not None:
            outer.must_be_open()
        scope = Scope(stores, self.label, nested=True, outer=outer)
        with ExitStack() as stack:
            for hook in self._hooks:
                stack.enter_context(hook.context())
            scope.enter()
            scope.test = next(iter(tests_running()), None)
            _follow(scope)
            stack.push(self._left)
            self._open.append((scope, stack.pop_all()))
        return Database(stores, lambda: scope)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope, stack = self._open[-1]
        if self.postponed is not None and self.depth == 1 and is_failure(error):
            note_writes(scope, error)
            scope.failing = None
            self.postponed.append(partial(self.__exit__, None, None, None))
            return
        scope.expire()
        stack.__exit__(kind, error, trace)

    async def __aenter__(self) -> Database:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope, _ = self._open[-1]
        try:
            await scope.close_async()
        finally:
            if self._hooks:  # they are left in the context that they were entered in
                self.postponed = None
            self.__exit__(kind, error, trace)

    def _prepared(self) -> Sequence[Store]:
        return self._stores

    def _left(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the scope; the block's own failure stays the one that is raised, with ours as a note."""
        scope, _ = self._open[-1]
        if is_failure(error):
            note_writes(scope, error)
        try:
            if not scope.outlived_run:  # else the run's end has left it
                scope.leave()
        except Exception as failed:
            if error is None:
                raise
            error.add_note(f"protean_testing: {type(failed).__name__}: {failed}")
        finally:
            self._open.pop()

    @property
    def depth(self) -> int:
        """How often it is entered now."""
        return len(self._open)

    def end_since(self, depth: int) -> None:
        """End what was entered since there were `depth`: an interruption came before its end could begin."""
        if len(self._open) > depth and not self.postponed:
            try:
                self.__exit__(*sys.exc_info())
            finally:
                del self._open[depth:]


def _follow(scope: Scope, test: object = None) -> None:
    case, result = running()
    scope.failing, scope.noted = test or case, 0
    if scope.failing is not None:
        note_failures(scope.failing, result, note_failure)


def caller() -> str:
    """Where the code that called a public function of the library stands: file and line."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
