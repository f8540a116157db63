"""What can be left in Redis, in memory, and in Message DB."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import count
from typing import Any

import psycopg

from protean_testing import AsyncDatabaseTestCase, CallableStore, DatabaseTestCase, RedisStore
from protean_testing.servers.postgresql import private_postgresql
from protean_testing.stores.message_db.store import MessageDBStore

from ..message_db import bring
from . import KEPT, Leaking, go_on, leaves, more_or_changed

bring()


class Keys(Leaking):
    @property
    def client(self) -> Any:
        return self.db.store("cache").client

    def held(self) -> Any:
        return sorted(self.db.store("cache").client.keys())


class RedisLeaks(Keys, DatabaseTestCase):
    stores = [RedisStore(name="cache", on_leak="fail", wait=0.3)]

    @leaves("'cache'", "MULTI, 2 queued, the last SET")
    def test_a_transaction(self) -> None:
        connection = self.client.connection_pool.get_connection()
        KEPT.append(connection)
        for command in (["MULTI"], ["SET", "a", "1"], ["SET", "b", "2"]):
            connection.send_command(*command)
            connection.read_response()

    @leaves("'cache'", "client ", ": 2 subscriptions")
    def test_a_subscription(self) -> None:
        KEPT.append(self.client.pubsub())
        KEPT[-1].subscribe("orders", "invoices")
        KEPT[-1].get_message(timeout=1)

    @leaves("'cache'", "client ", "waits in BLPOP")
    def test_a_client_that_waits(self) -> None:
        threading.Thread(target=self.client.blpop, args=("queue", 1), name="waiting").start()
        while not any("b" in one["flags"] for one in self.client.client_list()):
            time.sleep(0.01)

    @leaves("'cache'", "thread 'worker' running, which wrote", more_or_changed("key b'cart'"))
    def test_a_thread(self) -> None:
        numbers = count()
        go_on(lambda: self.client.set("cart", next(numbers)))


class AsyncRedisLeaks(Keys, AsyncDatabaseTestCase):
    stores = [RedisStore(name="cache", on_leak="fail", wait=0.3)]

    @leaves("tasks ", "test_tasks.<locals>.forever", "cache")
    async def test_tasks(self) -> None:
        async def forever(client: Any) -> None:
            while True:
                await client.incr("visits")
                await asyncio.sleep(0.01)

        for _ in range(2):
            KEPT.append(asyncio.create_task(forever(self.db.store("cache").async_client())))
        await asyncio.sleep(0.05)


class ParanoidRedisLeaks(Keys, DatabaseTestCase):
    stores = [RedisStore(name="cache", on_leak="fail", wait=0.3, verify=True)]

    @leaves("'cache'", "setting maxmemory-policy: changed")
    def test_a_setting(self) -> None:
        self.client.config_set("maxmemory-policy", "allkeys-lru")

    @leaves("'cache'", "library of functions b'mine': 1 more")
    def test_a_function(self) -> None:
        self.client.function_load("#!lua name=mine\nredis.register_function('mine', function() return 1 end)")


class MemoryLeaks(Leaking, DatabaseTestCase):
    cart: dict[str, Any] = {"items": ["tea"]}
    stores = [CallableStore(cart, name="cart", on_leak="fail", verify=True)]

    def held(self) -> Any:
        return sorted(self.cart)

    @leaves("'cart'", "key 'items': 1 more")
    def test_what_lies_deeper_than_a_copy(self) -> None:
        self.cart["items"].append("cups")

    @leaves("'cart'", "thread 'worker' running, which wrote", more_or_changed("key 'more'"))
    def test_a_thread(self) -> None:
        numbers = count()
        go_on(lambda: self.cart.update(more=next(numbers)))


class MessageDBLeaks(Leaking, DatabaseTestCase):
    url = private_postgresql().create_database("message_leaks_test").replace("+psycopg", "")
    stores = [MessageDBStore(url, name="events", private=True, on_leak="fail", wait=0.5)]

    def held(self) -> Any:
        with psycopg.connect(self.url) as connection:
            return connection.execute("SELECT * FROM message_store.messages").fetchall()

    def write(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self.url)
        connection.execute("SET search_path = message_store")
        connection.execute("SELECT write_message(gen_random_uuid()::varchar, 'order-1', 'Placed', '{}')")
        return connection

    def publish(self) -> None:
        with self.write():
            pass

    @leaves("'events'", "idle in transaction", "write_message")
    def test_a_transaction(self) -> None:
        KEPT.append(self.write())

    @leaves("'events'", "thread 'worker' running, which wrote", "stream 'order-1': ")
    def test_a_thread(self) -> None:
        go_on(self.publish)
