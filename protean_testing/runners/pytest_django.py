"""pytest-django beside the library: its test databases are made for our stores, and dropped after them.

pytest-django makes a database if a ``TransactionTestCase`` or the mark ``django_db`` asks for it, and forbids
to connect in every other test. It knows nothing of stores. Registered if pytest-django is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ..core.run import run

MODULE = "protean_testing.django"

plugin: Plugin | None = None
"""That of this session."""


class Plugin:
    """The hooks. There is one a session.

    Parameters:
        end: Ends the run: before its databases are destroyed.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        global plugin
        plugin = self
        self._end = end
        self._item: Any = None
        self._blocker: Any = None
        self._allowed = ExitStack()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        outer, self._item = self._item, item
        try:
            with ExitStack() as self._allowed:
                if any(_is_djangos(store) for scope in run.open_scopes() for store in scope.stores):
                    self._allow()
                return (yield)
        finally:
            self._item = outer

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        if fixturedef.argname != "django_db_setup" or MODULE not in sys.modules:
            return (yield)
        items = request.session.items
        request.session.items = [*items, _Asking(items)]
        try:
            return (yield)
        finally:
            request.session.items = items
            fixturedef.addfinalizer(self._end_run)  # it comes before that of the fixture itself

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Run what empties all tables, so that the rows of migrations are lost, behind everything else."""
        if MODULE in sys.modules:
            items.sort(key=_flushes)

    def make_databases(self) -> None:
        """Let pytest-django make the test databases, and allow connections until the running test ends."""
        request = getattr(self._item, "_request", None)
        if request is not None:
            request.getfixturevalue("django_db_setup")
            self._blocker = request.getfixturevalue("django_db_blocker")
            self._allow()

    def _allow(self) -> None:
        self._allowed.pop_all().close()
        self._allowed.enter_context(self._blocker.unblock())

    def pytest_unconfigure(self) -> None:
        global plugin
        plugin = None

    def _end_run(self) -> None:
        if any(_is_djangos(resource.store) for resource in run.resources.values()):
            with self._blocker.unblock():
                self._end()


class _Asking:
    """Stands among the tests when pytest-django looks through them for the databases to make."""

    cls = None
    fixturenames = ()

    def __init__(self, items: list[Any]) -> None:
        from ..django.store import declared_aliases
        from ..django.testcase import DjangoTestCase

        classes = {cls for item in items if (cls := getattr(item, "cls", None)) is not None}
        for cls in classes:
            if issubclass(cls, DjangoTestCase):
                cls._declared()  # declares those of its ``databases``
        self._aliases = sorted(declared_aliases)

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return pytest.mark.django_db(databases=self._aliases).mark if name == "django_db" else None


def _is_djangos(store: Any) -> bool:
    module = sys.modules.get(MODULE)
    return module is not None and isinstance(store, module.DjangoStore)


def _flushes(item: pytest.Item) -> bool:
    """Whether it is a ``TransactionTestCase`` of Django's, or the same by a mark or a fixture."""
    from django.test import TestCase, TransactionTestCase

    cls = getattr(item, "cls", None)
    if isinstance(cls, type) and issubclass(cls, TransactionTestCase):
        return not issubclass(cls, TestCase)
    mark = item.get_closest_marker("django_db")
    if mark is not None and any((*mark.args[:2], *map(mark.kwargs.get, ("transaction", "reset_sequences")))):
        return True
    return bool({"transactional_db", "live_server"} & set(getattr(item, "fixturenames", ())))
