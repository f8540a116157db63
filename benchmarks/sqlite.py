"""What a reset costs on SQLite, beside the other ways: ``python -m benchmarks.sqlite``.

Microseconds, medians. *DELETE all* empties every table, *backup* copies a whole image over the database (and
the application must then read the schema again: *next statement*), *rollback* ends an outer transaction that
the code under test may not commit.

The second table has what whole scopes cost, as multiples of one row inserted and deleted by the application
in the same run (two commits), and what they cost among 1,000 tables beside 20.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from sqlalchemy import URL, create_engine, make_url

from protean_testing.stores.sql.backend import Database
from protean_testing.stores.sqlite import SQLiteBackend

WAYS = ("reset", "DELETE all", "backup", "next statement", "rollback")


@contextmanager
def place(kind: str) -> Iterator[tuple[URL, sqlite3.Connection]]:
    """A database in memory or in a file, and the application's connection to it."""
    with tempfile.TemporaryDirectory() as directory:
        if kind == "memory":
            source, url = "file:/benchmark?vfs=memdb", "sqlite:///file:/benchmark?vfs=memdb&uri=true"
        else:
            source = str(Path(directory, "benchmark_test.db"))
            url = f"sqlite:///{source}"
        connection = sqlite3.connect(source, uri=True, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        yield make_url(url), connection
        connection.close()


def make(connection: sqlite3.Connection, tables: int, class_rows: int) -> None:
    connection.execute("BEGIN")
    for number in range(tables):
        connection.execute(
            f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT, "
            f"one INTEGER REFERENCES t{max(number - 1, 0)}, other INTEGER REFERENCES t0)"
        )
    connection.execute("CREATE TABLE shared (id INTEGER PRIMARY KEY, a TEXT, b TEXT, c INTEGER)")
    connection.executemany(
        "INSERT INTO shared (a, b, c) VALUES (?, ?, ?)",
        (("some words", f"number {n}", n) for n in range(class_rows)),
    )
    connection.execute("COMMIT")


def write(connection: sqlite3.Connection, tables: int, class_rows: int) -> None:
    for number in range(tables):
        connection.executemany(f"INSERT INTO t{number} (note) VALUES (?)", [("x",)] * 3)
    if class_rows:
        connection.executemany("INSERT INTO shared (a) VALUES (?)", [("x",)] * 3)
        connection.execute("UPDATE shared SET a = 'y' WHERE id IN (5, ?)", [class_rows // 2])
        connection.execute("DELETE FROM shared WHERE id = 7")


def measure(prepare: Callable[[], object], action: Callable[[], object], seconds: float) -> float:
    took = []
    until = time.perf_counter() + seconds
    while len(took) < 5 or (time.perf_counter() < until and len(took) < 2000):
        prepare()
        began = time.perf_counter()
        action()
        took.append(time.perf_counter() - began)
    return median(took[1:]) * 1e6


def row(kind: str, tables: int, written: int, class_rows: int, seconds: float) -> list[float]:
    with place(kind) as (url, connection):
        engine = create_engine(url)
        backend = SQLiteBackend(Database(name="benchmark", url=url, engine=lambda: engine, private=True))
        backend.acquire()
        make(connection, tables, class_rows)
        backend.created()
        snapshot = backend.save()

        def writes() -> None:
            if written or class_rows:
                connection.execute("BEGIN")
                write(connection, written, class_rows)
                connection.execute("COMMIT")

        def delete_all() -> None:
            connection.execute("BEGIN")
            for number in range(tables):
                connection.execute(f"DELETE FROM t{number}")
            connection.execute("COMMIT")

        image = sqlite3.connect(":memory:")
        connection.backup(image)

        def writes_inside() -> None:
            connection.execute("BEGIN")
            write(connection, written, class_rows)

        def backup() -> None:
            writes()
            image.backup(connection)

        costs = [
            measure(writes, lambda: backend.reset(snapshot), seconds),
            measure(writes, delete_all, seconds),
            measure(writes, lambda: image.backup(connection), seconds),
            measure(backup, lambda: connection.execute("SELECT 1 FROM t0").fetchall(), seconds),
            measure(writes_inside, lambda: connection.execute("ROLLBACK"), seconds),
        ]
        image.close()
        backend.drop()
        backend.close()
        return costs


def scopes(kind: str, tables: int, seconds: float) -> dict[str, float]:
    """What scopes cost, by what is done in them."""
    with place(kind) as (url, connection):
        engine = create_engine(url)
        backend = SQLiteBackend(Database(name="benchmark", url=url, engine=lambda: engine, private=True))
        backend.acquire()
        make(connection, tables, 0)
        backend.created()
        run = backend.save()

        def writes(number: int) -> None:
            if number:
                connection.execute("BEGIN")
                write(connection, number, 0)
                connection.execute("COMMIT")

        def scope(before: int, inside: int) -> None:
            writes(before)
            snapshot = backend.save()
            writes(inside)
            backend.reset(snapshot)
            backend.forget(snapshot)

        def test_class(before: int, inside: int) -> None:
            """Of one test: it is reset after the test, and at its end."""
            backend.reset(run)
            writes(before)
            snapshot = backend.save()
            writes(inside)
            backend.reset(snapshot)
            backend.reset(snapshot)
            backend.forget(snapshot)

        def function(inside: int) -> None:
            backend.reset(run)
            scope(0, inside)

        def one_row() -> None:
            connection.execute("INSERT INTO t0 (note) VALUES ('x')")
            connection.execute("DELETE FROM t0")

        def begin() -> None:
            backend.reset(run)

        actions: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "one row": (begin, one_row),
            "class, nothing": (begin, lambda: test_class(0, 0)),
            "class, row": (begin, lambda: test_class(0, 1)),
            "rows of class": (begin, lambda: test_class(1, 1)),
            "function, row": (begin, lambda: function(1)),
            "scope, nothing": (begin, lambda: scope(0, 0)),
            "scope, row": (begin, lambda: scope(0, 1)),
            "reset of 3": (lambda: writes(3), begin),
        }
        costs = {name: measure(prepare, action, seconds) for name, (prepare, action) in actions.items()}
        backend.drop()
        backend.close()
        return costs


def show_scopes(seconds: float) -> None:
    shown = False
    for kind in ("memory", "file"):
        found = {tables: scopes(kind, tables, seconds) for tables in (20, 1000)}
        if not shown:
            print("\nplace   tables  " + "".join(f"{name:>18}" for name in found[20]))
            shown = True
        for tables, costs in found.items():
            cells = (f"{cost:,.0f} ({cost / costs['one row']:.1f})" for cost in costs.values())
            print(f"{kind:<8}{tables:>6}  " + "".join(f"{cell:>18}" for cell in cells), flush=True)
        growth = (f"{found[1000][name] / cost:.1f}" for name, cost in found[20].items())
        print(f"{kind:<8}{'times':>6}  " + "".join(f"{cell:>18}" for cell in growth), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.3, help="for each figure")
    parser.add_argument("--only-scopes", action="store_true", help="leave out the first table")
    arguments = parser.parse_args()
    seconds = arguments.seconds
    print(f"SQLite {sqlite3.sqlite_version}, µs (and times the reset)\n")
    if arguments.only_scopes:
        show_scopes(seconds)
        return
    print("place   tables  written  class rows  " + "".join(f"{way:>20}" for way in WAYS))
    for kind in ("memory", "file"):
        cases = [(tables, written, 0) for tables in (20, 200, 1000) for written in (0, 3, 20)]
        cases += [(20, 3, 1000), (20, 3, 100_000), (200, 3, 1000), (200, 3, 100_000)]
        for tables, written, class_rows in cases:
            costs = row(kind, tables, written, class_rows, seconds)
            shown = "".join(f"{f'{cost:,.0f} ({cost / costs[0]:.1f})':>20}" for cost in costs)
            print(f"{kind:<8}{tables:>6}{written:>9}{class_rows:>12,}  {shown}", flush=True)
    show_scopes(seconds)


if __name__ == "__main__":
    main()
