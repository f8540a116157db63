"""Runs the sample suite under a runner, and sees from what its stores wrote down that all of it was right."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import groupby
from pathlib import Path

import psutil

from .. import interpreters
from ..suite import CHOOSING, ROOT, Outcome, SuiteTestCase
from .servers import Servers

SAMPLE = Path(__file__).parent / "sample"
ALL_KILLS = bool(os.environ.get("ALL_KILLS"))
"""Set it to kill every runner by every signal, not only by SIGKILL."""

LAYERS = """
import unittest

import shop
from protean_testing.runners.%s import DatabaseLayer


class FirstLayer(DatabaseLayer):
    stores = shop.STORES


class SecondLayer(DatabaseLayer):
    stores = shop.STORES

    @classmethod
    def setUp(cls):
        super().setUp()
        shop.order(cls.db)


@shop.repeated(10)
class FirstLayerTests(unittest.TestCase):
    layer = FirstLayer

    def each(self):
        shop.began(self)
        self.assertEqual(shop.orders(FirstLayer.db), (0, 0, 0))
        shop.order(FirstLayer.db)


@shop.repeated(10)
class SecondLayerTests(unittest.TestCase):
    layer = SecondLayer

    def each(self):
        shop.began(self)
        self.assertEqual(shop.orders(SecondLayer.db), (1, 1, 1))
        shop.order(SecondLayer.db)
"""
"""More of the sample, for runners that have layers: twenty tests."""

Line = list[str]


class SampleTestCase(SuiteTestCase):
    """Has the sample suite in a directory of its own, and a temporary directory for what its runs leave."""

    on_stores = 55  # of the 60 tests
    servers: Servers | None = None

    def setUp(self) -> None:
        super().setUp()
        shutil.copytree(SAMPLE, self.directory, dirs_exist_ok=True)
        self.temporary = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="r", dir="/tmp")))
        self.variables: dict[str, str] = {}
        self.beside = "$"  # matches what a killed runner leaves in the temporary directory by itself

    @classmethod
    def given(cls) -> dict[str, str]:
        """The environment of a run that is given servers; they are started for the class."""
        if cls.servers is None:
            cls.servers = Servers()
            cls.addClassCleanup(cls.servers.stop)
        return cls.servers.variables

    def environment(self, **variables: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in CHOOSING}
        return inherited | {
            "LOG": str(self.directory / "log"),
            "LEDGERS": str(self.directory / "ledgers"),
            "PROTEAN_TESTING_STATE": str(self.directory / "state"),
            "PYTHONPATH": os.pathsep.join([str(self.directory), str(ROOT)]),
            "TMPDIR": str(self.temporary),
            **self.variables,
            **variables,
        }

    def python(self, *arguments: str, timeout: float = 120, **variables: str) -> Outcome:
        """As any suite, but where it does not end, the stacks of all its processes are shown."""
        environment = self.environment(PYTHONFAULTHANDLER="1", **variables)
        with self.started(*arguments, environment=environment, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGABRT)
                out, err = process.communicate()
                self.fail(f"no end within {timeout:.0f} s:\n{out}{err}")
        log = self.directory / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return Outcome(process.returncode, out, err, lines)

    def started(
        self, *arguments: str, environment: dict[str, str], stderr: int = subprocess.STDOUT
    ) -> subprocess.Popen[str]:
        """A run in a session of its own, so that a signal reaches all its processes."""
        return interpreters.Program(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )

    # A run that ends by itself

    def assertRight(self, *command: str, workers: int = 1, **variables: str) -> Outcome:
        """Every test passes, in up to so many processes, and more than one where there may be more.

        Each of them has made, reset and dropped as it must.
        """
        if workers > 1:
            variables["MEET"] = "10"
        if self.servers is not None:
            self.servers.counted()
        outcome = self.python(*command, **variables)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        self.assertCounts(outcome.log, workers)
        if self.servers is not None and "DATABASE_URL" in variables:
            self.assertLogged(self.servers.counted(), outcome.log)
        self.assertEqual(self.left(), [])
        return outcome

    def assertCounts(self, log: list[str], workers: int) -> None:
        by_process: dict[str, list[Line]] = {}
        for line in log:
            process, *rest = line.split()
            by_process.setdefault(process, []).append(rest)
        for lines in by_process.values():
            made = Counter(line[0] for line in lines)
            self.assertEqual((made["create"], made["drop"]), (1, 1), lines)
            self.assertEqual((lines[0], lines[-1]), (["create"], ["drop"]))
            self.assertEqual(made["reset"], resets([line for line in lines if line[0] == "test"]), lines)
        names = [line.split()[2] for line in log if line.split()[1] == "test"]
        self.assertEqual((len(set(names)), len(names)), (self.on_stores, self.on_stores))
        self.assertIn(len(by_process), range(min(workers, 2), workers + 1))

    def assertLogged(self, counted: Counter[str], log: list[str]) -> None:
        """PostgreSQL's own log agrees: as many resets as the ledger had, and one schema, which workers copy.

        Where one worker has ended before another begins, that one finds nothing to copy.
        """
        made = Counter(line.split()[1] for line in log)
        self.assertEqual(counted["reset"], made["reset"], counted)
        if counted["create database"]:  # one for each worker, and the one that they are copied from
            self.assertIn(counted["create"], range(1, made["create"] + 1), counted)
            self.assertLessEqual(counted["create database"], made["create"] + counted["create"], counted)
            self.assertGreaterEqual(counted["drop database"], counted["create database"], counted)
        else:
            self.assertEqual(counted["create"], 1, counted)
            self.assertIn(counted["drop"], (1, 2), counted)  # also what a dead run had left

    def assertShuffled(self, log: list[str]) -> None:
        numbers = [line[-2:] for line in log if " test test_orders.OrderTests." in line]
        self.assertNotEqual(numbers, sorted(numbers))

    def assertFailsWithItsDrop(self, *command: str, **variables: str) -> Outcome:
        """A drop that fails is told, and the exit code says so."""
        outcome = self.python(*command, BROKEN_DROP="1", **variables)
        self.assertFailed(outcome, "the ledger cannot be dropped")
        return outcome

    # A run that is killed

    def assertNothingLeftAfterKills(self, *command: str, workers: int = 1, **variables: str) -> None:
        """Killed in the middle of a test, and followed by a next run, which is right, it has left nothing."""
        kills = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM]
        for number in kills if ALL_KILLS else kills[:1]:
            with self.subTest(number.name):
                self.kill(number, *command, **variables)
                (self.directory / "log").unlink()
                self.assertRight(*command, workers=workers, **variables)

    def assertNoWorkerOutlivesItsParent(self, *command: str, workers: int, **variables: str) -> None:
        """Only the first process is killed: the others end by themselves, and the next run is right."""
        self.kill(signal.SIGKILL, *command, alone=True, **variables)
        (self.directory / "log").unlink()
        self.assertRight(*command, workers=workers, **variables)

    def kill(self, number: signal.Signals, *command: str, alone: bool = False, **variables: str) -> None:
        """Send a signal to the run, all its processes as a terminal does, while a test is on.

        Parameters:
            alone: Send it to the first process alone.
        """
        flag = self.directory / "paused"
        paused = self.environment(PAUSE=str(flag), PAUSE_AT="AgainTests.test_04", **variables)
        process = self.started(*command, environment=paused)
        until = time.monotonic() + 60
        while not flag.exists():
            if process.poll() is not None or time.monotonic() > until:
                os.killpg(process.pid, signal.SIGKILL)
                self.fail(f"never came to the middle:\n{process.communicate()[0]}")
            time.sleep(0.02)
        (os.kill if alone else os.killpg)(process.pid, number)
        if number != signal.SIGKILL:
            time.sleep(0.2)
            flag.unlink()  # a runner may end what it is at
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()
        flag.unlink(missing_ok=True)
        if number != signal.SIGINT:  # after which some runners end as if all were well
            self.assertNotEqual(process.returncode, 0)

    # What is left

    def left(self) -> list[str]:
        """Everything of ours that is still somewhere; servers of a dead run have some seconds to go."""
        until = time.monotonic() + 10
        while (left := self._left()) and time.monotonic() < until:
            time.sleep(0.05)
        return left

    def _left(self) -> list[str]:
        places = [self.temporary, self.directory / "state", self.directory / "ledgers"]
        walks = [walk for place in places for walk in os.walk(place)]
        found = [os.path.join(where, name) for where, inner, files in walks for name in (*inner, *files)]
        left = [path for path in found if not re.match(self.beside, os.path.basename(path))]
        left += [] if self.servers is None else self.servers.left()
        for process in psutil.process_iter(["cmdline", "cwd"]):
            told = " ".join([*(process.info["cmdline"] or ()), process.info["cwd"] or ""])
            if str(self.temporary) in told or str(self.directory) in told:
                left.append(f"process {process.pid}: {told}")
        return left


def resets(tests: list[Line]) -> int:
    """How often a process that ran these tests in this order must have reset the ledger.

    Once after each test, and at the end of a class or a layer; when one or a block begins, it is seen that
    nothing was written in between. The first has no need of that.
    """
    number = -1
    for (kind, _), group in groupby(tests, lambda line: (line[1].split(".")[-2], len(line))):
        many = len(list(group))
        number += 3 * many if kind == "BlockTests" else many + 2
    return number
