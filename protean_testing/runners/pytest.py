"""pytest as the runner: ends the run at the session's end, and runs the module cleanups of unittest."""

from __future__ import annotations

import traceback
import unittest
from collections.abc import Iterator
from typing import Any

import pytest

from .. import run_end

_errors: list[Exception] = []


def pytest_configure() -> None:
    run_end.owned_by("pytest")


def pytest_unconfigure() -> None:
    run_end.owned_by(None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After a module's last test: pytest calls what ``enterModuleContext`` left to do nowhere."""
    try:
        yield
    finally:
        if nextitem is None or getattr(nextitem, "module", None) is not getattr(item, "module", None):
            unittest.doModuleCleanups()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    _errors.extend(run_end.end_run())
    if _errors and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for error in _errors:
        terminalreporter.section("protean_testing: the end of the run failed", red=True)
        terminalreporter.write("".join(traceback.format_exception(error)))
    _errors.clear()
