"""Runs a program and compares what is there at the end of each scope with what was there at its start."""

from __future__ import annotations

import secrets
import time
import warnings
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from protean_testing import LeakWarning

from .program import Dialect, Dump, Enter, Leave, Program, Reset, Work, World, programs


class Difference(AssertionError):
    """A scope did not give back what was there when it began."""


def run(program: Program, dialect: Dialect) -> None:
    """Run one program in a world of its own.

    Raises:
        Difference: Naming the program and every part that differs.
    """
    with warnings.catch_warnings(), dialect.world(program.schema) as world:
        warnings.simplefilter("error", LeakWarning)  # no program leaves what is not restored
        open_scopes: list[tuple[Any, Dump]] = []
        begun_at_once = -1  # the step whose scope has begun already
        for number, step in enumerate(program.steps):
            if number == begun_at_once:
                continue
            if isinstance(step, Work):
                world.work(step)
            elif isinstance(step, Enter):
                world.settle()
                before = world.dump()
                open_scopes.append((world.scopes.enter(), before))
            elif open_scopes:
                assert isinstance(step, Leave | Reset)
                follows = isinstance(step, Leave) and isinstance((*program.steps, None)[number + 1], Enter)
                if follows:  # nothing comes between, not even a look
                    begun_at_once = number + 1
                _restore(
                    world, open_scopes, leave=isinstance(step, Leave), enter=follows, what=(program, number)
                )
        while open_scopes:
            _restore(world, open_scopes, leave=True, what=(program, len(program.steps)))


def _restore(
    world: World,
    open_scopes: list[tuple[Any, Dump]],
    *,
    leave: bool,
    enter: bool = False,
    what: tuple[Program, int],
) -> None:
    token, before = open_scopes[-1]
    if leave:
        open_scopes.pop()
        world.scopes.leave(token)
    else:
        world.scopes.reset(token)
    if enter:
        token = world.scopes.enter()
    after = world.dump()
    if enter:
        open_scopes.append((token, after))
    if after != before:
        program, number = what
        parts = [
            f"{name}:\n  at its start {before.get(name)!r}\n  at its end   {after.get(name)!r}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]
        raise Difference(
            f"after step {number}, scope {len(open_scopes)}:\n" + "\n".join(parts) + f"\n{program!r}"
        )


def search(dialect: Dialect, cases: int, *, at: int | None = None, shrink: bool = True) -> float:
    """Run random programs until one differs.

    Parameters:
        dialect: Where to run them.
        cases: How many programs.
        at: The seed; None: the same programs every time.
        shrink: Look for the smallest program that differs.

    Returns:
        Seconds.

    Raises:
        Difference: Of the smallest program found.
    """

    @settings(
        max_examples=cases,
        derandomize=at is None,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(programs(dialect))
    def case(program: Program) -> None:
        run(program, dialect)

    began = time.perf_counter()
    (case if at is None else seed(at)(case))()
    return time.perf_counter() - began


def new_seed() -> int:
    return secrets.randbelow(2**32)
