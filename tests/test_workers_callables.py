"""Two callables are one schema only if they are the same object with the same bound arguments."""

from __future__ import annotations

import unittest
from functools import partial
from typing import Any

import sqlalchemy as sa

from protean_testing import ConfigurationError, SQLAlchemyStore, test_database

from .server_log import ServerLogTestCase

URL = "sqlite:///file:/callables_test?vfs=memdb&uri=true"


def make(value: object, engine: Any) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE seed (value text)"))
        connection.execute(sa.text("INSERT INTO seed VALUES (:value)"), {"value": str(value)})


class Maker:
    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Maker)

    def __hash__(self) -> int:
        return 1

    def __call__(self, engine: Any) -> None:
        make(self.value, engine)

    def run(self, engine: Any) -> None:
        make(self.value, engine)


def closure(value: object) -> Any:
    return lambda engine: make(value, engine)


LIST = [1]
ONE, FUNCTION = Maker("one"), closure("one")


class CallableTests(unittest.TestCase):
    def store(self, schema: Any, **options: Any) -> SQLAlchemyStore:
        return SQLAlchemyStore(schema=schema, url=URL, **options)

    def assertSame(self, one: Any, other: Any, same: bool = True, **options: Any) -> None:
        keys = self.store(one).schema_key(), self.store(other, **options).schema_key()
        self.assertEqual(keys[0] == keys[1], same)
        self.assertEqual(hash(keys[0]) == hash(keys[1]), same)

    def test_the_same(self) -> None:
        self.assertSame(make, make)
        self.assertSame(partial(make, "one"), partial(make, "one"))
        self.assertSame(partial(make, value=("one", 2)), partial(make, value=("one", 2)))
        self.assertSame(partial(partial(make, "one")), partial(make, "one"))
        self.assertSame(partial(make, ONE), partial(make, ONE))
        self.assertSame(ONE.run, ONE.run)
        self.assertSame(FUNCTION, FUNCTION)

    def test_others(self) -> None:
        for one, other in (
            (partial(make, "one"), partial(make, "two")),
            (partial(make, 1), partial(make, True)),
            (partial(make, 1), partial(make, 1.0)),
            (partial(make, value="one"), partial(make, value="two")),
            (partial(make, "one"), partial(make, value="one")),
            (partial(make, ["one"]), partial(make, ["two"])),
            (partial(make, Maker("one")), partial(make, Maker("two"))),
            (partial(make, object()), partial(make, object())),
            (Maker("one").run, Maker("two").run),
            (Maker("one"), Maker("two")),
            (closure("one"), closure("two")),
            (closure("one"), closure("one")),
            (lambda engine: make("one", engine), lambda engine: make("two", engine)),
        ):
            with self.subTest(one):
                self.assertSame(one, other, False)
        self.assertSame(make, make, False, inputs=["one"])
        before = self.store(partial(make, LIST)).schema_key()
        LIST[0] = 2
        self.assertNotEqual(before, self.store(partial(make, LIST)).schema_key(), "bound, and changed since")

    def test_they_are_refused(self) -> None:
        with test_database(self.store(partial(make, "one"), name="first"), drop=True):
            with self.assertRaisesRegex(ConfigurationError, "'first' and 'second' are one database.*apart"):
                test_database(self.store(partial(make, "two"), name="second")).__enter__()
            with test_database(self.store(partial(make, "one"))) as db, db.engine.connect() as connection:
                self.assertEqual(connection.scalar(sa.text("SELECT value FROM seed")), "one")


SUITE = """
import multiprocessing, os, sys, threading, unittest
from functools import partial
import sqlalchemy as sa
from protean_testing import DatabaseTestCase, SQLAlchemyStore

def make(value, engine):
    with open(os.environ["LOG"], "a") as log: print("made", value, file=log)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE seed (value text)"))
        connection.execute(sa.text("INSERT INTO seed VALUES (:value)"), {"value": str(value)})

class Thing:
    __slots__ = ("value",)
    def __init__(self, value): self.value = value
    def __str__(self): return self.value

class Maker:
    def __init__(self, value): self.value = value
    def run(self, engine): make(self.value, engine)

def to(value):
    def made(engine): make(value, engine)
    return made

def case(value, name, here):
    schema = eval(os.environ["SCHEMA"], {**globals(), "value": value})
    class Tests(DatabaseTestCase):
        stores = [SQLAlchemyStore(schema=schema, name=name)]
        def test_it(self):
            with self.db.engine.connect() as connection:
                found = connection.scalar(sa.text("SELECT value FROM seed"))
            with open(os.environ["LOG"], "a") as log: print(f"wanted {value}, found {found}", file=log)
            here()
    return Tests

def work(number, value, came, barrier):
    # both are there at once; the second comes when the first has its schema
    if number: came.wait(60)
    waits = barrier.wait if os.environ.get("REFUSED") is None or not number else lambda: None
    tests = case(value, ("first", "second")[number], lambda: (came.set(), waits()))
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(tests)
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    if os.environ.get("REFUSED") and number: barrier.wait(60)
    sys.exit(not result.wasSuccessful())

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    came, barrier = context.Event(), context.Barrier(2, timeout=60)
    processes = [context.Process(target=work, args=(number, value, came, barrier))
                 for number, value in enumerate(sys.argv[1:])]
    for process in processes: process.start()
    for process in processes: process.join()
    print([process.exitcode for process in processes])
"""


class WorkerTests(ServerLogTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("suite.py", SUITE)

    def test_shared_if_they_are_the_same_for_sure(self) -> None:
        for schema, made in (
            ("partial(make, value)", 1),
            ("to(value)", 1),
            ("Maker([value, {1: 2}][0]).run", 1),
            ("partial(make, Thing(value))", 2),
            ("lambda engine: make(value, engine)", 2),
        ):
            with self.subTest(schema):
                outcome = self.python("suite.py", "one", "one", SCHEMA=schema)
                self.assertEqual(outcome.out, "[0, 0]\n", outcome.err)
                self.assertEqual(outcome.count("wanted one, found one"), 2, outcome.log)
                self.assertEqual(outcome.count("made one"), made)
        self.assertEqual(self.databases(), [])

    def test_never_the_schema_of_another(self) -> None:
        outcome = self.python("suite.py", "one", "two", SCHEMA="partial(make, Thing(value))")
        self.assertEqual(outcome.out, "[0, 0]\n", outcome.err)
        self.assertEqual({*outcome.log} & {"wanted two, found one", "wanted one, found two"}, set())
        self.assertEqual(outcome.count("wanted two, found two"), 1)

    def test_two_are_refused_as_in_one_process(self) -> None:
        for schema in ("partial(make, value)", "to(value)"):
            with self.subTest(schema):
                outcome = self.python("suite.py", "one", "two", SCHEMA=schema, REFUSED="1")
                self.assertEqual(outcome.out, "[0, 1]\n", outcome.err)
                self.assertIn("stores 'first' and 'second' are one database, 'shop_test'", outcome.err)
                self.assertIn("which cannot be told apart", outcome.err)
                self.assertNotIn("wanted two, found one", outcome.log)
        self.assertEqual(self.databases(), [])
