"""What scopes cost beside resets: classes of one test, decorated functions, ``db.scope()``."""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median

from sqlalchemy import Engine, make_url

from protean_testing import Database, DatabaseTestCase, SQLAlchemyStore, end_run, test_database, uses_database
from protean_testing.servers.postgresql import PrivatePostgreSQL

from .measuring import timed_one
from .places import Session, connected, create_database, create_tables

COLUMNS = ("class", "class, a row", "class with a row", "function, a row", "scope", "scope, a row")
"""``class, a row``: its test writes it; ``class with a row``: its setUpClass, for its test to find."""

BARS = {"class": 25, "class, a row": 40, "function, a row": 35, "scope": 8, "scope, a row": 20}
"""In multiples of ``SELECT 1``, for roles that can keep triggers still."""

GROWTH, GROWTH_AS_OWNER = 1.5, 3.0
"""How much more a scope may cost with a thousand tables than with twenty."""

WARM = 5


def costs(
    server: PrivatePostgreSQL, roles: Sequence[str], tables: Sequence[int], rounds: int
) -> dict[tuple[str, int], dict[str, float]]:
    """Return what scopes cost each role with so many tables."""
    return {(role, many): _measured(server, role, many, rounds) for role in roles for many in tables}


def table(title: str, found: Mapping[tuple[str, int], Mapping[str, float]]) -> Iterator[str]:
    """Return the lines of a table."""
    first = max(len(title), 32) + 1
    yield f"{title:<{first}}" + "".join(f"{column:>18}" for column in COLUMNS)
    for (role, many), one in found.items():
        name = f"ours, {role}: {many} tables"
        yield f"{name:<{first}}" + "".join(f"{one[column]:>18.1f}" for column in COLUMNS)


def bars(found: Mapping[tuple[str, int], Mapping[str, float]]) -> Iterator[tuple[str, float, float]]:
    """What is promised of scopes: what, how much it is, and how much it may be."""
    for role in dict.fromkeys(role for role, _ in found):
        counts = [many for name, many in found if name == role]
        few, many = found[role, counts[0]], found[role, counts[-1]]
        for column, allowed in BARS.items():
            if role != "owner":
                yield f"ours, {role}: {column}, SELECT 1", few[column], allowed
            if len(counts) > 1:
                growth = GROWTH_AS_OWNER if role == "owner" else GROWTH
                what = f"ours, {role}: {column}, {counts[-1]} tables, times {counts[0]}"
                yield what, many[column] / few[column], growth


def _measured(server: PrivatePostgreSQL, role: str, tables: int, rounds: int) -> dict[str, float]:
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


@contextmanager
def _scopes(store: SQLAlchemyStore, session: Session) -> Iterator[dict[str, Callable[[], float]]]:
    """Each of them returns the seconds of its writing, which are not counted."""

    def write() -> float:
        began = time.perf_counter()
        session.execute("INSERT INTO t2 (note) VALUES ('x')")
        return time.perf_counter() - began

    def class_of(in_class: Callable[[], float], in_test: Callable[[], float]) -> Callable[[], float]:
        took = 0.0

        class One(DatabaseTestCase):
            stores = (store,)

            @classmethod
            def setUpClass(cls) -> None:
                nonlocal took
                super().setUpClass()
                took = in_class()

            def test(self) -> None:
                nonlocal took
                took += in_test()

        def run() -> float:
            result = unittest.TestResult()
            unittest.TestSuite([One("test")]).run(result)
            if not result.wasSuccessful():
                raise RuntimeError(f"the class has failed: {result.errors + result.failures}")
            return took

        return run

    @uses_database(store)
    def function() -> float:
        return write()

    def nothing() -> float:
        return 0.0

    scopes: dict[str, Callable[[], float]] = {
        "class": class_of(nothing, nothing),
        "class, a row": class_of(nothing, write),
        "class with a row": class_of(write, nothing),
        "function, a row": function,
    }
    nested = {"scope": nothing, "scope, a row": write}
    with ExitStack() as stack:
        opened: list[Database] = []

        def in_scope(work: Callable[[], float]) -> float:
            if not opened:  # the other columns are measured outside of any block
                opened.append(stack.enter_context(test_database(store)))
            with opened[0].scope():
                return work()

        yield scopes | {column: partial(in_scope, work) for column, work in nested.items()}


def _cost(scope: Callable[[], float], session: Session, rounds: int) -> float:
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
