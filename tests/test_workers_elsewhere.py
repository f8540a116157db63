"""Workers on a given Redis, in a given SQLite file and on a given Message DB: each in a place of its own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import redis

from protean_testing.servers.redis import PrivateRedis, start_redis

from .suite import SuiteTestCase
from .worker_suite import SUITE


class ElsewhereTestCase(SuiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("suite.py", SUITE)
        self.state = self.directory / "state"

    def environment(self, **variables: str) -> dict[str, str]:
        return super().environment(**{"PROTEAN_TESTING_STATE": str(self.state), **variables})

    def records(self) -> list[str]:
        return sorted(path.name for path in self.state.iterdir()) if self.state.exists() else []


class RedisWorkerTests(ElsewhereTestCase):
    server: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_redis()
        cls.addClassCleanup(cls.server.stop)

    def client(self, db: int) -> redis.Redis:
        client = redis.Redis.from_url(self.server.url(db))
        self.addCleanup(client.close)
        return client

    def setUp(self) -> None:
        super().setUp()
        self.client(0).flushall()

    def assertNumbers(self, log: list[str], workers: int, *, without: set[int]) -> None:
        """Two that try one number at once may both pass it over."""
        numbers = {int(line.rpartition("db=")[2]) for line in log}
        self.assertEqual(len(numbers), workers)
        self.assertEqual(numbers & without, set())

    def test_each_has_a_number(self) -> None:
        self.client(3).set("theirs", "1")
        for way in ("fork", "spawn"):
            with self.subTest(way):
                outcome = self.python("suite.py", way, "4", REDIS=self.server.url(1))
                self.assertEqual(outcome.code, 0, outcome.err)
                self.assertNumbers(outcome.log, 4, without={0, 1, 3})
                self.assertEqual(self.client(3).get("theirs"), b"1")
                self.assertEqual(self.client(0).info("keyspace").keys(), {"db3"})
                self.assertEqual(self.records(), [])

    def test_a_server_that_has_ended_every_connection_leaves_no_record(self) -> None:
        ends = "def tearDown(self): self.db.stores[1].client.client_kill_filter(_type='normal', skipme=True)"
        self.write("suite.py", SUITE.replace("def test_1(self):", f"{ends}\n    def test_1(self):"))
        outcome = self.python(
            "-m", "unittest", "suite", REDIS=self.server.url(1), PROTEAN_TESTING_WORKER="w1"
        )
        self.assertEqual((outcome.code, self.records()), (0, []), outcome.err)

    def test_what_others_change_on_the_server_meanwhile_is_no_leak(self) -> None:
        library = "#!lua name=shop\nredis.register_function('f', function() end)"
        made = f"store.client.function_load({library!r}, replace=True)"
        self.write(
            "suite.py",
            SUITE.replace(
                "self.assertEqual(store.client.incr",
                f"{made}\n            self.assertEqual(store.client.incr",
            ),
        )
        for name, warnings in (("w1", 0), ("", 1)):
            outcome = self.python(
                "-m", "unittest", "suite", REDIS=self.server.url(1), PROTEAN_TESTING_WORKER=name
            )
            self.client(0).function_flush()
            self.assertEqual(outcome.code, 0, outcome.err)
            self.assertEqual(outcome.err.count("LeakWarning"), warnings, outcome.err)

    def test_a_number_that_others_are_in(self) -> None:
        other = self.client(1)
        other.ping()
        outcome = self.python("suite.py", "fork", "2", REDIS=self.server.url(0))
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertNumbers(outcome.log, 2, without={0, 1})

    def test_no_number_is_left(self) -> None:
        self.client(15).set("theirs", "1")
        outcome = self.python("suite.py", "fork", "2", REDIS=self.server.url(13), WAIT="3")
        self.assertFailed(
            outcome,
            "The server has 16 databases, and none of them is left: 14 by another worker, 15 by others",
            "Run fewer workers",
        )

    def test_adopted_keys_are_copied(self) -> None:
        self.client(1).set("orders", "0")
        self.client(1).set("theirs", "1", ex=1000)
        source = SUITE.replace(
            'RedisStore(os.environ["REDIS"])', 'RedisStore(os.environ["REDIS"], adopt=True)'
        )
        self.write("suite.py", source)
        outcome = self.python("suite.py", "fork", "2", REDIS=self.server.url(1))
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual(self.client(1).get("orders"), b"0")
        self.assertEqual(self.client(0).info("keyspace").keys(), {"db1"})


class SQLiteWorkerTests(ElsewhereTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.file = self.directory / "shop_test.db"
        self.variables = {"TEST_DB": "sqlite", "DATABASE_URL": f"sqlite:///{self.file}"}

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("*.db*"))

    def test_each_has_a_file_beside_it(self) -> None:
        outcome = self.python("suite.py", "fork", "4", **self.variables)
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual(len(set(outcome.log)), 4)
        for line in outcome.log:
            self.assertRegex(Path(line).name, r"^shop_test_protean_testing_[0-9a-f]{10}_w\d_\d+\.db$")
        self.assertEqual((self.files(), self.records()), ([], []))

    def test_an_empty_one(self) -> None:
        made = "def test_1(self):\n        Base.metadata.create_all(self.db.engine)"
        source = SUITE.replace("(Base.metadata)", "(empty=True)").replace("def test_1(self):", made)
        self.write("suite.py", source)
        outcome = self.python("suite.py", "fork", "3", **self.variables)
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual(len(set(outcome.log)), 3)
        self.assertEqual((self.files(), self.records()), ([], []))

    def test_an_adopted_file_is_copied(self) -> None:
        with sqlite3.connect(self.file) as connection:
            connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT)")
        connection.close()
        content = self.file.read_bytes()
        self.write("suite.py", SUITE.replace("SQLAlchemyStore(Base.metadata)", "SQLAlchemyStore(adopt=True)"))
        outcome = self.python("suite.py", "spawn", "2", **self.variables)
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual((self.files(), self.records()), (["shop_test.db"], []))
        self.assertEqual(self.file.read_bytes(), content)
