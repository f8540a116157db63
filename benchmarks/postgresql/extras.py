"""What no table of resets shows: whether they become slower, and what the code under test pays."""

from __future__ import annotations

import time
from statistics import median

from protean_testing.servers.postgresql import PrivatePostgreSQL

from .measuring import Cost, Way, timed_one
from .places import Case, Session, connected
from .ways import Ground, ours

WINDOW = 400  # resets of which the median counts


def drift(server: PrivatePostgreSQL, role: str, resets: int) -> tuple[Cost, Cost]:
    """The resets around the 200th (three of 200 tables written by each test), and the last ones."""
    ground = Ground(server, "memory", Case(200, 3))
    way = ours(ground, role)
    early, late = Cost(), Cost()
    window = min(WINDOW, resets // 4)
    for number in range(resets):
        cost = early if window // 2 <= number < window // 2 + window else late
        counts = cost is early or number >= resets - window
        way.test()
        if counts and number % 2:
            cost.ones.append(timed_one(way.session()))
        began = time.perf_counter()
        way.reset()
        if counts and not number % 2:
            cost.resets.append(time.perf_counter() - began)
    way.close()
    return early, late


def insert(server: PrivatePostgreSQL, rounds: int) -> float:
    """How much more an INSERT of one row costs with us, in ``SELECT 1``.

    Each is measured in those of its own session: sessions differ by where the processors put their servers.
    """
    ground = Ground(server, "memory", Case(20, 1))
    ground.make_template()
    way: Way = ours(ground, "superuser")
    names = ("ours_superuser_test", ground.copy("without"))
    sessions = [connected(server, name) for name in names]
    costs: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for session, cost in zip(sessions, costs, strict=True):
            cost.append(_insert(session))
            if number % 10 == 9:
                session.execute("TRUNCATE t3 CASCADE")
        way.reset()
    for session in sessions:
        session.close()
    way.close()
    ground.drop()
    return median(costs[0]) - median(costs[1])


def _insert(session: Session) -> float:
    """An INSERT where it is warm, in ``SELECT 1`` in between."""
    inserts, ones = [], []
    for _ in range(60):
        began = time.perf_counter()
        session.execute("INSERT INTO t3 (note) VALUES ('x')")
        inserts.append(time.perf_counter() - began)
        ones.append(timed_one(session))
    return median(inserts[10:]) / median(ones[10:])
