"""What restoring a Protean domain costs, beside Protean's own reset: ``python -m benchmarks.domain``.

On a private PostgreSQL, domains of 5, 50 and 200 aggregates of which three are written; then the whole time
that a test spends in this library when everything is in memory, beside Protean's reset of everything and
beside a test on one dictionary. Medians of one run, in microseconds, and in brackets multiples of
``SELECT 1`` through the provider's engine. Ours and the others take turns, since a machine is not always as
fast.

Then what a class of one test costs, and ``db.scope()`` in a test, if nothing is written in it or one event or
entry, with nothing and with 10,000 of them around it: in a Message DB and in a dictionary.
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

import psycopg
from protean import Domain
from protean.fields import String
from sqlalchemy import text

from protean_testing import CallableStore, DatabaseTestCase
from protean_testing.core.run import run
from protean_testing.domain import DomainTestCase, test_domain
from protean_testing.errors import ConfigurationError
from protean_testing.servers.postgresql import private_postgresql
from protean_testing.stores.message_db.install import install
from protean_testing.stores.message_db.store import MessageDBStore

from .classes import class_costs, print_costs, print_head

os.environ["PROTEAN_NO_AUTO_LOGGING"] = "1"
WRITTEN = 3


def domain_of(aggregates: int) -> tuple[Any, list[Any]]:
    domain = Domain(root_path=__file__, name=f"Domain{aggregates}", config={})
    made = [
        domain.aggregate(type(f"Thing{number}", (), {"__annotations__": {}, "name": String(max_length=50)}))
        for number in range(aggregates)
    ]
    return domain, made


def timed(
    times: int, *works: Callable[[], object], prepare: Callable[[], object] = lambda: None
) -> list[float]:
    """The medians of some runs, in microseconds; `prepare` goes before each and is not counted."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for work, found in zip(works, taken, strict=True):
            prepare()
            began = time.perf_counter()
            work()
            found.append(time.perf_counter() - began)
    return [median(found) * 1e6 for found in taken]


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

        (whole,) = timed(times, db.reset, prepare=write)
        snapshot = store.save_data()
        protean, ours = timed(  # each on three tables that were written, and no other
            times,
            provider._data_reset,
            lambda: store.reset_data(snapshot),
            prepare=lambda: (store.reset_data(snapshot), write()),
        )
        nothing, unit = timed(times * 3, lambda: store.reset_data(snapshot), select)
        store.reset_data(snapshot)
        store.forget_data(snapshot)
    return {
        "ours": ours,
        "ours, nothing written": nothing,
        "all of the domain, ours": whole,
        "Protean": protean,
        "SELECT 1": unit,
    }


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

    inside: list[float] = [0.0]

    class Tests(DomainTestCase):
        def test_it(self) -> None:
            began = time.perf_counter()
            write()
            inside.append(time.perf_counter() - began)

    class OneDictionary(DatabaseTestCase):
        stores = [CallableStore({})]

        def test_it(self) -> None: ...

    class Plain(unittest.TestCase):
        def test_it(self) -> None: ...

    result = unittest.TestResult()  # one, as in a run

    def seconds(case: unittest.TestCase) -> float:
        began = time.perf_counter()
        case.run(result)
        taken = time.perf_counter() - began
        assert result.wasSuccessful(), result.errors
        return taken

    Tests.domain, Tests.traverse = domain, False
    taken: dict[str, list[float]] = {"ours": [], "Protean": [], "one dictionary": []}
    for cls in (Tests, OneDictionary):
        cls.setUpClass()
    for _ in range(times):
        plain = seconds(Plain("test_it"))
        taken["one dictionary"].append(seconds(OneDictionary("test_it")) - plain)
        taken["ours"].append(seconds(Tests("test_it")) - inside[-1] - plain)
        with domain.domain_context():
            write()
            began = time.perf_counter()
            reset_everything()
            taken["Protean"].append(time.perf_counter() - began)
    for cls in (OneDictionary, Tests):
        cls.doClassCleanups()
    return {name: median(values) * 1e6 for name, values in taken.items()}


def in_message_db(events: int, times: int) -> dict[str, float]:
    """The costs of a class on a private Message DB with so many events, and of a SELECT 1 beside it."""
    server = private_postgresql()
    url = server.create_database(f"message_db_{events}")
    store = MessageDBStore(url.replace("+psycopg", ""), private=True)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        install(connection)
        connection.execute("SET search_path = message_store, public")
        add = "SELECT write_message(gen_random_uuid()::varchar, 'order-1', 'Placed', '{}'::jsonb)"
        connection.execute(f"SELECT count(write) FROM generate_series(1, {events}), LATERAL ({add}) write")
        costs = class_costs(
            [store], lambda: connection.execute(add), times, lambda: connection.execute("SELECT 1")
        )
    run.end()
    return costs


def in_dictionary(entries: int, times: int) -> dict[str, float]:
    """The costs of a class on a dictionary with so many entries, and of a copy of one with 10,000."""
    held: dict[int, object] = {number: object() for number in range(entries)}
    copied = dict.fromkeys(range(10_000))
    costs = class_costs([CallableStore(held)], lambda: held.update({-1: None}), times, lambda: dict(copied))
    run.end()
    return costs


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
    print(
        f"{'aggregates':>10}  {'ours, around a test':>20}  {'Protean, a reset':>20}  {'one dictionary':>20}"
    )
    for aggregates in (5, 50, 200):
        found = in_memory(aggregates, times)
        cells = [f"{found[name]:>20,.0f}" for name in ("ours", "Protean", "one dictionary")]
        print(f"{aggregates:>10}  {'  '.join(cells)}")
    run.end()
    print()
    print_head()
    try:
        for events in (0, 10_000):
            print_costs(f"Message DB, {events:,} events", in_message_db(events, times // 4), "SELECT 1")
    except ConfigurationError as error:  # its SQL is not here
        print(error)
    for entries in (0, 10_000):
        print_costs(f"CallableStore, {entries:,} entries", in_dictionary(entries, times), "dict()")


if __name__ == "__main__":
    main()
