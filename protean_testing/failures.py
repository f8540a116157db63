"""Have the failures of a test say more before its runner prints them, whichever runner that is."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any, TypeAlias

Note: TypeAlias = Callable[[Any, BaseException], None]
"""Adds a note to an error of a test."""


def running() -> tuple[unittest.TestCase | None, Any]:
    """The innermost test case whose ``run`` or ``debug`` is on in this thread, and its runner's result."""
    frame: FrameType | None = sys._getframe(1)
    result: Any = None
    while frame is not None:
        if frame.f_code.co_name in ("run", "debug"):
            names = frame.f_locals
            if result is None and hasattr(names.get("result"), "addFailure"):
                result = names["result"]
            case = names.get("self")
            if isinstance(case, unittest.TestCase):
                return case, result
        frame = frame.f_back
    return None, result


def note_failures(case: Any, result: Any, note: Note) -> None:
    """Note each failure that a test's result is given, also of a subtest: it is printed or copied at once."""
    if hasattr(case, "onException"):
        _note_exceptions(case, note)
    if getattr(getattr(result, "addError", None), "_protean_testing", False):
        return
    for name in ("addError", "addFailure", "addSubTest"):
        original = getattr(result, name, None)
        if original is not None:
            setattr(result, name, _noting(original, note))


def _note_exceptions(case: Any, note: Note) -> None:
    """The same for a test case of testtools, which gives results no errors but their text."""
    if "onException" in vars(case):
        return
    original = case.onException

    def on_exception(exc_info: Any, *arguments: Any, **named: Any) -> Any:
        note(case, exc_info[1])
        return original(exc_info, *arguments, **named)

    case.onException = on_exception


def _noting(original: Callable[..., Any], note: Note) -> Callable[..., Any]:
    is_trials = type(getattr(original, "__self__", None)).__module__.startswith("twisted.trial.")

    def add(test: Any, *arguments: Any, **named: Any) -> Any:
        for one in (*arguments, *named.values()):
            error = one[1] if isinstance(one, tuple) and len(one) == 3 else getattr(one, "value", None)
            if isinstance(error, BaseException):
                note(test, error)
        if is_trials and original.__name__ != "addSubTest":
            arguments = tuple(map(_with_notes, arguments))
        return original(test, *arguments, **named)

    add._protean_testing = True  # type: ignore[attr-defined]
    return add


def _with_notes(given: Any) -> Any:
    """A failure for trial, which shows no notes of an error, here and where its workers send it to."""
    from twisted.python.failure import Failure

    failure: Any = given
    if isinstance(given, tuple):
        failure = Failure(given[1], given[0], given[2])  # type: ignore[no-untyped-call]
    notes = getattr(getattr(failure, "value", None), "__notes__", ())
    if notes:
        for name in ("getTraceback", "getErrorMessage"):
            setattr(failure, name, partial(_joined, getattr(failure, name), notes))
    return failure


def _joined(original: Callable[..., str], notes: Sequence[str], *arguments: Any, **named: Any) -> str:
    return "\n".join([original(*arguments, **named).rstrip(), *notes, ""])
