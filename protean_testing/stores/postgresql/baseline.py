"""Rows that a snapshot holds: kept as text beside the user's schemas, and restored exactly.

A row's text is what its type's own output function gives, so it reads back to the same value; two rows are
the same where their texts are, which also covers types without ``=`` and tells 1.0 from 1.00.

A state is a tuple of copies, the latest last. The first has all rows of its moment; a later one has only the
keys that were written since the one before it, without a line where the row was gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from . import constraints
from .catalog import Catalog, Table
from .connection import OURS, Connection, quoted

State: TypeAlias = tuple[int, ...]

EMPTY: State = ()
"""The state of a table without rows."""

INSTALL = f"""
CREATE TABLE {OURS}.kept (
    copy int NOT NULL, number int NOT NULL, key text COLLATE "C", line text COLLATE "C"
);
CREATE INDEX ON {OURS}.kept (number, key, copy);
ALTER TABLE {OURS}.kept REPLICA IDENTITY FULL;
"""

_SCRATCH = -1  # the copy of rows that are rewritten within one transaction
_CHUNK = 200  # tables that one statement looks at


def keep(connection: Connection, tables: Iterable[Table], copy: int) -> dict[int, int]:
    """Copy all rows of `tables`. Returns how many each has."""
    kept = {}
    for table in tables:
        key = key_of(table, "t") if table.key else "NULL"
        found = connection.raw.execute(
            f"INSERT INTO {OURS}.kept (copy, number, key, line) "
            f"SELECT {copy}, {table.number}, {key}, (t.*)::text FROM ONLY {table.sql} t".encode()
        )
        kept[table.number] = found.rowcount
    return kept


def keep_keys(connection: Connection, table: Table, copy: int, since: int) -> None:
    """Copy the rows whose keys were written since snapshot `since`, and say which of them are gone."""
    logged = f"number = {table.number} AND snapshot >= {since}"
    written = f"SELECT DISTINCT key FROM {OURS}.changed_key WHERE {logged}"
    row = f"SELECT (t.*)::text FROM ONLY {table.sql} t WHERE {has_key(table, 'w.key')}"
    connection.run(
        f"INSERT INTO {OURS}.kept (copy, number, key, line) "
        f"SELECT {copy}, {table.number}, w.key, ({row}) FROM ({written}) w"
    )


def key_of(table: Table, row: str) -> str:
    """The expression for the key of a row, as one text. It is the same in every session."""
    texts = [f"{row}.{quoted(column)}::pg_catalog.text" for column, _ in table.key]
    return texts[0] if len(texts) == 1 else f"ARRAY[{', '.join(texts)}]::pg_catalog.text"


def has_key(table: Table, key: str) -> str:
    """The condition that row ``t`` of `table` has this key."""
    if len(table.key) == 1:
        return f"t.{quoted(table.key[0][0])} = {key}::{table.key[0][1]}"
    return " AND ".join(
        f"t.{quoted(column)} = ({key}::text[])[{location}]::{kind}"
        for location, (column, kind) in enumerate(table.key, 1)
    )


def state_of(rows: int, copy: int) -> State:
    """The state that a copy of so many rows is."""
    return (copy,) if rows else EMPTY


def discard(connection: Connection, copies: Iterable[int]) -> None:
    """Forget copies."""
    numbers = ",".join(map(str, copies))
    if numbers:
        connection.run(f"DELETE FROM {OURS}.kept WHERE copy IN ({numbers})")


def changed(connection: Connection, tables: Sequence[tuple[Table, State]]) -> set[int]:
    """Which tables hold other rows than the state beside them."""
    found: set[int] = set()
    for begin in range(0, len(tables), _CHUNK):
        part = (_changed(table, state) for table, state in tables[begin : begin + _CHUNK])
        found.update(number for (number,) in connection.rows(" UNION ALL ".join(part)))
    return found


def _changed(table: Table, state: State) -> str:
    if state == EMPTY:
        return f"SELECT {table.number} WHERE EXISTS (SELECT FROM ONLY {table.sql})"
    now, then = f'SELECT (t.*)::text COLLATE "C" FROM ONLY {table.sql} t', lines(table, state)
    return (
        f"SELECT {table.number} WHERE EXISTS (({now} EXCEPT ALL {then}) UNION ALL ({then} EXCEPT ALL {now}))"
    )


def lines(table: Table, state: State, columns: str = "line") -> str:
    """The query for the rows of a state, or for their keys as well."""
    where = f"FROM {OURS}.kept WHERE number = {table.number} AND copy IN ({', '.join(map(str, state))})"
    if len(state) == 1:
        return f"SELECT {columns} {where}"
    latest = f"SELECT DISTINCT ON (key) key, line {where} ORDER BY key, copy DESC"
    return f"SELECT {columns} FROM ({latest}) l WHERE line IS NOT NULL"


def _in_order(table: Table, state: State) -> str:
    """As `lines`, in the order in which they were copied, where that is known."""
    return lines(table, state) + (" ORDER BY ctid" if len(state) == 1 else "")


def restore(connection: Connection, catalog: Catalog, targets: Mapping[int, State]) -> None:
    """Give tables the rows of the states in `targets`. Rows that are right stay where they are.

    Triggers, rules and foreign keys of the code under test do not see it. Runs inside a transaction.
    """
    tables = [catalog.tables[number] for number in sorted(targets)]
    if not tables:
        return
    if not connection.can_disable_triggers:
        return _restore_as_owner(connection, catalog, targets)
    statements = []
    for table in tables:
        statements.append(_delete(table, targets[table.number]))
        if targets[table.number] != EMPTY:
            statements += _insert_missing(connection, table, targets[table.number])
    with switched_off(connection, tables):
        constraints.write(connection, [table.oid for table in tables], "; ".join(statements))


def insertion(table: Table, source: str) -> str:
    """The statement that inserts rows given as text: `source` is a query for their lines."""
    columns = f" ({', '.join(map(quoted, table.columns))})" if table.columns else ""
    values = ", ".join(f"(r.line).{quoted(column)}" for column in table.columns)
    cast = f"SELECT s.line::{table.sql} AS line FROM ({source}) s OFFSET 0"  # read once, not for every column
    return f"INSERT INTO {table.sql}{columns} OVERRIDING SYSTEM VALUE SELECT {values} FROM ({cast}) r"


def _delete(table: Table, state: State) -> str:
    if state == EMPTY:
        return f"DELETE FROM ONLY {table.sql}"
    return (
        f"WITH {_counted(table, state)} DELETE FROM ONLY {table.sql} t "
        "USING now LEFT JOIN kept USING (line, n) WHERE kept.n IS NULL AND t.ctid = now.place"
    )


def _insert_missing(connection: Connection, table: Table, state: State) -> list[str]:
    """Compare the missing rows by their texts, and write them under other settings than these have."""
    missing = "SELECT line FROM kept LEFT JOIN now USING (line, n) WHERE now.n IS NULL"
    found = f"INSERT INTO {OURS}.kept (copy, number, line) WITH {_counted(table, state)}"
    return [
        f"{found} SELECT {_SCRATCH}, {table.number}, line FROM ({missing}) m",
        f"{connection.evaluating} {insertion(table, lines(table, (_SCRATCH,)))}",
        f"{connection.reading} DELETE FROM {OURS}.kept WHERE copy = {_SCRATCH}",
    ]


def _counted(table: Table, state: State) -> str:
    """Equal rows are told apart by counting them."""
    now = f'SELECT t.ctid AS place, (t.*)::text COLLATE "C" AS line FROM ONLY {table.sql} t'
    numbered = "row_number() OVER (PARTITION BY line) AS n"
    return (
        f"now AS MATERIALIZED (SELECT place, line, {numbered} FROM ({now}) r), "
        f"kept AS MATERIALIZED (SELECT line, {numbered} FROM ({lines(table, state)}) l)"
    )


def _restore_as_owner(connection: Connection, catalog: Catalog, targets: Mapping[int, State]) -> None:
    """As a plain owner, whose foreign keys cannot be kept still: all that refers is rewritten as well."""
    rewritten = [catalog.tables[number] for number in sorted(catalog.referring(set(targets)))]
    holding = [table for table in rewritten if table.holds_rows]
    with switched_off(connection, rewritten):
        others = keep(connection, (table for table in holding if table.number not in targets), _SCRATCH)
        states = {number: state_of(rows, _SCRATCH) for number, rows in others.items()} | {**targets}
        inserts = [
            f"i{table.number} AS ({insertion(table, _in_order(table, states[table.number]))})"
            for table in holding
            if states[table.number] != EMPTY
        ]
        statements = [
            f"TRUNCATE {', '.join(table.alone for table in rewritten)}",
            # one statement, at whose end all references are right
            f"{connection.evaluating} WITH {', '.join(inserts)} SELECT" if inserts else "SELECT",
            f"{connection.reading} SET CONSTRAINTS ALL IMMEDIATE",  # no table is altered with checks pending
        ]
        constraints.write(connection, [table.oid for table in rewritten], "; ".join(statements))
        discard(connection, [_SCRATCH])


@contextmanager
def switched_off(connection: Connection, tables: Iterable[Table]) -> Iterator[None]:
    """Inside a transaction: triggers and rules that would fire all the same, and row level security."""
    tables = list(tables)
    with unforced(connection, tables):
        for table in tables:
            for off, _ in table.always_firing:
                connection.run(off)
        yield
        for table in tables:
            for _, on in table.always_firing:
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
