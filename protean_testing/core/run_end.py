"""Ends the run when the tests are over: at the runner's stopTestRun, from a plugin, at last at exit."""

from __future__ import annotations

import sys
import traceback
import unittest
from collections.abc import Callable
from functools import cache, wraps
from types import FrameType
from typing import Any

from ..config import environ
from .process_exit import at_exit, is_pool_worker
from .remarks import remark, remarks
from .run import run

_owner: str | None = None
_summaries: list[str] = []
_first: list[Callable[[], object]] = []
_report: Callable[[list[Exception]], object] | None = None


def owned_by(runner: str | None) -> None:
    """Let a plugin of `runner` call `end_run` itself; ``stopTestRun`` then says nothing about the run."""
    global _owner
    _owner = runner


def report_by(how: Callable[[list[Exception]], object] | None) -> None:
    """Report what fails at this process's exit by `how`, in place of standard error."""
    global _report
    _report = how


def first(step: Callable[[], object]) -> None:
    """Do this before a class or block begins, and before the run ends: it ends what nobody else will."""
    if step not in _first:
        _first.append(step)


def end_run() -> list[Exception]:
    """Leave what is open and drop what was made; the summary comes at exit, behind the runner's own words.

    Returns:
        What failed.
    """
    if run.inherited or not run.resources:
        return []
    errors: list[Exception] = []
    for step in _first:
        try:
            step()
        except Exception as error:
            errors.append(error)
    errors += run.end()
    _summaries.append(run.figures.summary())
    remark(*environ.without_effect())
    return errors


def summaries() -> list[str]:
    """What is to be said of the runs that have ended, if anybody asked for it; once."""
    said = list(_summaries) if environ.wants_summary() else []
    _summaries.clear()
    return said


def arm() -> None:
    """Install the hooks that end the run: `stopTestRun` of any result, and the exit of the process."""
    for step in _first:
        step()
    _watch_all()
    at_exit(_at_exit)  # before what was registered earlier: servers are stopped after it


@cache
def _watch_all() -> None:
    original = unittest.TestResult.stopTestRun

    @wraps(original)
    def stop(result: unittest.TestResult) -> None:
        _stop(result)
        original(result)

    unittest.TestResult.stopTestRun = stop  # type: ignore[assignment, method-assign]


def watch(result: Any) -> None:
    """End the run at this result's ``stopTestRun``, also where its class does not call ours, or its ``done``.

    The latter is what trial calls last.
    """
    if getattr(getattr(result, "stopTestRun", None), "_protean_testing", False):
        return
    for name in ("stopTestRun", "done"):
        original: Callable[[], object] | None = getattr(result, name, None)
        if original is not None and not getattr(original, "_protean_testing", False):
            setattr(result, name, _ending(result, original))


def _ending(result: Any, original: Callable[[], object]) -> Callable[[], None]:
    def stop() -> None:
        _stop(result)
        original()

    stop._protean_testing = True  # type: ignore[attr-defined]
    return stop


class _RunEnd(unittest.TestCase):
    """Stands for the end of the run in a result's list of errors."""

    def runTest(self) -> None:
        """Never run: only named."""

    def shortDescription(self) -> None:
        """None: unittest would print the line above beneath each failure of the run's end."""

    def id(self) -> str:
        return "protean_testing.end_of_run"

    def __str__(self) -> str:
        return "the end of the run (protean_testing)"


END = _RunEnd()


def _stop(result: Any) -> None:
    if _owner is not None or is_pool_worker() or _inside_a_test(sys._getframe()):
        return
    for error in end_run():
        add_error(result, error)


def add_error(result: Any, error: Exception) -> None:
    """Put a failure of the run's end among the errors of a result that is still open."""
    buffered = getattr(result, "buffer", False) and hasattr(result, "_setupStdout")
    if buffered:
        result._setupStdout()
    try:
        result.addError(END, (type(error), error, error.__traceback__))
    finally:
        if buffered:
            result._restoreStdout()


def _inside_a_test(frame: FrameType | None) -> bool:
    """True if a test is on, which itself runs a suite: the outer run is not over."""
    running = unittest.TestCase.run.__code__
    while frame is not None:
        if frame.f_code is running:
            return True
        frame = frame.f_back
    return False


def _at_exit() -> None:
    """The last chance; the exit code can no longer be changed."""
    errors = end_run()
    if _report is not None:
        _report(errors)
        return
    for error in errors:
        text = "".join(traceback.format_exception(error))
        print(f"protean_testing: the end of the run failed:\n{text}", file=sys.stderr, flush=True)
    if run.inherited:
        return
    said = [*remarks(), *summaries()]
    if said:
        from ..workers import worker  # it needs psutil, which whoever only imports this package may lack

        said = [] if worker() else said  # of several, each would say the same, in the midst of the others
    for line in said:
        print(f"protean_testing: {line}", file=sys.stderr, flush=True)
