"""The package is typed, and so is what users write with it: mypy --strict over tests/typing_tests."""

from __future__ import annotations

import re
import subprocess
import sys
import unittest
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
FILES = sorted((HERE / "typing_tests").glob("*.py"))


@cache
def complaints() -> tuple[str, str]:
    """What mypy prints of all the files, on stdout and stderr."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-error-summary",
            "--hide-error-context",
            "protean_testing",
            *map(str, FILES),
        ],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout, done.stderr


class TypingTests(unittest.TestCase):
    maxDiff = None

    def test_the_package_is_typed_strictly(self) -> None:
        printed, failure = complaints()
        self.assertEqual(failure, "")
        self.assertEqual([line for line in printed.splitlines() if line.startswith("protean_testing")], [])

    def test_every_face_has_the_types_that_its_users_expect(self) -> None:
        found = [line for line in complaints()[0].splitlines() if line.startswith("tests")]
        self.assertEqual([line for line in found if "typing_tests/wrong.py" not in line], [])

    def test_what_is_wrong_is_refused(self) -> None:
        lines = (HERE / "typing_tests" / "wrong.py").read_text().splitlines()
        expected = {
            (number, match[1])
            for number, line in enumerate(lines, 1)
            if (match := re.search(r"  # ([\w-]+)$", line))
        }
        found = {
            (int(match[1]), match[2])
            for match in re.finditer(r"wrong\.py:(\d+): error: .*\[([\w-]+)\]", complaints()[0])
        }
        self.assertEqual(found, expected)

    def test_the_package_says_that_it_is_typed(self) -> None:
        self.assertTrue((HERE.parent / "protean_testing" / "py.typed").exists())
