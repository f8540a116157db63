"""A suite of many small classes, by the seconds of its whole run: ``python -m benchmarks.postgresql.suite``.

Each class shares a row; each of its tests adds three rows to each of three tables, and looks that nothing
else is there. The same suite runs under ours, under Django's ``TestCase`` (with ``setUpTestData``), with all
tables truncated after each test (``setUp`` makes the shared row again), and with nothing restored. Seconds
from an empty database to the last test, with the tables and what is installed for ours: the median of some
rounds, in which all take turns.
"""

from __future__ import annotations

import argparse
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Engine, make_url

from protean_testing import DatabaseTestCase, SQLAlchemyStore, end_run
from protean_testing.servers.postgresql import PrivatePostgreSQL

from .peers import django_on
from .places import Case, Kind, Session, connected, create_database, create_tables, fill, started, write

CASE = Case(tables=0, written=3)
COUNT = "SELECT (SELECT count(*) FROM t0), (SELECT count(*) FROM t2), (SELECT count(*) FROM shared)"

Made = tuple[type[unittest.TestCase], str, Callable[[], Session]]
"""The base of the classes, its method that makes what a class (or test) shares, the session of the tests."""


@contextmanager
def ours(server: PrivatePostgreSQL, name: str, user: str, tables: int) -> Iterator[Made]:
    def schema(engine: Engine) -> None:
        with connected(server, name, user) as session:
            create_tables(session, tables)

    store = SQLAlchemyStore(schema=schema, url=make_url(server.url(name, user=user)))
    with connected(server, name, user) as session:
        try:
            yield type("Tests", (DatabaseTestCase,), {"stores": [store]}), "setUpClass", lambda: session
        finally:
            end_run()


@contextmanager
def django(server: PrivatePostgreSQL, name: str, user: str, tables: int) -> Iterator[Made]:
    with connected(server, name, user) as session:
        create_tables(session, tables)
    connection = django_on(server, name)
    from django.test import TestCase

    def session_of_django() -> Any:
        connection.ensure_connection()
        return connection.connection

    yield type("Tests", (TestCase,), {}), "setUpTestData", session_of_django
    connection.close()


@contextmanager
def truncate(server: PrivatePostgreSQL, name: str, user: str, tables: int) -> Iterator[Made]:
    names = ", ".join([*(f"t{number}" for number in range(tables)), "shared"])

    with connected(server, name, user) as session:
        create_tables(session, tables)

        class Tests(unittest.TestCase):
            def tearDown(self) -> None:
                session.execute(f"TRUNCATE {names} RESTART IDENTITY".encode())

        yield Tests, "setUp", lambda: session


@contextmanager
def nothing(server: PrivatePostgreSQL, name: str, user: str, tables: int) -> Iterator[Made]:
    with connected(server, name, user) as session:
        create_tables(session, tables)
        yield type("Tests", (unittest.TestCase,), {}), "setUpClass", lambda: session


WAYS = {
    "ours": (ours, "postgres"),
    "ours, as a plain owner": (ours, "owner"),
    "Django TestCase": (django, "postgres"),
    "TRUNCATE after each test": (truncate, "postgres"),
    "nothing restored": (nothing, "postgres"),
}


def suite(made: Made, classes: int, tests: int, *, looks: bool) -> unittest.TestSuite:
    base, shares, session = made

    def share(self: Any) -> None:
        if shares != "setUp":
            getattr(super(self, self), shares)()
        fill(session(), 1)

    def test(self: unittest.TestCase) -> None:
        with session().transaction():
            write(session(), CASE)
        if looks:
            self.assertEqual(session().execute(COUNT).fetchone(), (3, 3, 1))

    members = {f"test_{number}": test for number in range(tests)}
    members[shares] = share if shares == "setUp" else classmethod(share)  # type: ignore[assignment]
    made_classes = [type(f"Tests{number}", (base,), members) for number in range(classes)]
    return unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, made_classes))


def seconds(server: PrivatePostgreSQL, way: str, found: argparse.Namespace) -> float:
    make, user = WAYS[way]
    create_database(server, "suite_test", owner=user)
    result = unittest.TestResult()
    try:
        began = time.perf_counter()
        with make(server, "suite_test", user, found.tables) as made:
            suite(made, found.classes, found.tests, looks=way != "nothing restored").run(result)
        took = time.perf_counter() - began
    finally:
        server.drop_database("suite_test")
    if not result.wasSuccessful():
        raise SystemExit((result.errors + result.failures)[0][1])
    return took


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.postgresql.suite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--classes", type=int, default=300)
    parser.add_argument("--tests", type=int, default=3, help="of each class (default: 3)")
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    found = parser.parse_args()
    ways = [way for way in WAYS if way != "Django TestCase" or find_spec("django")]
    print(
        f"{found.classes} classes of {found.tests} tests, {found.tables} tables: seconds (of each test, ms)"
    )
    with started(Kind(None, "memory"), Path("/var/tmp")) as server:
        runs = [{way: seconds(server, way, found) for way in ways} for _ in range(found.rounds)]
    for way in ways:
        took = median(run[way] for run in runs)
        print(f"{way:26}{took:8.2f} ({1000 * took / found.classes / found.tests:.2f})")


if __name__ == "__main__":
    main()
