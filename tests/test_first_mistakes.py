"""What people write in their first hour and does nothing is an error, with the line to write."""

from __future__ import annotations

import re

from .suite import MODELS, SuiteTestCase

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
class SyncTests(DatabaseTestCase):
    metadata = Base.metadata
    async def test_async(self): self.fail("runs")
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
        self.assertFailed(outcome, "FAILED (errors=2)", "Take AsyncDatabaseTestCase")
        self.assertEqual(outcome.ran, 4)
        self.assertEqual(outcome.err.count("would never await it"), 2)
