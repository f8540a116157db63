"""The sample suite under Twisted's trial, and with its test cases, whose tests return Deferreds."""

from __future__ import annotations

from .runners.running import SampleTestCase

TRIAL = ("-m", "twisted.trial", "--temp-directory", "work")
MODULES = ("test_async", "test_blocks", "test_orders")

CASES = """
import shop
from protean_testing import DatabaseTestCase
from twisted.internet import defer, reactor, threads
from twisted.trial import unittest


class DeferredTests(DatabaseTestCase, unittest.TestCase):
    stores = shop.STORES

    def setUp(self):
        super().setUp()
        return threads.deferToThread(shop.order, self.db)

    def tearDown(self):
        super().tearDown()
        self.assertEqual(shop.orders(self.db), (2, 2, 2))

    def test_1(self):
        self.addCleanup(shop.log, "cleanup", self.id())
        done = threads.deferToThread(shop.order, self.db)
        return done.addCallback(self.assertEqual, 2)

    @defer.inlineCallbacks
    def test_2(self):
        yield threads.deferToThread(shop.order, self.db)
        yield threads.deferToThread(self.db.reset)
        for expected in 1, 2:
            number = yield threads.deferToThread(shop.order, self.db)
            self.assertEqual(number, expected)

    def test_3(self):
        waited = defer.Deferred()
        reactor.callLater(0.01, lambda: waited.callback(shop.order(self.db)))
        return waited.addCallback(self.assertEqual, 2)


class SynchronousTests(DatabaseTestCase, unittest.SynchronousTestCase):
    stores = shop.STORES

    def tearDown(self):
        self.assertEqual(shop.orders(self.db), (1, 1, 1))
        super().tearDown()

    def test_1(self):
        self.assertEqual(shop.order(self.db), 1)

    test_2 = test_1
"""


class TrialTests(SampleTestCase):
    def test_serial_on_postgresql(self) -> None:
        self.assertRight(*TRIAL, *MODULES, **self.given())

    def test_random_order(self) -> None:
        outcome = self.assertRight(*TRIAL, "--random", "7", *MODULES)
        self.assertShuffled(outcome.log)

    def test_four_workers(self) -> None:
        self.assertRight(*TRIAL, "-j", "4", *MODULES, workers=4)

    def test_their_test_cases(self) -> None:
        self.write("test_cases.py", CASES)
        for workers in ((), ("-j", "2")):
            with self.subTest(workers=workers):
                outcome = self.python(*TRIAL, *workers, "test_cases", **self.given())
                self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
                self.assertIn("Ran 5 tests", outcome.out)
        self.assertEqual(self.left(), [])

    def test_a_failed_drop(self) -> None:
        self.assertFailsWithItsDrop(*TRIAL, *MODULES)

    def test_kills(self) -> None:
        self.assertNothingLeftAfterKills(*TRIAL, "-j", "2", *MODULES, workers=2, **self.given())
