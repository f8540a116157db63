"""Attacks on a given Redis: runs that are killed or that meet, and keys of others beside theirs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import redis

from protean_testing.ownership.watching import read_signs

from ..oracle_redis import SYSTEM
from ..redis_servers import OwnServer
from ..suite import Outcome
from .attack import HELPERS, SUITE, AttackTestCase, watchdogs

SOURCE = """
import ast, os, sys, time, unittest
from protean_testing import DatabaseTestCase
from protean_testing.stores.redis import RedisStore
{helpers}

STORE = RedisStore(os.environ["REDIS"], **ast.literal_eval(os.environ.get("OPTIONS", "{{}}")))

class AttackTests(DatabaseTestCase):
    stores = [STORE]

    def test_it(self):
        client = self.db.store("redis").client
        print("sees", sorted(client.keys()), flush=True) if not os.environ.get("KILL") else None
        exec(os.environ.get("DO", "client.mset({{'left': 'x', 'number': 1}})"))
        ready()
"""
ADOPT = "{'adopt': True}"
TEAR = (
    "client.set('text', 'ours'); client.delete('list'); client.xack('stream', 'group', '1-0');"
    "client.persist('mortal'); client.set('left', 1); client.zadd('set', {'b': 2})"
)


class RedisAttacks(AttackTestCase):
    """Has a server of its own for each attack: some stop it, or change its settings."""

    program: Path | None = None
    settings: tuple[str, ...] = ("--port", "0")

    def setUp(self) -> None:
        super().setUp()
        self.server = OwnServer(self, *self.settings, program=self.program)
        self.variables["REDIS"] = self.server.url
        self.theirs = redis.Redis(unix_socket_path=str(self.server.socket))
        self.addCleanup(self.theirs.close)
        self.write(f"{SUITE}.py", SOURCE.format(helpers=HELPERS.replace("sleep(60)", "sleep(900)")))
        self.addCleanup(self.await_watchdogs)

    def await_watchdogs(self) -> None:
        """Those of killed runs still write into the directory that is about to be removed."""
        for lock in self.directory.glob("state*/*.watch"):
            read_signs(lock.with_suffix(".signs"), lock)

    def content(self) -> dict[bytes, Any]:
        """What each key holds, and when it expires. On servers before 7.2 this counts as a use."""
        pipe = self.theirs.pipeline(transaction=False)
        pipe.execute_command("CLIENT", "NO-TOUCH", "ON")
        names = sorted(self.theirs.keys())
        for name in names:
            pipe.dump(name)
            pipe.pexpiretime(name)
        _, *found = pipe.execute(raise_on_error=False)
        return {name: found[2 * number : 2 * number + 2] for number, name in enumerate(names)}

    def fill(self) -> dict[bytes, Any]:
        """Data of somebody, of several types. Returns it."""
        self.theirs.mset({"text": "theirs", "counter": 7})
        self.theirs.rpush("list", "a", "b")
        self.theirs.zadd("set", {"a": 1})
        self.theirs.set("mortal", "theirs", pxat=int(time.time() * 1000) + 3_600_000)
        self.theirs.xadd("stream", {"a": 1}, id="1-0")
        self.theirs.xgroup_create("stream", "group", id="0")
        self.theirs.xreadgroup("group", "worker", {"stream": ">"})
        return self.content()

    def runs(self, **variables: str) -> Outcome:
        outcome = self.run_suite(**variables)
        self.assertPassed(outcome, 1)
        return outcome

    def refused(self, *texts: str, **variables: str) -> str:
        """The next run does not begin. Returns what it said."""
        outcome = self.run_suite(**variables)
        self.assertRefused(outcome, *texts)
        return outcome.err

    def clear(self, said: str) -> str:
        """Run the line of a refusal. Returns what it listed."""
        found = re.search(r"python -m protean_testing (clean .*)$", said, re.MULTILINE)
        assert found is not None, said
        command = ["-m", "protean_testing", *shlex.split(found[1])]
        looked = self.python(*command, **self.variables)
        self.assertEqual(looked.code, 1, looked.out + looked.err)
        self.assertIn("Nothing was touched", looked.out)
        done = self.python(*command, "--yes", **self.variables)
        self.assertEqual(done.code, 0, done.out + done.err)
        return done.out

    def state(self, suffix: str) -> Path:
        (found,) = (self.directory / "state").glob(f"*.{suffix}")
        return found


class KilledTests(RedisAttacks):
    """A run in a database that was empty is killed."""

    def test_nothing_came_since(self) -> None:
        for do in ("client.mset({'a': 1, 'b': 'x'}); client.xadd('s', {'f': 1})", "client.set('a', 1)"):
            self.kill_suite(DO=do)
            self.assertTrue(self.theirs.keys())
            outcome = self.runs()
            self.assertIn("sees []", outcome.out)
            self.assertNotIn("arning", outcome.err)
        self.assertEqual(self.theirs.keys(), [])
        self.assertEqual([*(self.directory / "state").iterdir()], [])

    def test_a_key_that_came_since(self) -> None:
        for mine in ("text", 1):
            with self.subTest(mine):
                self.kill_suite()
                self.theirs.set("mine", mine)  # at once, so that it may not be known which of them came later
                before = self.content()
                said = self.refused("'mine'", "clean 'unix:")
                self.assertEqual(self.content(), before)
                self.assertIn("remove key 'mine'", self.clear(said))
                self.runs()
                self.kill_suite()
                time.sleep(0.5)
                self.theirs.set("mine", mine)
                said = self.refused("'mine'", "clean 'unix:", "we did not make")
                self.assertNotIn("'left'", said)
                self.assertIn("it came after", self.clear(said))
                self.runs()

    def test_a_key_that_was_changed_since(self) -> None:
        self.kill_suite()
        self.theirs.append("left", "mine")
        said = self.refused("'left'", "touched since")
        self.assertEqual(self.theirs.get("left"), b"xmine")
        self.clear(said)
        self.runs()

    def test_a_key_that_was_made_anew_since(self) -> None:
        self.kill_suite()
        self.theirs.delete("left")
        self.theirs.rpush("left", "mine")
        self.refused("'left'", "touched since")
        self.assertEqual(self.theirs.lrange("left", 0, -1), [b"mine"])

    def test_a_key_that_was_read_since(self) -> None:
        self.kill_suite()
        time.sleep(2.2)
        self.theirs.get("left")
        self.refused("'left'", "touched since")

    def test_databases_were_swapped_since(self) -> None:
        other = redis.Redis(unix_socket_path=str(self.server.socket), db=1)
        self.addCleanup(other.close)
        self.kill_suite(DO="client.set('left', 'x')")
        other.set("mine", "x")
        self.theirs.swapdb(0, 1)
        self.refused("'mine'", "swapped")
        self.assertEqual(self.theirs.get("mine"), b"x")

    def test_the_server_started_anew(self) -> None:
        self.server.kill()
        self.server.settings += ("--appendonly", "yes", "--appendfsync", "always")
        self.server.start()
        self.kill_suite()
        self.theirs.set("mine", 1)
        self.server.kill()
        self.server.start()
        said = self.refused("started anew", "'mine'")
        self.assertEqual(sorted(self.theirs.keys()), [b"left", b"mine", b"number"])
        self.clear(said)
        self.runs()

    def test_a_server_that_keeps_no_idle_times(self) -> None:
        self.theirs.config_set("maxmemory-policy", "allkeys-lfu")
        self.kill_suite()
        said = self.refused("does not say when its keys were last touched")
        self.assertEqual(len(self.theirs.keys()), 2)
        self.clear(said)
        self.runs()

    def test_the_state_is_gone(self) -> None:
        self.kill_suite()
        for path in (self.directory / "state").iterdir():
            path.unlink()
        said = self.refused("we did not make", "--unsafe")
        self.assertEqual(len(self.theirs.keys()), 2)
        plain = self.python("-m", "protean_testing", "clean", self.server.url, "--yes", **self.variables)
        self.assertEqual((plain.code, plain.out), (0, "Nothing is left.\n"))
        self.assertEqual(len(self.theirs.keys()), 2, "without --unsafe it clears what a run wrote down")
        self.assertIn("no run of these tests is known", self.clear(said))
        self.runs()

    def test_the_state_is_damaged(self) -> None:
        self.kill_suite()
        record = self.state("json")
        whole = record.read_text()
        wrong = json.loads(whole)
        del wrong["facts"]["server"]
        for text in ("", whole[: len(whole) // 2], "[]", json.dumps(wrong), '{"pid": "1", "facts": []}'):
            with self.subTest(text[:20]):
                record.write_text(text)
                self.refused("we did not make")
                self.assertEqual(len(self.theirs.keys()), 2)
        record.write_text(whole)
        self.runs()

    def test_a_state_of_another_machine(self) -> None:
        self.kill_suite()
        record = self.state("json")
        facts = json.loads(record.read_text())
        facts["host"] = facts["facts"]["host"] = "elsewhere"
        record.write_text(json.dumps(facts))
        self.refused("another machine", "'left'")
        self.assertEqual(len(self.theirs.keys()), 2)

    def test_a_process_that_has_its_pid_now(self) -> None:
        self.kill_suite()
        record = self.state("json")
        record.write_text(json.dumps(json.loads(record.read_text()) | {"pid": os.getpid()}))
        self.runs()

    def test_the_clock_was_set_back(self) -> None:
        self.kill_suite()
        signs = self.state("signs")
        for _ in range(200):
            if json.loads(signs.read_text())["dead"]:
                break
            time.sleep(0.02)
        facts = json.loads(signs.read_text())
        signs.write_text(json.dumps(facts | {"server": facts["server"] + 3_600_000}))
        self.refused("clock was set back")

    def test_its_watchdog_is_killed_with_it(self) -> None:
        process = self.start_suite()
        self.theirs.config_set("hz", 100)
        time.sleep(4)
        self.theirs.set("fresh", "x")
        time.sleep(0.1)
        (watchdog,) = watchdogs(self.directory)
        watchdog.kill()
        process.send_signal(signal.SIGKILL)
        process.wait()
        said = self.refused("'fresh'")
        self.assertNotIn("'left'", said, "it was there before the last sign of life")

    def test_its_watchdog_is_stopped_meanwhile(self) -> None:
        process = self.start_suite()
        time.sleep(2.5)
        (watchdog,) = watchdogs(self.directory)
        watchdog.suspend()
        process.kill()
        process.wait()
        self.theirs.set("mine", "kept")
        time.sleep(6)
        watchdog.resume()
        self.refused("'mine'")
        self.assertEqual(self.theirs.get("mine"), b"kept")

    def test_another_url_of_the_server(self) -> None:
        self.server.kill()
        self.server.settings = ("--port", "7391", "--bind", "127.0.0.1")
        self.server.start()
        urls = [self.server.url, "redis://127.0.0.1:7391/0", "redis://localhost:7391?db=0"]
        for url, next_one in zip(urls, [*urls[1:], urls[0]], strict=True):
            self.kill_suite(REDIS=url)
            self.assertIn("sees []", self.runs(REDIS=next_one).out)

    def test_a_prefix_among_keys_of_others(self) -> None:
        before = self.fill()
        prefix = "{'prefix': 'shop[1]:'}"
        self.kill_suite(OPTIONS=prefix, DO="client.set('shop[1]:a', 1)")
        self.theirs.set("shop1:b", "theirs")
        self.runs(OPTIONS=prefix, DO="client.set('shop[1]:a', 1)")
        self.theirs.delete("shop1:b")
        self.assertEqual(self.content(), before)


class SystemKilledTests(RedisAttacks):
    """The same on a Redis that counts our own look as a touch."""

    program = SYSTEM

    def test_a_refusal_does_not_make_it_worse(self) -> None:
        self.kill_suite()
        self.theirs.set("mine", 1)
        for _ in range(2):
            said = self.refused("'mine'")
            self.assertNotIn("'left'", said)
            time.sleep(2.2)
        self.theirs.delete("mine")
        self.assertIn("sees []", self.runs().out)

    def test_what_was_there_before(self) -> None:
        before = self.fill()
        self.kill_suite(OPTIONS=ADOPT, DO=TEAR)
        self.runs(OPTIONS=ADOPT)
        self.assertEqual(self.content(), before)

    def test_a_key_that_was_changed_since(self) -> None:
        self.kill_suite()
        time.sleep(2.2)
        self.theirs.append("left", "mine")
        self.refused("'left'", "touched since")
        self.refused("'left'", "touched since")
        self.assertEqual(self.theirs.get("left"), b"xmine")


class AdoptedTests(RedisAttacks):
    """Keys were there before the run."""

    def test_what_was_there_comes_back(self) -> None:
        before = self.fill()
        self.kill_suite(OPTIONS=ADOPT, DO=TEAR)
        self.assertNotEqual(self.content(), before)
        outcome = self.runs(OPTIONS=ADOPT, DO="")
        self.assertIn("b'list'", outcome.out)
        self.assertEqual(self.content(), before)
        self.assertEqual([*(self.directory / "state").iterdir()], [])

    def test_all_of_it_was_flushed(self) -> None:
        before = self.fill()
        self.kill_suite(OPTIONS=ADOPT, DO="client.flushall()")
        self.assertEqual(self.theirs.keys(), [])
        self.runs(OPTIONS=ADOPT)
        self.assertEqual(self.content(), before)

    def test_a_run_that_adopts_nothing_leaves_it(self) -> None:
        before = self.fill()
        self.kill_suite(OPTIONS=ADOPT, DO=TEAR)
        self.refused("we did not make")
        self.runs(OPTIONS=ADOPT)
        self.assertEqual(self.content(), before)

    def test_what_came_since_is_kept(self) -> None:
        self.fill()
        self.kill_suite(OPTIONS=ADOPT, DO=TEAR)
        time.sleep(0.5)
        self.theirs.set("mine", 1)
        self.runs(OPTIONS=ADOPT)
        self.assertEqual(self.theirs.get("mine"), b"1")
        self.assertEqual(self.theirs.get("text"), b"theirs")
        self.assertFalse(self.theirs.exists("left"))

    def test_what_was_changed_since_is_refused(self) -> None:
        before = self.fill()
        self.kill_suite(OPTIONS=ADOPT, DO=TEAR)
        self.theirs.append("text", " and mine")
        said = self.refused("'text'", OPTIONS=ADOPT)
        self.assertEqual(self.theirs.get("text"), b"ours and mine")
        self.assertIn("restore key 'text'", self.clear(said))
        self.assertEqual(self.content(), before)

    def test_the_server_started_anew(self) -> None:
        self.server.kill()
        self.server.settings += ("--appendonly", "yes", "--appendfsync", "always")
        self.server.start()
        before = self.fill()
        self.kill_suite(OPTIONS=ADOPT, DO=TEAR)
        self.server.kill()
        self.server.start()
        said = self.refused("started anew", OPTIONS=ADOPT)
        self.clear(said)
        self.assertEqual(self.content().keys(), before.keys())
        self.assertEqual(self.theirs.get("text"), b"theirs")

    def test_its_copy_is_damaged(self) -> None:
        self.fill()
        self.kill_suite(OPTIONS=ADOPT, DO="client.flushall()")
        copy = self.state("copy")
        copy.write_bytes(copy.read_bytes()[:-40])
        outcome = self.run_suite(OPTIONS=ADOPT)
        self.assertFailed(outcome, "is damaged", str(copy))
        self.assertEqual(self.theirs.keys(), [])
        self.assertTrue(copy.exists())

    def test_a_copy_that_cannot_be_written(self) -> None:
        before = self.fill()
        (self.directory / "state").write_text("a file")
        self.assertFailed(self.run_suite(OPTIONS=ADOPT), "PROTEAN_TESTING_STATE")
        self.assertEqual(self.content(), before)

    def test_unsafe_is_what_the_user_said(self) -> None:
        self.fill()
        self.kill_suite(OPTIONS=ADOPT)
        self.runs(OPTIONS="{'unsafe': True}")
        self.assertEqual(self.theirs.keys(), [])


class MeetingTests(RedisAttacks):
    """Two runs at once in one database."""

    def test_prefixes_that_overlap(self) -> None:
        shop = "{'prefix': 'shop:'}"
        process = self.start_suite(OPTIONS=shop, DO="client.set('shop:orders:1', 'live')")
        for options, state in (
            ("{'prefix': 'shop:orders:'}", "state"),
            ("{'prefix': 'shop:orders:'}", "state of another machine"),
            ("{}", "state"),
            ("{'unsafe': True}", "state of another machine"),
            (shop, "state of another machine"),
        ):
            with self.subTest(options, state=state):
                outcome = self.run_suite(OPTIONS=options, PROTEAN_TESTING_STATE=str(self.directory / state))
                self.assertFailed(outcome, f"in use by pid {process.pid}")
                self.assertEqual(outcome.ran, 0)
        self.runs(OPTIONS="{'prefix': 'cart:'}", DO="client.set('cart:1', 1)")
        self.assertEqual(self.theirs.keys(), [b"shop:orders:1"])
        process.kill()
        process.wait()
        self.runs(OPTIONS=shop, DO="")

    def test_two_urls_of_one_server_in_one_process(self) -> None:
        self.server.kill()
        self.server.settings = ("--port", "7392", "--bind", "127.0.0.1")
        self.server.start()
        self.write(
            f"{SUITE}.py",
            f"""
            from protean_testing import test_database
            from protean_testing.stores.redis import RedisStore
            with test_database(RedisStore({self.server.url!r}, prefix="shop:", name="one")) as one:
                one.store("one").client.set("shop:a", 1)
                with test_database(RedisStore("redis://localhost:7392/0", name="two")):
                    pass
            """,
        )
        outcome = self.python(f"{SUITE}.py", **self.variables)
        self.assertFailed(outcome, "store 'two'", "is in the same database as", "Give both the same URL")
        self.assertEqual(self.theirs.keys(), [])

    def test_the_command_leaves_a_live_run_alone(self) -> None:
        process = self.start_suite()
        done = self.python(
            "-m", "protean_testing", "clean", self.server.url, "--yes", "--unsafe", **self.variables
        )
        self.assertEqual(done.code, 1)
        self.assertIn(f"pid {process.pid}", done.err)
        self.assertNotIn("Traceback", done.err)
        self.assertEqual(len(self.theirs.keys()), 2)

    def test_a_user_who_sees_no_others(self) -> None:
        self.theirs.execute_command(
            "ACL", "SETUSER", "ann", "on", ">tomsecret", "~*", "&*", "+@all", "-client|list", "-object"
        )
        url = self.server.url.replace("unix://", "unix://ann:tomsecret@")
        outcome = self.runs(REDIS=url)
        self.assertIn("CLIENT LIST", outcome.err)
        self.assertIn("OBJECT IDLETIME", outcome.err)
        self.kill_suite(REDIS=url)
        said = self.refused("does not say when its keys were last touched", REDIS=url)
        self.assertNotIn("tomsecret", said)
        self.assertEqual(len(self.theirs.keys()), 2)

    def test_a_dead_workers_number_that_somebody_uses_now(self) -> None:
        variables = {"PROTEAN_TESTING_WORKER": "w1"}
        number = redis.Redis(unix_socket_path=str(self.server.socket), db=1)
        self.addCleanup(number.close)
        self.kill_suite(**variables)
        self.assertEqual(len(number.keys()), 2)
        time.sleep(0.5)
        number.set("mine", "kept")
        self.runs(**variables)
        self.runs()
        self.assertEqual(number.get("mine"), b"kept")
        number.delete("mine")
        self.kill_suite(**variables)
        self.runs()
        self.assertEqual(set(self.theirs.info("keyspace")), set())
