"""Which run owns a place, and what a test database is called."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from protean_testing import ConfigurationError, UnsafeStoreError
from protean_testing.ownership import (
    STATE_VARIABLE,
    Left,
    Marker,
    Thing,
    acquire,
    all_left,
    examine,
    is_test_name,
    left_over,
    new_marker,
)
from protean_testing.ownership.watchdog import uptime

from . import interpreters

CLAIM = """
import sys
from protean_testing.ownership import acquire
claimed = acquire("there")
claimed.remember(before=["a"])
"""


class OwnershipTests(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory())) / "state"
        self.enterContext(patch.dict(os.environ, {STATE_VARIABLE: str(self.directory)}))

    def other(self, code: str = "") -> subprocess.Popen[str]:
        process = interpreters.Program(
            [sys.executable, "-c", CLAIM + code + "\nprint('ready', flush=True); sys.stdin.readline()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def test_a_place_of_nobody(self) -> None:
        self.assertIsNone(left_over("there"))
        claimed = acquire("there")
        self.assertEqual((claimed.left_over, claimed.facts, claimed.owned), (False, {}, True))
        claimed.release()
        claimed.release()
        self.assertFalse(claimed.owned)
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_live_run_has_it(self) -> None:
        other = self.other()
        for call in (acquire, left_over):
            with self.assertRaisesRegex(
                UnsafeStoreError, rf"there is in use by pid {other.pid} on .* since 20"
            ):
                call("there")
        acquire("elsewhere").release()
        other.communicate("end\n")

    def test_this_run_has_it(self) -> None:
        claimed = acquire("there")
        with self.assertRaisesRegex(UnsafeStoreError, "this very process"):
            acquire("there")
        claimed.release()
        acquire("there").release()

    def test_a_dead_run_left_it(self) -> None:
        other = self.other()
        other.send_signal(signal.SIGKILL)
        other.wait()
        self.assertEqual(left_over("there"), {"before": ["a"]})
        claimed = acquire("there")
        self.assertEqual((claimed.left_over, claimed.facts), (True, {"before": ["a"]}))
        claimed.abandon()
        self.assertEqual(left_over("there"), {"before": ["a"]})
        acquire("there").release()
        self.assertIsNone(left_over("there"))

    def test_a_run_that_ended_without_a_release_left_it(self) -> None:
        self.other().communicate("end\n")
        self.assertTrue(acquire("there").left_over)

    def test_a_forked_child_does_not_own_and_does_not_keep(self) -> None:
        other = self.other(
            """
import os, time
from pathlib import Path
note = Path(os.environ["PROTEAN_TESTING_STATE"], "child")
if not os.fork():
    claimed.release()
    note.write_text(str(os.getpid()))
    time.sleep(60)
    os._exit(0)
while not note.exists() or not note.read_text():
    time.sleep(0.01)
"""
        )
        child = int((self.directory / "child").read_text())
        self.addCleanup(os.kill, child, signal.SIGKILL)
        with self.assertRaisesRegex(UnsafeStoreError, f"pid {other.pid}"):
            acquire("there")
        other.send_signal(signal.SIGKILL)
        other.wait()
        self.assertTrue(acquire("there").left_over)
        os.kill(child, 0)

    def test_a_place_whose_lock_was_let_go_first_is_released_all_the_same(self) -> None:
        claimed = acquire("there")
        claimed._lock.release(force=True)  # as filelock does before the exit handlers that end a run
        self.assertTrue(claimed.owned)
        claimed.release()
        self.assertIsNone(left_over("there"))

    def test_what_another_run_has_taken_meanwhile_is_not_released(self) -> None:
        claimed = acquire("there")
        (record,) = self.directory.glob("*.json")
        theirs = json.dumps(json.loads(record.read_text()) | {"host": "elsewhere"})
        record.write_text(theirs)
        self.assertFalse(claimed.owned)
        claimed.release()
        self.assertEqual(record.read_text(), theirs)
        claimed._lock.release()

    def test_a_damaged_record_is_nobodys(self) -> None:
        self.other("claimed.remember(kind='k')").kill()
        self.await_left("k")
        (record,) = self.directory.glob("*.json")
        whole = record.read_text()
        older = {name: value for name, value in json.loads(whole).items() if name != "facts"}
        for text in ("", whole[:30], "[]", "null", json.dumps(older), whole.replace('{"kind": "k"}', "[]")):
            record.write_text(text)
            self.assertIsNone(left_over("there"), text)
            self.assertEqual(all_left("k"), [], text)

    def test_a_dead_run_is_seen_by_all(self) -> None:
        self.assertEqual(all_left("k"), [])
        other = self.other("claimed.remember(kind='k')\nclaimed.watch()")
        self.assertEqual(all_left("k"), [])
        before = uptime()
        other.kill()
        (left,) = self.await_left("k")
        signs = left.signs
        assert signs is not None
        self.assertTrue(signs.dead)
        self.assertLess(before - 0.1, signs.uptime)
        self.assertLess(signs.uptime, uptime())
        acquire("there").release()
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_run_whose_watchdog_was_killed_has_its_last_sign_of_life(self) -> None:
        claimed = acquire("there")
        claimed.remember(kind="k")
        claimed.watch()
        (watchdog,) = [
            process
            for process in psutil.process_iter(["cmdline", "environ"])
            if any(word.endswith("watchdog.py") for word in process.info["cmdline"] or ())
            and (process.info["environ"] or {}).get(STATE_VARIABLE) == str(self.directory)
        ]
        watchdog.kill()
        claimed.abandon()
        (left,) = all_left("k")
        signs = left.signs
        assert signs is not None
        self.assertFalse(signs.dead)
        acquire("there").release()
        self.assertEqual(os.listdir(self.directory), [])

    def await_left(self, kind: str) -> list[Left]:
        for _ in range(500):
            if left := all_left(kind):
                return left
            time.sleep(0.01)
        raise AssertionError("it never died")

    def test_a_directory_that_cannot_be_written(self) -> None:
        self.directory.write_text("a file")
        with self.assertRaisesRegex(ConfigurationError, STATE_VARIABLE):
            acquire("there")

    def test_nothing_of_the_place_is_readable(self) -> None:
        claimed = acquire("redis://shop:6379/3")
        for path in self.directory.iterdir():
            self.assertNotIn("redis", path.name + path.read_text())
        claimed.release()


class ExamineTests(unittest.TestCase):
    """The decision that every store asks for."""

    IDENTITY = "database 1 of server 2"

    def setUp(self) -> None:
        before = ["kept"] if self._testMethodName.endswith("beside_others") else []
        self.marker = new_marker(self.IDENTITY, before).having_made(["ours"])

    def examined(self, *things: Thing, marker: Marker | None = None, **options: Any) -> list[str]:
        found = examine(
            things,
            marker,
            identity=self.IDENTITY,
            store="shop",
            where="postgresql://h/shop_test",
            clear="python -m protean_testing clean postgresql://h/shop_test",
            **options,
        )
        return [thing.identity for thing in found]

    def test_a_place_of_nobody(self) -> None:
        self.assertEqual(self.examined(Thing("a", "table a"), Thing("b", "table b", holds_data=True)), [])

    def test_what_would_be_created_is_refused_empty_or_not(self) -> None:
        for thing in (Thing("a", "table a", planned=True), Thing("a", "table a", True, planned=True)):
            with self.assertRaisesRegex(UnsafeStoreError, r"store 'shop'[\s\S]*table a[\s\S]*adopt=True"):
                self.examined(thing)
            self.assertEqual(self.examined(thing, unsafe=True), ["a"])

    def test_rows_are_refused_if_nobody_knows_what_will_be_created(self) -> None:
        self.assertEqual(self.examined(Thing("a", "table a"), only_rows=True), [])
        rows = Thing("a", "table a", holds_data=True)
        with self.assertRaisesRegex(UnsafeStoreError, "table a"):
            self.examined(rows, only_rows=True)
        self.assertEqual(self.examined(rows, only_rows=True, unsafe=True), [], "they are the baseline then")

    def test_what_a_dead_run_made_goes_with_its_rows(self) -> None:
        ours = Thing("ours", "table ours", holds_data=True, planned=True)
        self.assertEqual(self.examined(ours, marker=self.marker), ["ours"])

    def test_what_came_since_goes_only_if_empty(self) -> None:
        self.assertEqual(self.examined(Thing("new", "table new"), marker=self.marker), ["new"])
        with self.assertRaisesRegex(UnsafeStoreError, r"killed[\s\S]*table new[\s\S]*clean postgresql"):
            self.examined(Thing("new", "table new", holds_data=True), marker=self.marker)

    def test_what_came_since_beside_others(self) -> None:
        new, kept = Thing("new", "table new"), Thing("kept", "table kept", holds_data=True)
        self.assertEqual(self.examined(new, kept, marker=self.marker), [])
        with self.assertRaisesRegex(UnsafeStoreError, "table kept"):
            self.examined(Thing("kept", "table kept", planned=True), marker=self.marker)

    def test_a_marker_that_came_with_a_copy_proves_nothing(self) -> None:
        copied = dataclasses.replace(self.marker, identity="database 7 of server 2")
        with self.assertRaisesRegex(UnsafeStoreError, r"copy[\s\S]*clean postgresql"):
            self.examined(Thing("ours", "table ours"), marker=copied)
        self.assertEqual(self.examined(Thing("ours", "table ours"), marker=copied, unsafe=True), [])

    def test_a_marker_comes_back_from_its_text(self) -> None:
        self.assertEqual(Marker.from_json(self.marker.to_json()), self.marker)
        self.assertTrue(self.marker.is_this_run)
        for text in ("", "{}", '{"identity": 1}', "[]", "null"):
            self.assertIsNone(Marker.from_json(text), text)


class NameTests(unittest.TestCase):
    def test_names_of_test_databases(self) -> None:
        for name in ("test", "shop_test", "test-shop", "shop.tests", "testing", "ShopTest", "shopTest2",
                     "TEST_SHOP", "test1", "shop_test_gw0", "testdb", "shop unittest"):  # fmt: skip
            self.assertTrue(is_test_name(name), name)

    def test_other_names(self) -> None:
        for name in (
            "shop",
            "contest",
            "latest",
            "LATEST",
            "attest",
            "testament",
            "protest_votes",
            "shoptest",
            "",
        ):
            self.assertFalse(is_test_name(name), name)
