"""How soon a private server answers, beside ``initdb`` and start, in the same run.

``python -m benchmarks.servers`` prints a table for every PostgreSQL that it finds, and for Redis. It fails
where a private PostgreSQL does not answer three times sooner.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from protean_testing.servers import binaries
from protean_testing.servers.postgresql import start_postgresql
from protean_testing.servers.redis import start_redis
from protean_testing.servers.template import postgresql_process

BAR = 3.0


def plain(programs: Path) -> float:
    """Seconds of initdb and start, with the options of neither changed, until the first answer."""
    process = postgresql_process(binaries.postgresql(programs))
    data = process.files / "data"
    try:
        began = time.monotonic()
        process.start([programs / "initdb", "-D", data, "-U", "postgres"], stop=signal.SIGTERM)
        if process.ended(within=300) != 0:
            raise RuntimeError(process.said())
        where = ("-k", process.sockets, "-c", "listen_addresses=")
        process.start([programs / "postgres", "-D", data, *where], stop=signal.SIGQUIT)
        while True:
            try:
                with psycopg.connect(host=str(process.sockets), user="postgres") as connection:
                    connection.execute("SELECT 1")
                return time.monotonic() - began
            except psycopg.OperationalError:
                if process.ended(within=0.002) is not None:
                    raise RuntimeError(process.said()) from None
    finally:
        process.stop()


def private(programs: Path) -> float:
    """Seconds until a private server answers."""
    server = start_postgresql(binaries=programs)
    server.stop()
    return server.seconds


def median_of(rounds: int, *measured: Callable[[], float]) -> list[float]:
    """The median of each, measured in turn, so that a busy machine is equally so for all."""
    seconds = [[measure() for measure in measured] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*seconds, strict=True)]


def first_ever(programs: Path) -> float:
    """Seconds where this user has no template yet, so that one is made."""
    cache = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as empty:
        os.environ["XDG_CACHE_HOME"] = empty
        try:
            return private(programs)
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if cache is not None:
                os.environ["XDG_CACHE_HOME"] = cache


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--rounds", type=int, default=5, help="how often each is measured (the median counts)"
    )
    rounds = options.parse_args().rounds
    found = [binaries.postgresql().program.parent, *Path("/usr/lib/postgresql").glob("*/bin")]
    passed = True
    print(f"seconds to the first answer, median of {rounds}, on {os.cpu_count()} processors")
    print(f"{'server':<18}{'initdb + start':>16}{'private':>10}{'sooner':>9}{'first ever':>12}")
    for programs in dict.fromkeys(found):
        server = start_postgresql(binaries=programs)
        server.stop()
        by_hand, ours = median_of(rounds, lambda p=programs: plain(p), lambda p=programs: private(p))
        times = by_hand / ours
        passed &= times >= BAR
        first = first_ever(programs)
        print(f"PostgreSQL {server.version:<7}{by_hand:>16.3f}{ours:>10.3f}{times:>8.1f}x{first:>12.3f}")
    redis = start_redis()
    redis.stop()
    (ours,) = median_of(rounds, lambda: _redis())
    print(f"Redis {redis.version:<12}{'-':>16}{ours:>10.3f}")
    print(f"at least {BAR:.0f}x sooner: {'yes' if passed else 'NO'}")
    return 0 if passed else 1


def _redis() -> float:
    server = start_redis()
    server.stop()
    return server.seconds


if __name__ == "__main__":
    sys.exit(main())
