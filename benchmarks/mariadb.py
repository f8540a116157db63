"""What a reset and a class cost on MariaDB, beside the other ways: ``python -m benchmarks.mariadb``.

Milliseconds, medians: the reset at the end of a test that wrote nothing, or one row, with so many tables and
rows that were there before in the table that is written. *DELETE* empties all tables, foreign keys unchecked,
and *TRUNCATE* does it in the other way; neither can bring anything back. Then, in microseconds and multiples
of ``SELECT 1``, what a class of one test costs, and ``db.scope()`` in a test.
"""

from __future__ import annotations

import argparse
from functools import partial

from sqlalchemy import Column, Engine, ForeignKey, Integer, MetaData, String, Table, create_engine, insert

from protean_testing import SQLAlchemyStore, end_run
from tests.mariadb_server import MariaDB

from .classes import class_costs, print_costs, print_head, timed

ROW_BAR, GROWTH_BAR = 10.0, 2.0
"""Milliseconds that one row may cost with the most tables, and times what it costs with the fewest."""

WAYS = ("nothing", "a row", "DELETE", "TRUNCATE")


def schema(tables: int, rows: int, engine: Engine) -> None:
    """Every third table refers to the one before it."""
    made = MetaData()
    for number in range(tables):
        more = [Column("parent", ForeignKey(f"t{number - 1}.id"))] if number % 3 == 1 else []
        Table(f"t{number}", made, Column("id", Integer, primary_key=True), Column("note", String(50)), *more)
    made.create_all(engine)
    if rows:
        with engine.begin() as connection:
            connection.execute(insert(made.tables["t2"]), [{"note": "some words"}] * rows)


def measure(server: MariaDB, tables: int, rows: int, times: int) -> tuple[dict[str, float], dict[str, float]]:
    """The costs of a reset, and of a class, in microseconds."""
    make = partial(schema, tables, rows)
    store = SQLAlchemyStore(schema=make, url=server.create("bench_test"))
    with server.connect("bench_test") as connection, connection.cursor() as cursor:
        write = partial(cursor.execute, "INSERT INTO t2 (note) VALUES ('new')")
        classes = class_costs([store], write, max(times // 5, 3), partial(cursor.execute, "SELECT 1"))
        snapshot = store.save_data()
        costs = {
            "nothing": timed(lambda: store.reset_data(snapshot), times),
            "a row": timed(lambda: store.reset_data(snapshot), times, write),
        }
        end_run()
        engine = create_engine(server.create("bench_test"))
        make(engine)
        engine.dispose()
        cursor.execute("USE bench_test")
        cursor.execute("SET foreign_key_checks = 0")
        for way, statement in (("DELETE", "DELETE FROM"), ("TRUNCATE", "TRUNCATE TABLE")):

            def empty(statement: str = statement) -> None:
                for number in range(tables):
                    cursor.execute(f"{statement} t{number}")

            costs[way] = timed(empty, max(times // 30, 3), write)
    return costs, classes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mariadb", description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="runs of each (100)")
    parser.add_argument("--tables", type=int, nargs="+", default=[20, 300])
    parser.add_argument("--rows", type=int, nargs="+", default=[0, 10_000], help="that were there before")
    given = parser.parse_args()
    server = MariaDB()
    try:
        print(f"{'ms':44}" + "".join(f"{way:>12}" for way in WAYS))
        found = {}
        for rows in given.rows:
            for tables in given.tables:
                title = f"{tables} tables, {rows:,} rows before"
                costs, found[title] = measure(server, tables, rows, given.times)
                print(f"{title:44}" + "".join(f"{costs[way] / 1000:12.1f}" for way in WAYS), flush=True)
                if tables == given.tables[0]:
                    few = costs["a row"] / 1000
            print(_judged(f"a row, {rows:,} rows before", costs["a row"] / 1000, few, given.tables))
        print()
        print_head()
        for title, classes in found.items():
            print_costs(title, classes, "SELECT 1")
    finally:
        server.stop()


def _judged(what: str, many: float, few: float, tables: list[int]) -> str:
    held = many <= ROW_BAR and many <= few * GROWTH_BAR
    times = f"{many / few:.1f} times that of {tables[0]} (at most {GROWTH_BAR:g})"
    return f"{'pass' if held else 'MISS'}  {what}: {many:.1f} ms (at most {ROW_BAR:g}), {times}"


if __name__ == "__main__":
    main()
