"""The Redis store: its data comes back, whoever wrote it, and for what it costs."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import warnings
from typing import Any

import redis

from protean_testing import (
    AsyncDatabaseTestCase,
    DatabaseTestCase,
    LeakError,
    LeakWarning,
    OpenTransactionError,
    StoreError,
)
from protean_testing.conformance import StoreConformance
from protean_testing.stores.redis import RedisStore

from .oracle_redis import SYSTEM, furniture
from .redis_servers import OwnServer, RedisTestCase

# Every command that writes: what it does to the keys of `furniture`, whether it is told to listeners or not.
WRITES = """
SET s 2|APPEND s x|SETRANGE s 1 Q|INCR i|INCRBYFLOAT i 1.5|GETSET s q|GETDEL s|GETEX s PX 100000
MSET s 1 n 2|MSETNX n1 1 n2 2|SETNX n 1|SETEX n 100 1|EXPIRE s 100|PERSIST i|EXPIRE s -1|DEL s|UNLINK s
RENAME s s2|COPY s s2|MOVE s 2|SETBIT n 9 1|BITFIELD s SET u8 0 255|BITOP NOT d s|LPUSH l x|LPOP l|RPOP l
LSET l 0 q|LINSERT l BEFORE a z|LREM l 0 a|LTRIM l 0 1|LMOVE l l2 LEFT RIGHT|RPOPLPUSH l l2|BLPOP l 1
BLMOVE l l2 LEFT LEFT 1|HSET h a 3|HDEL h a|HINCRBY h n 1|HINCRBYFLOAT h n 1.5|HSETNX h q 1
HEXPIRE h 1000 FIELDS 1 a|SADD e q|SREM e a|SPOP e|SMOVE e e2 a|SINTERSTORE d e|SUNIONSTORE d e
SDIFFSTORE d e|ZADD z 4 d|ZINCRBY z 1 a|ZREM z a|ZPOPMIN z|ZPOPMAX z|BZPOPMIN z 1|ZRANGESTORE d z 0 1
ZUNIONSTORE d 1 z|ZREMRANGEBYRANK z 0 0|ZREMRANGEBYSCORE z 0 1|ZREMRANGEBYLEX z - +|GEOADD g 3 4 b
GEOSEARCHSTORE d g FROMLONLAT 13 52 BYRADIUS 900 km|PFADD p q w e|PFMERGE p2 p|XADD x * a b|XDEL x 2-1
XTRIM x MAXLEN 1|XSETID x 9-1|XGROUP CREATE x g3 0|XGROUP CREATE new g 0 MKSTREAM|XGROUP DESTROY x g1
XGROUP SETID x g1 1|XGROUP CREATECONSUMER x g1 c9|XGROUP DELCONSUMER x g1 c1
XREADGROUP GROUP g1 c1 STREAMS x >|XREADGROUP GROUP g1 c9 STREAMS x 0
XREADGROUP GROUP g1 c1 NOACK STREAMS x >|XACK x g1 2-1|XCLAIM x g1 c9 0 2-1|XAUTOCLAIM x g1 c9 0 0
SORT l ALPHA STORE d|FLUSHDB|FLUSHALL|SWAPDB 1 3|EVAL return(redis.call('SET','s','lua')) 0
EVAL return(redis.call('XACK','x','g1','2-1')) 0
"""


class DataTests(RedisTestCase):
    def store(self, **arguments: Any) -> RedisStore:
        """A store in use."""
        store = RedisStore(arguments.pop("url", self.url), **arguments)
        store.check()
        store.create_schema()
        self.addCleanup(store.close)
        return store

    def furnish(self, prefix: str = "") -> None:
        for words in furniture(prefix):
            self.theirs.execute_command(*words)

    def served(self) -> dict[str, int]:
        """How often the server ran each command."""
        return {
            name.removeprefix("cmdstat_"): facts["calls"]
            for name, facts in self.theirs.info("commandstats").items()
        }

    def test_whatever_command_wrote_it(self) -> None:
        store = self.store()
        empty = store.save_data()
        for line in WRITES.strip().replace("\n", "|").split("|"):
            with self.subTest(line):
                store.reset_data(empty)
                self.furnish()
                before = self.dumped()
                snapshot = store.save_data()
                try:
                    self.theirs.execute_command(*line.split())
                except redis.ResponseError as error:
                    self.assertIn("unknown command", str(error))
                    self.assertIn(line.split()[0], ("HEXPIRE",))
                changed = self.dumped() != before
                self.assertEqual(store.reset_data(snapshot), changed)
                self.assertEqual(self.dumped(), before)
                self.assertEqual(store.left_open(snapshot), [], "no connection of the library is a leak")
                self.assertFalse(store.reset_data(snapshot))

    def test_a_flush_of_another_database(self) -> None:
        store = self.store()
        self.furnish()
        snapshot = store.save_data()
        before = self.dumped()
        other = self.client(self.url, single_connection_client=True)
        other.select(9)
        other.flushdb()  # listeners are told no number
        self.assertFalse(store.reset_data(snapshot))
        self.assertEqual(store.left_open(snapshot), [])
        self.assertEqual(self.dumped(), before)

    def test_only_what_was_touched_is_written_again(self) -> None:
        store = self.store()
        with self.theirs.pipeline(transaction=False) as pipeline:
            for number in range(10_000):
                pipeline.set(f"class:{number}", number)
            pipeline.execute()
        snapshot = store.save_data()
        before = self.dumped()
        self.theirs.config_resetstat()
        for number in range(6):
            self.theirs.incr(f"class:{number}")
        self.assertTrue(store.reset_data(snapshot))
        served = self.served()
        self.assertEqual(served["restore"], 6)
        self.assertEqual(served["dump"], 12)
        self.assertNotIn("scan", served)
        self.assertEqual(self.dumped(), before)

    def test_no_scope_copies_more_keys_than_it_may(self) -> None:
        store = self.store(copy_limit=50)
        first = store.save_data()
        self.theirs.mset({f"k{number}": "x" for number in range(51)})
        with self.assertRaisesRegex(StoreError, r"51 keys were written .*(?s:.*)copy_limit=102\)"):
            store.save_data()
        self.theirs.delete("k0")
        second = store.save_data()
        self.theirs.mset({f"more{number}": "x" for number in range(40)})
        third = store.save_data()  # those that an outer scope has copied are not copied again
        self.theirs.flushdb()
        self.assertTrue(store.reset_data(third))
        self.assertEqual(self.theirs.dbsize(), 90)
        store.reset_data(second)
        self.assertEqual(self.theirs.dbsize(), 50)
        store.reset_data(first)
        self.assertEqual(self.theirs.dbsize(), 0)

    def test_an_empty_store_that_stayed_empty_costs_no_more_than_a_question(self) -> None:
        store = self.store()
        snapshot = store.save_data()
        self.theirs.config_resetstat()
        self.assertFalse(store.reset_data(snapshot))
        self.assertEqual(self.served().keys() - {"config|resetstat", "info"}, {"client|list", "dbsize"})

    def test_a_lost_listener_is_noticed(self) -> None:
        store = self.store()
        self.furnish()
        before, snapshot = self.dumped(), store.save_data()
        for number, kind in enumerate(("pubsub", "normal")):
            self.theirs.set("s", number)
            self.theirs.execute_command("CLIENT", "KILL", "TYPE", kind)
            self.world.raw.disconnect()
            self.theirs.set("new", number)
            self.theirs.execute_command("XACK", "x", "g1", "2-1")
            self.assertTrue(store.reset_data(snapshot))
            self.assertEqual(self.dumped(), before)
            self.theirs.delete("l")
            self.assertTrue(store.reset_data(snapshot))
            self.assertEqual(self.dumped(), before)

    def test_other_databases_are_left_alone(self) -> None:
        elsewhere = self.client(self.server.url(2))
        elsewhere.set("theirs", 1)
        store = self.store()
        snapshot = store.save_data()
        elsewhere.set("theirs", 2)
        self.theirs.set("ours", 1)
        store.reset_data(snapshot)
        store.drop_schema()
        self.assertEqual((elsewhere.get("theirs"), self.theirs.dbsize()), (b"2", 0))

    def test_a_prefix_leaves_the_others_alone(self) -> None:
        self.theirs.mset({"other": 1, "a*:not ours": 1, "a": 1})
        store = self.store(prefix="a[*]:")
        self.furnish("a[*]:")
        snapshot = store.save_data()
        before = self.dumped()
        self.theirs.mset({"a[*]:s": "new", "a[*]:more": 1})
        self.theirs.xack("a[*]:x", "g1", "2-1")
        self.assertTrue(store.reset_data(snapshot))
        self.assertEqual(self.dumped(), before)
        self.theirs.set("other", 2)
        self.assertFalse(store.reset_data(snapshot))
        store.drop_schema()
        self.assertEqual(sorted(self.theirs.keys()), [b"a", b"a*:not ours", b"other"])
        self.assertEqual(self.theirs.get("other"), b"2")

    def test_nothing_of_ours_is_ever_in_the_database(self) -> None:
        store = self.store()
        self.furnish()
        keys = set(self.theirs.keys())
        for _ in range(3):
            snapshot = store.save_data()
            self.theirs.set("s", "x")
            store.reset_data(snapshot)
            self.assertEqual(set(self.theirs.keys()), keys)
        store.drop_schema()
        self.assertEqual(self.theirs.keys(), [])

    def test_a_time_to_live_is_a_moment(self) -> None:
        store = self.store()
        self.theirs.set("long", 1, px=100_000)
        self.theirs.set("short", 1, px=150)
        snapshot = store.save_data()
        end = self.theirs.pttl("long")
        time.sleep(0.1)
        self.theirs.persist("long")
        self.assertTrue(store.reset_data(snapshot))
        self.assertLessEqual(self.theirs.pttl("long"), end - 90)
        time.sleep(0.1)
        self.assertFalse(store.reset_data(snapshot), "a key that expired in its time was not written")
        self.assertEqual(self.theirs.keys(), [b"long"])

    # What is still open at a reset

    def test_a_multi_left_open_is_ended(self) -> None:
        for on_leak in ("reset", "warn", "fail"):
            with self.subTest(on_leak):
                store = self.store(on_leak=on_leak, wait=1.0)
                snapshot = store.save_data()
                connection = self.client(self.url, single_connection_client=True)
                connection.execute_command("MULTI")
                connection.execute_command("SET", "late", 1)
                with warnings.catch_warnings(record=True) as seen:
                    warnings.simplefilter("always")
                    try:
                        store.reset_data(snapshot)
                    except LeakError as error:
                        self.assertIn("MULTI, 1 queued, the last SET", str(error))
                        failed = True
                    else:
                        failed = False
                leaks = [one for one in seen if issubclass(one.category, LeakWarning)]
                self.assertEqual((failed, len(leaks)), (on_leak == "fail", on_leak == "warn"))
                with self.assertRaises((redis.ConnectionError, redis.ResponseError)):
                    connection.execute_command("EXEC")
                self.assertEqual(self.theirs.keys(), [])
                store.drop_schema()

    def test_no_scope_begins_while_a_multi_is_open(self) -> None:
        store = self.store()
        connection = self.client(self.url, single_connection_client=True)
        connection.execute_command("MULTI")
        with self.assertRaisesRegex(OpenTransactionError, "could not save store 'redis'"):
            store.save_data()
        connection.execute_command("DISCARD")
        store.save_data()

    def test_a_script_that_runs_is_waited_for(self) -> None:
        endless = "redis.call('SET', 'k', 1) while true do end"
        server = OwnServer(self, "--lua-time-limit", "50")
        store = self.store(url=server.url, wait=0.5)
        snapshot = store.save_data()
        client = self.client(server.url, socket_timeout=30)
        short = (
            "redis.call('SET', 'k', 1) local t = redis.call('TIME') "
            "local e = t[1] * 1000 + t[2] / 1000 + 200 "
            "while t[1] * 1000 + t[2] / 1000 < e do t = redis.call('TIME') end"
        )
        for script, ends in ((short, True), (endless, False)):
            thread = threading.Thread(target=self.quietly, args=(client.eval, script, 0))
            thread.start()
            time.sleep(0.1)
            if ends:
                self.assertTrue(store.reset_data(snapshot))
            else:
                with self.assertRaisesRegex(OpenTransactionError, "a Lua script or function that still runs"):
                    store.reset_data(snapshot)
                server.kill()
            thread.join()

    def quietly(self, call: Any, *arguments: Any) -> None:
        try:
            call(*arguments)
        except redis.RedisError:
            pass

    def test_blocked_clients_stay_blocked(self) -> None:
        store = self.store()
        self.furnish()
        empty_queue, snapshot = "queue", store.save_data()
        got: list[Any] = []
        waiting = [
            threading.Thread(target=lambda: got.append(self.client(self.url).blpop(empty_queue, 5))),
            threading.Thread(
                target=lambda: got.append(self.client(self.url).xreadgroup("g2", "c", {"x": ">"}, block=5000))
            ),
        ]
        for thread in waiting:
            thread.start()
        time.sleep(0.2)
        self.theirs.xgroup_destroy("x", "g1")
        self.assertTrue(store.reset_data(snapshot))
        self.theirs.rpush(empty_queue, "job")
        self.theirs.xadd("x", {"a": 1})
        for thread in waiting:
            thread.join()
        self.assertEqual(len(got), 2)
        self.assertTrue(all(got))

    # The server

    def test_a_server_that_is_gone_is_a_clear_error_in_time(self) -> None:
        server = OwnServer(self)
        store = self.store(url=server.url, wait=0.5)
        client = self.client(server.url)
        empty = store.save_data()
        client.set("class", "row")
        snapshot = store.save_data()
        server.kill()
        for call in (store.save_data, lambda: store.reset_data(snapshot), store.drop_schema):
            begin = time.monotonic()
            with self.assertRaisesRegex(
                StoreError, "store 'redis' is lost.*\nno answer within 0.5 s"
            ) as caught:
                call()
            self.assertEqual(caught.exception.store, "redis")
            self.assertLess(time.monotonic() - begin, 2)
        server.start()
        client.set("of the new server", 1)
        self.assertTrue(store.reset_data(snapshot))
        self.assertEqual(client.mget(client.keys()), [b"row"])
        self.assertTrue(store.reset_data(empty))
        self.assertEqual(client.keys(), [])

    def test_a_server_that_hangs_is_a_clear_error_in_time(self) -> None:
        server = OwnServer(self)
        store = self.store(url=server.url, wait=0.5)
        snapshot = store.save_data()
        assert server.process is not None
        server.process.send_signal(19)
        begin = time.monotonic()
        with self.assertRaisesRegex(StoreError, "no answer"):
            store.reset_data(snapshot)
        self.assertLess(time.monotonic() - begin, 2)
        server.process.send_signal(18)
        self.assertFalse(store.reset_data(snapshot))

    def test_what_does_not_fit_is_a_clear_error_and_comes_back_later(self) -> None:
        store = self.store()
        self.theirs.set("big", "x" * 3_000_000)
        before, snapshot = self.dumped(), store.save_data()
        self.theirs.delete("big")
        self.addCleanup(self.theirs.config_set, "maxmemory", 0)
        self.theirs.config_set("maxmemory", 1_000_000)
        with self.assertRaisesRegex(StoreError, "could not reset store 'redis': .*maxmemory"):
            store.reset_data(snapshot)
        self.theirs.config_set("maxmemory", 0)
        self.assertTrue(store.reset_data(snapshot))
        self.assertEqual(self.dumped(), before)

    # Users who may not do everything

    def restricted(self, *rights: str) -> str:
        self.theirs.execute_command("ACL", "SETUSER", "ann", "reset", "on", ">secret", "~*", "&*", *rights)
        self.addCleanup(self.theirs.execute_command, "ACL", "DELUSER", "ann")
        return self.url.replace("unix://", "unix://ann:secret@")

    def test_a_user_who_may_not_everything(self) -> None:
        for forbidden, told in {
            "-flushdb": None,
            "-dbsize": None,
            "-client": "CLIENT LIST",
            "-subscribe": "CLIENT TRACKING",
            "-info": None,
        }.items():
            with self.subTest(forbidden), warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                store = self.store(url=self.restricted("+@all", forbidden))
                empty = store.save_data()
                self.furnish()
                before, snapshot = self.dumped(), store.save_data()
                for _ in range(2):
                    self.theirs.set("s", "new")
                    self.theirs.xack("x", "g1", "2-1")
                    self.assertTrue(store.reset_data(snapshot))
                    self.assertEqual(self.dumped(), before)
                self.assertTrue(store.reset_data(empty))
                self.assertEqual(self.theirs.keys(), [])
                store.drop_schema()
                said = [str(one.message) for one in seen if "may not run" in str(one.message)]
                self.assertEqual(len(said), len(set(said)), "said once")
                self.assertEqual(any(told in one for one in said), True) if told else self.assertEqual(
                    said, []
                )

    def test_a_user_who_may_not_restore(self) -> None:
        store = self.store(url=self.restricted("+@all", "-restore"))
        empty = store.save_data()
        self.theirs.set("k", 1)
        snapshot = store.save_data()
        self.theirs.set("k", 2)
        with self.assertRaisesRegex(StoreError, "(?s)restore.*ACL SETUSER"):
            store.reset_data(snapshot)
        self.assertTrue(store.reset_data(empty), "what began empty needs no RESTORE")

    # Handles

    def test_handles(self) -> None:
        store = self.store()
        self.assertEqual(store.url, self.url)
        store.client.set("k", b"\xff")
        self.assertEqual(store.client.get("k"), b"\xff")
        self.assertEqual(store.client.connection_pool.connection_kwargs["db"], 1)

    def test_async_clients_are_closed_where_their_loop_runs(self) -> None:
        store = self.store()

        async def main() -> int:
            outer = store.async_client()
            await outer.set("class", 1)
            snapshot = store.save_data()
            inner = store.async_client()
            await inner.incr("class")
            self.assertTrue(store.reset_data(snapshot))
            await asyncio.sleep(0.05)
            names = len(self.theirs.client_list())
            self.assertEqual(await outer.get("class"), b"1")
            self.assertEqual(await inner.get("class"), b"1", "it connects again")
            await outer.aclose()
            await inner.aclose()
            return names

        before = len(self.theirs.client_list())
        self.assertLessEqual(asyncio.run(main()), before + 2)  # our listener, and the outer client


class SettingsTests(RedisTestCase):
    """What a test changes of the server itself: restored if it is ours alone, else told with the line."""

    CHANGES = {
        "REPLICAOF": ["REPLICAOF 127.0.0.1 1"],
        "CONFIG maxmemory": ["CONFIG SET maxmemory 1"],
        "CONFIG maxmemory-policy": ["CONFIG SET maxmemory-policy allkeys-lru", "CONFIG SET maxmemory 1"],
        "CONFIG requirepass": ["CONFIG SET requirepass other"],
        "CONFIG min-replicas-to-write": ["CONFIG SET min-replicas-to-write 3"],
        "CONFIG notify-keyspace-events": ["CONFIG SET notify-keyspace-events KEA"],
        "ACL default": ["ACL SETUSER default -unlink -flushdb", "ACL SETUSER default off"],
        "ACL eve": ["ACL SETUSER eve on nopass ~* +@all (~k +get)"],
        "FUNCTION": [
            "FUNCTION LOAD " + "#!lua\u00a0name=a\nredis.register_function('f',function()return(1)end)"
        ],
        "CLIENT PAUSE": ["CLIENT PAUSE 60000 WRITE"],
    }
    REFUSING = ("REPLICAOF", "maxmemory", "min-replicas", "ACL default")

    def begin(self, *, private: bool) -> tuple[RedisStore, Any, OwnServer]:
        server = OwnServer(self, program=self.binary)
        store = RedisStore(name="shop", wait=1.0)
        self.addCleanup(store.close)
        store.bind(server.url, private=private)
        store.check()
        store.create_schema()
        store.save_data()
        client = self.client(server.url)
        client.set("base", "v")
        snapshot = store.save_data()
        client.set("base", "w")
        client.set("more", "w")
        return store, snapshot, server

    def change(self, url: str, commands: list[str]) -> None:
        with redis.Redis.from_url(url, protocol=2) as client:
            for command in commands:
                client.execute_command(*(word.replace("\u00a0", " ") for word in command.split(" ")))

    def test_on_a_server_of_our_own(self) -> None:
        for name, commands in self.CHANGES.items():
            with self.subTest(name):
                store, snapshot, server = self.begin(private=True)
                with redis.Redis.from_url(server.url) as client:
                    before = client.config_get("*"), client.acl_users(), client.function_dump()
                self.change(server.url, commands)
                with self.assertWarnsRegex(
                    LeakWarning, f"settings .* store 'shop' changed: .*{name}.*\n.*restored"
                ):
                    self.assertTrue(store.reset_data(snapshot))
                with warnings.catch_warnings():
                    warnings.simplefilter("error", LeakWarning)
                    self.assertFalse(store.reset_data(snapshot))
                with redis.Redis.from_url(server.url) as client:
                    self.assertEqual([client.get(key) for key in client.keys()], [b"v"])
                    self.assertEqual(client.info("replication")["role"], "master")
                    self.assertEqual(
                        (client.config_get("*"), client.acl_users(), client.function_dump()), before
                    )
                    client.set("writes", "are taken")

    def test_on_a_server_that_others_may_use(self) -> None:
        for name, commands in self.CHANGES.items():
            with self.subTest(name):
                store, snapshot, server = self.begin(private=False)
                self.change(server.url, commands)
                if name == "CLIENT PAUSE" or any(word in name for word in self.REFUSING):
                    with self.assertRaisesRegex(StoreError, "could not reset|CLIENT PAUSE") as caught:
                        store.reset_data(snapshot)
                    self.assertIn(
                        "CLIENT PAUSE" if name == "CLIENT PAUSE" else name.partition(" ")[2],
                        str(caught.exception),
                    )
                else:
                    with self.assertWarnsRegex(
                        LeakWarning, f"{name}.*\n.*another client(.*\n)*.*{name.split()[-1]}"
                    ) as warned:
                        store.reset_data(snapshot)
                    self.assertNotIn("other\n", str(warned.warning))
                server.kill()

    def test_what_a_class_changes_is_there_for_its_tests(self) -> None:
        store, outer, server = self.begin(private=True)
        self.change(server.url, ["CONFIG SET notify-keyspace-events KEA"])
        inner = store.save_data()
        with warnings.catch_warnings():
            warnings.simplefilter("error", LeakWarning)
            self.assertFalse(store.reset_data(inner))
        events = "notify-keyspace-events"
        with redis.Redis.from_url(server.url) as client:
            self.assertNotEqual(client.config_get(events)[events], "")
            with self.assertWarns(LeakWarning):
                store.reset_data(outer)
            self.assertEqual(client.config_get(events)[events], "")

    def test_a_script_that_hangs(self) -> None:
        store, snapshot, server = self.begin(private=True)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("busy-reply-threshold", 100)
        snapshot = store.save_data()
        thread = threading.Thread(target=self.hang, args=[server.url])
        thread.start()
        time.sleep(0.5)
        for _ in range(2):
            with self.assertRaisesRegex(OpenTransactionError, "script or function that still runs"):
                store.reset_data(snapshot)
        with redis.Redis.from_url(server.url) as client:
            client.script_kill()
        thread.join()
        store.reset_data(snapshot)

    def hang(self, url: str) -> None:
        with redis.Redis.from_url(url) as client, self.assertRaises(redis.ResponseError):
            client.eval("while true do end", 0)


class SystemSettingsTests(SettingsTests):
    binary = SYSTEM


class SystemDataTests(DataTests):
    binary = SYSTEM


class ConformanceTests(StoreConformance, RedisTestCase):
    prefix = ""

    def make_store(self) -> RedisStore:
        return RedisStore(self.url, prefix=self.prefix)

    def write(self, store: RedisStore, value: str) -> None:
        self.theirs.rpush(f"{self.prefix}list", value)
        self.theirs.xadd(f"{self.prefix}stream", {"a": value})

    def read(self, store: RedisStore) -> object:
        return self.dumped()


class PrefixConformanceTests(ConformanceTests):
    prefix = "shop:"


class SystemConformanceTests(ConformanceTests):
    binary = SYSTEM


class SystemPrefixConformanceTests(PrefixConformanceTests):
    binary = SYSTEM


class AsyncSuiteTests(AsyncDatabaseTestCase):
    stores = [RedisStore()]

    async def test_1(self) -> None:
        client = self.db.store("redis").async_client()
        self.assertEqual(await client.incr("orders"), 1)
        async with self.db.scope():
            self.assertEqual(await client.incr("orders"), 2)
        self.assertEqual(await client.get("orders"), b"1")

    test_2 = test_1


class TCPTests(DatabaseTestCase):
    stores = [RedisStore(tcp=True, name="broker"), RedisStore()]

    def test_1(self) -> None:
        url = self.db.store("broker").url
        self.assertRegex(url, r"^redis://:.+@127\.0\.0\.1:\d+/0$")
        self.assertRegex(self.db.store("redis").url, "^unix:")
        with redis.Redis.from_url(url) as client:
            self.assertEqual((client.incr("orders"), self.db.store("redis").client.incr("orders")), (1, 1))
        with redis.Redis.from_url(re.sub("//:.+@", "//", url)) as client:
            self.assertRaises(redis.AuthenticationError, client.ping)

    test_2 = test_1
