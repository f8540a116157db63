"""Which rows differ between two copies of a database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ...changes import KEPT, Written
from .image import Image
from .rows import IMAGE, Inexact, columns_of, quoted, rowid_of

_ALTERED = "the test has altered it, so its rows cannot be compared"


def differences(now: sqlite3.Connection, then: Image) -> Iterator[Written]:
    """What was written to each table; virtual tables, and those behind them, are left out.

    Parameters:
        now: Reaches a copy of what is there now, of the library's own.
        then: What there was.
    """
    now.execute(f"ATTACH ? AS {IMAGE}", (then.uri,))
    now.text_factory = lambda text: text.decode(errors="replace")
    listed = now.execute("SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    without_rowid = {name: bool(wr) for name, wr in listed if not name.startswith("sqlite_")}
    before, after = (_definitions(now, schema) for schema in (IMAGE, "main"))
    for name, is_keyed in without_rowid.items():
        if name in before and before[name] != after.get(name):
            yield Written(name, remark=_ALTERED)
            continue
        try:
            yield _difference(now, name, is_keyed=is_keyed, is_new=name not in before)
        except (Inexact, sqlite3.Error) as error:  # it needs what only the application's connections have
            yield Written(name, remark=f"its rows cannot be compared ({str(error) or 'it has no rowid'})")
    for name in before.keys() - after.keys():
        yield Written(name, remark="the test has dropped it")


def _difference(connection: sqlite3.Connection, name: str, *, is_keyed: bool, is_new: bool) -> Written:
    columns = columns_of(connection, name)
    stored = [column.name for column in columns if not column.generated]
    primary = [column.name for column in sorted(columns, key=lambda one: one.key) if column.key]
    key = list(map(quoted, primary)) if is_keyed else [rowid_of(columns)]
    both = " AND ".join(f"n.{column} = t.{column}" for column in key)
    other = " OR ".join(
        f"n.{column} COLLATE BINARY IS NOT t.{column} OR typeof(n.{column}) <> typeof(t.{column})"
        for column in map(quoted, stored)
    )
    n, t = (", ".join(f"{of}.{quoted(column)}" for column in stored) for of in "nt")
    main, image = f"main.{quoted(name)} AS n", f"{IMAGE}.{quoted(name)} AS t"

    def rows(query: str) -> tuple[list[tuple[Any, ...]], int]:
        cursor = connection.execute(query)
        return list(islice(cursor, KEPT)), sum(1 for _ in cursor)

    first, size = key[0], len(stored)
    if is_new:
        every = ", ".join(f"n.{column} AS {column}" for column in dict.fromkeys([*key, *map(quoted, stored)]))
        image = f"(SELECT {every} FROM {main} WHERE false) AS t"
    inserted, more = rows(f"SELECT {n} FROM {main} LEFT JOIN {image} ON {both} WHERE t.{first} IS NULL")
    updated = rows(f"SELECT {t}, {n} FROM {main} JOIN {image} ON {both} WHERE {other}")
    deleted = rows(f"SELECT {t} FROM {image} LEFT JOIN {main} ON {both} WHERE n.{first} IS NULL")
    return Written(
        name,
        [dict(zip(stored, row, strict=True)) for row in inserted],
        [
            (dict(zip(stored, row[:size], strict=True)), dict(zip(stored, row[size:], strict=True)))
            for row in updated[0]
        ],
        [dict(zip(stored, row, strict=True)) for row in deleted[0]],
        key=primary,
        more=(more, updated[1], deleted[1]),
    )


def _definitions(connection: sqlite3.Connection, schema: str) -> dict[str, str]:
    query = f"SELECT name, sql FROM {schema}.sqlite_schema WHERE type = 'table'"
    return {name: sql for name, sql in connection.execute(query) if not name.startswith("sqlite_")}
