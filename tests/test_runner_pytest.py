"""The sample suite under pytest, in random order with pytest-randomly, in parallel with pytest-xdist."""

from __future__ import annotations

from .runners.running import SampleTestCase

OURS = ("-p", "protean_testing.runners.pytest")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *OURS)
XDIST = (*PYTEST, "-p", "xdist", "-n")


class PytestTests(SampleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.beside = r"pytest-|\.lock$"
        self.variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # some of those here are slow

    def test_in_order(self) -> None:
        self.assertRight(*PYTEST)

    def test_in_random_order_on_postgresql(self) -> None:
        outcome = self.assertRight(*PYTEST, "-p", "pytest_randomly", **self.given())
        self.assertShuffled(outcome.log)

    def test_four_workers_each_with_a_class_at_a_time(self) -> None:
        self.assertRight(*XDIST, "4", "--dist", "loadscope", workers=4, **self.given())

    def test_a_failed_drop(self) -> None:
        self.assertFailsWithItsDrop(*PYTEST)
        self.assertFailsWithItsDrop(*XDIST, "2")

    def test_kills(self) -> None:
        self.assertNothingLeftAfterKills(*XDIST, "2", workers=2, **self.given())
