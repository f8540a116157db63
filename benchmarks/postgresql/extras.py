"""What no table of resets shows: whether they become slower, and what the code under test pays."""

from __future__ import annotations

import time
from statistics import median

from protean_testing.servers.postgresql import PrivatePostgreSQL

from .measuring import Cost, Way, timed_ones
from .places import Case, connected
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
        if counts and number % 10 == 0:
            timed_ones(way.session(), cost, 10)
        way.test()
        began = time.perf_counter()
        way.reset()
        if counts:
            cost.resets.append(time.perf_counter() - began)
    way.close()
    return early, late


def insert(server: PrivatePostgreSQL, rounds: int) -> tuple[float, float, Cost]:
    """Seconds of an INSERT of one row with and without us, and of a ``SELECT 1`` beside it."""
    ground = Ground(server, "memory", Case(20, 1))
    ground.make_template()
    way: Way = ours(ground, "superuser")
    names = ("ours_superuser_test", ground.copy("without"))
    sessions = [connected(server, name) for name in names]
    taken: tuple[list[float], list[float]] = ([], [])
    cost = Cost()
    for number in range(rounds):
        for session, times in zip(sessions, taken, strict=True):
            for count in range(60):
                began = time.perf_counter()
                session.execute("INSERT INTO t3 (note) VALUES ('x')")
                if count >= 10:
                    times.append(time.perf_counter() - began)
            if number % 10 == 9:
                session.execute("TRUNCATE t3 CASCADE")
        timed_ones(sessions[0], cost, 50)
        cost.resets.append(0.0)
        way.reset()
    for session in sessions:
        session.close()
    way.close()
    ground.drop()
    return median(taken[0]), median(taken[1]), cost
