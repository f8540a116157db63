"""Rows that a level holds: kept as text beside the user's schemas, and put back exactly.

A row's text is what its type's own output function gives, so it reads back to the same value; two rows are
the same where their texts are, which also covers types without ``=`` and tells 1.0 from 1.00.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from .catalog import Catalog, Table
from .connection import OURS, Connection, quoted

INSTALL = f"""
CREATE TABLE {OURS}.kept (copy int NOT NULL, number int NOT NULL, line text COLLATE "C" NOT NULL);
CREATE INDEX ON {OURS}.kept (number, copy);
ALTER TABLE {OURS}.kept REPLICA IDENTITY FULL;
"""
EMPTY = 0
"""The copy that has no rows."""

SCRATCH = -1
"""The copy of rows that are rewritten within one transaction."""

CHUNK = 200
"""Tables that one statement looks at."""


def keep(connection: Connection, tables: Iterable[Table], copy: int) -> dict[int, int]:
    """Copy the rows of `tables`. Returns the copy of each, which is `EMPTY` where there were none."""
    kept = {}
    for table in tables:
        connection.run(
            f"INSERT INTO {OURS}.kept (copy, number, line) SELECT {copy}, {table.number}, (t.*)::text "
            f"FROM ONLY {table.sql} t"
        )
        there = connection.value(
            f"SELECT EXISTS (SELECT FROM {OURS}.kept WHERE number = {table.number} AND copy = {copy})"
        )
        kept[table.number] = copy if there else EMPTY
    return kept


def discard(connection: Connection, copies: Iterable[int]) -> None:
    """Forget copies."""
    numbers = ",".join(map(str, copies))
    if numbers:
        connection.run(f"DELETE FROM {OURS}.kept WHERE copy IN ({numbers})")


def changed(connection: Connection, tables: Sequence[tuple[Table, int]]) -> set[int]:
    """Which tables hold other rows than the copy beside them."""
    found: set[int] = set()
    for begin in range(0, len(tables), CHUNK):
        part = (_changed(table, copy) for table, copy in tables[begin : begin + CHUNK])
        found.update(number for (number,) in connection.rows(" UNION ALL ".join(part)))
    return found


def _changed(table: Table, copy: int) -> str:
    if copy == EMPTY:
        return f"SELECT {table.number} WHERE EXISTS (SELECT FROM ONLY {table.sql})"
    now, then = f'SELECT (t.*)::text COLLATE "C" FROM ONLY {table.sql} t', _lines(table, copy)
    return (
        f"SELECT {table.number} WHERE EXISTS (({now} EXCEPT ALL {then}) UNION ALL ({then} EXCEPT ALL {now}))"
    )


def _lines(table: Table, copy: int) -> str:
    return f"SELECT line FROM {OURS}.kept WHERE number = {table.number} AND copy = {copy}"


def put_back(connection: Connection, catalog: Catalog, targets: dict[int, int]) -> None:
    """Give tables the rows of the copies named in `targets`. Rows that are right stay where they are.

    Triggers, rules and foreign keys of the code under test do not see it. Runs inside a transaction.
    """
    tables = [catalog.tables[number] for number in sorted(targets)]
    if not tables:
        return
    if connection.silent:
        with switched_off(connection, tables):
            for table in tables:
                connection.run(_delete(table, targets[table.number]))
                if targets[table.number] != EMPTY:
                    connection.run(_insert(table, targets[table.number]))
    else:
        _put_back_as_owner(connection, catalog, targets)


def _delete(table: Table, copy: int) -> str:
    if copy == EMPTY:
        return f"DELETE FROM ONLY {table.sql}"
    return (
        f"WITH {_counted(table, copy)} DELETE FROM ONLY {table.sql} t "
        "USING now LEFT JOIN kept USING (line, n) WHERE kept.n IS NULL AND t.ctid = now.place"
    )


def _insert(table: Table, copy: int, missing: bool = True) -> str:
    columns = f" ({', '.join(map(quoted, table.columns))})" if table.columns else ""
    values = ", ".join(f"(k.line).{quoted(column)}" for column in table.columns)
    insert = f"INSERT INTO {table.sql}{columns} OVERRIDING SYSTEM VALUE SELECT {values} FROM"
    cast = f"SELECT line::{table.sql} AS line FROM"  # once for a row: OFFSET keeps it from being folded in
    if not missing:
        return f"{insert} ({cast} ({_lines(table, copy)}) l OFFSET 0) k"
    joined = f"{cast} kept LEFT JOIN now USING (line, n) WHERE now.n IS NULL OFFSET 0"
    return f"WITH {_counted(table, copy)} {insert} ({joined}) k"


def _counted(table: Table, copy: int) -> str:
    """Equal rows are told apart by counting them."""
    now = f'SELECT t.ctid AS place, (t.*)::text COLLATE "C" AS line FROM ONLY {table.sql} t'
    numbered = "row_number() OVER (PARTITION BY line) AS n"
    return (
        f"now AS MATERIALIZED (SELECT place, line, {numbered} FROM ({now}) r), "
        f"kept AS MATERIALIZED (SELECT line, {numbered} FROM ({_lines(table, copy)}) l)"
    )


def _put_back_as_owner(connection: Connection, catalog: Catalog, targets: dict[int, int]) -> None:
    """As a plain owner, whose foreign keys cannot be kept still: all that refers is rewritten as well."""
    rewritten = [catalog.tables[number] for number in sorted(catalog.referring(set(targets)))]
    holding = [table for table in rewritten if table.holds_rows]
    with switched_off(connection, rewritten):
        others = keep(connection, (table for table in holding if table.number not in targets), SCRATCH)
        connection.run(
            "TRUNCATE "
            + ", ".join(f"ONLY {table.sql}" if table.holds_rows else table.sql for table in rewritten)
        )
        copies = {**others, **targets}
        inserts = [
            f"i{table.number} AS ({_insert(table, copies[table.number], missing=False)})"
            for table in holding
            if copies[table.number] != EMPTY
        ]
        if inserts:
            connection.run(f"WITH {', '.join(inserts)} SELECT")
        discard(connection, [SCRATCH])


@contextmanager
def switched_off(connection: Connection, tables: Iterable[Table]) -> Iterator[None]:
    """Inside a transaction: triggers and rules that would fire all the same, and row level security."""
    tables = list(tables)
    with unforced(connection, tables):
        for table in tables:
            for off, _ in table.loud:
                connection.run(off)
        yield
        for table in tables:
            for _, on in table.loud:
                connection.run(on)


@contextmanager
def unforced(connection: Connection, tables: Iterable[Table]) -> Iterator[None]:
    """Inside a transaction: row level security that would hide rows from their owner."""
    forced = [table.sql for table in tables if table.forced]
    for name in forced:
        connection.run(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY")
    yield
    for name in forced:
        connection.run(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
