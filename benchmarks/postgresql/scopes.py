"""What scopes cost beside resets: classes of one test, decorated functions, ``db.scope()``.

Beside ours stand Django's ``TestCase``, whose ``setUpTestData`` writes a class's row, and its savepoints.
"""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from statistics import median

from sqlalchemy import Engine, make_url

from protean_testing import Database, DatabaseTestCase, SQLAlchemyStore, end_run, test_database, uses_database
from protean_testing.servers.postgresql import PrivatePostgreSQL

from .measuring import timed_one
from .peers import django_on
from .places import Session, connected, create_database, create_tables

COLUMNS = ("class", "class, a row", "class with a row", "function, a row", "scope", "scope, a row")
"""``class, a row``: its test writes it; ``class with a row``: its setUpClass, for its test to find."""

BARS = {
    "class": 25,
    "class, a row": 40,
    "class with a row": 100,
    "function, a row": 35,
    "scope": 8,
    "scope, a row": 20,
}
"""In multiples of ``SELECT 1``, for roles that can keep triggers still."""

GROWTH, GROWTH_AS_OWNER = 1.5, 3.0
"""How much more a scope may cost with a thousand tables than with twenty."""

WARM = 5

Work = Callable[[], float]
"""Returns the seconds of its writing, which are not counted."""


def costs(
    server: PrivatePostgreSQL, roles: Sequence[str], tables: Sequence[int], rounds: int, *, peers: bool = True
) -> dict[tuple[str, int], dict[str, float]]:
    """Return what scopes cost each role with so many tables, and those of Django if it is installed."""
    ours = {(f"ours, {role}", many): _ours(server, role, many, rounds) for role in roles for many in tables}
    if not (peers and find_spec("django")):
        return ours
    return ours | {("Django", many): _djangos(server, many, rounds) for many in tables}


def table(title: str, found: Mapping[tuple[str, int], Mapping[str, float]]) -> Iterator[str]:
    """Return the lines of a table."""
    first = max(len(title), 32) + 1
    yield f"{title:<{first}}" + "".join(f"{column:>18}" for column in COLUMNS)
    for (name, many), one in found.items():
        cells = (f"{one[column]:.1f}" if column in one else "-" for column in COLUMNS)
        yield f"{f'{name}: {many} tables':<{first}}" + "".join(f"{cell:>18}" for cell in cells)


def bars(found: Mapping[tuple[str, int], Mapping[str, float]]) -> Iterator[tuple[str, float, float]]:
    """What is promised of scopes: what, how much it is, and how much it may be."""
    for ours in dict.fromkeys(name for name, _ in found if name != "Django"):
        counts = [many for name, many in found if name == ours]
        few, many = found[ours, counts[0]], found[ours, counts[-1]]
        for column, allowed in BARS.items():
            if not ours.endswith("owner"):
                yield f"{ours}: {column}, SELECT 1", few[column], allowed
            if len(counts) > 1:
                growth = GROWTH_AS_OWNER if ours.endswith("owner") else GROWTH
                what = f"{ours}: {column}, {counts[-1]} tables, times {counts[0]}"
                yield what, many[column] / few[column], growth


def _ours(server: PrivatePostgreSQL, role: str, tables: int, rounds: int) -> dict[str, float]:
    """What each of `COLUMNS` costs, in multiples of a ``SELECT 1`` in between."""
    name, user = f"scopes_{role}_test", "postgres" if role == "superuser" else role
    create_database(server, name, owner=user)

    def schema(engine: Engine) -> None:
        with connected(server, name, user) as session:
            create_tables(session, tables)

    store = SQLAlchemyStore(schema=schema, url=make_url(server.url(name, user=user)))
    try:
        with connected(server, name, user) as session, _scopes(store, session) as scopes:
            return {column: _cost(scopes[column], session, rounds) for column in COLUMNS}
    finally:
        end_run()
        server.drop_database(name)


def _djangos(server: PrivatePostgreSQL, tables: int, rounds: int) -> dict[str, float]:
    """The same, of those that it has."""
    name = "scopes_django_test"
    create_database(server, name)
    with connected(server, name) as session:
        create_tables(session, tables)
    connection = django_on(server, name)
    from django.db import transaction
    from django.test import TestCase

    def write() -> float:
        connection.ensure_connection()  # the end of a class closes it
        return _write(connection.connection)

    def in_savepoint(work: Work) -> float:
        savepoint = transaction.savepoint()
        written = work()
        transaction.savepoint_rollback(savepoint)
        return written

    try:
        with connected(server, name) as session:
            classes = _classes(type("Base", (TestCase,), {}), "setUpTestData", write)
            found = {column: _cost(one, session, rounds) for column, one in classes.items()}
            with transaction.atomic():
                for column, work in (("scope", _nothing), ("scope, a row", write)):
                    found[column] = _cost(partial(in_savepoint, work), session, rounds)
                transaction.set_rollback(True)
            return found
    finally:
        connection.close()
        server.drop_database(name)


def _write(session: Session) -> float:
    began = time.perf_counter()
    session.execute("INSERT INTO t2 (note) VALUES ('x')")
    return time.perf_counter() - began


def _nothing() -> float:
    return 0.0


def _classes(base: type[unittest.TestCase], hook: str, write: Work) -> dict[str, Work]:
    """Classes of one test.

    Parameters:
        hook: The class's method that writes the rows of the class.
    """

    def class_of(in_class: Work, in_test: Work) -> Work:
        took = 0.0

        def write_shared(cls: type[unittest.TestCase]) -> None:
            nonlocal took
            getattr(super(One, cls), hook)()
            took = in_class()

        def test(case: unittest.TestCase) -> None:
            nonlocal took
            took += in_test()

        One = type("One", (base,), {hook: classmethod(write_shared), "test": test})

        def run() -> float:
            result = unittest.TestResult()
            unittest.TestSuite([One("test")]).run(result)
            if not result.wasSuccessful():
                raise RuntimeError(f"the class has failed: {result.errors + result.failures}")
            return took

        return run

    return {
        "class": class_of(_nothing, _nothing),
        "class, a row": class_of(_nothing, write),
        "class with a row": class_of(write, _nothing),
    }


@contextmanager
def _scopes(store: SQLAlchemyStore, session: Session) -> Iterator[dict[str, Work]]:
    def write() -> float:
        return _write(session)

    with ExitStack() as stack:
        opened: list[Database] = []

        def in_scope(work: Work) -> float:
            if not opened:  # the other columns are measured outside of any block
                opened.append(stack.enter_context(test_database(store)))
            with opened[0].scope():
                return work()

        yield {
            **_classes(type("Base", (DatabaseTestCase,), {"stores": (store,)}), "setUpClass", write),
            "function, a row": uses_database(store)(write),
            "scope": partial(in_scope, _nothing),
            "scope, a row": partial(in_scope, write),
        }


def _cost(scope: Work, session: Session, rounds: int) -> float:
    costs, ones = [], []
    warm = min(WARM, rounds)
    for number in range(warm + rounds):
        began = time.perf_counter()
        written = scope()
        took = time.perf_counter() - began - written
        if number >= warm:
            costs.append(took)
            ones += [timed_one(session) for _ in range(3)][1:]
    return median(costs) / median(ones)
