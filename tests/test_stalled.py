"""A server that stops answering: the store is named in time, Ctrl-C is answered, and the run ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from threading import Lock
from urllib.parse import urlsplit

import psycopg

from protean_testing.servers.postgresql import start_postgresql
from protean_testing.servers.redis import start_redis
from protean_testing.stores.message_db.install import install

from .mariadb_server import MariaDB
from .message_db import bring
from .processes import of_run
from .stalling import Proxy, resume
from .suite import MODELS, SuiteTestCase

SUITE = """
import signal, time
from sqlalchemy import event
from protean_testing import RedisStore
from protean_testing.stores.message_db.store import MessageDBStore
from tests.stalling import stop

STAGE, URL, PID = os.environ["STAGE"], os.environ["URL"], int(os.environ["PID"])
began = 0.0

def stall():
    global began
    began = time.monotonic()
    stop(PID)
    if "CTRL_C" in os.environ:
        signal.signal(signal.SIGALRM, interrupt)
        signal.alarm(2)

def interrupt(*_):
    global began
    began = time.monotonic()
    raise KeyboardInterrupt

def took(what):
    print(f"{what} after {time.monotonic() - began:.1f}", file=sys.stderr, flush=True)

match os.environ["STORE"]:
    case "redis": store = RedisStore(URL, name="shop")
    case "message_db": store = MessageDBStore(URL, name="shop")
    case _:
        store = SQLAlchemyStore(Base.metadata, url=URL, name="shop")
        if STAGE == "create":
            event.listen(Order.__table__, "before_create", lambda *_, **__: stall())

class Tests(DatabaseTestCase):
    stores = [store]

class OneTests(Tests):
    def test_1(self):
        if STAGE == "reset":
            stall()

    def test_2(self):
        print("test_2 ran", file=sys.stderr)

class TwoTests(Tests):
    @classmethod
    def setUpClass(cls):
        if STAGE == "save":
            stall()
        super().setUpClass()

    def test_3(self):
        print("test_3 ran", file=sys.stderr)

def setUpModule():
    if STAGE == "check":
        stall()

def tearDownModule():
    if STAGE == "drop":
        stall()

class Result(unittest.TextTestResult):
    def addError(self, test, error):
        took("error")
        super().addError(test, error)

if __name__ == "__main__":
    try:
        unittest.main(testRunner=unittest.TextTestRunner(resultclass=Result))
    except KeyboardInterrupt:
        took("interrupted")
        raise
    finally:
        took("end")
"""


class Server:
    """A server of a test's own, with as many databases as are asked for.

    Attributes:
        target: Where it is, for a proxy.
        pid: Its process.
    """

    def __init__(self, test: unittest.TestCase, kind: str) -> None:
        self.kind = kind
        self._count = count(1)
        self._lock = Lock()  # installing Message DB creates a role of the whole server
        match kind:
            case "redis":
                self._redis = start_redis(tcp=True)
                test.addCleanup(self._redis.stop)
                url = urlsplit(self._redis.url())
                found = [p for p in of_run(os.getpid()) if p.name().startswith(("redis", "valkey"))]
                self.pid = max(found, key=lambda process: process.create_time()).pid
            case "mysql":
                self._mysql = MariaDB()
                test.addCleanup(self._mysql.stop)
                self.pid = self._mysql.process.pid
                with self._mysql.connect("mysql") as connection, connection.cursor() as cursor:
                    cursor.execute("CREATE USER ann IDENTIFIED BY 'hunter2'")
                    cursor.execute("GRANT ALL ON *.* TO ann")
            case _:
                self._postgresql = start_postgresql(tcp=True)
                test.addCleanup(self._postgresql.stop)
                url = urlsplit(self._postgresql.url())
                lock = self._postgresql._process.files / "data" / "postmaster.pid"
                self.pid = int(lock.read_text().split()[0])
        self.target = str(self._mysql.socket) if kind == "mysql" else f"127.0.0.1:{url.port}"
        self._password = "hunter2" if kind == "mysql" else url.password
        test.addCleanup(resume, self.pid)

    def url(self, port: int) -> str:
        """Of a new database, at a proxy's port."""
        number = next(self._count)
        name = f"shop_{number}_test"
        match self.kind:
            case "redis":
                return f"redis://:{self._password}@127.0.0.1:{port}/{number}"
            case "mysql":
                self._mysql.create(name)
                return f"mysql+pymysql://ann:{self._password}@127.0.0.1:{port}/{name}"
        url = self._postgresql.create_database(name).replace("+psycopg", "")
        if self.kind == "message_db":
            with self._lock, psycopg.connect(url, autocommit=True) as connection:
                install(connection)
        return f"postgresql://postgres:{self._password}@127.0.0.1:{port}/{name}"


@dataclass(frozen=True)
class Stall:
    """One run of the suite.

    Attributes:
        stage: When its server stops answering.
        stopped: By SIGSTOP; else a proxy before it forwards nothing any more.
        interrupted: By Ctrl-C, two seconds later.
    """

    stage: str
    stopped: bool = False
    interrupted: bool = False


class StalledTests(SuiteTestCase):
    """The bounds are generous: it is to be seen that the waits end, and which of them."""

    def test_postgresql(self) -> None:
        self.check_all("postgresql", "create")

    def test_message_db(self) -> None:
        bring()
        self.check_all("message_db")

    def test_mariadb(self) -> None:
        self.check_all("mysql", "create")

    def test_redis(self) -> None:
        self.check_all("redis")

    def check_all(self, kind: str, *more: str) -> None:
        """Run the suite with a proxy that stalls at each stage, all at once; then stop the server itself."""
        models = MODELS.replace("customer: Mapped[str]", "customer: Mapped[str] = mapped_column(String(9))")
        self.write("suite_stalled.py", SUITE, before="from sqlalchemy import String\n" + models)
        server = Server(self, kind)
        stalls = [Stall(stage) for stage in ("check", "save", "reset", "drop", *more)]
        stalls += [Stall(stage, interrupted=True) for stage in ("save", "reset", *more)]
        with ThreadPoolExecutor(len(stalls)) as pool:
            runs = [(stall, pool.submit(self.run_suite, server, stall)) for stall in stalls]
        for stall, run in runs:
            with self.subTest(stall=stall):
                self.check(stall, run.result())
        last = Stall("reset", stopped=True)
        with self.subTest(stall=last):
            self.check(last, self.run_suite(server, last))

    def run_suite(self, server: Server, stall: Stall) -> str:
        proxy = Proxy(self, server.target)
        more = {"CTRL_C": "1"} if stall.interrupted else {}
        done = subprocess.run(
            [sys.executable, "suite_stalled.py"],
            cwd=self.directory,
            env=self.environment(
                STORE=server.kind,
                STAGE=stall.stage,
                URL=server.url(proxy.port),
                PID=str(server.pid if stall.stopped else proxy.pid),
                PROTEAN_TESTING_STATE=str(self.directory / f"state_{proxy.port}"),
                **more,
            ),
            capture_output=True,
            text=True,
            timeout=150,
        )
        said = f"{stall}\n{done.stdout}{done.stderr}"
        self.assertNotEqual(done.returncode, 0, said)
        return said

    def check(self, stall: Stall, said: str) -> None:
        after = {
            what: float(seconds)
            for what, seconds in re.findall(r"(error|interrupted|end) after ([\d.]+)", said)
        }
        if stall.interrupted:
            self.assertLess(after["interrupted"], 5, said)
            self.assertLess(after["end"], 10, said)
            return
        self.assertRegex(said, r"Error: .*store 'shop'")
        self.assertNotIn("hunter2", said)
        self.assertLess(after["end"], 30, said)
        if stall.stage != "drop":
            first = float(re.findall(r"error after ([\d.]+)", said)[0])
            self.assertLess(first, 22, said)
            self.assertNotIn("test_3 ran", said)  # not on data that nobody has restored
        if stall.stage in ("check", "create", "reset"):
            self.assertNotIn("test_2 ran", said)
