"""Fixtures for pytest: a block round each test, class or module, and its end in the loop of an async test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

from ..async_cleanup import await_all, end_tasks, report_tasks
from ..blocks import test_database
from ..core.run import raise_all
from ..database import Block, Database
from ..hooks import Hook
from ..store import OnLeak, Store

if TYPE_CHECKING:
    from protean import Domain
    from sqlalchemy import MetaData

_open: list[tuple[Database, Any]] = []
"""The handles of the fixtures that have begun, each with the test, class or module that it belongs to."""

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

    return database


def note_writes(item: Any, error: BaseException) -> None:
    """Say under an error what was written since the fixtures of a test began: of several, the innermost."""
    given = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Database)]
    handles = dict.fromkeys([*given, *(db for db, node in _open if node is item)])
    for db in handles:
        if not any(other.is_inside(db) for other in handles):
            db.note_writes(error)


def end_in_loop(item: Any) -> None:
    """Have an async test end, in its own event loop, what it has left there of the handles it was given."""
    handles = [value for value in item.funcargs.values() if isinstance(value, Database)]
    test = item.obj

    @wraps(test)
    async def ended(*arguments: Any, **named: Any) -> Any:
        try:
            before = asyncio.all_tasks()
        except RuntimeError:  # another kind of loop
            return await test(*arguments, **named)
        try:
            return await test(*arguments, **named)
        finally:
            for db in handles:
                await _end(db, item.nodeid, before)

    if handles:
        item.obj = ended


async def _end(db: Database, test: str, before: set[asyncio.Task[Any]]) -> None:
    errors = await end_tasks(partial(report_tasks, test, db.stores), db.close_async, before)
    errors += await await_all(store.leave_loop for store in db.stores)
    raise_all(errors, f"after {test}")
