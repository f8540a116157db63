"""What a test leaves is caught by name: forty ways of leaking, and whose failure comes first."""

from __future__ import annotations

import json
import re
import unittest
from typing import Any

from .message_db import bring
from .suite import MODELS, SuiteTestCase


class FortyLeaks(SuiteTestCase):
    def caught(self, module: str, tests: int) -> None:
        brought = dict(bring())
        path = f"{self.environment()['PYTHONPATH']}:{brought.pop('PYTHONPATH')}"
        outcome = self.python("-W", "ignore", "-m", "tests.leaks", module, PYTHONPATH=path, **brought)
        told: dict[str, dict[str, Any]] = json.loads(outcome.out or "{}")
        self.assertEqual(sum(test["leaves"] is not None for test in told.values()), tests, outcome.err)
        for name, test in told.items():
            said = "\n".join(test["said"])
            with self.subTest(name):
                self.assertNotIn("AssertionError", said)  # it did not begin clean
                if test["leaves"] is None:
                    if (
                        name.startswith("tearDownClass") and "Paranoid" in name
                    ):  # the class names once more what is there for good
                        self.assertIn("setting work_mem of DATABASE", said)
                    else:
                        self.assertEqual(said, "")
                    continue
                for text in [f"LeakError: {name} left", *test["leaves"]]:
                    if isinstance(text, str):
                        self.assertIn(text, said)
                    else:
                        self.assertTrue(any(one in said for one in text), f"none of {text} in {said}")

    def test_in_tables(self) -> None:
        self.caught("tests.leaks.tables", 19)

    def test_in_keys(self) -> None:
        self.caught("tests.leaks.keys", 11)

    def test_in_domains(self) -> None:
        self.caught("tests.leaks.domains", 10)


class OrderTests(SuiteTestCase):
    """What unittest prints, and where."""

    def write_suite(self, body: str, options: str = 'on_leak="fail", wait=0.1') -> None:
        self.write(
            "test_a.py",
            f"""
            KEPT = []
            class OrderTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, name="shop", {options})]
                def leak(self):
                    KEPT.append(self.engine.connect())
                    KEPT[-1].execute(text("INSERT INTO orders (customer) VALUES ('a')"))
                def test_9(self): self.assertEqual(customers(self.engine), [])
            {body}
            """,
            before=MODELS,
        )

    def test_the_tests_own_failure_comes_first(self) -> None:
        self.write_suite("    def test_1(self): self.leak(); self.fail('its own')")
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, "FAILED (failures=1, errors=1)")
        leak = outcome.err.index("LeakError: test_a.OrderTests.test_1 left")
        headings = re.findall(r"^(FAIL|ERROR): (.*)$", outcome.err, re.MULTILINE)
        self.assertEqual({name for _, name in headings}, {"test_1 (test_a.OrderTests.test_1)"})
        self.assertIn("its own", outcome.err)
        self.assertGreater(leak, 0)

    def test_a_failure_with_failfast_is_the_tests_own(self) -> None:
        self.write_suite("    def test_1(self): self.leak(); self.fail('its own')")
        outcome = self.unittest("-f", "test_a")
        self.assertFailed(outcome, "AssertionError: its own")

    def test_by_default_it_is_a_warning_that_names_the_test(self) -> None:
        self.write_suite("    def test_1(self): self.leak()", "wait=0.1")
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 2)
        self.assertIn(
            "LeakWarning: test_a.OrderTests.test_1 left something open on store 'shop':", outcome.err
        )
        self.assertIn('a transaction (table "orders": 1 more, ', outcome.err)
        self.assertIn("on the connection taken at", outcome.err)

    def test_reset_says_nothing(self) -> None:
        self.write_suite("    def test_1(self): self.leak()", 'on_leak="reset", wait=0.1')
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 2)
        self.assertNotIn("Leak", outcome.err)

    def test_two_classes_of_one_place_each_have_their_own_way(self) -> None:
        self.write_suite(
            """
                def test_1(self): self.leak()
            class StrictTests(OrderTests):
                stores = [SQLAlchemyStore(Base.metadata, name="strict", on_leak="fail", wait=0.1)]
            """,
            "wait=0.1",
        )
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, "LeakWarning: test_a.OrderTests.test_1", "FAILED (errors=1)")
        self.assertIn("LeakError: test_a.StrictTests.test_1", outcome.err)

    def test_a_late_write_is_its_tests_error_and_the_next_test_is_clean(self) -> None:
        self.write_suite(
            """
                def test_1(self):
                    begun.clear()
                    threading.Thread(target=self.work, name="late").start()
                def work(self):
                    begun.wait(5)
                    place(self.engine)
                    done.set()
            begun, done = threading.Event(), threading.Event()
            class Result(unittest.TextTestResult):
                def stopTest(self, test):  # between two tests
                    super().stopTest(test)
                    if test._testMethodName == "test_1":
                        begun.set()
                        done.wait(5)
            if __name__ == "__main__":
                unittest.main(testRunner=unittest.TextTestRunner(resultclass=Result))
            """
        )
        outcome = self.python("test_a.py")
        self.assertFailed(outcome, "FAILED (errors=1)", "ERROR: test_1 (__main__.OrderTests.test_1)")
        self.assertIn(
            "OrderTests.test_1 left thread 'late' running, which wrote into store 'shop'", outcome.err
        )
        self.assertIn('table "orders": 1 more', outcome.err)

    def test_threads_that_only_wait_are_no_leak(self) -> None:
        self.write_suite(
            """
                def test_1(self):
                    from concurrent.futures import ThreadPoolExecutor
                    KEPT.append(ThreadPoolExecutor(2))
                    KEPT[-1].submit(place, self.engine).result()
            """
        )
        self.assertPassed(self.unittest("test_a"), 2)

    def test_a_scope_inside_a_test_may_end_before_what_is_opened_in_it(self) -> None:
        self.write_suite(
            """
                def test_1(self):
                    session = Session(self.engine)
                    with self.db.scope():
                        session.scalars(select(Order)).all()
                    session.close()
            """
        )
        self.assertPassed(self.python("-W", "error", "-m", "unittest", "test_a"), 2)

    def test_what_nobody_holds_any_more_is_no_leak(self) -> None:
        self.write_suite(
            """
                def test_1(self):
                    session = Session(self.engine)
                    session.scalars(select(Order)).all()  # never closed, and gone with the test
                def test_2(self):
                    import gc
                    session = Session(self.engine)
                    session.scalars(select(Order)).all()
                    gc.collect(), gc.collect()  # as happens in a long test: it counts as old
            """
        )
        self.assertPassed(self.unittest("test_a"), 3)


class ParanoidTests(SuiteTestCase):
    def test_it_must_be_able_to_look(self) -> None:
        self.write(
            "test_a.py",
            """
            from protean_testing import *
            class QueueTests(DatabaseTestCase):
                stores = [CallableStore(lambda: None, name="queue", verify=True)]
                def test_1(self): pass
            """,
        )
        self.assertFailed(self.unittest("test_a"), "store 'queue' cannot be verify: CallableStore has no")

    def test_nothing_is_told_where_all_is_as_it_was(self) -> None:
        self.write(
            "test_a.py",
            """
            KEPT = []
            class OrderTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, on_leak="fail", verify=True)]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    place(cls.engine, "class")
                def check(self):
                    place(self.engine)
                    with self.db.scope():
                        place(self.engine)
                    with self.engine.begin() as connection:
                        connection.execute(text("CREATE TABLE mine (a int)"))
                        connection.execute(text("DROP TABLE items"))
                test_1 = test_2 = test_3 = check
            """,
            before=MODELS,
        )
        for test_db in ("memory", "sqlite", "postgresql"):
            with self.subTest(test_db):
                self.assertPassed(self.unittest("test_a", TEST_DB=test_db), 3)


if __name__ == "__main__":
    unittest.main()
