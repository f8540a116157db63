"""The example's suite, and what it would take with its schema dropped and created for every test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import unittest
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Shop:
    """One run of it, or the medians of several.

    Attributes:
        seconds: All of it.
        lifecycle: Seconds of servers, schema, resets and dropping.
        resets: Seconds of the resets alone.
        recreated: Seconds to drop and create the schema as often as there are tests.
    """

    seconds: float
    lifecycle: float
    resets: float
    recreated: float


def shop(rounds: int) -> Shop:
    """Runs it in processes of its own."""
    runs = [_run() for _ in range(rounds)]
    return Shop(*(median(values) for values in zip(*(vars(one).values() for one in runs), strict=True)))


def _run() -> Shop:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TEST_")}
    environment |= {"TEST_INFRA": "full", "PROTEAN_TESTING_SUMMARY": "1"}
    done = subprocess.run(
        [sys.executable, "-m", __name__], env=environment, capture_output=True, text=True, check=True
    )
    patterns = (r"% of ([\d.]+) s", r"lifecycle ([\d.]+)", r"ms, ([\d.]+) s in all", r"recreated ([\d.]+)")
    whole, lifecycle, resets, recreated = (
        float(re.findall(pattern, done.stderr + done.stdout)[-1]) for pattern in patterns
    )
    return Shop(whole - recreated, lifecycle, resets, recreated)


def main() -> int:
    """Run the suite; after every test its tables are dropped and created, in a database beside."""
    sys.path.insert(0, str(EXAMPLES / "shop"))
    from sqlalchemy import create_engine

    from protean_testing.core.run import run
    from protean_testing.servers.postgresql import start_postgresql
    from shop.models import Base

    server = start_postgresql()
    engine = create_engine(server.create_database("recreated"))
    Base.metadata.create_all(engine)
    took: list[float] = []

    class Result(unittest.TextTestResult):
        def stopTest(self, test: Any) -> None:
            super().stopTest(test)
            began = time.perf_counter()
            Base.metadata.drop_all(engine)
            Base.metadata.create_all(engine)
            took.append(time.perf_counter() - began)

    suite = unittest.defaultTestLoader.discover(str(EXAMPLES / "shop"), top_level_dir=str(EXAMPLES / "shop"))
    done = unittest.TextTestRunner(resultclass=Result).run(suite)
    engine.dispose()
    server.stop()
    print(f"recreated {sum(took):.2f}, lifecycle {run.figures.together:.3f}")
    return 0 if done.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
