"""A test's end always comes: whatever interrupts or mocks it, the next test begins clean or says why not."""

from __future__ import annotations

import ast
import json
import unittest
from pathlib import Path
from typing import Any

import protean_testing

from .suite import ROOT, SuiteTestCase

PROGRAM = ROOT / "tests" / "end_of_test_suite.py"
PACKAGE = Path(protean_testing.__file__).parent

# What happens at the begin and the end of each test, without the stores.
HOT = (
    "async_cleanup",
    "class_fixture",
    "handles",
    "testcase",
    "core/figures",
    "core/leaks",
    "core/resource",
    "core/run",
    "core/run_sync",
    "core/scopes",
    "core/threads",
    "stores/callable",
    "stores/sql/checkouts",
)
MOCKED = {"time", "os", "threading", "socket", "warnings", "gc", "inspect", "random", "uuid"}

# Where the driver or server's client itself is what is mocked: the second test fails, and says so.
TOLD = {"time.monotonic"}


class ProgramTestCase(SuiteTestCase):
    def program(self, store: str, *arguments: str, **variables: str) -> list[Any]:
        test_db = "postgresql" if store == "postgresql" else "memory"
        outcome = self.python(str(PROGRAM), store, *arguments, timeout=400, TEST_DB=test_db, **variables)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        return [json.loads(line) for line in outcome.out.splitlines()]


class KindTests(ProgramTestCase):
    def check(self, store: str) -> None:
        found = self.program(store, "kinds")
        self.assertGreater(len(found), 60)
        for kind, first, (second, why), third in found:
            with self.subTest(kind, store=store):
                self.assertEqual(third[0], "passed", third[1])
                if second != "passed":
                    self.assertIn(kind, TOLD, why)
                    self.assertIn("is not clean", why)
                if kind in ("failure", "SystemExit", "SIGALRM in tearDown", "RecursionError"):
                    self.assertEqual(first[0], "failed")
                elif kind in ("KeyboardInterrupt", "SIGINT", "KeyboardInterrupt in a cleanup"):
                    self.assertEqual(first[0], "ended the run")
                elif "own do" in kind or kind in ("nothing", "the same test inside", "another class inside"):
                    self.assertEqual(first[0], "passed", first[1])
                elif kind == "warnings as errors and a leak" and store in ("sqlite", "postgresql"):
                    self.assertIn("LeakError: warnings as errors and a leak, first left ", first[1])

    def test_memory(self) -> None:
        self.check("memory")

    def test_sqlite(self) -> None:
        self.check("sqlite")

    def test_postgresql(self) -> None:
        self.check("postgresql")

    def test_redis(self) -> None:
        self.check("redis")


class StepTests(ProgramTestCase):
    """An exception at each line that this library takes at an end, one after another."""

    def check(self, store: str, place: str, error: str = "TimeoutError", stride: int = 1) -> None:
        (found,) = self.program(store, "step", place, error, STRIDE=str(stride))
        with self.subTest(store=store, place=place, error=error):
            self.assertGreater(found["steps"], 40)  # else nothing was interrupted: the shortest is in memory
            self.assertEqual(found["number"], 0, found["dirty"])

    def test_memory(self) -> None:
        self.check("memory", "test")
        for place in ("begin", "class", "block", "scope"):
            self.check("memory", place, stride=3)
        for place in ("test", "begin"):
            self.check("memory", place, "KeyboardInterrupt", stride=5)

    def test_sqlite(self) -> None:
        for place in ("test", "begin", "class", "block", "scope"):
            self.check("sqlite", place, stride=7)
        self.check("sqlite", "test", "KeyboardInterrupt", stride=7)

    def test_postgresql(self) -> None:
        for place in ("test", "class"):
            self.check("postgresql", place, stride=11)
        self.check("postgresql", "test", "KeyboardInterrupt", stride=11)

    def test_redis(self) -> None:
        for place in ("test", "class"):
            self.check("redis", place, stride=11)
        self.check("redis", "test", "KeyboardInterrupt", stride=11)

    def test_alarms_near_the_end(self) -> None:
        for store in ("memory", "sqlite", "redis", "postgresql"):
            (found,) = self.program(store, "alarm")
            self.assertEqual(found["number"], 0, found["dirty"])


class HotPathTests(unittest.TestCase):
    def test_what_tests_like_to_mock_is_bound_at_import(self) -> None:
        for name in HOT:
            path = PACKAGE / f"{name}.py"
            tree = ast.parse(path.read_text())
            looked_up = [
                f"{path.name}:{node.lineno} {node.value.id}.{node.attr}"
                for function in ast.walk(tree)
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in MOCKED
                and node.attr != "Thread"  # an annotation
            ]
            with self.subTest(name):
                self.assertEqual(looked_up, [], "a mock of it would decide whether the data is restored")


if __name__ == "__main__":
    unittest.main()
