"""Private servers end with their run, however that ends, and leave nothing behind."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from protean_testing.servers.directories import roots

from .processes import of_run

ROOT = Path(__file__).resolve().parent.parent
WITHIN = 5.0  # seconds
CHOOSING = ("PROTEAN_TESTING_POSTGRESQL", "PROTEAN_TESTING_REDIS")

PRELUDE = """
import json, os, signal, sys, threading, time
from pathlib import Path
import psutil, psycopg, redis
from protean_testing.errors import ConfigurationError
from protean_testing.servers import binaries
from protean_testing.servers.postgresql import private_postgresql, start_postgresql
from protean_testing.servers.redis import private_redis, start_redis
from tests.processes import watchdogs, of_run

def tell(*servers, **more):
    '''Say what these servers are made of: processes, directories, shared memory.'''
    processes, shared = [], set()
    for process in of_run(os.getpid()):
        try:
            processes.append((process.pid, process.create_time(), process.cmdline()))
            shared |= {m.path for m in process.memory_maps() if "PostgreSQL." in m.path}
        except psutil.NoSuchProcess:
            pass  # a worker of a server
    print(json.dumps({
        "urls": [server.url() for server in servers],
        "processes": processes,
        "directories": sorted({str(p) for s in servers for p in (s._process.files, s._process.sockets)}),
        "shared": sorted(shared),
        **more,
    }), flush=True)

def query(server):
    with psycopg.connect(server.url().replace("+psycopg", "")) as connection:
        return connection.execute("SELECT 42").fetchone()[0]
"""


def new_directory() -> tempfile.TemporaryDirectory[str]:
    """In memory, where there is room for it: templates have a thousand files."""
    return tempfile.TemporaryDirectory(prefix="servers_", dir=roots()[0])


def alive(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class RunsTestCase(unittest.TestCase):
    """Starts runs as processes that keep what they write down in a cache directory of their own."""

    cache: Path

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.cache = Path(cls.enterClassContext(new_directory()))

    def environment(self, **variables: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in CHOOSING}
        return {**inherited, "XDG_CACHE_HOME": str(self.cache), "PYTHONPATH": str(ROOT), **variables}

    def start(self, script: str, **variables: str) -> subprocess.Popen[str]:
        return self.start_process([sys.executable, "-c", PRELUDE + textwrap.dedent(script)], **variables)

    def start_process(self, argv: list[str], **variables: str) -> subprocess.Popen[str]:
        run = subprocess.Popen(
            argv,
            env=self.environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(self.end, run)
        return run

    def end(self, run: subprocess.Popen[str]) -> None:
        run.kill()
        run.communicate(timeout=30)

    def told(self, run: subprocess.Popen[str]) -> dict[str, Any]:
        """What the run said by `tell`."""
        assert run.stdout is not None and run.stderr is not None
        line = run.stdout.readline()
        if not line:
            self.fail(run.stderr.read())
        return dict(json.loads(line))

    def run_to_end(self, script: str, **variables: str) -> list[dict[str, Any]]:
        """Run a script, and return what it told."""
        run = self.start(script, **variables)
        out, err = run.communicate(timeout=120)
        self.assertEqual(run.returncode, 0, err)
        return [dict(json.loads(line)) for line in out.splitlines()]

    def entries(self) -> list[str]:
        directory = self.cache / "protean_testing" / "servers"
        return sorted(os.listdir(directory)) if directory.exists() else []

    def left(self, told: dict[str, Any]) -> list[str]:
        """What is there of a run's servers now."""
        left = [str(argv) for pid, created, argv in told["processes"] if alive(pid, created)]
        left += [path for path in [*told["directories"], *told["shared"]] if os.path.exists(path)]
        for process in psutil.process_iter(["cmdline"]):
            argv = " ".join(process.info["cmdline"] or ())
            left += [argv for directory in told["directories"] if directory in argv]
        began = {pid: created for pid, created, _ in told["processes"]}
        for segment in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
            words = [int(word) for word in segment.split()]
            creator, created = words[4], words[13]
            if created + 1 >= began.get(creator, math.inf):  # else of an earlier process with that number
                left.append(segment)
        return left

    def assertGone(self, told: dict[str, Any], *, within: float = WITHIN, entries: bool = True) -> None:
        """Nothing is left of a run's servers, within some seconds."""
        until = time.monotonic() + within
        while left := self.left(told) + (self.entries() if entries else []):
            if time.monotonic() > until:
                self.fail(f"left after {within} s: {left}")
            time.sleep(0.02)

    @contextmanager
    def servers(self, rest: str = "time.sleep(60)") -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
        """A run with both servers, which answer; then it does the `rest`."""
        start = "servers = start_postgresql(), start_redis()\ntell(*servers)\nsys.stdin.readline()\n"
        run = self.start(start + textwrap.dedent(rest))
        told = self.told(run)
        self.assertEqual(len([p for p in told["processes"] if "watchdog.py" in " ".join(p[2])]), 2)
        self.assertGreater(len(told["processes"]), 4)
        self.assertTrue(told["shared"])
        self.assertEqual(len(self.entries()), 2)
        with psycopg.connect(told["urls"][0].replace("+psycopg", "")) as connection:
            connection.execute("SELECT 1")
        with redis.Redis.from_url(told["urls"][1]) as client:
            client.ping()
        self.go_on(run)
        yield run, told

    def go_on(self, run: subprocess.Popen[str]) -> None:
        """Give the run the line that it waits for."""
        assert run.stdin is not None
        run.stdin.write("\n")
        run.stdin.flush()


def watchdogs(told: dict[str, Any]) -> list[int]:
    return [pid for pid, _, argv in told["processes"] if any("watchdog.py" in word for word in argv)]


class EndTests(RunsTestCase):
    def test_normal_exit(self) -> None:
        with self.servers("pass") as (run, told):
            self.assertEqual(run.wait(30), 0)
            self.assertGone(told)
            assert run.stderr is not None
            self.assertEqual(run.stderr.read(), "")

    def test_normal_exit_says_nothing_even_in_development_mode(self) -> None:
        run = self.start("tell(start_postgresql())", PYTHONDEVMODE="1")
        told = self.told(run)
        _, err = run.communicate(timeout=30)
        self.assertEqual((run.returncode, err), (0, ""))
        self.assertGone(told)

    def test_system_exit_and_an_error(self) -> None:
        for rest, code in (("sys.exit(3)", 3), ("raise OSError('lost')", 1), ("os._exit(4)", 4)):
            with self.subTest(rest), self.servers(rest) as (run, told):
                self.assertEqual(run.wait(30), code)
                self.assertGone(told)

    def test_code_that_waits_for_all_its_children(self) -> None:
        rest = """
            if not os.fork(): os._exit(0)
            waited = 0
            try:
                while os.wait(): waited += 1
            except ChildProcessError:
                tell(waited=waited)
        """
        with self.servers(rest) as (run, told):
            self.assertEqual(self.told(run)["waited"], 1)
            self.assertEqual(run.wait(30), 0)
            self.assertGone(told)

    def test_stopped_by_hand(self) -> None:
        with self.servers("for s in servers: s.stop(); s.stop()\ntell()\ntime.sleep(60)") as (run, told):
            self.assertEqual(self.told(run)["processes"], [])
            self.assertGone(told, within=0)
            self.assertIsNone(run.poll())

    def test_killed(self) -> None:
        for signum in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signum), self.servers() as (run, told):
                run.send_signal(signum)
                self.assertEqual(run.wait(30), -signum)
                self.assertGone(told)

    def test_killed_with_its_process_group(self) -> None:
        for signum in (signal.SIGKILL, signal.SIGINT):
            with self.subTest(signum), self.servers() as (run, told):
                os.killpg(run.pid, signum)
                self.assertEqual(run.wait(30), -signum)
                self.assertGone(told)

    def test_interrupted_and_going_on(self) -> None:
        rest = """
            try:
                tell()
                time.sleep(60)
            except KeyboardInterrupt: tell(*servers, answer=query(servers[0]))
            time.sleep(60)
        """
        with self.servers(rest) as (run, told):
            self.told(run)
            os.killpg(run.pid, signal.SIGINT)
            self.assertEqual(self.told(run)["answer"], 42)
            run.kill()
            run.wait(30)
            self.assertGone(told)

    def test_stopped_by_hand_while_a_forked_child_lives(self) -> None:
        rest = """
            child = os.fork()
            if not child: time.sleep(60); os._exit(0)
            began = time.monotonic()
            for server in servers: server.stop()
            tell(child=child, seconds=time.monotonic() - began)
        """
        with self.servers(rest) as (run, told):
            stopped = self.told(run)
            os.kill(stopped["child"], signal.SIGKILL)
            self.assertLess(stopped["seconds"], 2)
            self.assertGone(told, within=0)

    def test_guard_killed(self) -> None:
        with self.servers("sys.stdin.readline()") as (run, told):
            for watchdog in watchdogs(told):
                os.kill(watchdog, signal.SIGKILL)
            deadline = time.monotonic() + WITHIN
            servers = [p for p in told["processes"] if p[0] not in watchdogs(told)]
            while any(alive(pid, created) for pid, created, _ in servers):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            self.go_on(run)
            self.assertEqual(run.wait(30), 0)
            self.assertGone(told, within=0)

    def test_guard_killed_then_stopped_by_hand(self) -> None:
        script = """
            servers = start_postgresql(), start_redis()
            tell(*servers)
            for process in watchdogs(os.getpid()): process.kill()
            for server in servers: server.stop()
            tell()
            time.sleep(60)
        """
        run = self.start(script)
        told = self.told(run)
        self.assertEqual(self.told(run)["processes"], [])
        self.assertGone(told, within=0)

    def test_guard_terminated(self) -> None:
        with self.servers() as (_, told):
            for watchdog in watchdogs(told):
                os.kill(watchdog, signal.SIGTERM)
            self.assertGone(told)

    def test_run_and_guard_killed_together(self) -> None:
        with self.servers() as (run, told):
            for pid in (*watchdogs(told), run.pid):
                os.kill(pid, signal.SIGKILL)
            run.wait(30)
            directories, told["directories"] = told["directories"], []
            shared, told["shared"] = told["shared"], []
            self.assertGone(told, entries=False)  # the processes are
            self.run_to_end("start_redis()")  # and the next run removes the rest
            self.assertGone({**told, "directories": directories, "shared": shared})

    def test_forked_child_outlives_the_run(self) -> None:
        for end in ("os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"):
            rest = f"""
                child = os.fork()
                if not child: time.sleep(60); os._exit(0)
                tell(*servers, child=child)
                {end}
            """
            with self.subTest(end), self.servers(rest) as (run, told):
                child = self.told(run)["child"]
                try:
                    run.wait(30)
                    self.assertGone(told)
                    self.assertTrue(psutil.pid_exists(child))
                finally:
                    os.kill(child, signal.SIGKILL)

    def test_forked_child_ends_first(self) -> None:
        stop = "[s.stop() for s in servers]; sys.exit()"
        for end in ("os._exit(0)", "sys.exit()", stop, "os.kill(os.getpid(), 9)"):
            rest = f"""
                child = os.fork()
                if not child: {end}
                os.waitpid(child, 0)
                time.sleep(0.3)
                tell(*servers, answer=query(servers[0]))
            """
            with self.subTest(end), self.servers(rest) as (run, told):
                self.assertEqual(self.told(run)["answer"], 42)
                run.wait(30)
                self.assertGone(told)

    def test_server_at_work(self) -> None:
        """A backend in the midst of a statement, and a client that never lets go."""
        rest = """
            busy = psycopg.connect(servers[0].url().replace("+psycopg", ""))
            threading.Thread(target=busy.execute, args=("SELECT pg_sleep(60)",), daemon=True).start()
            time.sleep(0.2)
            tell(*servers)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        with self.servers(rest) as (run, _):
            told = self.told(run)
            run.wait(30)
            self.assertGone(told)

    def test_killed_while_it_starts(self) -> None:
        self.run_to_end("start_postgresql()")
        for delay in (0.3, 0.35, 0.4, 0.45, 0.5):
            with self.subTest(delay):
                run = self.start("start_postgresql(); start_redis(); time.sleep(60)")
                self.kill_after(run, delay)

    def test_killed_while_the_template_is_made(self) -> None:
        with new_directory() as cache:
            self.cache = Path(cache)
            for delay in (0.35, 0.5, 0.65, 0.8):
                with self.subTest(delay):
                    self.kill_after(self.start("start_postgresql(); time.sleep(60)"), delay)
            self.assertEqual(self.run_to_end("tell(answer=query(start_postgresql()))")[0]["answer"], 42)
            names = os.listdir(self.cache / "protean_testing" / "templates")
            self.assertEqual(sorted(Path(name).suffix for name in names), ["", ".lock"])

    def kill_after(self, run: subprocess.Popen[str], delay: float) -> None:
        time.sleep(delay)
        processes = []
        for process in of_run(run.pid):
            try:
                processes.append((process.pid, process.create_time(), process.cmdline()))
            except psutil.NoSuchProcess:
                pass
        owned: list[str] = []
        for entry in self.entries():
            with suppress(FileNotFoundError):  # that of an initdb which has just ended
                lines = (self.cache / "protean_testing" / "servers" / entry).read_text().splitlines()
                owned += [path for line in lines for path in json.loads(line).get("directories", ())]
        run.kill()
        run.wait(30)
        self.assertGone({"processes": processes, "directories": owned, "shared": []})

    def test_two_runs_at_once(self) -> None:
        """With no template yet: one run makes it, both use it, neither touches what the other has."""
        with new_directory() as cache:
            self.cache = Path(cache)
            script = "s = start_postgresql(); tell(s, answer=query(s)); time.sleep(60)"
            runs = [self.start(script), self.start(script)]
            first, second = (self.told(run) for run in runs)
            self.assertEqual((first["answer"], second["answer"]), (42, 42))
            self.assertFalse(set(first["directories"]) & set(second["directories"]))
            runs[0].kill()
            runs[0].wait(30)
            self.assertGone(first, entries=False)
            with psycopg.connect(second["urls"][0].replace("+psycopg", "")) as connection:
                connection.execute("SELECT 1")
            runs[1].kill()
            runs[1].wait(30)
            self.assertGone(second)

    def test_directory_of_the_run(self) -> None:
        script = """
            from protean_testing.servers.directories import run_directory
            path = run_directory()
            (path / "x.db").touch()
            tell(path=str(path), same=path == run_directory(), mode=path.stat().st_mode & 0o777)
            time.sleep(float(os.environ["REST"]))
        """
        for rest in ("0", "60"):
            with self.subTest(rest):
                run = self.start(script, REST=rest)
                told = self.told(run)
                self.assertEqual((told["same"], told["mode"]), (True, 0o700))
                if rest == "60":
                    self.assertTrue(os.path.exists(told["path"]))
                    run.kill()
                run.wait(30)
                self.assertGone({**told, "directories": [told["path"]]})


if __name__ == "__main__":
    unittest.main()
