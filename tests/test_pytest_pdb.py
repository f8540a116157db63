# ruff: noqa: E501 -- lines of the suites that are written here
"""``pytest --pdb``: in the debugger the data of the failed test is there, and the next test begins without it."""

from __future__ import annotations

import shutil
import subprocess
import sys

from .suite import MODELS, ROOT, Outcome, SuiteTestCase

DEBUGGER = """
import pdb

class Debugger(pdb.Pdb):
    '''Says what the module of the failed test can see, as somebody at its prompt would.'''
    def interaction(self, frame, error):
        trace = getattr(error, "__traceback__", error)
        while trace.tb_next is not None and "seen" not in trace.tb_frame.f_globals:
            trace = trace.tb_next
        print("SEEN", trace.tb_frame.f_code.co_name, trace.tb_frame.f_globals["seen"](trace.tb_frame.f_locals), flush=True)
"""

TESTS = """
import pytest
from contextlib import contextmanager
from models import *
from protean_testing.runners.pytest import database_fixture

cache = {}
store = SQLAlchemyStore(Base.metadata, url=os.environ.get("AT"))
cached = CallableStore(cache, name="cache")
db = database_fixture(store, cached)

@pytest.fixture
def anyio_backend(): return "asyncio"

log = []

@contextmanager
def hook():
    log.append("entered")
    yield
    log.append("left")

def write(who):
    assert seen({}) == ([], []), seen({})
    place(store.engine, who)
    cache[who] = 1

def seen(_):
    return customers(store.engine), list(cache)

class BaseTests(DatabaseTestCase):
    stores = [store, cached, Hook(hook)]
    def setUp(self):
        super().setUp()
        self.mine = self.session()
        self.addCleanup(log.append, "cleanup")
    def tearDown(self):
        place(self.engine, "of tearDown")

class ClassTests(BaseTests):
    def test_case_1(self):
        write("case 1")
        assert list(self.mine.scalars(select(Order.customer))) == ["case 1"]
        assert False
    def test_case_2(self):
        write("case 2")
    def test_case_3(self):
        write("case 3")
        with self.db.scope():
            place(self.engine, "in a scope")
            self.fail()

class AsyncTests(AsyncDatabaseTestCase):
    stores = [store, cached, Hook(hook)]
    async def test_async(self):
        write("async")
        self.opened = self.db.async_session()
        assert False

class SetUpTests(BaseTests):
    def setUp(self):
        super().setUp()
        write("setUp")
        raise KeyError
    def test_set_up(self): pass

def test_fixture(db):
    write("fixture")
    assert False

@pytest.mark.anyio
async def test_async_fixture(db):
    write("async fixture")
    async with db.async_session() as session:
        assert list(await session.scalars(select(Order.customer))) == []

@uses_database(store, cached)
def test_decorated():
    write("decorated")
    assert False

@uses_database(store)
@uses_database(cached)
def test_decorated_twice():
    write("twice")
    assert False

@pytest.mark.anyio
@uses_database(store, cached)
async def test_async_decorated():
    write("async decorated")
    assert False

def test_last(db):
    assert log == ["entered", "cleanup", "left"] * 3 + ["entered", "left", "entered", "cleanup", "left"], log
    write("last")
"""

SEEN = """
SEEN test_case_1 (['case 1'], ['case 1'])
SEEN test_case_3 (['case 3'], ['case 3'])
SEEN test_async (['async'], ['async'])
SEEN setUp (['setUp'], ['setUp'])
SEEN test_fixture (['fixture'], ['fixture'])
SEEN test_async_fixture (['async fixture'], ['async fixture'])
SEEN test_decorated (['decorated'], ['decorated'])
SEEN test_decorated_twice (['twice'], ['twice'])
SEEN test_async_decorated (['async decorated'], ['async decorated'])
"""


DOMAIN = """
import pytest
from tests.library import held, library, write
from protean_testing.domain import DomainTestCase, uses_domain
from protean_testing.runners.pytest import domain_fixture

db = domain_fixture(library, traverse=False)

def seen(_):
    return held()["authors"], held()["loans"]

def test_fixture(db):
    write("Ann")
    assert False

class LibraryTests(DomainTestCase):
    domain, traverse = library, False
    def test_case(self):
        write("Bob")
        assert False

@uses_domain(library, traverse=False)
def test_decorated():
    write("Cid")
    assert False

def test_last(db):
    assert seen({}) == ([], []), seen({})
"""

SEEN_OF_DOMAIN = """
SEEN test_fixture (['Ann'], [(1, 'Ann')])
SEEN test_case (['Bob'], [(1, 'Bob')])
SEEN test_decorated (['Cid'], [(1, 'Cid')])
"""

QUIT = """
from models import *
from sqlalchemy import create_engine

class QuitTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, url="sqlite:///shop_test.db", adopt=True)]
    def tearDown(self):
        with open(os.environ["LOG"], "a") as log: print(*customers(self.engine), file=log)
    def test_1(self):
        place(self.engine, "Bob")
        assert False
    def test_2(self): pass

if __name__ == "__main__":
    engine = create_engine("sqlite:///shop_test.db")
    Base.metadata.create_all(engine)
    place(engine, "Ann")
"""


OURS = ("-p", "protean_testing.runners.pytest")


class PdbTests(SuiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("models.py", MODELS)
        self.write("debugger.py", DEBUGGER)

    def pytest(self, **variables: str) -> Outcome:
        options = ("-p", "no:cacheprovider", *OURS, "-p", "anyio", "--pdb", "--pdbcls=debugger:Debugger")
        return self.python("-m", "pytest", *options, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", **variables)

    def at_prompt(self, *arguments: str, lines: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.directory,
            env=self.environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
            input=lines,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.stdout + done.stderr

    def assertSeen(self, outcome: Outcome, seen: str, passed: int) -> None:
        found = [line for line in outcome.out.splitlines() if line.startswith("SEEN")]
        self.assertEqual(found, seen.split("\n")[1:-1], outcome.out + outcome.err)
        self.assertIn(f"{len(found)} failed, {passed} passed", outcome.out)

    def test_what_a_failed_test_wrote(self) -> None:
        self.write("test_shop.py", TESTS)
        self.assertSeen(self.pytest(TEST_DB="postgresql"), SEEN, 2)

    def test_what_a_domain_has(self) -> None:
        self.write("test_domain.py", DOMAIN)
        self.assertSeen(self.pytest(), SEEN_OF_DOMAIN, 1)

    def test_quitting_the_debugger(self) -> None:
        path = self.write("test_quit.py", QUIT)
        self.assertEqual(self.python(str(path)).code, 0)
        arguments = ("pytest", "-s", "--pdb", *OURS, "test_quit.py")
        said = self.at_prompt(*arguments, lines="p customers(self.engine)\nq\n")
        self.assertIn("(Pdb) ['Ann', 'Bob']", said)
        self.assertIn("Exit: Quitting debugger", said)
        self.assertEqual((self.directory / "log").read_text(), "Ann Bob\n")
        look = "from models import *; print(customers(__import__('sqlalchemy').create_engine('sqlite:///shop_test.db')))"
        self.assertEqual(self.python("-c", look).out, "['Ann']\n")

    def test_debuggers_of_other_runners(self) -> None:
        shutil.copytree(ROOT / "docs" / "project", self.directory, dirs_exist_ok=True)
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": "books.db"}
        self.write(
            "settings.py", f"from bookshop.settings import *\nDATABASES = {{'default': {database!r}}}\n"
        )
        self.write("unittest.cfg", "[unittest]\nplugins = protean_testing.runners.nose2\n")
        self.write(
            "test_books.py",
            """
            from bookshop.models import Book
            from protean_testing.django import DjangoTestCase

            class BookTests(DjangoTestCase):
                def test_1(self):
                    Book.objects.create(title="of Django")
                    assert False
                def test_2(self):
                    assert not Book.objects.filter(title="of Django")
            """,
        )
        django = ("django", "test", "--settings", "settings", "--pdb", "test_books")
        said = self.at_prompt(*django, lines="p Book.objects.last().title\nc\n")
        self.assertIn("(Pdb) 'of Django'", said)
        self.assertIn("Ran 2 tests", said)
        self.assertIn("FAILED (failures=1)", said)
        path = self.write("test_quit.py", QUIT)
        self.assertEqual(self.python(str(path)).code, 0)
        said = self.at_prompt("nose2", "--debugger", "test_quit", lines="p customers(self.engine)\nc\n")
        self.assertIn("(Pdb) ['Ann', 'Bob']", said)
        self.assertEqual((self.directory / "log").read_text(), "Ann Bob\nAnn\n")
