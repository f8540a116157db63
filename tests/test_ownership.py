"""Which run owns a place, and what a test database is called."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest.mock import patch

from protean_testing import ConfigurationError, UnsafeStoreError
from protean_testing.ownership import STATE_VARIABLE, claim, left_over
from protean_testing.safeguard import is_test_name

CLAIM = """
import sys
from protean_testing.ownership import claim
claimed = claim("there")
claimed.remember(before=["a"])
"""


class OwnershipTests(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory())) / "state"
        self.enterContext(patch.dict(os.environ, {STATE_VARIABLE: str(self.directory)}))

    def other(self, code: str = "") -> subprocess.Popen[str]:
        process = subprocess.Popen(
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
        claimed = claim("there")
        self.assertEqual((claimed.left_over, claimed.facts, claimed.owned), (False, {}, True))
        claimed.release()
        claimed.release()
        self.assertFalse(claimed.owned)
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_live_run_has_it(self) -> None:
        other = self.other()
        for call in (claim, left_over):
            with self.assertRaisesRegex(
                UnsafeStoreError, rf"there is in use by pid {other.pid} on .* since 20"
            ):
                call("there")
        claim("elsewhere").release()
        other.communicate("end\n")

    def test_this_run_has_it(self) -> None:
        claimed = claim("there")
        with self.assertRaisesRegex(UnsafeStoreError, "this very process"):
            claim("there")
        claimed.release()
        claim("there").release()

    def test_a_dead_run_left_it(self) -> None:
        other = self.other()
        other.send_signal(signal.SIGKILL)
        other.wait()
        self.assertEqual(left_over("there"), {"before": ["a"]})
        claimed = claim("there")
        self.assertEqual((claimed.left_over, claimed.facts), (True, {"before": ["a"]}))
        claimed.abandon()
        self.assertEqual(left_over("there"), {"before": ["a"]})
        claim("there").release()
        self.assertIsNone(left_over("there"))

    def test_a_run_that_ended_without_a_release_left_it(self) -> None:
        self.other().communicate("end\n")
        self.assertTrue(claim("there").left_over)

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
            claim("there")
        other.send_signal(signal.SIGKILL)
        other.wait()
        self.assertTrue(claim("there").left_over)
        os.kill(child, 0)

    def test_a_directory_that_cannot_be_written(self) -> None:
        self.directory.write_text("a file")
        with self.assertRaisesRegex(ConfigurationError, STATE_VARIABLE):
            claim("there")

    def test_nothing_of_the_place_is_readable(self) -> None:
        claimed = claim("redis://shop:6379/3")
        for path in self.directory.iterdir():
            self.assertNotIn("redis", path.name + path.read_text())
        claimed.release()


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
