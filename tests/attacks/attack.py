"""An attack: what a hostile or merely unlucky user does, and what must be as it was after that."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from .. import interpreters
from ..suite import MODELS, Outcome, SuiteTestCase

SUITE = "test_attack"
LIMIT = 120  # seconds for one suite

HELPERS = """
import signal, subprocess, time

def ready():
    '''The moment at which a suite is killed, where its test asks for that.'''
    if os.environ.get("KILL"):
        print("ready", flush=True)
        time.sleep(60)

if os.environ.get("CHAIN"):
    print("imported", flush=True)
"""


class AttackTestCase(SuiteTestCase):
    """A test that runs suites as a user would, some of them killed, and looks at what was there before.

    Attributes:
        variables: The environment of every suite.
    """

    def setUp(self) -> None:
        super().setUp()
        self.variables = {"PROTEAN_TESTING_STATE": str(self.directory / "state")}

    def content(self) -> Any:
        """Everything in the place that is not the library's: rows, definitions, privileges, sequences."""
        raise NotImplementedError

    def suite(self, source: str) -> None:
        """Write the suite that the following runs are of. It has the models of `tests.suite`, and `ready`."""
        self.write(f"{SUITE}.py", source, before=MODELS + HELPERS)

    def run_suite(self, *tests: str, **variables: str) -> Outcome:
        """Run the suite, or some of its tests, to its end."""
        names = [f"{SUITE}.{test}" for test in tests] or [SUITE]
        return self.unittest(*names, timeout=LIMIT, **{**self.variables, **variables})

    def kill_suite(self, *tests: str, **variables: str) -> None:
        """Run it and end it with SIGKILL when a test calls ``ready()``."""
        process = self._start(tests, KILL="1", **variables)
        assert process.stdout is not None
        line = process.stdout.readline()
        self._end(process, signal.SIGKILL)
        if line != "ready\n":
            self.fail(f"the suite never came to the moment to kill it:\n{line}{self._errors()}")

    def start_suite(self, *tests: str, **variables: str) -> subprocess.Popen[str]:
        """Run it until a test calls ``ready()``. It is killed at the end of this test, if it still lives."""
        process = self._start(tests, KILL="1", **variables)
        self.addCleanup(await_watchdogs, self.directory)
        self.addCleanup(self._end, process, signal.SIGKILL)
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != "ready\n":
            self._end(process, signal.SIGKILL)
            self.fail(f"the suite never came to that moment:\n{line}{self._errors()}")
        return process

    def kill_often(self, times: int, longest: float, *, seed: int, **variables: str) -> int:
        """Run it `times` times, and end each with SIGKILL at a random moment.

        Parameters:
            longest: Seconds after its imports, which take most of the time, and in which is nothing to kill.

        Returns:
            How many of them were still alive at their moment.
        """
        moments, killed = random.Random(seed), 0
        for _ in range(times):
            process = self._start((), CHAIN="1", **variables)
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "imported\n", self._errors())
            time.sleep(moments.uniform(0, longest))
            killed += process.poll() is None
            self._end(process, signal.SIGKILL)
        return killed

    def _start(self, tests: tuple[str, ...], **variables: str) -> subprocess.Popen[str]:
        names = [f"{SUITE}.{test}" for test in tests] or [SUITE]
        with open(self.directory / "errors", "w") as errors:
            return interpreters.Program(
                [sys.executable, "-m", "unittest", *names],
                cwd=self.directory,
                env=self.environment(**{**self.variables, **variables}),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def _end(self, process: subprocess.Popen[str], number: signal.Signals) -> None:
        process.send_signal(number)
        process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()

    def _errors(self) -> str:
        return (self.directory / "errors").read_text()

    # What comes of it

    def assertRefused(self, outcome: Outcome, *texts: str) -> None:
        """Nothing ran, and the message names what is in the way and what to write."""
        self.assertFailed(outcome, "refusing to use store", *texts)
        self.assertEqual(outcome.ran, 0, outcome.err)

    def clean(self, url: str) -> Outcome:
        """The command that a refusal names."""
        outcome = self.python("-m", "protean_testing", "clean", url, "--yes", timeout=LIMIT, **self.variables)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        return outcome


def watchdogs(directory: Path) -> list[psutil.Process]:
    """Those of runs whose state is below that directory."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(word.endswith("watchdog.py") for word in process.info["cmdline"] or ())
        and str(directory) in " ".join(file.path for file in _files(process))
    ]


def await_watchdogs(directory: Path) -> None:
    """They note the death of a run for a while, in directories that are looked at or removed next."""
    deadline = time.monotonic() + 20
    while left := watchdogs(directory):
        if time.monotonic() > deadline:
            raise AssertionError(f"watchdogs outlive their runs: {left}")
        time.sleep(0.05)


def _files(process: psutil.Process) -> list[Any]:
    try:
        return list(process.open_files())
    except psutil.Error:
        return []
