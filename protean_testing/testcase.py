"""The base classes: schema for the run, data restored after every test."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from sys import _getframe
from typing import TYPE_CHECKING, Any, ClassVar

from .changes import LISTED
from .class_fixture import RUNS, begin_class, clean_up, fixture_of, run_in_fixture
from .database import Database
from .errors import ConfigurationError
from .handles import sentinel_handles
from .hooks import Hook
from .store import Store

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData
    from sqlalchemy.orm import Session

    from .stores.sql.queries import Queries

__unittest = True  # unittest leaves frames of this module out of the tracebacks that it prints


class DatabaseTestCase(unittest.TestCase):
    """A test case on real stores. Declare `metadata`, or `stores` for any mix.

    Each test may commit, from any connection, thread or process: at its end the data is what it was when
    the class's first test began. What ``setUpClass`` writes after ``super().setUpClass()`` is there for
    every test of the class, and gone after it.

    Attributes:
        metadata: SQLAlchemy metadata (or several) whose tables are the schema.
        stores: Stores and hooks, in the order in which to prepare them.
        db: The handle on them: ``db.session()``, ``db.scope()``, ``db.reset()``, ``db.store(name)``.
        engine: The engine of the one SQL store, if there is just one.
        database_url: Its URL, with the real password.
        session: ``db.session``.
    """

    metadata: ClassVar[MetaData | Sequence[MetaData] | None] = None
    stores: ClassVar[Sequence[Store | Hook] | None] = None

    if TYPE_CHECKING:
        db: Database
        engine: Engine
        database_url: str
        session: Callable[..., Session]
    else:
        db, engine, database_url, session = sentinel_handles()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        begin_class(cls, cls._declared())

    def setUp(self) -> None:
        super().setUp()
        if isinstance(self, unittest.IsolatedAsyncioTestCase):
            fixture = fixture_of(self)
            if fixture is not None:
                fixture.enter_hooks()  # here, and not in run(), they reach the context of the test's loop

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        call = partial(super().run, result)
        ran: unittest.TestResult | None = run_in_fixture(self, result, call, self._unless_overridden)
        return ran

    def debug(self) -> None:
        run_in_fixture(self, None, super().debug, self._unless_overridden)

    @contextmanager
    def assertQueries(self, number: int) -> Iterator[Queries]:
        """Assert how many statements the block executes on the one SQL store, whichever engine sends them.

        Parameters:
            number: How many; an ``executemany`` is one.
        """
        with self.db.queries() as found:
            yield found
        if len(found) != number:
            self.fail(f"{len(found)} statements, not {number}:\n{found.listed()}")

    def assertWrites(self, expected: Mapping[str, int] | None = None, /, **more: int) -> None:
        """Assert how many rows, keys and messages the test has written and committed so far, and no others.

        What was inserted and deleted since the test began is not counted, nor what is as it was.

        Parameters:
            expected, more: By table, key or stream; if several stores have one of that name, by the store's
                name as well: ``{"warehouse.order": 1}``. Nothing at all: the test has written nothing.
        """
        written = self.db.written()
        wrong = written.differences({**(expected or {}), **more})
        if wrong:
            listed = "\n".join(f"  {line}" for line in wrong)
            error = self.failureException(f"not as expected:\n{listed}\nWritten was:\n{written.listed()}")
            setattr(error, LISTED, True)
            raise error

    def doCleanups(self) -> Any:
        if _getframe(1).f_code is RUNS:
            return super().doCleanups()
        return clean_up(self, super().doCleanups)

    @classmethod
    def _declared(cls) -> Iterable[Any]:
        if (cls.metadata is None) == (cls.stores is None):
            raise ConfigurationError(
                f"{cls.__module__}.{cls.__qualname__} must declare metadata or stores, and one of them only."
            )
        if cls.stores is not None:
            return cls.stores
        return cls.metadata if isinstance(cls.metadata, Sequence) else [cls.metadata]

    @classmethod
    def _unless_overridden(cls) -> Iterable[Any] | None:
        ours = cls.setUpClass.__func__ is DatabaseTestCase.setUpClass.__func__  # type: ignore[attr-defined]
        return cls._declared() if ours else None


class AsyncDatabaseTestCase(DatabaseTestCase, unittest.IsolatedAsyncioTestCase):
    """The same for async tests: ``db.async_session()``, ``db.async_engine``, any async client.

    Before the reset, the tasks that the test left are cancelled and waited for, and its async sessions
    are closed.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew in the process that runs it: the base class holds a context that cannot be sent there."""
        return type(self), (self._testMethodName,)
