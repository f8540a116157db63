"""A run that is killed, wherever it is: after the next run nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg
import redis

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql
from protean_testing.servers.redis import PrivateRedis, start_redis

from . import interpreters
from .processes import of_run
from .suite import MODELS, SuiteTestCase

SUITE = """
import time
from protean_testing import RedisStore

class Pause(Store):
    '''Stops the run at one stage for ever: between the stores before and behind it.'''
    name = "pause"
    def at(self, stage):
        if os.environ.get("STAGE") == stage:
            del os.environ["STAGE"]             # once only: the end of the run resets as well
            print(stage, flush=True)
            time.sleep(120)
    def create_schema(self): self.at("create")
    def reset_data(self, snapshot): self.at("reset")
    def drop_schema(self): self.at("drop")

class ShopTests(DatabaseTestCase):
    stores = [
        SQLAlchemyStore(Base.metadata, url=os.environ["POSTGRESQL"], name="given"),
        SQLAlchemyStore(Base.metadata, url="sqlite:///" + os.environ["FILE"], name="file"),
        SQLAlchemyStore(Base.metadata, name="private"),
        Pause(),
        RedisStore(os.environ["REDIS"]),
    ]
    def test_1(self):
        for name in ("given", "file", "private"):
            self.assertEqual(place(self.db.store(name).engine), 1)
        self.assertEqual(self.db.store("redis").client.incr("orders"), 1)
        self.db.stores[3].at("test")
    test_2 = test_1
"""


class KilledTests(SuiteTestCase):
    postgresql: PrivatePostgreSQL
    redis: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.postgresql, cls.redis = start_postgresql(), start_redis()
        cls.addClassCleanup(cls.postgresql.stop)
        cls.addClassCleanup(cls.redis.stop)
        cls.database = cls.postgresql.create_database("killed_test")

    def setUp(self) -> None:
        super().setUp()
        self.write("test_a.py", SUITE, before=MODELS)
        self.file = self.directory / "killed_test.db"
        self.state = self.directory / "state"
        self.temporary = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="k", dir="/tmp")))
        self.variables = {
            "POSTGRESQL": self.database,
            "FILE": str(self.file),
            "REDIS": self.redis.url(1),
            "TEST_DB": "postgresql",
            "PROTEAN_TESTING_STATE": str(self.state),
            "TMPDIR": str(self.temporary),
        }

    def test_nothing_is_left_after_the_next_run(self) -> None:
        for stage in ("create", "test", "reset", "drop"):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                with self.subTest(stage=stage, signal=number.name):
                    self.kill_at(stage, number)
                    self.assertPassed(self.unittest("test_a", **self.variables), 2)
                    self.assertEqual(self.left(), [])

    def test_what_a_live_run_owns_is_not_touched(self) -> None:
        process = self.start("test")
        try:
            outcome = self.unittest("test_a", **self.variables)
            self.assertFailed(outcome, "UnsafeStoreError", f"pid {process.pid}")
            self.assertEqual(outcome.ran, 0)
            with psycopg.connect(self.database.replace("+psycopg", "")) as connection:
                self.assertEqual(connection.execute("SELECT customer FROM orders").fetchall(), [("c",)])
        finally:
            process.kill()
            process.communicate()
        self.assertPassed(self.unittest("test_a", **self.variables), 2)
        self.assertEqual(self.left(), [])

    def start(self, stage: str) -> subprocess.Popen[str]:
        """A run that has stopped at `stage`."""
        process = interpreters.Program(
            [sys.executable, "-m", "unittest", "test_a"],
            cwd=self.directory,
            env=self.environment(STAGE=stage, **self.variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != f"{stage}\n":
            process.kill()
            self.fail(f"never came to {stage}: {line}{process.communicate()[1]}")
        return process

    def kill_at(self, stage: str, number: signal.Signals) -> None:
        process = self.start(stage)
        servers = of_run(process.pid)
        process.send_signal(number)
        process.communicate(timeout=30)
        self.assertNotEqual(process.returncode, 0)
        _, alive = psutil.wait_procs(servers, timeout=10)
        self.assertEqual(alive, [], "private servers end with their run")

    def left(self) -> list[str]:
        """Everything of ours that is still somewhere; private servers have some seconds to go."""
        until = time.monotonic() + 10
        left = ["not looked yet"]
        while left and time.monotonic() < until:
            try:
                left = self._left()
            except FileNotFoundError as error:  # it went while we looked
                left = [str(error)]
            time.sleep(0.1 if left else 0)
        return left

    def _left(self) -> list[str]:
        left = [
            str(path)
            for path in (self.file, *self.temporary.rglob("*"), *self.state.rglob("*"))
            if path.exists()
        ]
        with psycopg.connect(self.database.replace("+psycopg", "")) as connection:
            for kind, query in {
                "schema": "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information|public)'",
                "table": "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace",
                "role": "SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres)'",
                "event trigger": "SELECT evtname FROM pg_event_trigger",
            }.items():
                left += [f"{kind} {name}" for (name,) in connection.execute(query)]  # type: ignore[call-overload]
        with redis.Redis.from_url(self.redis.url(1)) as client:
            left += [f"key {key!r}" for key in client.keys()]
        return left
