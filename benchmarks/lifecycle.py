"""What a test costs beside a plain ``unittest`` one: ``python -m benchmarks.lifecycle``.

Processor time of this process (a server's own is not in it), in multiples of a plain ``unittest`` test of the
same run: of a test that does nothing, and of one that writes and commits a row. Beside ours stand Django's
``SimpleTestCase`` and ``TestCase``, what a pytest fixture does who makes the tables once and rolls back, and
what asking PostgreSQL anything costs: a plain test with a prepared ``SELECT 1`` in its ``tearDown``.

Below it, the calls of Python functions of ours, and how deep these go: of an empty test from its begin to its
end, of the end of a test that has written a row (from the test's last line on), and of ``setUpClass`` of the
first class in a run.
"""

from __future__ import annotations

import argparse
import sys
import unittest
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, insert
from sqlalchemy.orm import Session

import protean_testing
from protean_testing import CallableStore, DatabaseTestCase, SQLAlchemyStore
from protean_testing.servers.postgresql import start_postgresql

OURS = str(Path(protean_testing.__file__).parent)
metadata = MetaData()
things = Table(
    "things", metadata, Column("id", Integer, primary_key=True), Column("name", String(50), nullable=False)
)
held: dict[str, int] = {}

Kind = tuple[type[unittest.TestCase], Callable[[Any], object]]
"""A base class, and what its test writes."""


def write(engine: Engine) -> None:
    """As an application does: in a transaction of its own, which is committed."""
    with engine.begin() as connection:
        connection.execute(insert(things).values(name="a"))


# The kinds of test


def plain() -> Kind:
    return unittest.TestCase, lambda case: held.update(row=1)


def ours(store: Any) -> Kind:
    class Tests(DatabaseTestCase):
        stores = [store]

    if isinstance(store, CallableStore):
        return Tests, lambda case: held.update(row=1)
    return Tests, lambda case: write(case.engine)


def fixture(url: str) -> Kind:
    """``create_all`` once, a transaction round each test, and the session in a savepoint of it."""
    engine = create_engine(url)

    class Tests(unittest.TestCase):
        @classmethod
        def setUpClass(cls) -> None:
            metadata.create_all(engine)

        @classmethod
        def tearDownClass(cls) -> None:
            metadata.drop_all(engine)
            engine.dispose()

        def setUp(self) -> None:
            self.connection = engine.connect()
            self.transaction = self.connection.begin()
            self.session = Session(self.connection, join_transaction_mode="create_savepoint")

        def tearDown(self) -> None:
            self.session.close()
            self.transaction.rollback()
            self.connection.close()

    def insert_one(case: Any) -> None:
        case.session.execute(insert(things).values(name="a"))
        case.session.commit()

    return Tests, insert_one


def asking(url: str) -> Kind:
    """The least that a look at the server after each test can cost, by psycopg's own means."""
    connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True, prepare_threshold=0)

    class Tests(unittest.TestCase):
        @classmethod
        def tearDownClass(cls) -> None:
            connection.execute("DELETE FROM things")

        def tearDown(self) -> None:
            connection.execute("SELECT 1").fetchone()

    return Tests, lambda case: connection.execute("INSERT INTO things (name) VALUES ('a')")


class Django:
    """Its test cases on the same two databases."""

    def __init__(self, server_url: str) -> None:
        import django
        from django.apps import apps
        from django.conf import settings

        where = parse_qs(urlsplit(server_url).query)
        at = {"USER": "postgres", "HOST": where["host"][0], "PORT": where["port"][0]}
        settings.configure(
            DATABASES={
                "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
                "postgresql": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", **at},
            },
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        )
        django.setup()
        from django.db import connections, models

        meta = type("Meta", (), {"app_label": "lifecycle"})
        fields = {"name": models.CharField(max_length=50), "Meta": meta, "__module__": __name__}
        self._model: Any = type("Thing", (models.Model,), fields)
        apps.clear_cache()
        for alias in ("default", "postgresql"):
            with connections[alias].schema_editor() as editor:
                editor.create_model(self._model)

    def simple(self) -> Kind:
        from django.test import SimpleTestCase

        return SimpleTestCase, lambda case: held.update(row=1)

    def case(self, alias: str) -> Kind:
        from django.test import TestCase

        base = type("Tests", (TestCase,), {"databases": {alias}, "__module__": __name__})
        return base, lambda case: self._model.objects.using(alias).create(name="a")


# Processor time


IN_A_ROW = 50


def seconds(kind: Kind, tests: int, *, writes: bool) -> float:
    """Processor time of one test, from its begin to that of the next: of the best so many in a row.

    Whatever else the machine does makes tests dearer, and none cheaper.
    """
    base, insert_one = kind
    moments: list[float] = []

    def test(case: Any) -> None:
        moments.append(process_time())
        if writes:
            insert_one(case)

    members = {f"test_{number:05}": test for number in range(tests + 1)}
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(type("Tests", (base,), members)).run(result)
    if not result.wasSuccessful():
        raise SystemExit((result.errors + result.failures)[0][1])
    row = min(tests, IN_A_ROW)
    return min(moments[n + row] - moments[n] for n in range(0, tests - row + 1, row)) / row


def measured(kinds: dict[str, Kind], tests: int, rounds: int) -> dict[str, tuple[float, float]]:
    """The least of each in several rounds, in which they take turns: empty, and with a row."""
    least = dict.fromkeys(kinds, (9.9, 9.9))
    for _ in range(rounds):
        for name, kind in kinds.items():
            empty, row = (seconds(kind, tests, writes=writes) for writes in (False, True))
            least[name] = min(least[name][0], empty), min(least[name][1], row)
    return least


# Calls


class Calls:
    """Counts calls of functions of ours, and how deep they go, from `begin` to `end`."""

    def __init__(self) -> None:
        self.number = self.deepest = self._around = 0
        self.by_file: dict[str, int] = {}

    def begin(self) -> None:
        self._around = _depth(sys._getframe())
        sys.setprofile(self._count)

    def end(self) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(OURS):
            return
        self.number += 1
        file = frame.f_code.co_filename[len(OURS) + 1 :]
        self.by_file[file] = self.by_file.get(file, 0) + 1
        self.deepest = max(self.deepest, _depth(frame) - self._around)


def _depth(frame: FrameType | None) -> int:
    """How many frames of ours are on the stack."""
    depth = 0
    while frame is not None:
        depth += frame.f_code.co_filename.startswith(OURS)
        frame = frame.f_back
    return depth


@contextmanager
def counting() -> Iterator[Calls]:
    calls = Calls()
    calls.begin()
    try:
        yield calls
    finally:
        calls.end()


def calls_of(store: Any) -> dict[str, Calls]:
    """The three walks, on a store that has not been used in this process."""
    base, insert_one = ours(store)
    found = {"an empty test": Calls(), "the end of a test that wrote": Calls()}
    empty, end = found.values()

    class Tests(base):  # type: ignore[misc, valid-type]
        def test_it(self) -> None:
            """Empty."""

        def test_row(self) -> None:
            insert_one(self)
            if self.is_counted:
                end.begin()

    Tests.is_counted = False
    result = unittest.TestResult()
    with counting() as first:
        Tests.setUpClass()
    for Tests.is_counted in (False, True):  # what is prepared at the first is not counted
        Tests("test_row").run(result)
        end.end()
        if Tests.is_counted:
            empty.begin()
        Tests("test_it").run(result)
        empty.end()
    Tests.tearDownClass()
    Tests.doClassCleanups()
    if not result.wasSuccessful():
        raise SystemExit((result.errors + result.failures)[0][1])
    return {**found, "setUpClass of the first class": first}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tests", type=int, default=400, help="tests of each class (default: 400)")
    parser.add_argument("--rounds", type=int, default=7, help="of which the best counts (default: 7)")
    parser.add_argument("--quick", action="store_true", help="20 tests, one round")
    parser.add_argument("--files", action="store_true", help="the calls file by file")
    arguments = parser.parse_args()
    tests, rounds = (20, 1) if arguments.quick else (arguments.tests, arguments.rounds)
    warnings.simplefilter("ignore")
    server = start_postgresql()
    try:
        stores = {
            "memory": CallableStore(held, name="memory"),
            "SQLite in memory": SQLAlchemyStore(metadata, url="sqlite:///file:/lifecycle?vfs=memdb&uri=true"),
            "PostgreSQL": SQLAlchemyStore(metadata, url=server.create_database("lifecycle_test")),
        }
        walks = {name: calls_of(store) for name, store in stores.items()}
        kinds = {"plain unittest": plain()}
        kinds |= {f"ours, {name}": ours(store) for name, store in stores.items()}
        kinds["plain unittest, SELECT 1"] = asking(server.url("lifecycle_test"))
        kinds["fixture, SQLite in memory"] = fixture("sqlite://")
        kinds["fixture, PostgreSQL"] = fixture(server.create_database("fixture_test"))
        if find_spec("django"):
            django = Django(server.url())
            kinds["Django SimpleTestCase"] = django.simple()
            kinds["Django TestCase, SQLite in memory"] = django.case("default")
            kinds["Django TestCase, PostgreSQL"] = django.case("postgresql")
        least = measured(kinds, tests, rounds)
        unit = least["plain unittest"][0]
        print(f"processor time in multiples of a plain unittest test, which takes {unit * 1e6:.0f} us")
        print(f"{'':36}{'empty':>8}{'one row':>9}")
        for name, (empty, row) in least.items():
            print(f"{name:36}{empty / unit:8.1f}{row / unit:9.1f}")
        print("\ncalls of ours (and how deep they go)")
        print(f"{'':32}" + "".join(f"{name:>19}" for name in stores))
        for walk in next(iter(walks.values())):
            cells = (f"{found[walk].number} ({found[walk].deepest})" for found in walks.values())
            print(f"{walk:32}" + "".join(f"{cell:>19}" for cell in cells))
        for walk, found in walks["PostgreSQL"].items() if arguments.files else ():
            print(f"\n{walk}, PostgreSQL")
            for file, number in sorted(found.by_file.items(), key=lambda item: -item[1]):
                print(f"{number:6} {file}")
    finally:
        protean_testing.end_run()
        server.stop()


if __name__ == "__main__":
    main()
