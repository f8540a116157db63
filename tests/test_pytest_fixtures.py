"""Fixtures made by database_fixture and domain_fixture, as a conftest.py has them."""

from __future__ import annotations

from .suite import MODELS, ROOT, Outcome, SuiteTestCase

CONFTEST = """
from models import *
from protean_testing.runners.pytest import database_fixture

cache = {"one": 1}
db = database_fixture(Base.metadata, CallableStore(cache, name="cache"))
shared = database_fixture(Base.metadata, scope="module")
per_class = database_fixture(SQLAlchemyStore(Base.metadata, on_leak="fail"), scope="class", name="of_class")
strict = database_fixture(SQLAlchemyStore(Base.metadata, on_leak="fail"))

import pytest

@pytest.fixture(scope="module")
def ten(shared):
    for number in range(10):
        place(shared.engine, f"shared {number}")

@pytest.fixture
def app(db):
    return db.engine
"""

TESTS = """
import pytest
from models import *
from conftest import cache

@pytest.mark.parametrize("number", range(3))
def test_by_function(db, number):
    assert place(db.engine) == 1
    cache["two"] = 2

def test_through_another_fixture(app):
    assert place(app) == 1 and cache == {"one": 1}

class TestPlain:
    def test_1(self, of_class):
        assert place(of_class.engine) == 1
    def test_2(self, of_class, db):
        assert place(of_class.engine) == 2
    def test_3(self, of_class):
        assert place(of_class.engine) == 2

class UnittestTests(DatabaseTestCase):
    metadata = Base.metadata
    def test_beside(self):
        self.assertEqual(place(self.engine), 1)
"""

SHARED = """
from models import *

def check(engine):
    assert len(customers(engine)) == 10
    assert place(engine) == 11

def test_1(ten, db):
    check(db.engine)

def test_2(db, ten):
    check(db.engine)
"""

ASYNC = """
import pytest
from models import *
KIND

async def insert(session):
    session.add(Order(customer="Ann"))
    await session.commit()

@MARK
@pytest.mark.parametrize("number", range(2))
async def test_left_open(strict, number):
    session = strict.async_session()
    await insert(session)
    await session.scalars(select(Order))            # its transaction stays open
    connection = await strict.async_connect()
    await connection.execute("SELECT 1")
    assert await asyncio.to_thread(customers, strict.engine) == ["Ann"]

async def write_for_ever(db):
    async with db.async_session() as session:
        await insert(session)
        await asyncio.sleep(100)

@MARK
async def test_a_task_is_cancelled_before_the_reset(db):
    task = asyncio.create_task(write_for_ever(db))
    while not await asyncio.to_thread(customers, db.engine):
        await asyncio.sleep(0.01)

def test_nothing_is_left(db):
    assert place(db.engine) == 1

@MARK
async def test_beside_unittest(db):
    async with db.async_session() as session:
        await insert(session)
"""

RUNNER = """
@pytest.fixture(scope=SCOPE)
def loop():                                     # as pytest-asyncio has it
    with asyncio.Runner() as runner:
        yield runner

def pytest_pyfunc_call(pyfuncitem):
    if "loop" in pyfuncitem.fixturenames:
        arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        pyfuncitem.funcargs["loop"].run(pyfuncitem.obj(**arguments))
        return True

@pytest.fixture
def in_loop(loop):
    return loop.run
"""

ANYIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def in_loop():
    return None
"""

FACTORY = """
import asyncio, pytest
from models import *

async def consume(queue, engine):
    while (customer := await queue.get()) is not None:
        place(engine, customer)

CLOSE
    for queue, task in queues:
        queue.put_nowait("at the end")
        queue.put_nowait(None)
        await task                              # as a pool that a fixture closes: it must not be cancelled

@MARK
@pytest.mark.parametrize("number", range(2))
async def test_a_fixture_closes_what_it_made(strict, make, number USES):
    queue = make()
    queue.put_nowait("Ann")
    await asyncio.sleep(0.01)
    assert customers(strict.engine) == ["Ann"]

@MARK
async def test_nobody_does(strict USES):
    test_nobody_does.task = asyncio.create_task(asyncio.sleep(100))

@MARK
async def test_after_it(strict USES):
    assert customers(strict.engine) == [] and test_nobody_does.task.cancelled()
"""

CLOSED_IN_ASYNC_FIXTURE = """
@pytest.fixture
async def make(strict):
    queues = []
    def make():
        queues.append((queue := asyncio.Queue(), asyncio.create_task(consume(queue, strict.engine))))
        return queue
    yield make
"""

CLOSED_IN_FIXTURE = """
@pytest.fixture
def make(strict, loop):
    queues = []
    def make():
        queues.append((queue := asyncio.Queue(), asyncio.create_task(consume(queue, strict.engine))))
        return queue
    yield make
    loop.run(close(queues))

async def close(queues):
"""

FORGOTTEN = """
import asyncio, pytest
from models import *

@pytest.fixture
def cancelled():
    yield
    raise asyncio.CancelledError

class TestCancelled:
    def test_1(self, of_class, db, cancelled):
        assert place(db.engine) == 1
    def test_2(self, db):
        assert place(db.engine) == 1

@pytest.fixture(scope="class")
def of_class_too(of_class):
    yield
    raise asyncio.CancelledError

class TestOfClass:
    def test_1(self, of_class, of_class_too):
        assert place(of_class.engine) == 1

def test_last(db):
    assert place(db.engine) == 1
"""

LEAKS = """
import pytest
from models import *

def test_leaks(strict):
    session = Session(strict.engine)
    session.add(Order(customer="Ann"))
    session.flush()
    strict.kept = session

def test_after_it(strict):
    assert customers(strict.engine) == []

@pytest.fixture
def tables(db):
    Base.metadata.create_all(db.engine)
    yield
    Base.metadata.drop_all(db.engine)

def test_makes_its_schema(tables): pass
def test_makes_it_again(tables): pass
"""

DOMAIN = """
import os, sys, asyncio, pytest
from tests.library import held, library, write
from protean_testing.runners.pytest import domain_fixture
from protean_testing.domain import events

library_db = domain_fixture(library, config=CONFIG, traverse=False)
shared = domain_fixture(library, config=CONFIG, traverse=False, scope="module")

@pytest.fixture(scope="module")
def ann(shared):
    write("Ann")

def test_1(library_db):
    write("Ann")
    assert held()["authors"] == ["Ann"] and held()["loans"] == [(1, "Ann")]

test_2 = test_1

@pytest.mark.anyio
async def test_async(library_db):
    write("Ann")
    assert held()["authors"] == ["Ann"]

class TestShared:
    def test_1(self, ann, library_db):
        write("Bob")
        assert held()["authors"] == ["Ann", "Bob"]
    test_2 = test_1
"""


class PytestFixtureTests(SuiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("models.py", MODELS)
        self.write("conftest.py", CONFTEST)
        self.write("test_functions.py", TESTS)
        self.write("test_shared.py", SHARED)

    def pytest(self, *arguments: str, **variables: str) -> Outcome:
        return self.python(
            "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments, **variables
        )

    def assertPytestPassed(self, outcome: Outcome, tests: int) -> None:
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        self.assertIn(f"{tests} passed", outcome.out)

    def test_scopes_nest(self) -> None:
        for place in ("memory", "postgresql"):
            self.assertPytestPassed(self.pytest(TEST_DB=place, PROTEAN_TESTING_SUMMARY="1"), 10)

    def test_random_order_and_workers(self) -> None:
        tests = ("-k", "not TestPlain")  # which build on each other
        parallel = ("-p", "randomly", "-p", "xdist", "-n", "2")
        outcome = self.pytest(*parallel, *tests, TEST_DB="sqlite", PROTEAN_TESTING_SUMMARY="1")
        self.assertPytestPassed(outcome, 7)
        self.assertRegex(outcome.out, r"(?m)^protean_testing: gw\d: schema of .* resets")
        self.assertNotIn("resets", outcome.err, "workers themselves print none")

    def test_async_tests_end_in_their_own_loop(self) -> None:
        self.write("test_async.py", ASYNC.replace("KIND", "").replace("@MARK", "@pytest.mark.anyio"))
        with (self.directory / "conftest.py").open("a") as file:
            file.write("\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n")
        for place in ("sqlite", "postgresql"):
            outcome = self.pytest("test_async.py", TEST_DB=place)
            self.assertPytestPassed(outcome, 5)
            self.assertIn("test_async.py::test_a_task_is_cancelled_before_the_reset left task", outcome.out)

    def test_what_a_fixture_closes_is_no_leak(self) -> None:
        mark, closed = "@pytest.mark.anyio", CLOSED_IN_ASYNC_FIXTURE
        for name, plugin, uses in (
            ("anyio", ANYIO, ""),
            ("a loop of the test", RUNNER.replace("SCOPE", "'function'"), ", loop"),
            ("a loop of the module", RUNNER.replace("SCOPE", "'module'"), ", loop"),
        ):
            if plugin != ANYIO:
                mark, closed = "", CLOSED_IN_FIXTURE
            suite = FACTORY.replace("CLOSE", closed).replace("@MARK", mark).replace(" USES", uses)
            with self.subTest(name):
                self.write("conftest.py", CONFTEST + "\nimport asyncio\n" + plugin)
                self.write("test_factory.py", suite)
                outcome = self.pytest("test_factory.py", TEST_DB="sqlite")
                self.assertIn("4 passed, 1 error", outcome.out)
                self.assertIn("test_factory.py::test_nobody_does left task", outcome.out)

    def test_fixtures_that_pytest_forgets(self) -> None:
        self.write("test_forgotten.py", FORGOTTEN)
        outcome = self.pytest("test_forgotten.py", TEST_DB="sqlite")
        self.assertIn("4 passed, 2 errors", outcome.out)

    def test_a_leak_has_the_test_s_own_id(self) -> None:
        self.write("test_leaks.py", LEAKS)
        outcome = self.pytest("test_leaks.py", TEST_DB="sqlite")
        self.assertIn("4 passed", outcome.out)
        self.assertIn("1 error", outcome.out)
        self.assertIn("test_leaks.py::test_leaks left something open on store 'database'", outcome.out)
        self.assertIn("fixture 'tables' makes or drops its schema in every test", outcome.out)

    def test_a_domain(self) -> None:
        for config in ("None", '{"databases": {"default": {"provider": "postgresql"}}}'):
            with self.subTest(config):
                self.write("test_domain.py", DOMAIN.replace("CONFIG", config))
                with (self.directory / "conftest.py").open("a") as file:
                    file.write("\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n")
                self.assertPytestPassed(self.pytest("test_domain.py", PYTHONPATH=str(ROOT)), 5)

    def test_what_is_no_store_is_refused(self) -> None:
        self.write("conftest.py", CONFTEST + "\nwrong = database_fixture(Base)\n")
        outcome = self.pytest()
        self.assertFailed(outcome, "is neither SQLAlchemy metadata nor a store. Pass its .metadata.")
