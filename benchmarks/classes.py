"""What work, a class of one test and a scope inside a test cost: for the benchmarks of the stores."""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable, Sequence
from statistics import median

from protean_testing import DatabaseTestCase
from protean_testing.store import Store

COLUMNS = ("class", "class, written", "scope", "scope, written")


def class_costs(
    stores: Sequence[Store],
    write: Callable[[], object],
    times: int,
    unit: Callable[[], object],
) -> dict[str, float]:
    """Medians of some runs in microseconds, without the test's own time.

    Parameters:
        stores: What the class declares.
        write: What a test writes.
        times: Runs of each case.
        unit: A round trip to the server, which is measured in between, since a machine is not always as fast.

    Returns:
        By the `COLUMNS`, and the ``unit``.
    """
    inside, scopes = [0.0], [0.0]
    is_written, in_scope = [False], [False]

    class Tests(DatabaseTestCase):
        def test_it(self) -> None:
            began = time.perf_counter()
            if in_scope[0]:
                with self.db.scope():
                    written = _seconds(write) if is_written[0] else 0.0
                scopes[0] = time.perf_counter() - began - written
            elif is_written[0]:
                write()
            inside[0] = time.perf_counter() - began

    Tests.stores = stores

    def one_class() -> float:
        result = unittest.TestResult()
        suite = unittest.TestSuite([Tests("test_it")])
        taken = _seconds(lambda: suite.run(result))
        assert result.wasSuccessful(), result.errors + result.failures
        return taken - inside[0]

    found: dict[str, list[float]] = {column: [] for column in (*COLUMNS, "unit")}
    one_class()  # makes the schema
    for _ in range(times):
        for column in COLUMNS:
            in_scope[0], is_written[0] = column.startswith("scope"), column.endswith("written")
            taken = one_class()
            found[column].append(scopes[0] if in_scope[0] else taken)
            in_scope[0] = is_written[0] = False
            one_class()  # not the next one, but this pays for what the written one leaves unknown
            found["unit"].append(_seconds(unit))
    return {column: median(values) * 1e6 for column, values in found.items()}


def timed(work: Callable[[], object], times: int, prepare: Callable[[], object] = lambda: None) -> float:
    """The median of some runs, in microseconds."""
    taken = []
    for _ in range(times):
        prepare()
        taken.append(_seconds(work))
    return median(taken) * 1e6


def print_costs(title: str, costs: dict[str, float], unit: str) -> None:
    """Print one line: microseconds, and multiples of the unit."""
    cells = "".join(f"{costs[column]:10,.0f} ({costs[column] / costs['unit']:5.1f})" for column in COLUMNS)
    print(f"{title:44}{costs['unit']:8,.0f} {unit:8}{cells}", flush=True)


def print_head() -> None:
    """Print the line above them."""
    print(f"{'':61}" + "".join(f"{column:>18}" for column in COLUMNS))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
