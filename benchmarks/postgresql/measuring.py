"""Ways are measured in turn, in several rounds, so that a busy machine is equally so for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from .places import Session

SLOW = 0.5  # seconds, from which on a way is measured in two rounds only
WARM = 8  # resets that are not counted at the beginning of a round


@dataclass
class Way:
    """One way to give every test the same data.

    Attributes:
        name: In the table.
        test: What a test does; it is not counted.
        reset: What is done for every test beside that.
        session: A connection like the one that resets, for a ``SELECT 1`` beside it.
        close: Ends all that it needs.
        begin: Done before some tests.
        end: Done after them.
    """

    name: str
    test: Callable[[], object]
    reset: Callable[[], object]
    session: Callable[[], Session]
    close: Callable[[], object]
    begin: Callable[[], object] = lambda: None
    end: Callable[[], object] = lambda: None


@dataclass
class Cost:
    """What a reset costs, in seconds, and a warm ``SELECT 1`` in its place.

    Both follow what a test does: the server's process has slept. One after another they are quicker, most of
    all ``SELECT 1``, but no test has its resets one after another.

    Attributes:
        hot: ``SELECT 1`` one after another.
    """

    resets: list[float] = field(default_factory=list)
    ones: list[float] = field(default_factory=list)
    hot: list[float] = field(default_factory=list)

    @property
    def reset(self) -> float:
        return median(self.resets)

    @property
    def one(self) -> float:
        return median(self.ones)

    @property
    def times(self) -> float:
        return self.reset / self.one


@dataclass(frozen=True)
class Effort:
    """How thoroughly: rounds, and seconds for every way in each."""

    rounds: int
    seconds: float


def measured(ways: Sequence[Way], rows: int, effort: Effort) -> dict[str, Cost]:
    """What each of the ways costs.

    Raises:
        RuntimeError: After a reset there is not what there was before: `rows` that a class shares, no others.
    """
    costs = {way.name: Cost() for way in ways}
    slow = set[str]()
    for number in range(effort.rounds):
        for way in ways:
            if number < 2 or way.name not in slow:
                if _warmed(way) > SLOW:
                    slow.add(way.name)
                _check(way, rows)
                _measure(way, costs[way.name], effort.seconds)
    return costs


def _warmed(way: Way) -> float:
    """Seconds of a reset that is not counted: what others did on the server has emptied its caches."""
    way.begin()
    for _ in range(WARM):
        took = _seconds(way)
        if took > SLOW / 10:
            break
    return took


def _check(way: Way, rows: int) -> None:
    counts = "(SELECT count(*) FROM public.t0), (SELECT count(*) FROM public.shared)"
    there = way.session().execute(f"SELECT {counts}".encode()).fetchone()
    if there != (0, rows):
        raise RuntimeError(f"{way.name} has left {there} rows, where (0, {rows}) were before")


def _measure(way: Way, cost: Cost, seconds: float) -> None:
    until = time.perf_counter() + seconds
    cost.hot += [timed_one(way.session()) for _ in range(50)][10:]
    while True:
        cost.resets.append(_seconds(way))
        way.test()
        cost.ones.append(timed_one(way.session()))
        way.reset()
        if time.perf_counter() > until:
            break
    way.end()


def _seconds(way: Way) -> float:
    way.test()
    began = time.perf_counter()
    way.reset()
    return time.perf_counter() - began


def timed_one(session: Session) -> float:
    """Seconds of a ``SELECT 1``."""
    began = time.perf_counter()
    session.execute("SELECT 1").fetchone()
    return time.perf_counter() - began
