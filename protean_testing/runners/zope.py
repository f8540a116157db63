"""zope.testrunner as the runner: a failed drop is an error of the run, and a layer.

To import this from any test module is all there is to do; using the layer does so.
"""

from __future__ import annotations

import traceback
from functools import wraps
from typing import Any

from zope.testrunner.runner import Runner

from ..core import run_end
from .layers import DatabaseLayer

__all__ = ["DatabaseLayer"]


def _watch() -> None:
    original = Runner.run_tests

    @wraps(original)
    def run_tests(runner: Any) -> None:
        original(runner)
        for error in run_end.end_run():
            runner.options.output.error("".join(traceback.format_exception(error)))
            runner.errors.append((run_end.END, (type(error), error, error.__traceback__)))
            runner.failed = True

    Runner.run_tests = run_tests


_watch()  # before it runs them: test modules are imported first
