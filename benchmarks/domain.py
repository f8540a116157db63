"""What giving back a Protean domain costs, beside Protean's own reset: ``python -m benchmarks.domain``.

On a private PostgreSQL, domains of 5, 50 and 200 aggregates of which three are written; then the whole time
that a test spends in this library when everything is in memory, beside Protean's reset of everything. Medians
of one run, in microseconds, and in brackets multiples of ``SELECT 1`` through the provider's engine.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import unittest
from collections.abc import Callable
from statistics import median
from typing import Any

from protean import Domain
from protean.fields import String
from sqlalchemy import text

from protean_testing.core.run import run
from protean_testing.domain import DomainTestCase, test_domain

os.environ["PROTEAN_NO_AUTO_LOGGING"] = "1"
WRITTEN = 3


def domain_of(aggregates: int) -> tuple[Any, list[Any]]:
    domain = Domain(root_path=__file__, name=f"Domain{aggregates}", config={})
    made = [
        domain.aggregate(type(f"Thing{number}", (), {"__annotations__": {}, "name": String(max_length=50)}))
        for number in range(aggregates)
    ]
    return domain, made


def timed(work: Callable[[], object], times: int, prepare: Callable[[], object] = lambda: None) -> float:
    """The median of some runs, in microseconds; `prepare` goes before each and is not counted."""
    taken = []
    for _ in range(times):
        prepare()
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken) * 1e6


def on_postgresql(aggregates: int, times: int) -> dict[str, float]:
    domain, things = domain_of(aggregates)
    config = {"databases": {"default": {"provider": "postgresql"}}}
    with test_domain(domain, config=config, traverse=False) as db:
        provider = domain.providers["default"]
        store = db.store("default")

        def write() -> None:
            for thing in things[:WRITTEN]:
                domain.repository_for(thing).add(thing(name="a"))

        def select() -> None:
            with provider._engine.connect() as connection:
                connection.execute(text("SELECT 1"))

        whole = timed(db.reset, times, write)
        snapshot = store.save_data()
        found = {
            "all of the domain, ours": whole,
            "SELECT 1": timed(select, times * 10),
            "ours": timed(lambda: store.reset_data(snapshot), times, write),
            "ours, nothing written": timed(lambda: store.reset_data(snapshot), times),
            "Protean": timed(provider._data_reset, times, write),
            "SELECT 1 again": timed(select, times * 10),
        }
        store.reset_data(snapshot)
        store.forget_data(snapshot)
    found["SELECT 1"] = (found["SELECT 1"] + found.pop("SELECT 1 again")) / 2
    return found


def in_memory(aggregates: int, times: int) -> dict[str, float]:
    domain, things = domain_of(aggregates)

    def write() -> None:
        for thing in things[:WRITTEN]:
            domain.repository_for(thing).add(thing(name="a"))

    def reset_everything() -> None:
        """What Protean has for it: the four kinds of adapters, and the context of the next test."""
        for provider in domain.providers.values():
            provider._data_reset()
        for broker in domain.brokers.values():
            broker._data_reset()
        domain.event_store.store._data_reset()
        for cache in domain.caches.values():
            cache.flush_all()
        with domain.domain_context():  # what the next test needs
            pass

    with test_domain(domain, traverse=False):
        protean = timed(reset_everything, times, write)

    inside: list[float] = []

    class Tests(DomainTestCase):
        def test_it(self) -> None:
            began = time.perf_counter()
            write()
            inside.append(time.perf_counter() - began)

    class Plain(unittest.TestCase):
        def test_it(self) -> None: ...

    Tests.domain, Tests.traverse = domain, False
    Tests.setUpClass()
    whole = []
    for _ in range(times):
        result = unittest.TestResult()
        began = time.perf_counter()
        Tests("test_it").run(result)
        whole.append(time.perf_counter() - began)
        assert result.wasSuccessful(), result.errors
    Tests.doClassCleanups()
    plain = timed(lambda: Plain("test_it").run(unittest.TestResult()), times)
    ours = median(all_of_it - body for all_of_it, body in zip(whole, inside, strict=True)) * 1e6 - plain
    return {"ours": ours, "Protean": protean}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=100, help="runs of each case (default: 100)")
    times = parser.parse_args().times
    logging.disable(logging.CRITICAL)
    print(f"PostgreSQL, {WRITTEN} aggregates written: microseconds (multiples of SELECT 1)")
    columns = ("ours", "ours, nothing written", "all of the domain, ours", "Protean")
    print(f"{'aggregates':>10}  " + "  ".join(f"{column:>24}" for column in columns) + "  faster by")
    for aggregates in (5, 50, 200):
        found = on_postgresql(aggregates, times)
        unit = found["SELECT 1"]
        cells = [f"{found[column]:,.0f} ({found[column] / unit:.1f})" for column in columns]
        print(
            f"{aggregates:>10}  "
            + "  ".join(f"{cell:>24}" for cell in cells)
            + f"  {found['Protean'] / found['ours']:.0f}"
        )
    print(f"\nIn memory, {WRITTEN} aggregates written: microseconds")
    print(f"{'aggregates':>10}  {'ours, around a test':>20}  {'Protean, a reset':>20}")
    for aggregates in (5, 50, 200):
        found = in_memory(aggregates, times)
        print(f"{aggregates:>10}  {found['ours']:>20,.0f}  {found['Protean']:>20,.0f}")
    run.end()


if __name__ == "__main__":
    main()
