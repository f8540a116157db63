"""Django's test case with its conveniences, on data that is really committed and restored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import SimpleTestCase, TransactionTestCase
from django.test.testcases import TestData

from ..testcase import DatabaseTestCase
from .store import DjangoStore, django_database, primary


class DjangoTestCase(DatabaseTestCase, SimpleTestCase):  # type: ignore[misc]
    """As ``django.test.TransactionTestCase``: code under test really commits, ``on_commit`` really comes.

    But the reset costs by what was written, rows of migrations stay, and ids begin at 1 again.
    ``self.client``, Django's assertions, ``setUpTestData``, ``fixtures`` and ``captureOnCommitCallbacks`` are
    there as ever.

    Attributes:
        databases: The aliases that tests may use, or ``"__all__"``: each of these databases is restored.
        stores: Further stores and hooks. A `django_database` among them stands for the one of its alias.
    """

    databases: ClassVar[Collection[str]] = {DEFAULT_DB_ALIAS}
    fixtures: ClassVar[Sequence[str]] = ()

    assertNumQueries = TransactionTestCase.assertNumQueries
    assertQuerySetEqual = TransactionTestCase.assertQuerySetEqual

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for store in cls.db.stores:
            if cls.fixtures and isinstance(store, DjangoStore):
                call_command("loaddata", *cls.fixtures, verbosity=0, database=store.alias)
        before: dict[str, Any] = dict(vars(cls))
        cls.setUpTestData()
        for name, value in list(vars(cls).items()):
            if value is not before.get(name):
                setattr(cls, name, TestData(name, value))  # each test has its own copy

    @classmethod
    def setUpTestData(cls) -> None:
        """Make rows that every test of the class finds."""

    @classmethod
    @contextmanager
    def captureOnCommitCallbacks(
        cls, *, using: str = DEFAULT_DB_ALIAS, execute: bool = False
    ) -> Iterator[list[Callable[[], Any]]]:
        """Collect the callbacks of what commits inside, in the order in which they came.

        Parameters:
            using: The alias.
            execute: Call them too, at the commit as in production. In Django's ``TestCase`` nothing commits,
                so that it calls them at the end of the block; so does this, inside an ``atomic()`` around it.
        """
        callbacks: list[Callable[[], Any]] = []
        connection = connections[using]
        on_commit, ours = connection.on_commit, []

        def note(func: Callable[[], Any], robust: bool = False) -> None:
            def called() -> None:
                callbacks.append(func)
                if execute:
                    func()

            ours.append(called)
            on_commit(called, robust)

        connection.on_commit = note
        try:
            yield callbacks
            while pending := [entry for entry in connection.run_on_commit if entry[1] in ours]:
                for entry in pending:
                    connection.run_on_commit.remove(entry)
                    entry[1]()
        finally:
            del connection.on_commit

    @classmethod
    def _declared(cls) -> Iterable[Any]:
        more = [] if cls.metadata is None and cls.stores is None else list(super()._declared())
        given = {primary(store.alias) for store in more if isinstance(store, DjangoStore)}
        aliases = connections if cls.databases == "__all__" else cls.databases
        left = sorted({primary(alias) for alias in aliases} - given)
        return [*(django_database(alias) for alias in left), *more]
