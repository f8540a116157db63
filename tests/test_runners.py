"""Other runners collect none of our names as tests; under pytest the run's end is right."""

from __future__ import annotations

from .suite import MODELS, RECORDER, SuiteTestCase

IMPORTS = """
from protean_testing import *
from protean_testing import DatabaseTestCase, RedisStore, SQLAlchemyStore, test_database, uses_database
from protean_testing.conformance import StoreConformance
import unittest

class OneTests(unittest.TestCase):
    def test_one(self): pass
"""


class CollectionTests(SuiteTestCase):
    def test_our_names_are_no_tests(self) -> None:
        self.write("test_a.py", IMPORTS)
        self.assertPassed(self.unittest("-v", "test_a"), 1)
        outcome = self.python("-m", "nose2", "-v", "test_a")
        self.assertEqual((outcome.code, outcome.ran), (0, 1), outcome.err)
        outcome = self.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_a.py")
        self.assertIn("1 passed", outcome.out)
        self.assertEqual(outcome.code, 0, outcome.out)


class PytestTests(SuiteTestCase):
    def pytest(self, *arguments: str, **variables: str):  # type: ignore[no-untyped-def]
        plugin = () if _is_installed() else ("-p", "protean_testing.runners.pytest")
        return self.python(
            "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *plugin, *arguments, **variables
        )

    def test_once_per_run(self) -> None:
        self.write(
            "test_a.py",
            """
            recorder = Recorder()
            class FirstTests(DatabaseTestCase):
                stores = [recorder]
                def test_1(self):
                    self.assertEqual(recorder.rows, [])
                    recorder.rows.append(1)
                def test_2(self): self.assertEqual(recorder.rows, [])
            @uses_database(recorder)
            def test_3(db):
                assert db.stores[0].rows == []
                db.stores[0].rows.append(3)
            class SecondTests(AsyncDatabaseTestCase):
                stores = [recorder]
                async def test_4(self): self.assertEqual(recorder.rows, [])
            def test_5():
                suite = unittest.defaultTestLoader.loadTestsFromTestCase(FirstTests)
                with open(os.devnull, "w") as nowhere:
                    assert unittest.TextTestRunner(stream=nowhere).run(suite).wasSuccessful()
            class ThirdTests(DatabaseTestCase):
                stores = [recorder]
                def test_6(self): pass
            """,
            before=RECORDER,
        )
        outcome = self.pytest("-q", "test_a.py")
        self.assertEqual(outcome.code, 0, outcome.out)
        self.assertIn("6 passed", outcome.out)
        self.assertEqual(
            [line for line in outcome.log if "reset" not in line], ["create recorder", "drop recorder"]
        )
        outcome = self.pytest("-q", "test_a.py", "-k", "nothing_at_all")
        self.assertEqual(outcome.log, [])

    def test_a_failed_drop_fails_the_session(self) -> None:
        self.write(
            "test_a.py",
            """
            class Broken(Recorder):
                def drop_schema(self): raise StoreError("cannot be dropped")
            class FirstTests(DatabaseTestCase):
                stores = [Broken()]
                def test_1(self): pass
            """,
            before=RECORDER,
        )
        outcome = self.pytest("-q", "test_a.py")
        self.assertEqual(outcome.code, 1, outcome.out)
        self.assertIn("StoreError: cannot be dropped", outcome.out)

    def test_module_contexts_end_with_their_module(self) -> None:
        self.write(
            "test_a.py",
            """
            def setUpModule():
                db = unittest.enterModuleContext(test_database(Base.metadata))
                place(db.engine, __name__)
            class ModuleTests(DatabaseTestCase):
                metadata = Base.metadata
                def check(self):
                    self.assertEqual(customers(self.engine), [__name__])
                    self.assertEqual(place(self.engine), 2)
                test_1 = test_2 = check
            """,
            before=MODELS,
        )
        self.write(
            "test_b.py",
            """
            import unittest
            from protean_testing import DatabaseTestCase, test_database
            from test_a import Base, customers, place
            def setUpModule():
                db = unittest.enterModuleContext(test_database(Base.metadata))
                place(db.engine, __name__)
            class ModuleTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_1(self): self.assertEqual(customers(self.engine), [__name__])
            """,
        )
        outcome = self.pytest("-q", "test_a.py", "test_b.py")
        self.assertEqual(outcome.code, 0, outcome.out)
        self.assertIn("3 passed", outcome.out)


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(point.name == "protean_testing" for point in entry_points(group="pytest11"))
