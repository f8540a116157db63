"""Two transactions of the code under test meet as they would without us. See tests/interleavings.py."""

from __future__ import annotations

import unittest

from .interleavings import LEVELS, compare, worlds
from .oracle.postgresql import VERSIONS

PAIRS = 80  # at every level, on every version
SEED = 8


class InterleavingTests(unittest.TestCase):
    def test_the_same_outcomes(self) -> None:
        for version in VERSIONS:
            with worlds(version) as both:
                for level in LEVELS:
                    with self.subTest(version=version, level=level):
                        found = compare(PAIRS, level, SEED, both)
                        self.assertEqual(found.differences, [])
                        self.assertLessEqual(found.earlier, PAIRS // 50 if level == "SERIALIZABLE" else 0)
                        self.assertLessEqual(len(found.unstable), PAIRS // 50, found.unstable)
                        self.assertGreater(found.words["waits"], 5)
                        self.assertGreater(sum(found.words.values()), PAIRS // 2)

    def test_a_change_log_with_a_key_is_found(self) -> None:
        """The second writer of a table would wait for the first one."""
        with worlds() as both:
            both[0].watch.execute("CREATE UNIQUE INDEX ON protean_testing.change_log (number)")
            for level in LEVELS:
                with self.subTest(level):
                    self.assertGreater(len(compare(6, level, SEED, both).differences), 0)
