"""Workers that are killed, or whose parent is: after the next run nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import redis

from protean_testing.servers.redis import PrivateRedis, start_redis

from . import interpreters
from .attacks.attack import await_watchdogs
from .server_log import ServerLogTestCase
from .worker_suite import SUITE


class KilledWorkerTests(ServerLogTestCase):
    redis: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.redis = start_redis()
        cls.addClassCleanup(cls.redis.stop)

    def setUp(self) -> None:
        super().setUp()
        self.write("suite.py", SUITE)

    def environment(self, **variables: str) -> dict[str, str]:
        return super().environment(**{"REDIS": self.redis.url(1), **variables})

    def start(self, way: str = "fork", *, stop: int = 2) -> tuple[subprocess.Popen[str], list[int]]:
        """A run of two workers, of which so many stop, in their first test. Returns it, and their pids."""
        run = interpreters.Program(
            [sys.executable, "suite.py", way, "2"],
            cwd=self.directory,
            env=self.environment(STOP="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(self.end, run)
        assert run.stdout is not None
        return run, [int(run.stdout.readline()) for _ in range(stop)]

    def end(self, run: subprocess.Popen[str]) -> None:
        processes = [process for process in psutil.process_iter(["pid"]) if _session(process.pid) == run.pid]
        for process in processes:
            process.kill()
        run.communicate(timeout=30)
        psutil.wait_procs(processes, timeout=10)

    def keys(self) -> set[str]:
        with redis.Redis.from_url(self.redis.url(0)) as client:
            return set(client.info("keyspace"))

    def assertNothingIsLeftAfterTheNextRun(self, *command: str) -> None:
        """Once those that note the death of the killed ones have ended: until then it is left to them."""
        await_watchdogs(Path(self.state))
        outcome = self.python(*command)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        self.assertEqual((self.databases(), self.tables(), self.keys()), ([], [], set()))
        self.assertEqual(self.files(), [])

    def test_a_worker(self) -> None:
        run, pids = self.start()
        os.kill(pids[0], signal.SIGKILL)
        _await_end(pids[0])
        self.assertEqual(len(self.databases()), 3)
        other = self.python("suite.py", "fork", "2")  # while the second worker lives
        self.assertEqual(other.code, 0, other.err)
        left = self.databases()
        self.assertEqual(len(left), 2, "the template and the one that lives")
        self.assertTrue(any(name.endswith(f"_{pids[1]}") for name in left), left)
        os.kill(pids[1], signal.SIGINT)
        run.communicate(timeout=30)
        self.assertEqual(self.databases(), [], "the last worker dropped the template")
        self.assertNothingIsLeftAfterTheNextRun("-m", "unittest", "suite")

    def test_a_copy_that_somebody_made_of_what_was_left(self) -> None:
        run, (pid, _) = self.start()
        self.end(run)
        (left,) = [name for name in self.databases() if name.endswith(f"_{pid}")]
        self.rows(f'CREATE DATABASE "{left}_copy" TEMPLATE "{left}"')
        try:
            self.assertEqual(self.python("suite.py", "fork", "2").code, 0)
            self.assertEqual(self.databases(), [f"{left}_copy"])
        finally:
            self.server.drop_database(f"{left}_copy")

    def test_one_whose_locks_were_lost_with_their_session(self) -> None:
        run, pids = self.start()
        self.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = 'postgres' AND application_name = 'protean_testing'"
        )
        self.assertEqual(self.python("suite.py", "fork", "2").code, 0)
        left = {name.rpartition("_")[2] for name in self.databases()}
        self.assertGreaterEqual(left, set(map(str, pids)), "they live, and their sessions are there")
        self.end(run)
        self.assertNothingIsLeftAfterTheNextRun("suite.py", "fork", "2")

    def test_the_parent(self) -> None:
        for way, number in (("fork", signal.SIGKILL), ("spawn", signal.SIGTERM)):
            with self.subTest(way, signal=number):
                run, pids = self.start(way)
                run.send_signal(number)
                run.wait(timeout=30)
                self.end(run)
                for pid in pids:
                    _await_end(pid)
                self.assertNothingIsLeftAfterTheNextRun("suite.py", "fork", "2")

    def test_all_of_them_and_then_a_run_without_workers(self) -> None:
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                run, pids = self.start()
                os.killpg(run.pid, number)
                run.communicate(timeout=30)
                for pid in pids:
                    _await_end(pid)
                if number == signal.SIGINT:
                    self.assertEqual(self.databases(), [], "they ended their runs")
                self.assertNothingIsLeftAfterTheNextRun("-m", "unittest", "suite")

    def test_one_that_builds_the_template(self) -> None:
        source = SUITE.replace("SQLAlchemyStore(Base.metadata)", "SQLAlchemyStore(schema=slow)").replace(
            "def stores():",
            "def slow(engine):\n"
            '    with open(os.environ["LOG"] + ".building", "a") as log: print(os.getpid(), file=log)\n'
            '    if os.environ.get("STOP") and os.path.getsize(log.name) < 12:\n'
            "        os.write(1, b'%d\\n' % os.getpid())\n        time.sleep(60)\n"
            "    Base.metadata.create_all(engine)\n\ndef stores():",
        )
        self.write("suite.py", source)
        run, (builder,) = self.start(stop=1)
        os.kill(builder, signal.SIGKILL)
        log = Path(f"{self.environment()['LOG']}.building")
        for _ in range(600):
            if len(log.read_text().split()) == 2:
                break
            time.sleep(0.05)
        self.assertEqual(len(set(log.read_text().split())), 2, "the other one builds it")
        self.end(run)
        self.assertNothingIsLeftAfterTheNextRun("suite.py", "fork", "2")


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _await_end(pid: int) -> None:
    """Until the process is gone, or waits only for its parent to look."""
    for _ in range(600):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} does not end")
