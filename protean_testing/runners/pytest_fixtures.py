"""Fixtures for pytest: a block round each test, class or module, and its end in the loop of an async test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from weakref import WeakSet

import pytest

from ..async_cleanup import await_all, end_tasks, report_tasks
from ..blocks import test_database
from ..core.run import attempts, raise_all
from ..database import Block, Database
from ..hooks import Hook
from ..store import OnLeak, Store

if TYPE_CHECKING:
    from protean import Domain
    from sqlalchemy import MetaData

_open: list[tuple[Database, Any]] = []
"""The handles of the fixtures that have begun, each with the test, class or module that it belongs to."""

_pending: list[tuple[asyncio.AbstractEventLoop, Callable[[], Any], AbstractContextManager[object]]] = []
"""Of the async test that has run: its event loop, what ends there, and what keeps it until then."""

_finish: dict[Database, Callable[[], object]] = {}
"""Of each of those handles, what ends its fixture."""

_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
"""The event loops that are fixtures."""

FixtureScope: TypeAlias = Literal["function", "class", "module", "package", "session"]


def database_fixture(
    *what: MetaData | Store | Hook,
    scope: FixtureScope = "function",
    name: str | None = None,
    autouse: bool = False,
) -> Any:
    """A fixture that is the handle `db`: ``db = database_fixture(Base.metadata)`` in a conftest.py.

    The schema is made once per run, and the data is restored when the fixture ends: after every test, or with
    a wider scope after its last test. One of a narrower scope nests inside it.

    Parameters:
        what: As for `test_database`.
        scope, name, autouse: As for ``pytest.fixture``.

    Raises:
        ConfigurationError: What was given is neither metadata, a store nor a hook.
    """
    block = test_database(*what)
    return _fixture(lambda: block, scope, name, autouse)


def domain_fixture(
    domain: Domain,
    *,
    config: Any = None,
    traverse: bool = True,
    on_leak: OnLeak = "warn",
    verify: bool = False,
    scope: FixtureScope = "function",
    name: str | None = None,
    autouse: bool = False,
) -> Any:
    """The same for a Protean domain, whose context is there in the test.

    Parameters:
        domain, config, traverse, on_leak, verify: As for `protean_testing.domain.test_domain`.
        scope, name, autouse: As for ``pytest.fixture``.
    """
    from ..domain import test_domain

    options: dict[str, Any] = {"config": config, "traverse": traverse, "on_leak": on_leak, "verify": verify}
    return _fixture(lambda: test_domain(domain, **options), scope, name, autouse)


def _fixture(block: Callable[[], Block], scope: FixtureScope, name: str | None, autouse: bool) -> Any:
    @pytest.fixture(scope=scope, name=name, autouse=autouse)
    def database(request: pytest.FixtureRequest) -> Iterator[Database]:
        opened = block()
        opened.label = request.node.nodeid or "the session"
        with opened as db:
            _open.append((db, request.node))
            try:
                yield db
            finally:
                _open.remove((db, request.node))
                _finish.pop(db, None)
                end_pending()

    return database


def note_writes(item: Any, error: BaseException) -> None:
    """Say under an error what was written since the fixtures of a test began: of several, the innermost."""
    given = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Database)]
    handles = dict.fromkeys([*given, *(db for db, node in _open if node is item)])
    for db in handles:
        if not any(other.is_inside(db) for other in handles):
            db.note_writes(error)


def end_in_loop(item: Any) -> None:
    """Have what an async test leaves of the handles it was given end in its own event loop.

    That waits for the fixtures which close what they have made for the test, if the loop lasts so long.
    """
    handles = [value for value in item.funcargs.values() if isinstance(value, Database)]
    ends_with_test = any(node is item for _, node in _open)
    test = item.obj

    @wraps(test)
    async def ended(*arguments: Any, **named: Any) -> Any:
        try:
            before, loop = asyncio.all_tasks(), asyncio.get_running_loop()
        except RuntimeError:  # another kind of loop
            return await test(*arguments, **named)
        try:
            return await test(*arguments, **named)
        finally:
            end = partial(_end, handles, item.nodeid, before)
            lease = _lease(item, loop) if ends_with_test else None
            if lease is None:
                await end()
            else:
                _pending.append((loop, end, lease))

    if handles:
        item.obj = ended


def fixture_begins(fixture: pytest.FixtureDef[Any], request: pytest.FixtureRequest, value: object) -> None:
    """If the value of a fixture is an event loop, end what a test left in it before the fixture closes it."""
    if isinstance(value, Database):
        _finish.setdefault(value, partial(fixture.finish, request))  # type: ignore[arg-type]
    loop = value.get_loop() if isinstance(value, asyncio.Runner) else value
    if isinstance(loop, asyncio.AbstractEventLoop):
        _loops.add(loop)
        fixture.addfinalizer(end_pending)


def finish_forgotten(ended: Callable[[Any], bool]) -> None:
    """Finish fixtures that pytest forgets if the end of another raises no Exception (CancelledError)."""
    forgotten = [_finish[db] for db, node in reversed(_open) if ended(node)]
    raise_all(attempts(forgotten), "after fixtures that pytest did not finish")


def end_pending() -> None:
    """End what an async test has left in its event loop, which is there still but does not run."""
    while _pending:
        loop, end, lease = _pending.pop()
        with lease:
            loop.run_until_complete(end())


def _lease(item: Any, loop: asyncio.AbstractEventLoop) -> AbstractContextManager[object] | None:
    """What keeps an event loop until the fixtures of its test have ended; None if nothing does."""
    if loop in _loops:  # of pytest-asyncio: a fixture itself
        return nullcontext()
    backend = item.funcargs.get("anyio_backend")
    if backend is None:
        return None
    try:
        from anyio.pytest_plugin import extract_backend_and_options, get_runner
    except ImportError:  # anyio 3
        return None
    lease = ExitStack()
    lease.enter_context(get_runner(*extract_backend_and_options(backend)))
    return lease


async def _end(handles: Sequence[Database], test: str, before: set[asyncio.Task[Any]]) -> None:
    errors: list[Exception] = []
    for db in handles:
        errors += await end_tasks(partial(report_tasks, test, db.stores), db.close_async, before)
        errors += await await_all(store.leave_loop for store in db.stores)
    raise_all(errors, f"after {test}")
