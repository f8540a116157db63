"""The sample suite under zope.testrunner, plainly and with layers."""

from __future__ import annotations

import sys
from pathlib import Path

from .runners.running import LAYERS, SampleTestCase

ZOPE = (str(Path(sys.executable).parent / "zope-testrunner"), "--path", ".", "--tests-pattern", "^test_")


class ZopeTests(SampleTestCase):
    def layers(self) -> None:
        self.write("test_layers.py", LAYERS % "zope")
        self.on_stores += 20

    def test_plain_and_shuffled(self) -> None:
        outcome = self.assertRight(*ZOPE, "--shuffle")
        self.assertShuffled(outcome.log)

    def test_layers_on_postgresql(self) -> None:
        self.layers()
        self.assertRight(*ZOPE, **self.given())

    def test_layers_in_processes(self) -> None:
        self.layers()
        self.assertRight(*ZOPE, "-j", "4", workers=3)  # each layer has a process of its own

    def test_a_failed_drop(self) -> None:
        self.assertIn("the ledger cannot be dropped", self.python(*ZOPE, BROKEN_DROP="1").err)
        self.layers()
        self.assertFailsWithItsDrop(*ZOPE)
        self.assertFailsWithItsDrop(*ZOPE, "-j", "2")

    def test_kills(self) -> None:
        self.layers()
        self.assertNothingLeftAfterKills(*ZOPE, "-j", "2", workers=3, **self.given())
