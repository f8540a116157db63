"""What a kept schema saves: starting with it, beside making it, in the same run and on the same server.

``python -m benchmarks.keep`` prints a table for every PostgreSQL that it finds, and for SQLite. It fails
where starting with 200 tables kept costs more than a tenth of creating them on PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table

from protean_testing import SQLAlchemyStore
from protean_testing.servers import binaries
from protean_testing.servers.postgresql import start_postgresql

BAR = 0.1
TABLES = 200


def shop(tables: int) -> MetaData:
    """Tables with a serial key, an index, four texts and two foreign keys."""
    metadata = MetaData()
    for number in range(tables):
        columns = [Column("id", Integer, primary_key=True)]
        columns += [Column(f"text_{place}", String, index=place == 0) for place in range(4)]
        columns += [
            Column(f"ref_{back}", ForeignKey(f"t{number - back}.id")) for back in (1, 2) if number >= back
        ]
        Table(f"t{number}", metadata, *columns)
    return metadata


def start(url: str, tables: int, *, keep: bool) -> float:
    """Seconds until the first test may begin; the run ends afterwards. The models are imported by then."""
    metadata = shop(tables)
    store = SQLAlchemyStore(metadata, url=url, keep=keep)
    began = time.perf_counter()
    store.check()
    store.create_schema()
    store.save_data()
    seconds = time.perf_counter() - began
    store.drop_schema()
    store.close()
    return seconds


def measured(url: str, tables: int, rounds: int) -> tuple[float, float]:
    """The median of making the schema, and of starting with one that was kept."""
    made = [start(url, tables, keep=False) for _ in range(rounds)]
    start(url, tables, keep=True)
    kept = [start(url, tables, keep=True) for _ in range(rounds)]
    start(url, tables, keep=False)
    return statistics.median(made), statistics.median(kept)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--rounds", type=int, default=7, help="how often each is measured (the median counts)"
    )
    options.add_argument("--tables", type=int, nargs="*", default=[20, TABLES])
    chosen = options.parse_args()
    passed = True
    print(f"seconds to the first test, median of {chosen.rounds}, on {os.cpu_count()} processors")
    print(f"{'store':<18}{'tables':>8}{'created':>10}{'kept':>10}{'ratio':>8}")

    def line(store: str, url: str, tables: int) -> float:
        made, kept = measured(url, tables, chosen.rounds)
        print(f"{store:<18}{tables:>8}{made:>10.3f}{kept:>10.3f}{kept / made:>8.2f}", flush=True)
        return kept / made

    with (
        tempfile.TemporaryDirectory() as directory,
        mock.patch.dict(os.environ, PROTEAN_TESTING_STATE=directory),
    ):
        found = [binaries.postgresql().program.parent, *Path("/usr/lib/postgresql").glob("*/bin")]
        for programs in dict.fromkeys(found):
            server = start_postgresql(binaries=programs)
            url = server.create_database("shop_test")
            for tables in chosen.tables:
                ratio = line(f"PostgreSQL {server.version}", url, tables)
                passed &= tables != TABLES or ratio <= BAR
            server.stop()
        for tables in chosen.tables:
            line("SQLite file", f"sqlite:///{directory}/shop_test.db", tables)
    print(f"{TABLES} tables kept cost at most {BAR:.0%} on PostgreSQL: {'yes' if passed else 'NO'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
