"""More attacks on a given Redis: other databases of it, restarts, many keys and odd names."""

from __future__ import annotations

import time
from typing import Any

import redis

from .test_redis import ADOPT, TEAR, RedisAttacks


class BesideTests(RedisAttacks):
    """What is in other databases of the server, or under other keys."""

    def other(self, number: int = 1) -> redis.Redis:
        client = redis.Redis(unix_socket_path=str(self.server.socket), db=number)
        self.addCleanup(client.close)
        return client

    def test_a_test_that_selects_another_number(self) -> None:
        other = self.other()
        other.set("mine", "kept")
        do = "client.execute_command('SELECT', 1); client.get('mine')"
        self.runs(DO=do)
        self.kill_suite(DO=do)
        self.runs()
        self.assertEqual(other.get("mine"), b"kept")

    def test_a_test_that_swaps_databases_and_is_killed(self) -> None:
        other = self.other()
        other.set("mine", "kept")
        self.kill_suite(DO="client.set('left', 1); client.swapdb(0, 1)")
        self.refused("'mine'", "swapped")
        self.assertEqual(self.theirs.get("mine"), b"kept")

    def test_adopt_after_a_killed_run_that_began_empty(self) -> None:
        self.kill_suite(DO="client.mset({'left': 'x', 'more': 'y'})")
        time.sleep(2.2)
        self.theirs.set("mine", "kept")
        outcome = self.runs(OPTIONS=ADOPT, DO="client.set('left', 'z')")
        self.assertIn("sees [b'mine']", outcome.out)
        self.assertEqual(self.theirs.keys(), [b"mine"])

    def test_a_prefix_of_a_run_that_was_killed_without_one(self) -> None:
        self.kill_suite(DO="client.mset({'shop:a': 'x', 'cart:a': 'y'})")
        outcome = self.runs(OPTIONS="{'prefix': 'shop:'}", DO="client.set('shop:b', 1)")
        self.assertIn("sees []", outcome.out)
        self.kill_suite(OPTIONS="{'prefix': 'shop:'}", DO="client.set('shop:b', 'x')")
        self.theirs.set("cart:b", "kept")
        self.refused("'cart:b'")
        self.assertEqual(self.theirs.get("cart:b"), b"kept")

    def test_prefixes_of_every_sign(self) -> None:
        for prefix in ("*", "a[b]c^-?:", "\\", "ä ö:", "%2A:", "x" * 300):
            with self.subTest(prefix=prefix):
                self.theirs.flushall()
                before = self.fill()
                options = repr({"prefix": prefix})
                key = prefix + "key"
                do = f"client.set({key!r}, 'x')"
                self.runs(OPTIONS=options, DO=do)
                self.kill_suite(OPTIONS=options, DO=do)
                self.assertEqual(self.theirs.get(key), b"x")
                self.runs(OPTIONS=options, DO="")
                self.assertEqual(self.content(), before)

    def test_keys_that_are_no_text(self) -> None:
        names = [bytes(range(256)), b"", b"\xff\xfe\n'\"$(rm)"]
        for name in names:
            self.theirs.set(name, name + b"!")
        before = self.content()
        do = "client.mset(dict.fromkeys(client.keys(), 'y')); client.set(b'\\xff\\x00', 1)"
        self.kill_suite(OPTIONS=ADOPT, DO=do)
        self.runs(OPTIONS=ADOPT)
        self.assertEqual(self.content(), before)
        self.refused("we did not make")
        self.assertEqual(self.content(), before)

    def test_every_type_and_hashes_whose_fields_expire(self) -> None:
        self.fill()
        self.theirs.hset("hash", mapping={"a": 1, "b": 2})
        self.theirs.setbit("bits", 70, 1)
        self.theirs.pfadd("counted", "a", "b")
        self.theirs.geoadd("places", (13.4, 52.5, "Berlin"))
        before = self.content()
        do = (
            f"{TEAR}; client.hdel('hash', 'a'); client.pfadd('counted', 'c'); client.zrem('places', 'Berlin')"
        )
        self.runs(OPTIONS=ADOPT, DO=do)
        self.assertEqual(self.content(), before)
        self.kill_suite(OPTIONS=ADOPT, DO=do)
        self.runs(OPTIONS=ADOPT)
        self.assertEqual(self.content(), before)

    def test_a_key_that_expires_while_the_run_is_dead(self) -> None:
        self.theirs.set("mortal", "x", px=6000)
        self.theirs.set("stays", "x")
        self.kill_suite(OPTIONS=ADOPT, DO="client.persist('mortal'); client.set('stays', 'y')")
        time.sleep(6.2)
        self.runs(OPTIONS=ADOPT)
        self.assertEqual(self.theirs.keys(), [b"stays"])
        self.assertEqual(self.theirs.get("stays"), b"x")


class KilledAgainTests(RedisAttacks):
    """More than one death, and servers that change meanwhile."""

    def test_a_run_of_another_way_between(self) -> None:
        before = self.fill()
        self.kill_suite(OPTIONS=ADOPT, DO=TEAR)
        self.refused("we did not make", OPTIONS="{'prefix': 'te'}")
        self.runs(OPTIONS="{'prefix': 'shop:'}", DO="client.set('shop:a', 1)")
        self.runs(OPTIONS=ADOPT)
        self.assertEqual(self.content(), before)

    def test_a_server_that_became_anothers_replica(self) -> None:
        primary = self.own_server("--port", "7393", "--bind", "127.0.0.1")
        theirs = redis.Redis(unix_socket_path=str(primary.socket))
        self.addCleanup(theirs.close)
        theirs.set("mine", "kept")
        self.kill_suite()
        self.theirs.replicaof("127.0.0.1", "7393")
        for _ in range(200):
            if self.theirs.exists("mine"):
                break
            time.sleep(0.05)
        self.assertFailed(self.run_suite(), "replica", "primary")
        self.theirs.replicaof("NO", "ONE")
        self.refused("'mine'")
        self.assertEqual(self.theirs.get("mine"), b"kept")

    def own_server(self, *settings: str) -> Any:
        from ..redis_servers import OwnServer

        return OwnServer(self, *settings)


class ManyKeysTests(RedisAttacks):
    """More keys than anybody means to copy."""

    def many(self, count: int, name: str = "many") -> None:
        for begin in range(1, count + 1, 20_000):
            numbers = range(begin, min(begin + 20_000, count + 1))
            self.theirs.mset({f"{name}:{number}": f"x{number}" for number in numbers})

    def test_a_limit_that_the_user_lifts(self) -> None:
        self.many(150)
        self.refused("150 keys", "copy_limit=200", OPTIONS="{'adopt': True, 'copy_limit': 100}")
        options = "{'adopt': True, 'copy_limit': 150}"
        self.kill_suite(OPTIONS=options, DO="client.delete('many:1'); client.set('many:2', 'y')")
        self.runs(OPTIONS=options, DO="client.set('many:3', 'y')")
        self.assertEqual(self.theirs.dbsize(), 150)
        self.assertEqual(self.theirs.mget("many:1", "many:2", "many:3"), [b"x1", b"x2", b"x3"])

    def test_few_keys_that_are_large(self) -> None:
        self.theirs.set("large", b"x" * 5_000_000)
        self.refused(" kB of keys", "copy_limit=1_", OPTIONS="{'adopt': True, 'copy_limit': 500}")
        self.runs(OPTIONS=ADOPT, DO="client.delete('large')")
        self.assertEqual(self.theirs.strlen("large"), 5_000_000)
