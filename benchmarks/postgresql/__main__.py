"""What a reset costs on PostgreSQL, beside the other ways: ``python -m benchmarks.postgresql``.

Every server is started for it. Numbers are milliseconds, and in brackets multiples of a warm ``SELECT 1`` in
the reset's place in the same run; medians. ``3 of 200`` stands for a test that adds three rows to each of
three tables in a schema of 200; ``1,000 rows, 6`` for one that inserts three rows, updates two and deletes
one of 1,000 that its whole class shares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from protean_testing.servers.postgresql import PrivatePostgreSQL

from . import chart, extras, report, scopes, ways
from .measuring import Effort, Way, measured
from .peers import django_ways, pytest_postgresql_way
from .places import ROLES, Case, Kind, started
from .shop import shop
from .ways import Ground

OLD = Path("/usr/lib/postgresql/15/bin")
PEERS = {"django": "Django", "pytest_postgresql": "pytest-postgresql"}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgresql", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds, in memory, no drift")
    parser.add_argument("--tables", type=int, nargs="+", default=[20, 200, 1000], metavar="N")
    parser.add_argument("--written", type=int, nargs="+", default=[0, 3, 20], metavar="N")
    parser.add_argument("--rows", type=int, nargs="*", default=[1000, 100_000], metavar="N")
    parser.add_argument("--roles", nargs="+", default=list(ROLES), choices=ROLES)
    parser.add_argument("--where", nargs="+", default=["memory", "disk"], choices=["memory", "disk"])
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="a directory on a disk")
    parser.add_argument("--servers", nargs="+", default=["embedded", "15"], choices=["embedded", "15"])
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="for each way in each round")
    parser.add_argument("--resets", type=int, default=20_000, help="how many, to see whether they slow down")
    parser.add_argument("--scopes", type=int, default=60, help="how many of each kind; 0 for none")
    parser.add_argument("--no-shop", action="store_true", help="without the example's suite")
    parser.add_argument("--chart", type=Path, help="draw it into this file (SVG)")
    found = parser.parse_args()
    if found.quick:
        found.where, found.rounds, found.seconds, found.resets = ["memory"], 2, 0.02, 800
        found.servers, found.no_shop, found.scopes = found.servers[:1], True, 2
    return found


def kinds(found: argparse.Namespace) -> Iterator[Kind]:
    for server in found.servers:
        if server == "embedded" or OLD.exists():
            for where in found.where:
                yield Kind(None if server == "embedded" else OLD, where)


def cases(found: argparse.Namespace) -> list[Case]:
    listed = [Case(tables, written) for tables in found.tables for written in found.written]
    return [case for case in listed if case.written <= case.tables] + [
        Case(20, 0, rows) for rows in found.rows
    ]


def all_ways(ground: Ground, found: argparse.Namespace) -> Iterator[Way]:
    for role in found.roles:
        yield ways.ours(ground, role)
    if (
        found.no_peers
        or ground.case.written not in (0, 3)
        or (not ground.case.written and not ground.case.rows)
    ):
        return
    for make in (ways.truncate, ways.delete, ways.rollback, ways.clone, ways.recreate):
        yield make(ground)
    makers: Iterable[tuple[str, Callable[[Ground], list[Way]]]] = (
        ("django", django_ways),
        ("pytest_postgresql", lambda ground: [pytest_postgresql_way(ground)]),
    )
    for name, several in makers:
        try:
            yield from several(ground)
        except ImportError as missing:
            if missing.name is None or missing.name.partition(".")[0] != name:
                raise


def missing_peers() -> list[str]:
    from importlib.util import find_spec

    return [shown for name, shown in PEERS.items() if find_spec(name) is None]


def section(kind: Kind, found: argparse.Namespace, verdicts: list[str]) -> report.Section:
    effort = Effort(found.rounds, found.seconds)
    with started(kind, found.disk) as server:
        durability = "in memory, fsync off" if kind.where == "memory" else "on disk, fsync on"
        part = report.Section(f"PostgreSQL {server.version}, {durability}", cases(found))
        for case in part.cases:
            print(f"{part.title}: {case}", file=sys.stderr)
            ground = Ground(server, kind.where, case)
            ground.make_template()
            several = []
            try:
                for way in all_ways(ground, found):
                    several.append(way)
                for name, cost in measured(several, case.rows, effort).items():
                    part.costs[name, case] = cost
            finally:
                for way in several:
                    way.close()
                ground.drop()
        verdicts += [report.verdict(part.title, bar) for bar in report.bars(part)]
        if kind.where == "memory":
            print(f"{part.title}: drift, INSERT", file=sys.stderr)
            verdicts += [report.verdict(part.title, bar) for bar in extra_bars(server, found)]
        if kind.where == "memory" and found.scopes:
            print(f"{part.title}: scopes", file=sys.stderr)
            roles = [role for role in found.roles if role != "application"]
            counts = (found.tables[0], found.tables[-1])
            part.scopes = scopes.costs(server, roles, counts, found.scopes, peers=not found.no_peers)
            verdicts += [report.verdict(part.title, bar) for bar in scopes.bars(part.scopes)]
    return part


def extra_bars(server: PrivatePostgreSQL, found: argparse.Namespace) -> Iterator[tuple[str, float, float]]:
    for role in found.roles:
        if role in ("superuser", "owner"):
            early, late = extras.drift(server, role, found.resets)
            yield (
                f"ours, {role}: reset {found.resets:,} of 3 of 200, times reset 200",
                late.times / early.times,
                1.2,
            )
    yield "one-row INSERT, SELECT 1 more", extras.insert(server, 10 * found.rounds), 0.6


def main() -> int:
    found, verdicts = options(), list[str]()
    missing = [] if found.no_peers else missing_peers()
    if missing:
        print(
            f"without {' and '.join(missing)}; to have them beside the others:  "
            'pip install -e ".[benchmarks]"',
            file=sys.stderr,
        )
    print("A reset in milliseconds, and in brackets in multiples of a warm SELECT 1\n")
    parts = []
    for kind in kinds(found):
        parts.append(section(kind, found, verdicts))
        print("\n".join(report.table(parts[-1])) + "\n", flush=True)
        if parts[-1].scopes:
            title = f"{parts[-1].title}: scopes, SELECT 1"
            print("\n".join(scopes.table(title, parts[-1].scopes)) + "\n", flush=True)
    if not found.no_shop:
        one = shop(found.rounds)
        print("\n".join(report.of_shop(one)) + "\n")
        verdicts.append(
            report.verdict("the shop", ("lifecycle, parts of the run", one.lifecycle / one.seconds, 0.1))
        )
    print("\n".join(verdicts))
    if found.chart:
        found.chart.write_text(chart.drawn(parts[0]))
        print(f"\ndrawn: {found.chart}")
    return 1 if any(line.startswith("MISS") for line in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
