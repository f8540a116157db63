"""The table, and the lines that say which bars were met."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from .measuring import Cost
from .places import Case
from .shop import Shop

WIDTH = 17


@dataclass
class Section:
    """One server's part of the table.

    Attributes:
        title: Which server.
        cases: The columns.
        costs: By the name of the way and the case.
        scopes: What scopes cost, by role and number of tables, see scopes.py.
    """

    title: str
    cases: list[Case]
    costs: dict[tuple[str, Case], Cost] = field(default_factory=dict)
    scopes: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)

    def times(self, name: str, case: Case) -> float:
        """The cost in multiples of a ``SELECT 1``."""
        return self.costs[name, case].times

    def has(self, *keys: tuple[str, Case]) -> bool:
        return all(key in self.costs for key in keys)


def shown(cost: Cost | None) -> str:
    """Milliseconds, and multiples of a ``SELECT 1``."""
    if cost is None:
        return "-"
    milliseconds = cost.reset * 1000
    digits = 2 if milliseconds < 10 else 1 if milliseconds < 100 else 0
    return f"{milliseconds:,.{digits}f} ({cost.times:,.{1 if cost.times < 100 else 0}f})"


def table(section: Section) -> Iterable[str]:
    """The lines of one section."""
    names = list(dict.fromkeys(name for name, _ in section.costs))
    first = max(len(name) for name in (*names, section.title)) + 1
    yield f"{section.title:<{first}}" + "".join(f"{_head(case):>{WIDTH}}" for case in section.cases)
    for name in names:
        cells = (shown(section.costs.get((name, case))) for case in section.cases)
        yield f"{name:<{first}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)
    ones = [cost.one * 1000 for cost in section.costs.values()]
    hot = median(one for cost in section.costs.values() for one in cost.hot) * 1000
    yield f"{'SELECT 1':<{first}}{min(ones):.3f} to {max(ones):.3f} ms; one after another {hot:.3f} ms"


def _head(case: Case) -> str:
    return f"{case.rows:,} rows, 6" if case.rows else f"{case.written} of {case.tables}"


def bars(section: Section) -> Iterable[tuple[str, float, float]]:
    """What is promised of a section's resets: what, how much it is, and how much it may be."""
    for name in dict.fromkeys(name for name, _ in section.costs if name.startswith("ours")):
        few, many = (Case(tables, 3) for tables in (20, 1000))
        if section.has((name, few), (name, many)):
            ratio = section.costs[name, many].reset / section.costs[name, few].reset
            yield f"{name}: 3 of 1000 tables, times 3 of 20", ratio, 1.3
        for case in section.cases:
            if not section.has((name, case)):
                continue
            if case.rows == 100_000:
                yield f"{name}: {case}, SELECT 1", section.times(name, case), 10
            elif case.written == 0 and not case.rows:
                yield f"{name}: {case}, SELECT 1", section.times(name, case), 2
            elif case.written == 3:
                yield f"{name}: {case}, SELECT 1", section.times(name, case), 15 if "owner" in name else 7


def of_shop(shop: Shop) -> Iterable[str]:
    """The example's suite, as it is and with its schema made for every test."""
    instead = shop.seconds - shop.resets + shop.recreated
    yield "The example's suite on private servers, seconds"
    yield f"  as it is {shop.seconds:.2f}, of which servers, schema and resets {shop.lifecycle:.2f}"
    yield f"  with drop_all and create_all for every test {instead:.2f}, of which these {shop.recreated:.2f}"


def verdict(title: str, bar: tuple[str, float, float]) -> str:
    """One line."""
    what, found, allowed = bar
    return f"{'pass' if found <= allowed else 'MISS'}  {title}, {what}: {found:.2f} (at most {allowed:g})"
