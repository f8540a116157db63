"""The Redis servers that tests run on: the wheel's Valkey, and the system's Redis where it is installed."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import redis

from protean_testing.servers import binaries
from protean_testing.servers.redis import PrivateRedis, start_redis

from .oracle_redis import Dump, World


class RedisTestCase(unittest.TestCase):
    """Has a server for the class, and an empty database 1 of it for each test."""

    binary: ClassVar[Path | None] = None
    server: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        if cls.binary is not None and not cls.binary.exists():
            if os.environ.get("CI"):
                raise AssertionError(f"{cls.binary} is not installed: apt-get install redis-server")
            raise unittest.SkipTest(f"{cls.binary} is not installed")
        cls.server = start_redis(binary=cls.binary)
        cls.addClassCleanup(cls.server.stop)

    def setUp(self) -> None:
        super().setUp()
        self.url = self.server.url(1)
        self.theirs = self.client(self.url)
        self.theirs.flushall()
        self.world = World(self.server, db=1)
        self.addCleanup(self.world.close)
        state = self.enterContext(tempfile.TemporaryDirectory(prefix="state_"))
        self.enterContext(mock.patch.dict(os.environ, PROTEAN_TESTING_STATE=state))
        self.state = Path(state)

    def client(self, url: str, **arguments: Any) -> redis.Redis:
        """A client of the code under test."""
        client = redis.Redis.from_url(url, protocol=2, **arguments)
        self.addCleanup(client.close)
        return client

    def dumped(self) -> Dump:
        """All that the database holds."""
        return self.world.dump()


class OwnServer:
    """A server that a test may stop and start again in the same place, with settings of its own."""

    def __init__(self, test: unittest.TestCase, *settings: str, program: Path | None = None) -> None:
        self.program = program
        self.directory = Path(test.enterContext(tempfile.TemporaryDirectory(prefix="r_", dir="/tmp")))
        self.socket = self.directory / "s"
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        test.addCleanup(self.kill)
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def start(self) -> None:
        fixed = [
            *([] if "--port" in self.settings else ["--port", "0"]),
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--dir",
            str(self.directory),
        ]
        program = self.program or binaries.redis().program
        self.process = subprocess.Popen(
            [program, *fixed, *self.settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            try:
                redis.Redis.from_url(self.url, retry=None).ping()
                return
            except redis.exceptions.BusyLoadingError:
                pass
            except redis.ConnectionError:
                pass
            except redis.ResponseError:
                return  # it wants a password
            time.sleep(0.02)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
