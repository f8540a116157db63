"""What people write in their first hour and does nothing is an error, with the line to write."""

from __future__ import annotations

import re
import shutil
import unittest

import protean_testing

from .suite import MODELS, ROOT, Outcome, SuiteTestCase

MISTAKES = {
    "stores = SQLAlchemyStore(Base.metadata)": "Write  stores = [...]",
    "stores = Base.metadata": "Write  stores = [...]",
    "stores = iter([SQLAlchemyStore(Base.metadata)])": "is empty once it was read",
    "stores = [[SQLAlchemyStore(Base.metadata)]]": "Pass what is in it one by one.",
    "metadata = {Base.metadata}": "Pass what is in it one by one.",
    "stores = [SQLAlchemyStore]": "It is a class: pass SQLAlchemyStore(...).",
    "stores = ['sqlite:///a_test.db']": "A URL is an argument of a store",
    "stores = [nullcontext()]": "Pass a context as a hook",
    "stores = []": "declares no metadata and no store",
    "metadata = []": "declares no metadata and no store",
    "metadata = Base": "Pass its .metadata.",
    "metadata = [Order]": "Pass its .metadata.",
    "stores = [SQLAlchemyStore(Base)]": "is no SQLAlchemy MetaData. Pass its .metadata.",
    "stores = [SQLAlchemyStore([Base])]": "Pass its .metadata.",
    "stores = [SQLAlchemyStore('sqlite:///a_test.db')]": "by its name: url=...",
    "stores = [SQLAlchemyStore(schema=Base.metadata)]": "must be a callable",
    "stores = [SQLAlchemyStore(schema='a.sql')]": "is no file of SQL statements",
    "stores = [SQLAlchemyStore(adopt=True)]": "nobody has said where",
    "stores = [SQLAlchemyStore(Base.metadata, adopt=True)]": "nobody has said where",
}

ASYNC = """
import functools
class SyncTests(DatabaseTestCase):
    metadata = Base.metadata
    async def test_async(self): self.fail("runs")
    async def check(self, what): self.fail("runs")
    test_partial = functools.partialmethod(check, 1)
    def test_sync(self): place(self.engine)

@uses_database(Base.metadata)
class DecoratedTests(unittest.TestCase):
    async def test_async(self): self.fail("runs")

class AsyncTests(AsyncDatabaseTestCase):
    metadata = Base.metadata
    async def test_async(self): place(self.engine)
"""


UNENTERED = """
class T(DatabaseTestCase):
    metadata = Base.metadata
    def test(self):
        text = r"test_a.py:\\d+ was never entered(.|\\n)*with db.scope"
        with self.assertWarnsRegex(RuntimeWarning, text) as told:
            self.db.scope()  # here
        self.assertEqual(told.filename, __file__)
        self.assertIn("# here", open(__file__).readlines()[told.lineno - 1])
        with warnings.catch_warnings(record=True) as others:
            warnings.simplefilter("always")
            with self.db.scope():
                pass
            with contextlib.ExitStack() as stack:
                stack.enter_context(self.db.scope())
        self.assertEqual([str(one.message) for one in others], [])
"""


REFUSED = """
store = SQLAlchemyStore(Base.metadata, url="sqlite:///shop.db")

class DeclaredTests(DatabaseTestCase):
    stores = [store]
    def test(self): pass

class BlockTests(unittest.TestCase):
    def test_block(self):
        with test_database(store):
            pass

    @uses_database(store)
    def test_decorated(self): pass

def broken(engine):
    raise ConfigurationError("of the user's")

class CalledTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=broken)]
    def test(self): pass
"""


ELSEWHERE = """
from sqlalchemy import create_engine
theirs = create_engine("sqlite:///elsewhere_test.db")
Base.metadata.create_all(theirs)

class ShopTests(DatabaseTestCase):
    metadata = Base.metadata
    def test_1(self): place(HERE)
    def test_2(self): place(HERE)
"""


class FirstMistakeTests(SuiteTestCase):
    def test_an_application_elsewhere(self) -> None:
        said = "protean_testing: no test wrote to store 'database' (SQLite in memory), which was empty"
        self.write("test_a.py", ELSEWHERE.replace("HERE", "theirs"), before=MODELS)
        self.write("test_b.py", ELSEWHERE.replace("HERE", "self.engine"), before=MODELS)
        reads = "def test_3(self): self.assertEqual(customers(self.engine), ['all'])"
        rows = "@classmethod\n    def setUpClass(cls):\n        super().setUpClass()\n        "
        rows += "place(cls.engine, 'all')"
        reading = ELSEWHERE.replace("def test_1(self): place(HERE)", rows).replace("place(HERE)", "pass")
        self.write("test_c.py", f"{reading}    {reads}\n", before=MODELS)
        for outcome, is_said in (
            (self.unittest("test_a"), True),
            (self.python("-m", "pytest", "-q", "test_a.py"), True),
            (self.python("-m", "pytest", "-q", "-n", "2", "test_a.py"), False),  # a worker cannot know
            (self.unittest("test_b"), False),
            (self.unittest("test_c"), False),
        ):
            self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
            self.assertEqual((outcome.out + outcome.err).count(said), is_said, outcome.out + outcome.err)

    def test_a_refusal_is_shown_without_the_frames_that_found_it(self) -> None:
        self.write("test_a.py", REFUSED, before=MODELS)
        outcome = self.unittest("test_a")
        self.assertEqual(outcome.err.count("refusing to use store"), 3, outcome.err)
        for error in outcome.err.split("=" * 70)[1:]:
            frames = re.findall(r'File ".*?(\w+/\w+\.py)"', error)
            if "CalledTests" in error:
                self.assertIn("in broken", error)
            else:
                ours = [frame for frame in frames if frame.startswith("protean_testing")]
                self.assertLessEqual(len(ours), 1, error)

    def test_a_scope_that_is_not_entered(self) -> None:
        self.write("test_a.py", "import contextlib, warnings\n" + UNENTERED, before=MODELS)
        self.assertPassed(self.unittest("test_a"), 1)

    def test_each_is_told(self) -> None:
        code = "".join(
            f"""
class T{number}(unittest.TestCase):
    def test(self):
        with self.assertRaises(ConfigurationError) as raised:
            class T(DatabaseTestCase): {mistake}
            T.setUpClass()
        self.assertIn({text!r}, str(raised.exception))
"""
            for number, (mistake, text) in enumerate(MISTAKES.items())
        )
        self.write("test_a.py", "from contextlib import nullcontext\n" + code, before=MODELS)
        self.assertPassed(self.unittest("test_a"), len(MISTAKES))

    def test_an_async_test_that_nobody_awaits(self) -> None:
        self.write("test_a.py", ASYNC, before=MODELS)
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, "FAILED (errors=3)", "Take AsyncDatabaseTestCase")
        self.assertEqual(outcome.ran, 5)
        self.assertEqual(outcome.err.count("would never await it"), 3)


QUEUE = """
import os, subprocess, sys
from bookshop.queue import order
from django.db import connection
from django.test import TestCase, override_settings
from protean_testing import RedisStore, test_database
from protean_testing.django import DjangoTestCase

class QueueTests(DjangoTestCase):
    stores = [RedisStore(name="queue")]
    def setUp(self):
        self.enterContext(override_settings(QUEUE_URL=self.db.store("queue").url))
    def test_worker(self):
        order("Dune")
        where = {"BOOKSHOP_DB": connection.settings_dict["NAME"], "QUEUE_URL": self.db.store("queue").url}
        command = [sys.executable, "-m", "django", "print_books", "--settings", "bookshop.settings"]
        subprocess.run(command, env={**os.environ, **where}, check=True)

class DjangosTests(TestCase):
    def test_queue(self):
        with test_database(RedisStore(name="queue")) as db:
            self.enterContext(override_settings(QUEUE_URL=db.store("queue").url))
            order("Dune")
            print("queued:", db.store("queue").client.llen("to print"))
"""

SCOPES = """
import pytest
from models import *
from protean_testing.runners.pytest import database_fixture

db = database_fixture(Base.metadata)
shared = database_fixture(Base.metadata, scope=os.environ["SCOPE"])

@pytest.fixture(scope="module")
def narrow(db): pass

@pytest.fixture(scope=os.environ["SCOPE"])
def ann(shared):
    place(shared.engine, "Ann")

@pytest.fixture
def tables(db):
    Base.metadata.create_all(db.engine)
    yield
    Base.metadata.drop_all(db.engine)
"""

ORDERING = """
import sys
sys.path.insert(0, "examples/recipes")
import pytest
from ordering import ordering
from ordering.orders import PlaceOrder
from protean_testing.runners.pytest import domain_fixture

module_db = domain_fixture(ordering, scope="module")
db = domain_fixture(ordering, autouse=True)

@pytest.fixture(scope="module")
def regular_customer(NEEDED):
    ordering.process(PlaceOrder(customer="regular", product="tea"))
"""

ORDERED = """
from ordering import ordering
from ordering.orders import Order, PlaceOrder

def test_one_more(regular_customer):
    ordering.process(PlaceOrder(customer="regular", product="tea"))
    assert ordering.repository_for(Order).query.all().total == 2

test_one_more_again = test_one_more
"""

DOMAIN_FIXTURE = """
from protean.integrations.pytest import DomainFixture

@pytest.fixture(autouse=True)
def theirs(db):
    with DomainFixture(ordering).domain_context():
        yield
"""


class ImportTests(unittest.TestCase):
    def test_names_of_other_modules(self) -> None:
        for name in protean_testing._ELSEWHERE:
            with self.subTest(name):
                with self.assertRaisesRegex(ImportError, f"Write:  from .* import {name}$") as caught:
                    exec(f"from protean_testing import {name}")
                exec(str(caught.exception).partition("Write:  ")[2])


class PageMistakeTests(SuiteTestCase):
    """What the pages say of first mistakes in words alone is so."""

    def assertSays(self, page: str, bold: str, outcome: Outcome, *printed: str) -> None:
        """What stands in bold on a page is what is printed, or leads to that."""
        self.assertIn(f"**{bold}", (ROOT / "docs" / page).read_text())
        for text in printed:
            self.assertIn(text, outcome.out + outcome.err)

    def pytest(self, *arguments: str, **variables: str) -> Outcome:
        options = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly")
        return self.python("-m", "pytest", *options, *arguments, **variables)

    def test_django(self) -> None:
        shutil.copytree(ROOT / "docs" / "project", self.directory, dirs_exist_ok=True)
        page = "stack-django.md"
        text = (ROOT / "docs" / page).read_text()
        files = dict(re.findall(r"^```python\n# ([\w/]+\.py)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
        right = {name: files[f"bookshop/{name}.py"] for name in ("settings", "queue")}
        for name in ("settings", "queue", "management/commands/print_books"):
            self.write(f"bookshop/{name}.py", files[f"bookshop/{name}.py"])
        self.write("test_it.py", QUEUE)
        django = ("-m", "django", "test", "--settings", "bookshop.settings")
        nowhere = {"QUEUE_URL": "redis://localhost:1/0"}

        outcome = self.python(*django, "test_it", **nowhere)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        self.assertSays(
            page, "The queue stays empty**: the class is Django's `TestCase`", outcome, "queued: 0"
        )

        self.write(
            "bookshop/settings.py", right["settings"].replace('"TEST": {"NAME": "test_bookshop.db"},', "")
        )
        outcome = self.python(*django, "test_it.QueueTests", **nowhere)
        self.assertFailed(outcome)
        self.assertSays(page, "`no such table: bookshop_book`**", outcome, "no such table: bookshop_book")

        self.write("bookshop/settings.py", right["settings"])
        early = "MADE = Redis.from_url(settings.QUEUE_URL)\n\n\ndef client():\n    return MADE"
        made = right["queue"].replace("def client():\n    return Redis.from_url(settings.QUEUE_URL)", early)
        self.assertIn(early, made)
        self.write("bookshop/queue.py", made)
        outcome = self.python(*django, "test_it.QueueTests", **nowhere)
        self.assertFailed(outcome)
        at = "Error 111 connecting to localhost:"
        self.assertSays(page, f"`{at}6379`**", outcome, f"{at}1.")

    def test_pytest(self) -> None:
        page = "runner-pytest.md"
        self.write("models.py", MODELS)
        self.write("conftest.py", SCOPES)
        for number in (1, 2):
            seen = "assert customers(db.engine) == (['Ann'] if 'ann' in request.fixturenames else [])"
            uses = "ann, " if number == 1 else ""
            self.write(
                f"test_{number}.py", f"from models import *\ndef test_it({uses}db, request):\n    {seen}\n"
            )
        outcome = self.pytest("test_1.py", "test_2.py", SCOPE="session")
        self.assertSays(page, "Rows of another module**", outcome, "1 failed, 1 passed", "['Ann'] == []")
        self.assertIn("2 passed", self.pytest("test_1.py", "test_2.py", SCOPE="module").out)

        self.write("test_3.py", "def test_1(narrow): pass\n")
        outcome = self.pytest("test_3.py", SCOPE="module")
        self.assertSays(page, "`ScopeMismatch`**", outcome, "ScopeMismatch", "1 error")

        self.write("test_4.py", "def test_1(tables): pass\ntest_2 = test_1\n")
        outcome = self.pytest("test_4.py", SCOPE="module")
        told = "makes or drops its schema in every test"
        self.assertSays(page, f"`{told}`**", outcome, f"fixture 'tables' {told}", "2 passed")

    def test_protean(self) -> None:
        page = "protean-pytest.md"
        shutil.copytree(ROOT / "docs" / "project", self.directory, dirs_exist_ok=True)
        self.write("test_it.py", ORDERED)
        self.write("test_before.py", "def test_before(): pass\n")
        self.write("conftest.py", ORDERING.replace("NEEDED", ""))
        said = "`Working outside of domain context`, or `... should be registered with a domain`**"
        outcome = self.pytest("test_it.py")
        self.assertSays(page, said, outcome, "`PlaceOrder` should be registered with a domain", "2 errors")
        outcome = self.pytest("test_before.py", "test_it.py")
        self.assertSays(page, said, outcome, "Working outside of domain context", "2 errors")
        self.write("conftest.py", ORDERING.replace("NEEDED", "module_db"))
        self.assertIn("2 passed", self.pytest("test_it.py").out)
        self.write("conftest.py", ORDERING.replace("NEEDED", "module_db") + DOMAIN_FIXTURE)
        self.assertSays(
            page, "Protean's own `DomainFixture` beside this one**", self.pytest("test_it.py"), "2 passed"
        )
