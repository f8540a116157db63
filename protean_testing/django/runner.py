"""Django's test runner, with our stores beside its databases."""

from __future__ import annotations

import os
from typing import Any

import django.test
from django.test.runner import DiscoverRunner, ParallelTestSuite

from ..config import environ
from ..core import run_end
from ..core.worker_failures import Failures
from ..testcase import DatabaseTestCase
from .store import declared_aliases


def _tell(failures: Failures) -> None:
    run_end.report_by(failures.send)


class ParallelSuite(ParallelTestSuite):  # type: ignore[misc]
    """Django's suite for several processes; what fails at the end of one of them is an error of the run."""

    process_setup = _tell  # where processes are spawned; forked ones inherit what this process was told

    def run(self, result: Any) -> Any:
        failures = Failures()
        self.process_setup_args = (failures,)
        _tell(failures)
        try:
            super().run(result)
        finally:
            run_end.report_by(None)
        for error in failures.received():
            run_end.add_error(result, error)
        return result


class RunnerMixin:
    """For a project's own runner: ``class ShopRunner(RunnerMixin, DiscoverRunner)``.

    Test cases of ours run after Django's ``TestCase`` and before its ``TransactionTestCase``, which leaves
    the tables without the rows of migrations. ``--keepdb`` keeps our schemas as well.
    """

    keepdb: bool
    parallel_test_suite = ParallelSuite
    reorder_by = (django.test.TestCase, DatabaseTestCase, django.test.SimpleTestCase)

    def get_databases(self, suite: Any) -> Any:
        """Those that Django finds, and those that the library's stores stand for."""
        found = super().get_databases(suite)  # type: ignore[misc]
        return {**dict.fromkeys(declared_aliases, False), **found}

    def run_tests(self, test_labels: Any, **kwargs: Any) -> Any:
        if self.keepdb:
            os.environ.setdefault(environ.KEEP_VARIABLE, "1")
        return super().run_tests(test_labels, **kwargs)  # type: ignore[misc]


class Runner(RunnerMixin, DiscoverRunner):  # type: ignore[misc]
    """Django's runner with our stores: ``TEST_RUNNER = "protean_testing.django.Runner"``."""
