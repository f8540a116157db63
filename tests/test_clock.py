"""A test that froze time, as freezegun does, holds up no wait of the library's own."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "protean_testing"

# Programs of their own, which no test's clock reaches.
APART = {"ownership/watchdog.py", "servers/watchdog.py", "clock.py"}


class FrozenClockTests(unittest.TestCase):
    def test_a_wait_ends(self) -> None:
        program = """
            import sys, time
            import protean_testing
            from protean_testing import waiting

            real = time.monotonic, time.perf_counter
            frozen = lambda: 0.0
            for module in list(sys.modules.values()):           # as freezegun does
                for name, value in list(vars(module).items()):
                    if any(value is one for one in real):
                        setattr(module, name, frozen)
            for turn in waiting.turns(0.2):
                pass
            print(turn.is_last)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=10
        )
        self.assertEqual(done.stdout, "True\n", done.stderr)

    def test_nobody_has_a_clock_of_his_own(self) -> None:
        found = [
            str(path.relative_to(PACKAGE))
            for path in PACKAGE.rglob("*.py")
            if path.relative_to(PACKAGE).as_posix() not in APART
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module == "time"
        ]
        self.assertEqual(found, [])
