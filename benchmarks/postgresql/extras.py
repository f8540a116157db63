"""What no table of resets shows: whether they become slower, and what the code under test pays."""

from __future__ import annotations

import time
from statistics import median

from protean_testing.servers.postgresql import PrivatePostgreSQL

from .measuring import Cost, Way, timed_ones
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
        if number % 10 == 0:
            ones = timed_ones(way.session(), 10) if counts else []
        way.test()
        began = time.perf_counter()
        way.reset()
        if counts and ones:
            cost.add([time.perf_counter() - began], ones)
    way.close()
    return early, late


def insert(server: PrivatePostgreSQL, rounds: int) -> float:
    """How much more an INSERT of one row costs with us, in ``SELECT 1`` beside it."""
    ground = Ground(server, "memory", Case(20, 1))
    ground.make_template()
    way: Way = ours(ground, "superuser")
    names = ("ours_superuser_test", ground.copy("without"))
    sessions = [connected(server, name) for name in names]
    more = []
    for number in range(rounds):
        taken = [_inserts(session) for session in sessions]
        more.append((taken[0] - taken[1]) / median(timed_ones(sessions[0], 50)))
        if number % 10 == 9:
            for session in sessions:
                session.execute("TRUNCATE t3 CASCADE")
        way.reset()
    for session in sessions:
        session.close()
    way.close()
    ground.drop()
    return median(more)


def _inserts(session: Session) -> float:
    """Seconds of an INSERT where it is warm."""
    times = []
    for _ in range(60):
        began = time.perf_counter()
        session.execute("INSERT INTO t3 (note) VALUES ('x')")
        times.append(time.perf_counter() - began)
    return median(times[10:])
