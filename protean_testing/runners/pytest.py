"""pytest as the runner: ends the run at the session's end, and runs the module cleanups of unittest.

A worker of pytest-xdist is a session, so also a run, of its own; what fails at its end goes to the first.
"""

from __future__ import annotations

import os
import sys
import traceback
import unittest
from collections.abc import Generator, Iterator
from inspect import iscoroutinefunction
from typing import Any

import pytest

from ..core import run_end
from ..core.recording import is_failure
from ..core.remarks import remark, remarks
from .pytest_fixtures import (
    database_fixture,
    domain_fixture,
    end_in_loop,
    finish_forgotten,
    fixture_begins,
    note_writes,
)

__all__ = ["database_fixture", "domain_fixture"]

WORKER_OUTPUT = "protean_testing"

_failures: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    run_end.owned_by("pytest")
    if config.getoption("usepdb", default=False):
        from . import pytest_pdb

        config.pluginmanager.register(pytest_pdb, "protean_testing_pdb")
    django = sys.modules.get("pytest_django.plugin")
    if django is not None and config.pluginmanager.is_registered(django):
        from .pytest_django import Plugin

        config.pluginmanager.register(Plugin(_end_run), "protean_testing_django")


def pytest_unconfigure() -> None:
    run_end.owned_by(None)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    value = yield
    fixture_begins(fixturedef, request, value)
    return value


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Around an async test: what it leaves is bound to its event loop."""
    if not iscoroutinefunction(getattr(item, "obj", None)):
        return (yield)
    test = item.obj  # type: ignore[attr-defined]
    end_in_loop(item)
    try:
        return (yield)
    finally:
        item.obj = test  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed says what it has written, before its fixtures restore that."""
    error = None if call.excinfo is None or call.when == "teardown" else call.excinfo.value
    if is_failure(error) and item.get_closest_marker("xfail") is None:
        note_writes(item, error)
    report = yield
    summary = getattr(report.longrepr, "reprcrash", None)
    if summary is not None:  # one line of the short summary, which pytest does not cut on CI
        summary.message = summary.message.partition("\nprotean_testing: ")[0]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After a module's last test: pytest calls what ``enterModuleContext`` left to do nowhere."""
    remaining = nextitem.listchain() if nextitem is not None else ()
    try:
        yield
    finally:
        finish_forgotten(lambda node: node not in remaining)
        if nextitem is None or getattr(nextitem, "module", None) is not getattr(item, "module", None):
            unittest.doModuleCleanups()


def _end_run() -> None:
    _failures.extend("".join(traceback.format_exception(error)) for error in run_end.end_run())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    _end_run()
    if hasattr(session.config, "workeroutput"):
        me = os.environ["PYTEST_XDIST_WORKER"]
        lines = [*remarks(), *(f"{me}: {line}" for line in run_end.summaries())]
        session.config.workeroutput[WORKER_OUTPUT] = (_failures, lines)
    if _failures and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended."""
    failures, lines = getattr(node, "workeroutput", {}).get(WORKER_OUTPUT, ((), ()))
    _failures.extend(failures)
    remark(*lines)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for failure in _failures:
        terminalreporter.section("protean_testing: the end of the run failed", red=True)
        terminalreporter.write(failure)
    for line in remarks():
        terminalreporter.write_line(f"protean_testing: {line}")
    _failures.clear()
