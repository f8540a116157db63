"""What a change of the schema costs to undo: ``python -m benchmarks.postgresql.changes``.

For each kind of change a row: the median of the reset that undoes it, in a schema of some 140 tables and in
one of five, for each role; and what ``drop_all`` and ``create_all`` of as many tables take in its place.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psycopg
from sqlalchemy import create_engine, make_url

from protean_testing.servers.postgresql import PrivatePostgreSQL
from protean_testing.stores.postgresql import PostgreSQLBackend
from protean_testing.stores.sql.backend import Database
from tests.real_schema import SMALL, changes, schema

from .places import Kind, connected, create_database, metadata, started

OLD = Path("/usr/lib/postgresql/15/bin")
BARS = {"large": 100.0}
"""Milliseconds that one added part may cost in the large schema; in the small one what ``drop_all`` takes."""

LARGE_TABLES = 139


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgresql.changes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--roles", nargs="+", default=["superuser", "owner"])
    parser.add_argument("--servers", nargs="+", default=["embedded", "15"], choices=["embedded", "15"])
    parser.add_argument("--kinds", default="", help="only kinds with this in their name")
    found = parser.parse_args()
    for server in found.servers:
        with started(Kind(None if server == "embedded" else OLD, "memory"), Path("/var/tmp")) as running:
            for role in found.roles:
                _measure(running, role, found.rounds, found.kinds)


def _measure(server: PrivatePostgreSQL, role: str, rounds: int, kinds: str) -> None:
    user = "postgres" if role == "superuser" else role
    print(f"\nPostgreSQL {server.version}, {role}: ms{'large':>48}{'five tables':>14}")
    five = _whole(server, user, 5, rounds)
    many = _whole(server, user, LARGE_TABLES, rounds)
    print(f"  {'drop_all and create_all instead':<54}{many:>8.1f}{five:>14.1f}")
    large = _Ground(server, user, schema())
    small = _Ground(server, user, SMALL)
    missed = []
    for name, statement in changes(user).items():
        if kinds in name:
            costs = [ground.cost(statement, rounds) for ground in (large, small)]
            shown = "".join(
                f"{'-' if cost is None else format(cost, '.1f'):>{8 + 6 * n}}" for n, cost in enumerate(costs)
            )
            print(f"  {name:<54}{shown}", flush=True)
            if (name.startswith("added") and (costs[0] or 0) > BARS["large"]) or (costs[1] or 0) > five:
                missed.append(name)
    for ground in (large, small):
        ground.close()
    print(f"  {'MISS  ' + ', '.join(missed) if missed else 'pass'}")


def _whole(server: PrivatePostgreSQL, user: str, tables: int, rounds: int) -> float:
    """What dropping and creating all tables takes."""
    create_database(server, "whole_test", owner=user)
    engine = create_engine(server.url("whole_test", user=user))
    made, costs = metadata(tables - 1), []
    made.create_all(engine)
    for _ in range(rounds):
        began = time.perf_counter()
        made.drop_all(engine)
        made.create_all(engine)
        costs.append((time.perf_counter() - began) * 1000)
    engine.dispose()
    server.drop_database("whole_test")
    return median(costs)


class _Ground:
    """A database with a schema, and a backend that has saved a snapshot."""

    def __init__(self, server: PrivatePostgreSQL, user: str, statements: str) -> None:
        self.name = f"changes_{len(statements)}_test"
        self.server, self.user = server, user
        create_database(server, self.name, owner=user)
        self.session = connected(server, self.name, user)
        url = server.url(self.name, user=user)
        engine = create_engine(url)
        make: Callable[[], object] = lambda: self.session.execute(statements.encode())  # noqa: E731
        self.backend = PostgreSQLBackend(
            Database(
                name="changes",
                url=make_url(url),
                engine=lambda: engine,
                rebuild=lambda: (make(), None)[1],
                private=True,
            )
        )
        self.backend.acquire()
        make()
        self.backend.created()
        self.outer = self.backend.save()

    def cost(self, statement: str, rounds: int) -> float | None:
        """What the scope costs that undoes it; None if this schema or role cannot have it."""
        costs = []
        for _ in range(rounds):
            snapshot = self.backend.save()
            try:
                self.session.execute(statement.encode())
            except psycopg.Error:
                self.session.execute("ROLLBACK")
                return None
            finally:
                began = time.perf_counter()
                self.backend.reset(snapshot)
                self.backend.forget(snapshot)
                self.backend.reset(self.outer)
                costs.append((time.perf_counter() - began) * 1000)
        return median(costs)

    def close(self) -> None:
        self.session.close()
        self.backend.drop()
        self.backend.close()
        self.server.drop_database(self.name)


if __name__ == "__main__":
    main()
