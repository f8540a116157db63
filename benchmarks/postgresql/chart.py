"""The chart: what a reset costs where few tables of many were written, as SVG, by hand."""

from __future__ import annotations

import math
from html import escape

from .report import Section

WIDTH, HEIGHT = 880, 440
LEFT, RIGHT, TOP, BOTTOM = 80, 310, 56, 48
NAMES = {"ours, superuser": "protean_testing", "ours, owner": "protean_testing, plain owner"}
COLOURS = {
    "ours, superuser": "#d9480f",
    "ours, owner": "#e8890c",
    "TRUNCATE all": "#1c7ed6",
    "DELETE all": "#7048e8",
    "rollback": "#868e96",
    "template clone": "#2b8a3e",
    "drop, create": "#c2255c",
    "Django TestCase": "#5c940d",
    "Django TransactionTestCase": "#0b7285",
    "pytest-postgresql": "#a61e4d",
}
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.grid { stroke: #24292f; stroke-opacity: .15; }
.line { fill: none; stroke-width: 2; }
.ours { stroke-width: 4; }
.bold { font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .grid { stroke: #e6edf3; stroke-opacity: .18; }
  .line, .dot { filter: brightness(1.35); }
}
"""


def drawn(section: Section) -> str:
    """The chart of one section, both axes logarithmic."""
    cases = [case for case in section.cases if case.written == 3 and not case.rows]
    lines = {
        name: [
            (case.tables, section.costs[name, case].reset * 1000)
            for case in cases
            if section.has((name, case))
        ]
        for name in COLOURS
    }
    lines = {name: points for name, points in lines.items() if points}
    values = [cost for points in lines.values() for _, cost in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    sizes = [case.tables for case in cases]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">',
        f"<title>{escape(_title(section))}</title><style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">What every test pays to find the data as it was</text>',
        f'<text x="{LEFT}" y="40">{escape(_title(section))}</text>',
    ]
    for power in range(low, high + 1):
        y = _y(10.0**power, low, high)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_milliseconds(power)}</text>')
    for size in sizes:
        x = _x(size, sizes)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{size:,} tables</text>'
        )
    ends = []
    for name, points in lines.items():
        places = [(_x(size, sizes), _y(cost, low, high)) for size, cost in points]
        path, colour = " ".join(f"{x:.1f},{y:.1f}" for x, y in places), COLOURS[name]
        kind = "line ours" if name.startswith("ours") else "line"
        parts.append(f'<polyline class="{kind}" stroke="{colour}" points="{path}"/>')
        parts += [
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places
        ]
        ends.append((places[-1][1], name, points[-1][1]))
    parts += _labels(ends)
    return "\n".join([*parts, "</svg>\n"])


def _title(section: Section) -> str:
    return f"{section.title}; a test writes to 3 tables; milliseconds, both axes logarithmic"


def _labels(ends: list[tuple[float, str, float]]) -> list[str]:
    """Names at the ends of the lines, moved apart where they would meet."""
    parts, last = [], -math.inf
    for y, name, cost in sorted(ends):
        last = max(y + 4, last + 15)
        bold = ' class="bold"' if name.startswith("ours") else ""
        digits = 2 if cost < 10 else 0
        x = WIDTH - RIGHT + 10
        parts.append(
            f'<rect class="dot" x="{x}" y="{last - 8:.1f}" width="8" height="8" fill="{COLOURS[name]}"/>'
        )
        said = f"{NAMES.get(name, name)}: {cost:,.{digits}f} ms"
        parts.append(f'<text{bold} x="{x + 13}" y="{last:.1f}">{escape(said)}</text>')
    return parts


def _milliseconds(power: int) -> str:
    return f"{10**power:,} ms" if power >= 0 else f"{10.0**power:.{-power}f} ms"


def _x(size: int, sizes: list[int]) -> float:
    if len(sizes) == 1:
        return LEFT + 20
    share = math.log(size / min(sizes)) / math.log(max(sizes) / min(sizes))
    return LEFT + 20 + share * (WIDTH - LEFT - RIGHT - 30)


def _y(cost: float, low: int, high: int) -> float:
    share = (math.log10(cost) - low) / max(high - low, 1)
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
