"""Runs the forty, and prints what each should and did say: ``python -m tests.leaks``."""

from __future__ import annotations

import atexit
import json
import os
import sys
import traceback
import unittest
from typing import Any


class Told(unittest.TestResult):
    """Collects the errors of every test, in words."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, dict[str, Any]] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        method = getattr(test, test._testMethodName)
        self.told[test.id()] = {"leaves": getattr(method, "leaves", None), "said": []}

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        text = "".join(traceback.format_exception(*err))
        self.told.setdefault(test.id(), {"leaves": None, "said": []})["said"].append(text)

    addFailure = addError


if __name__ == "__main__":
    result = Told()
    names = sys.argv[1:] or [f"tests.leaks.{name}" for name in ("tables", "keys", "domains")]
    result.startTestRun()
    unittest.defaultTestLoader.loadTestsFromNames(names).run(result)
    result.stopTestRun()
    json.dump(result.told, sys.stdout)
    sys.stdout.flush()
    atexit._run_exitfuncs()
    os._exit(0)  # the threads of connections that are left would be waited for
