"""Every store that is shipped, and one that a user writes in 20 lines, keeps the law."""

from __future__ import annotations

import collections
import copy
import decimal
import io
import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

import redis.asyncio
from sqlalchemy import Column, Integer, MetaData, String, Table

from protean_testing import CallableStore, ConfigurationError, RedisStore, SQLAlchemyStore, Store
from protean_testing.conformance import StoreConformance
from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql
from protean_testing.servers.redis import PrivateRedis, start_redis

metadata = MetaData()
notes = Table("notes", metadata, Column("id", Integer, primary_key=True), Column("text", String))


class SQLConformance(StoreConformance):
    """A SQL store is written through the application's engine."""

    def write(self, store: SQLAlchemyStore, value: str) -> None:
        with store.engine.begin() as connection:
            connection.execute(notes.insert().values(text=value))

    def read(self, store: SQLAlchemyStore) -> object:
        with store.engine.begin() as connection:
            return connection.execute(notes.select()).all()


class SQLiteMemoryTests(SQLConformance, unittest.TestCase):
    def make_store(self) -> SQLAlchemyStore:
        return SQLAlchemyStore(metadata, url="sqlite:///file:/conformance?vfs=memdb&uri=true")

    def make_elsewhere(self) -> SQLAlchemyStore:
        return SQLAlchemyStore(metadata, url="sqlite:///file:/elsewhere?vfs=memdb&uri=true")


class SQLiteFileTests(SQLConformance, unittest.TestCase):
    def make_store(self) -> SQLAlchemyStore:
        directory = self.enterContext(tempfile.TemporaryDirectory())
        return SQLAlchemyStore(metadata, url=f"sqlite:///{directory}/conformance_test.db")


class PostgreSQLTests(SQLConformance, unittest.TestCase):
    server: PrivatePostgreSQL
    url: str
    elsewhere: str
    reset: Any = "fast"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_postgresql()
        cls.addClassCleanup(cls.server.stop)
        cls.url = cls.server.create_database("conformance_test")
        cls.elsewhere = cls.server.create_database("elsewhere_test")

    def make_store(self) -> SQLAlchemyStore:
        return SQLAlchemyStore(metadata, url=self.url, reset=self.reset)

    def make_elsewhere(self) -> SQLAlchemyStore:
        return SQLAlchemyStore(metadata, url=self.elsewhere, reset=self.reset)


class GenericPostgreSQLTests(PostgreSQLTests):
    reset = "generic"


class RedisTests(StoreConformance, unittest.TestCase):
    server: PrivateRedis
    prefix = ""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_redis()
        cls.addClassCleanup(cls.server.stop)

    def make_store(self) -> RedisStore:
        return RedisStore(self.server.url(4), prefix=self.prefix)

    def make_elsewhere(self) -> RedisStore:
        return RedisStore(self.server.url(5), prefix=self.prefix)

    def write(self, store: RedisStore, value: str) -> None:
        store.client.xadd(f"{self.prefix}notes", {"text": value})

    def read(self, store: RedisStore) -> object:
        return {key: store.client.xrange(key) for key in store.client.keys()}


class PrefixedRedisTests(RedisTests):
    prefix = "shop:"


class AsyncStore(Store):
    """A store of a user's own, on an async client: the lifecycle waits for it."""

    name = "counters"

    def __init__(self, url: str) -> None:
        self.url = url

    def identity(self) -> str:
        return self.url

    async def create_schema(self) -> None:
        self.client = redis.asyncio.Redis.from_url(self.url)
        await self.client.ping()

    async def save_data(self) -> dict[bytes, bytes]:  # type: ignore[override]
        return await self.client.hgetall("counters")

    async def reset_data(self, snapshot: dict[bytes, bytes]) -> bool:
        changed = bool(await self.client.hgetall("counters") != snapshot)
        await self.client.delete("counters")
        if snapshot:
            await self.client.hset("counters", mapping=snapshot)
        return changed

    async def close(self) -> None:
        await self.client.aclose()


class AsyncStoreTests(StoreConformance, unittest.TestCase):
    server: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_redis()
        cls.addClassCleanup(cls.server.stop)

    def make_store(self) -> AsyncStore:
        return AsyncStore(self.server.url(2))

    def write(self, store: AsyncStore, value: str) -> None:
        with redis.Redis.from_url(store.url) as client:
            client.hincrby("counters", value)

    def read(self, store: AsyncStore) -> object:
        with redis.Redis.from_url(store.url) as client:
            return client.hgetall("counters")


class DirectoryStore(Store):
    """A store of a user's own: the files of a directory."""

    name = "uploads"

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)

    def save_data(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}

    def reset_data(self, snapshot: dict[str, bytes]) -> bool:
        changed = self.save_data() != snapshot
        for path in self.directory.iterdir():
            path.unlink()
        for name, content in snapshot.items():
            (self.directory / name).write_bytes(content)
        return changed


class DirectoryStoreTests(StoreConformance, unittest.TestCase):
    def make_store(self) -> DirectoryStore:
        return DirectoryStore(self.enterContext(tempfile.TemporaryDirectory()))

    def write(self, store: DirectoryStore, value: str) -> None:
        (store.directory / value).write_text(value)

    def read(self, store: DirectoryStore) -> object:
        return store.save_data()


class DictTests(StoreConformance, unittest.TestCase):
    """A store in this process: what it holds is the object that the code under test holds, also later."""

    held: Any

    def setUp(self) -> None:
        self.held = self.new()
        super().setUp()

    def new(self) -> Any:
        return {"there": "before"}

    def make_store(self) -> CallableStore:
        return self.store_of(self.held)

    def make_elsewhere(self) -> CallableStore:
        return self.store_of(self.new())

    def store_of(self, held: Any) -> CallableStore:
        store = CallableStore(held, name="held")
        store.__dict__["held"] = held
        return store

    def write(self, store: Any, value: str) -> None:
        store.held[value] = value
        store.held.pop("there", None)

    def read(self, store: Any) -> object:
        return copy.copy(store.held)

    def test_values_are_the_same_objects(self) -> None:
        before = list(self.held)
        self.write(self.store, "one")
        self._reset(self.first)
        self.assertEqual([id(one) for one in self.held], [id(one) for one in before])


class SetTests(DictTests):
    def new(self) -> set[str]:
        return {"there"}

    def write(self, store: Any, value: str) -> None:
        store.held.add(value)
        store.held.discard("there")


class ListTests(DictTests):
    def new(self) -> list[str]:
        return ["there", "and there"]

    def write(self, store: Any, value: str) -> None:
        store.held[1:] = [value]


class DequeTests(ListTests):
    def new(self) -> Any:
        return collections.deque(["there", "and there"], maxlen=7)

    def write(self, store: Any, value: str) -> None:
        store.held.appendleft(value)

    def read(self, store: Any) -> object:
        return [*store.held, store.held.maxlen]


class SavedAndRestoredTests(DictTests):
    class Held:
        text = "there"

        def save(self) -> str:
            return json.dumps(self.text)

        def restore(self, saved: str) -> None:
            self.text = json.loads(saved)

    def new(self) -> Any:
        return self.Held()

    def store_of(self, held: Any) -> CallableStore:
        store = CallableStore(save=held.save, restore=held.restore, name="saved")
        store.__dict__["held"] = held
        return store

    def write(self, store: Any, value: str) -> None:
        store.held.text += value

    def read(self, store: Any) -> object:
        return store.held.text

    def test_values_are_the_same_objects(self) -> None:
        """What is restored is what the user's own functions make."""


class ClearedTests(DictTests):
    """Only cleared, by a method: no scope inside a scope."""

    def new(self) -> dict[str, str]:
        return {}

    def store_of(self, held: Any) -> CallableStore:
        store = CallableStore(held.clear)
        store.__dict__["held"] = held
        return store


class CallableStoreTests(unittest.TestCase):
    def test_it_takes_clear_or_both_of_save_and_restore(self) -> None:
        for arguments in ({}, {"save": dict}, {"restore": print}, {"clear": print, "save": dict}):
            with self.subTest(arguments), self.assertRaisesRegex(ConfigurationError, "takes clear, or both"):
                CallableStore(**arguments)

    def test_it_is_named_after_what_it_is_given(self) -> None:
        class SessionCache(dict[str, str]):
            pass

        self.assertEqual(CallableStore(SessionCache()).name, "SessionCache")
        self.assertEqual(CallableStore(decimal.getcontext().clear_flags).name, "Context.clear_flags")
        self.assertEqual(CallableStore(print).name, "print")
        self.assertEqual(CallableStore(print, name="mine").name, "mine")


class BrokenStoresAreFoundTests(unittest.TestCase):
    """The conformance tests fail for stores that do not keep the law."""

    def failing(self, where: str = "", **broken: Any) -> set[str]:
        store = type("BrokenStore", (DirectoryStore,), broken)

        class Tests(DirectoryStoreTests):
            def make_store(self) -> DirectoryStore:
                made: DirectoryStore = store(where or self.enterContext(tempfile.TemporaryDirectory()))
                return made

        suite = unittest.defaultTestLoader.loadTestsFromTestCase(Tests)
        result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
        return {case.id().rpartition(".")[2] for case, _ in [*result.failures, *result.errors]}

    def test_one_that_resets_nothing(self) -> None:
        self.assertIn(
            "test_the_data_of_a_snapshot_comes_back", self.failing(reset_data=lambda self, snapshot: False)
        )

    def test_one_that_only_clears_and_says_it_saves(self) -> None:
        def reset_data(self: DirectoryStore, snapshot: Any) -> bool:
            changed = self.save_data() != {}
            for path in self.directory.iterdir():
                path.unlink()
            return changed

        self.assertEqual(
            self.failing(reset_data=reset_data),
            {
                "test_an_inner_snapshot_keeps_what_the_outer_scope_wrote",
                "test_inner_scopes_one_after_another",
            },
        )

    def test_one_that_always_tells_of_a_write(self) -> None:
        def reset_data(self: DirectoryStore, snapshot: Any) -> bool:
            DirectoryStore.reset_data(self, snapshot)
            return True

        self.assertEqual(
            self.failing(reset_data=reset_data), {"test_a_reset_with_nothing_written_changes_nothing"}
        )

    def test_one_that_says_it_is_where_all_others_are(self) -> None:
        self.assertEqual(
            self.failing(identity=lambda self: "uploads"), {"test_its_location_is_that_of_its_data"}
        )

    def test_one_that_is_another_one_each_time(self) -> None:
        self.assertIn("test_its_name_and_identity_stay", self.failing(identity=lambda self: object()))

    def test_one_whose_identity_goes_by_what_is_there(self) -> None:
        failing = self.failing(identity=lambda self: (str(self.directory), len(self.save_data())))
        self.assertIn("test_its_name_and_identity_stay", failing)

    def test_one_whose_identity_cannot_be_hashed(self) -> None:
        self.assertIn(
            "test_its_name_and_identity_stay", self.failing(identity=lambda self: [str(self.directory)])
        )

    def test_one_that_does_not_know_its_own_place(self) -> None:
        where = self.enterContext(tempfile.TemporaryDirectory())
        self.assertEqual(self.failing(where), {"test_its_location_is_that_of_its_data"})
        right = self.failing(where, identity=lambda self: str(self.directory))
        self.assertEqual(right, set())

    def test_one_that_is_the_same_in_two_locations(self) -> None:
        failing = self.failing(identity=lambda self: "uploads", location=lambda self: str(self.directory))
        self.assertEqual(failing, {"test_its_location_is_that_of_its_data"})

    def test_one_whose_forgetting_resets(self) -> None:
        failing = self.failing(forget_data=lambda self, snapshot: self.reset_data(snapshot))
        self.assertIn("test_forgetting_leaves_the_data", failing)


if __name__ == "__main__":
    unittest.main()
