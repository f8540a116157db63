"""The sample suite under stestr, testtools and testresources, and with their test cases."""

from __future__ import annotations

import sys
from pathlib import Path

from .runners.running import SampleTestCase

STESTR = (str(Path(sys.executable).parent / "stestr"), "run")

CASES = """
import unittest

import fixtures
import shop
import testresources
import testtools
from protean_testing import DatabaseTestCase
from protean_testing.runners.fixtures import DatabaseFixture
from protean_testing.runners.testresources import DatabaseResource


class OurTests(DatabaseTestCase, testtools.TestCase):
    stores = shop.STORES

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch("shop.now", 1))

    def tearDown(self):
        self.assertThat(shop.orders(self.db), testtools.matchers.Equals((1, 1, 1)))
        super().tearDown()

    def test_1(self):
        self.assertThat(shop.order(self.db), testtools.matchers.Equals(1))

    test_2 = test_1


class FixtureTests(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.fixture = self.useFixture(DatabaseFixture(*shop.STORES))

    def test_1(self):
        self.assertEqual(1, shop.order(self.fixture.db))
        self.fixture.reset()
        self.assertEqual(1, shop.order(self.fixture.db))

    test_2 = test_1


class ResourceTests(testresources.ResourcedTestCase):
    resources = [("db", DatabaseResource(*shop.STORES))]

    def test_1(self):
        self.assertEqual(1, shop.order(self.db))

    test_2 = test_1


def load_tests(loader, tests, pattern):
    return testresources.OptimisingTestSuite(tests)
"""


class StestrTests(SampleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.beside = r"tmp\w{8}$"  # its lists of tests
        self.write(".stestr.conf", "[DEFAULT]\ntest_path=.\n")

    def test_serial(self) -> None:
        self.assertRight(*STESTR, "--serial")

    def test_four_workers_on_postgresql(self) -> None:
        self.assertRight(*STESTR, "--concurrency", "4", workers=4, **self.given())

    def test_in_random_order(self) -> None:
        self.assertRight(*STESTR, "--random", "--concurrency", "2", workers=2)

    def test_a_failed_drop(self) -> None:
        self.assertFailsWithItsDrop(*STESTR, "--serial")
        self.assertFailsWithItsDrop(*STESTR, "--concurrency", "2")

    def test_kills(self) -> None:
        self.assertNothingLeftAfterKills(*STESTR, "--concurrency", "2", workers=2, **self.given())


class TesttoolsTests(SampleTestCase):
    def test_run(self) -> None:
        self.assertRight("-m", "testtools.run", "discover", **self.given())

    def test_their_test_cases_fixtures_and_resources(self) -> None:
        self.write("test_cases.py", CASES)
        for runner in ("testtools.run", "unittest"):
            with self.subTest(runner):
                outcome = self.python("-m", runner, "test_cases")
                self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
                self.assertIn("Ran 6 tests", outcome.out + outcome.err)
                made = [line.split()[1] for line in outcome.log]
                self.assertEqual((made.count("create"), made.count("drop")), (1, 1))

    def test_a_failed_drop(self) -> None:
        self.assertFailsWithItsDrop("-m", "testtools.run", "discover")
