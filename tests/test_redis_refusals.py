"""What the Redis store refuses, before it has touched anything, and whose a database is."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import threading
import traceback
import warnings
from typing import Any

import redis
import redis.asyncio

from protean_testing import ConfigurationError, UnsafeStoreError
from protean_testing.servers.redis import PrivateRedis, start_redis
from protean_testing.stores.redis import RedisStore

from .oracle_redis import SYSTEM
from .redis_servers import OwnServer, RedisTestCase
from .suite import ROOT

SECRET = "tomsecret"


class RefusalTests(RedisTestCase):
    tcp: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.tcp = start_redis(binary=cls.binary, tcp=True)
        cls.addClassCleanup(cls.tcp.stop)

    def refused(self, error: type[Exception], *texts: str, url: Any = None, **arguments: Any) -> None:
        """Neither check nor construction passes, and no password is told."""
        with self.assertRaises(error) as caught:
            RedisStore(url, **{"wait": 0.3, **arguments}).check()
        told = "".join(traceback.format_exception(caught.exception))
        for text in texts:
            self.assertIn(text, str(caught.exception))
        self.assertNotIn(SECRET, told)

    def test_arguments(self) -> None:
        self.refused(ConfigurationError, "url= or client=", url=self.url, client=self.theirs)
        self.refused(ConfigurationError, "adopt=True", url=self.url, adopt=True, unsafe=True)
        self.refused(ConfigurationError, "is a private server", url=self.url, tcp=True)
        for url in (
            f"http://:{SECRET}@localhost",
            f"redis://:{SECRET}@localhost:x/0",
            f"redis://:{SECRET}@h/shop",
        ):
            self.refused(ConfigurationError, "a Redis URL cannot be read", url=url)
        self.refused(ConfigurationError, "is not in use")

    def test_keys_of_others(self) -> None:
        self.theirs.mset({f"key{number}": 1 for number in range(5)})
        self.refused(
            UnsafeStoreError,
            "'outbox'", f"unix://{self.url.removeprefix('unix://')}", "holds 5 keys", "'key", "adopt=True",
            "unsafe=True",
            url=self.url,
            name="outbox",
        )  # fmt: skip
        self.theirs.mset({"key[12]a": 1, "key[12]b": 1})
        self.refused(UnsafeStoreError, "holds 2 keys", "prefix 'key[12]'", url=self.url, prefix="key[12]")
        RedisStore(self.url, prefix="key1:").check()
        self.assertEqual(self.theirs.dbsize(), 7)
        self.assertEqual(list(self.state.iterdir()), [])

    def test_adopt_keeps_and_unsafe_clears(self) -> None:
        self.theirs.set("theirs", "kept", ex=1000)
        before = self.dumped()
        store = self.used(adopt=True)
        snapshot = store.save_data()
        self.theirs.delete("theirs")
        self.theirs.set("ours", 1)
        self.assertTrue(store.reset_data(snapshot))
        self.assertEqual(self.dumped(), before)
        self.theirs.set("late", 1)
        store.drop_schema()
        self.assertEqual(self.dumped(), before)
        self.assertEqual(list(self.state.glob("*.json")), [])
        store = self.used(unsafe=True)
        self.assertEqual(self.theirs.keys(), [])

    def used(self, **arguments: Any) -> RedisStore:
        store = RedisStore(self.url, **arguments)
        store.check()
        store.create_schema()
        self.addCleanup(store.close)
        return store

    def test_a_key_that_comes_after_the_check(self) -> None:
        store = RedisStore(self.url)
        store.check()
        self.theirs.set("theirs", 1)
        with self.assertRaises(UnsafeStoreError):
            store.create_schema()
        store.close()
        self.assertEqual(self.theirs.keys(), [b"theirs"])
        self.refused(UnsafeStoreError, "theirs", url=self.url)

    def test_a_server_that_is_not_there(self) -> None:
        self.refused(
            ConfigurationError, "'redis'", "Is the server up", url=f"redis://:{SECRET}@127.0.0.1:1/0"
        )
        self.refused(ConfigurationError, "Is the server up", url=f"unix://:{SECRET}@/nowhere/redis.sock")

    def test_what_is_no_redis(self) -> None:
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None):
            with self.subTest(answer), socket.create_server(("127.0.0.1", 0)) as listening:

                def serve(listening: socket.socket = listening, answer: bytes | None = answer) -> None:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(100)
                        if answer is None:
                            connection.recv(10_000)
                            connection.settimeout(2)
                            connection.recv(1)
                        else:
                            connection.sendall(answer)

                thread = threading.Thread(target=serve, daemon=True)
                thread.start()
                url = f"redis://:{SECRET}@127.0.0.1:{listening.getsockname()[1]}/0"
                self.refused(ConfigurationError, "'redis'", "edis", url=url)
                thread.join(5)

    def test_a_wrong_or_missing_password(self) -> None:
        right = self.tcp.url()
        wrong = f"redis://:{SECRET}@{right.rpartition('@')[2]}"
        for url in (wrong, f"redis://{right.rpartition('@')[2]}", wrong.replace("://:", "://ann:")):
            self.refused(ConfigurationError, "the user or the password in its URL wrong, or missing", url=url)
        RedisStore(right).check()

    def test_a_database_that_is_not_there(self) -> None:
        self.refused(ConfigurationError, "'redis'", "number of the database", url=self.server.url(99))

    def test_a_cluster_and_a_replica(self) -> None:
        cluster = OwnServer(self, "--cluster-enabled", "yes")
        self.refused(ConfigurationError, "Redis Cluster is not supported", url=cluster.url)
        replica = OwnServer(self, "--replicaof", "127.0.0.1 1")
        self.refused(ConfigurationError, "a replica, and read-only", url=replica.url)

    def test_a_user_who_may_do_too_little(self) -> None:
        self.theirs.execute_command("ACL", "SETUSER", "ann", "on", f">{SECRET}", "~*", "+@all", "-scan")
        self.addCleanup(self.theirs.execute_command, "ACL", "DELUSER", "ann")
        url = self.url.replace("unix://", f"unix://ann:{SECRET}@")
        self.refused(ConfigurationError, "scan", "ACL SETUSER", url=url)

    def test_prefixes_that_overlap(self) -> None:
        store = self.used(prefix="shop:", name="shop")
        for prefix in ("", "s", "shop:cart:"):
            self.refused(ConfigurationError, "overlaps", "prefix 'shop:'", url=self.url, prefix=prefix)
        RedisStore(self.url, prefix="cart:").check()
        RedisStore(self.server.url(2)).check()
        store.drop_schema()
        RedisStore(self.url).check()

    # One place, whoever names it

    def test_one_database_has_one_identity(self) -> None:
        same = [
            RedisStore("redis://localhost:7000/3"),
            RedisStore("redis://:secret@127.0.0.1:7000/3"),
            RedisStore("redis://localhost:7000?db=3"),
            RedisStore(client=redis.Redis(port=7000, db=3, decode_responses=True)),
            RedisStore(client=redis.asyncio.Redis(port=7000, db=3)),
            RedisStore(client=lambda: redis.Redis(port=7000, db=3)),
        ]
        self.assertEqual(len({store.identity() for store in same}), 1)
        others = [
            RedisStore("redis://localhost:7000/4"),
            RedisStore("redis://localhost:7001/3"),
            RedisStore("redis://localhost:7000/3", prefix="a"),
            RedisStore("unix:///tmp/a.sock?db=3"),
        ]
        self.assertEqual(len({store.identity() for store in same + others}), 5)

    def test_the_applications_own_client(self) -> None:
        url = self.tcp.url(2)
        for client in (redis.Redis.from_url(url, decode_responses=True), redis.asyncio.Redis.from_url(url)):
            store = RedisStore(client=client)
            self.assertEqual(store.url, url)
            store.check()
            store.client.set("k", "v")
            self.assertEqual(store.client.getdel("k"), b"v")
            store.close()
        client = redis.Redis.from_url(self.url, username="default", password="a/b@c:d")
        self.assertEqual(redis.connection.parse_url(RedisStore(client=client).url)["password"], "a/b@c:d")
        with self.assertRaisesRegex(ConfigurationError, "pass the URL"):
            RedisStore(client=redis.Sentinel([("localhost", 1)]).master_for("m"))
        with self.assertRaisesRegex(ConfigurationError, "Redis Cluster"):
            RedisStore(client=object.__new__(redis.RedisCluster))

    def test_no_password_is_shown(self) -> None:
        store = RedisStore(f"redis://ann:{SECRET}@localhost/0")
        self.assertIn(SECRET, store.url)
        self.assertNotIn(
            SECRET, repr(store) + repr(store.identity()) + repr(store.location()) + str(store._live())
        )

    def test_a_store_that_shares_a_place(self) -> None:
        first, second = self.used(name="one"), RedisStore(self.url, name="two")
        second.share(first)
        self.assertIs(second.client, first.client)
        with self.assertRaisesRegex(ConfigurationError, "'one' and 'three'.*only one of them has"):
            RedisStore(self.url, name="three", adopt=True).share(first)

    # Runs that died, and runs that live

    def run_that_dies(self, **arguments: Any) -> None:
        """Use the database in another process, write into it, and be gone."""
        code = f"""
            import os
            from protean_testing.stores.redis import RedisStore
            store = RedisStore({self.url!r}, **{arguments!r})
            store.check(); store.create_schema(); store.save_data()
            store.client.mset({{"left": 1, "theirs": "changed"}})
            os._exit(9)
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, timeout=60)
        self.assertEqual(done.returncode, 9)

    def test_what_a_dead_run_left_is_cleared(self) -> None:
        self.run_that_dies()
        self.assertEqual(self.theirs.dbsize(), 2)
        store = self.used()
        self.assertEqual(self.theirs.keys(), [])
        store.drop_schema()
        store.close()
        self.theirs.set("theirs", 1)
        self.refused(UnsafeStoreError, "theirs", url=self.url)

    def test_a_dead_run_that_had_adopted_leaves_what_was_there(self) -> None:
        self.theirs.set("theirs", 1)
        self.run_that_dies(adopt=True)
        self.refused(UnsafeStoreError, "1 key that", "theirs", url=self.url)
        self.used(adopt=True)
        self.assertEqual(self.theirs.keys(), [b"theirs"])

    def test_a_live_run_keeps_others_out(self) -> None:
        code = f"""
            from protean_testing.stores.redis import RedisStore
            store = RedisStore({self.url!r})
            store.check(); store.create_schema(); store.client.set("live", 1)
            print("ready", flush=True)
            input()
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "ready\n")
            for unsafe in (False, True):
                self.refused(UnsafeStoreError, f"pid {process.pid}", url=self.url, unsafe=unsafe)
            self.assertEqual(self.theirs.keys(), [b"live"])
            process.kill()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.used()
        self.assertEqual(self.theirs.keys(), [])


class SystemRefusalTests(RefusalTests):
    binary = SYSTEM
