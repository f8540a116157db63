"""Runs the shop's tests, on a real PostgreSQL and a real Redis that are started for it:

    python examples/run.py [--shuffle SEED] [-v]

At its end it says what was created, reset and dropped, and how long that took beside the tests themselves.
TEST_DB, DATABASE_URL and REDIS_URL choose other stores, as they do for any suite.
"""

import argparse
import os
import random
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

SHOP = Path(__file__).parent / "shop"


def each(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def is_story(case: type[unittest.TestCase]) -> bool:
    """Do the tests of this class stand on each other?"""
    stores = getattr(case, "stores", None) or ()
    return any(getattr(store, "reset_after", "test") == "class" for store in stores)


def shuffled(suite: unittest.TestSuite, seed: int) -> unittest.TestSuite:
    """The classes in another order, and the tests of each class too; only stories are told as they are."""
    classes: dict[type[unittest.TestCase], list[unittest.TestCase]] = {}
    for test in each(suite):
        classes.setdefault(type(test), []).append(test)
    order = random.Random(seed)
    for case, tests in classes.items():
        if not is_story(case):
            order.shuffle(tests)
    found = list(classes.values())
    order.shuffle(found)
    return unittest.TestSuite(unittest.TestSuite(tests) for tests in found)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the shop's tests on real stores.")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="run them in another order")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every test")
    arguments = parser.parse_args()
    if not {"TEST_DB", "TEST_INFRA"} & set(os.environ):
        os.environ["TEST_INFRA"] = "full"
    os.environ["PROTEAN_TESTING_SUMMARY"] = "1"
    suite = unittest.defaultTestLoader.discover(str(SHOP), top_level_dir=str(SHOP))
    if arguments.shuffle is not None:
        suite = shuffled(suite, arguments.shuffle)
    warnings = None if sys.warnoptions else "default"
    result = unittest.TextTestRunner(verbosity=1 + arguments.verbose, warnings=warnings).run(suite)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
