"""The sample suite under ``python -m unittest`` and unittest-parallel."""

from __future__ import annotations

from .runners.running import SampleTestCase

LOAD_TESTS = """
import random, unittest
import test_async, test_blocks, test_orders

def load_tests(loader, standard, pattern):
    modules = [test_async, test_blocks, test_orders]
    tests = [test for module in modules for suite in loader.loadTestsFromModule(module) for test in suite]
    random.Random(7).shuffle(tests)
    return unittest.TestSuite(tests)
"""


class UnittestTests(SampleTestCase):
    def test_unittest(self) -> None:
        self.assertRight("-m", "unittest")

    def test_discovery_with_buffers_and_postgresql(self) -> None:
        self.assertRight("-m", "unittest", "discover", "-b", **self.given())

    def test_load_tests_in_random_order(self) -> None:
        self.write("suite.py", LOAD_TESTS)
        self.assertRight("-m", "unittest", "suite")

    def test_a_failed_drop(self) -> None:
        self.assertFailsWithItsDrop("-m", "unittest")

    def test_kills(self) -> None:
        self.assertNothingLeftAfterKills("-m", "unittest", **self.given())


class ParallelTests(SampleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.beside = r"tmp\w{8}$"  # for coverage

    def test_by_class(self) -> None:
        self.assertRight("-m", "unittest_parallel", "-j", "2", "--level", "class", workers=2)

    def test_by_test_on_postgresql(self) -> None:
        command = ("-m", "unittest_parallel", "-j", "4", "--level", "test")
        self.assertRight(*command, workers=4, **self.given())

    def test_kills(self) -> None:
        self.assertNothingLeftAfterKills(
            "-m", "unittest_parallel", "-j", "2", "--level", "class", workers=2, **self.given()
        )

    def test_the_first_process_is_killed(self) -> None:
        command = ("-m", "unittest_parallel", "-j", "2", "--level", "class")
        self.assertNoWorkerOutlivesItsParent(*command, workers=2, **self.given())
