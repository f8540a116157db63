"""Runs the project's tests: ``python -m tests``, or ``python -m tests test_redis attacks.test_redis``.

Every module is a process of its own, since the schema of a run and its end belong to a process. Two of them
run at a time. The last line says how many tests passed, failed and were skipped, and the exit code is 0 only
where none failed and some passed.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIMIT = 900.0  # seconds for one module
SLOW = (
    "test_recipes",
    "test_domain_stores",
    "test_domain_configurations",
    "test_documentation",
    "test_packaging",
    "test_typing",
)  # begun first, so that none is left at the end


@dataclass
class Outcome:
    """What came of one module."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    output: str = ""


class _Counting(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.passed += 1

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self.passed += 1


def run_here(name: str, report: Path) -> None:
    """Run one module in this process and write down the counts."""
    suite = unittest.defaultTestLoader.loadTestsFromName(f"tests.{name}")
    result = unittest.TextTestRunner(resultclass=_Counting).run(suite)
    assert isinstance(result, _Counting)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    counts = {"passed": result.passed, "failed": failed, "skipped": len(result.skipped), "cpu": _cpu()}
    report.write_text(json.dumps(counts))
    sys.exit(1 if failed else 0)


def _cpu() -> float:
    """Seconds of a processor that this process and those that it waited for have taken."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run_module(name: str) -> Outcome:
    """Run one module in a process of its own; a crash, a hang or an empty module counts as a failure."""
    outcome, begin = Outcome(name), time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        with open(Path(directory, "output"), "w+b") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests", "--report", str(report), name],
                cwd=HERE.parent,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
                output.write(f"\nno end within {LIMIT:.0f} s\n".encode())
            output.seek(0)
            outcome.output = output.read().decode(errors="replace")
        if report.exists():
            counts = json.loads(report.read_text())
            outcome.passed, outcome.failed, outcome.skipped, outcome.cpu = counts.values()
        if not outcome.failed and (code or not outcome.passed + outcome.skipped):
            outcome.failed = 1
            outcome.output += f"\n{name} ended with exit code {code} after {outcome.passed} passed tests\n"
    outcome.seconds = time.monotonic() - begin
    return outcome


def modules() -> list[str]:
    """Every test module by its dotted name below ``tests``, the slow ones first."""
    found = sorted(path.stem for path in HERE.glob("test_*.py"))
    found += sorted(f"attacks.{path.stem}" for path in (HERE / "attacks").glob("test_*.py"))
    return sorted(found, key=lambda name: name not in SLOW)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", description="Run the project's tests.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as test_lifecycle; all by default")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="modules at a time (2)")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.report:
        run_here(arguments.modules[0], arguments.report)

    # Started in the background, as CI systems do, they are ignored, which every process below would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    compileall.compile_dir(HERE.parent / "protean_testing", quiet=1)  # once, not in each of many processes
    outcomes = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for future in as_completed(
            [pool.submit(run_module, name) for name in arguments.modules or modules()]
        ):
            outcomes.append(outcome := future.result())
            counts = f"{outcome.passed} passed, {outcome.failed} failed, {outcome.skipped} skipped"
            print(
                f"{outcome.name:36} {counts}  ({outcome.seconds:.1f} s, processor {outcome.cpu:.0f} s)",
                flush=True,
            )
            if outcome.failed:
                print(outcome.output, flush=True)
    passed, failed, skipped = (
        sum(getattr(o, key) for o in outcomes) for key in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
