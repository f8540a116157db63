"""What a test left behind, in words: warned of, or the test's error, as the store's ``on_leak`` says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from warnings import warn

from ..errors import LeakError, LeakWarning
from ..store import OnLeak, ended_scope, leak_policy

Everything = Mapping[str, Any]
"""What `Store.dump_data` returns: by table, key or other thing, the number of each row or value there."""

_SHOWN = 5  # things in one message


def report_leak(text: str, store: str, on_leak: OnLeak, warning: type[Warning] = LeakWarning) -> None:
    """Raise or warn: `text` goes behind the name of the scope that has ended.

    Parameters:
        text: What it left, the likely cause, and the line to write.
        store: The store's name.
        on_leak: ``"reset"`` says nothing. While a scope is restored, what its own stores ask for.
        warning: What ``"warn"`` warns with.

    Raises:
        LeakError: With ``"fail"``; with ``"warn"`` where the warning is made an error by a filter.
    """
    text, on_leak = f"{ended_scope.get()} {text}", leak_policy.get() or on_leak
    if on_leak == "fail":
        raise LeakError(text, store=store)
    if on_leak == "warn":
        try:
            warn(text, warning, stacklevel=3)
        except warning as error:  # raised as it is, it would end the reset half-way
            raise LeakError(text, store=store) from error


def differences(before: Everything, now: Everything) -> list[str]:
    """What is not the same, each thing with how much of it was added and is missing."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        then: Counter[Any] = Counter(before.get(name, ()))
        there: Counter[Any] = Counter(now.get(name, ()))
        if then == there:
            continue
        added, missing = (there - then).total(), (then - there).total()
        counted = [f"{added} more"] * bool(added) + [f"{missing} missing"] * bool(missing)
        is_one = then.total() == there.total() == 1
        found.append(f"{name}: {'changed' if is_one else ', '.join(counted)}")
    return found


def bullet_list(lines: Iterable[str]) -> str:
    """The lines below each other, each with its end of line, and how many more there are."""
    lines = list(lines)
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "".join(f"  {stack}\n" for stack in [*lines[:_SHOWN], *more])


def counted(number: int, what: str) -> str:
    """``1 connection``, ``2 connections``."""
    return f"{number} {what}{'s' * (number != 1)}"


def strictest(policies: Iterable[OnLeak]) -> OnLeak:
    """What follows if a leak concerns several stores."""
    order: tuple[OnLeak, ...] = ("reset", "warn", "fail")
    return max(policies, key=order.index, default="warn")
