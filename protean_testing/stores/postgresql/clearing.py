"""The functions that bring tables back: their statements are planned once and found without a search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .baseline import has_key, insertion, key_of
from .catalog import Sequence, Table
from .connection import OURS, Connection, quoted
from .sequences import Position

FEW_ROWS = 100  # that are compared one by one
LARGEST_BRANCH = 4  # numbers that are told apart one by one


def clear_function(tables: Iterable[Table], locations: Mapping[Sequence, Position]) -> str:
    """``clear(number)`` empties a table and returns how many rows it had; its sequences stand as at first."""
    count = "GET DIAGNOSTICS done = ROW_COUNT;\n"
    cases = {table.number: f"DELETE FROM ONLY {table.sql};\n{count}" for table in tables}
    for sequence, (last, called) in locations.items():
        back = f"ignored := setval({sequence.oid}, {last}, {called});\n"
        for number in sequence.tables or (0,):
            cases[number] = cases.get(number, "") + ("" if sequence.cached else back)
    return _switch("clear(one int)", cases)


def put_switch(numbers: Iterable[int]) -> str:
    """``put(number, since, copies)`` calls the function that `put_function` writes for a table."""
    cases = {number: f"done := {OURS}.put_{number}(since, copies);\n" for number in numbers}
    return _switch("put(one int, since bigint, copies int[])", cases)


def _switch(head: str, cases: Mapping[int, str]) -> str:
    return _function(head, _tree(sorted(cases.items())))


def _tree(cases: list[tuple[int, str]]) -> str:
    """A tree, since there may be many."""
    if len(cases) <= LARGEST_BRANCH:
        return "".join(f"IF one = {number} THEN\n{body}RETURN done;\nEND IF;\n" for number, body in cases)
    middle = len(cases) // 2
    left, right = _tree(cases[:middle]), _tree(cases[middle:])
    return f"IF one < {cases[middle][0]} THEN\n{left}ELSE\n{right}END IF;\n"


def _function(head: str, body: str, variables: str = "", options: str = "") -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {OURS}.{head} RETURNS bigint LANGUAGE plpgsql {options}AS $function$\n"
        f"#variable_conflict use_variable\nDECLARE done bigint := 0; ignored bigint; {variables}\n"
        f"BEGIN\n{body}RETURN done;\nEND $function$"
    )


def performed(statement: str) -> str:
    """A SELECT as plpgsql has it, where its result is nobody's."""
    return statement.replace("SELECT", "PERFORM", 1)


def put_function(table: Table, connection: Connection) -> str:
    """``put_<number>(since, copies)`` gives a table the rows of a state.

    Only those with keys that were written since snapshot `since`, where that is known (not NULL). For a
    plain owner it always is, and rows that are there stay, or references to them would be broken.
    """
    if not connection.can_disable_triggers:
        _, put = parts(table)
        by_key = f"WITH {put} SELECT count(*) INTO done FROM w{table.number};\n" if table.key else ""
        return _put_function(
            table, by_key.replace("%1$L", "copies").replace("%2$s", "since").replace("%%", "%")
        )
    copies = f"FROM {OURS}.kept WHERE number = {table.number} AND copy = ANY (copies)"
    all_lines = f"SELECT line {copies}"
    if table.key:
        latest = f"SELECT DISTINCT ON (key) line, copy, ctid AS place {copies} ORDER BY key, copy DESC"
        all_lines = f"SELECT line FROM ({latest}) l WHERE line IS NOT NULL"
    count = "GET DIAGNOSTICS done = ROW_COUNT;\n"

    def inserted(source: str) -> str:
        on, off = performed(connection.evaluating), performed(connection.reading)
        return f"{on}\n{insertion(table, source)};\n{off}\n"

    body = f"DELETE FROM ONLY {table.sql};\n{count}{inserted(all_lines)}"
    if table.key:
        few = f"{all_lines} ORDER BY copy, place LIMIT {FEW_ROWS + 1}"
        body = _few_rows(table, few, inserted("SELECT l.line FROM unnest(lines) l (line)")) + body
        delete = f"DELETE FROM ONLY {table.sql} t USING unnest(keys) w (key) WHERE {has_key(table, 'w.key')}"
        if len(table.key) == 1:
            column, kind = table.key[0]
            delete = f"DELETE FROM ONLY {table.sql} t WHERE t.{quoted(column)} = ANY (keys::{kind}[])"
        latest = (
            f"SELECT k.line FROM unnest(keys) w (key) CROSS JOIN LATERAL "
            f'(SELECT line {copies} AND key = w.key COLLATE "C" ORDER BY copy DESC LIMIT 1) k '
            "WHERE k.line IS NOT NULL"
        )
        body = (
            f"IF since IS NOT NULL THEN\nkeys := ARRAY(SELECT DISTINCT key FROM {OURS}.changed_key "
            f"WHERE number = {table.number} AND snapshot >= since);\n"
            f"IF array_position(keys, NULL) IS NULL THEN\n{delete};\n{count}{inserted(latest)}"
            f"RETURN done;\nEND IF;\nEND IF;\n{body}"
        )
    return _put_function(table, body)


def _put_function(table: Table, body: str) -> str:
    # It is planned while there is little to find, and is to be fast when there is much.
    options = " ".join(f"SET enable_{way} = off" for way in ("seqscan", "hashjoin", "mergejoin"))
    variables = "keys text[]; lines text[];"
    return _function(f"put_{table.number}(since bigint, copies int[])", body, variables, options + " ")


def _few_rows(table: Table, lines: str, insert: str) -> str:
    """Rows that are right stay where they are, or all are restored in the order that many a test expects."""
    line = '(t.*)::text COLLATE "C"'
    return (
        f"lines := ARRAY({lines});\nIF cardinality(lines) <= {FEW_ROWS} THEN\n"
        f"DELETE FROM ONLY {table.sql} t WHERE {line} <> ALL (lines);\nGET DIAGNOSTICS done = ROW_COUNT;\n"
        f"IF (SELECT count(*) FROM ONLY {table.sql}) <> cardinality(lines) THEN\n"
        f"DELETE FROM ONLY {table.sql};\nGET DIAGNOSTICS ignored = ROW_COUNT;\ndone := done + ignored;\n"
        f"{insert}END IF;\nRETURN done;\nEND IF;\n"
    )


def parts(table: Table) -> tuple[str, str]:
    """For protean_testing.put_all: what empties a table, and what gives it back rows, by keys or all.

    A row that is there and at the snapshot is updated, not deleted and inserted: a reference to it stays.
    """
    n, name = table.number, table.sql
    clear = f"d{n} AS (DELETE FROM ONLY {name})"
    kept = f"SELECT line FROM {OURS}.kept WHERE number = {n} AND copy = ANY (%1$L)"
    if not table.key:
        everything = f"{kept} AND (SELECT count(*) FROM d{n}) >= 0"  # not before all is deleted
        return clear, _format(
            f"d{n} AS (DELETE FROM ONLY {name} RETURNING 1), i{n} AS ({insertion(table, everything)})"
        )
    written = f"SELECT DISTINCT key FROM {OURS}.changed_key WHERE number = {n} AND snapshot >= %2$s"
    line = f"{kept} AND key = w.key ORDER BY copy DESC LIMIT 1"
    rows = f"(SELECT key, line::{name} AS line FROM w{n} WHERE line IS NOT NULL OFFSET 0) r"
    keys = {column for column, _ in table.key}
    columns = ", ".join(map(quoted, table.columns))
    values = ", ".join(f"(r.line).{quoted(column)}" for column in table.columns)
    settings = ", ".join(f"{quoted(c)} = (r.line).{quoted(c)}" for c in table.columns if c not in keys)
    put = (
        f"w{n} AS MATERIALIZED (SELECT w.key, ({line}) AS line FROM ({written}) w), "
        f"d{n} AS (DELETE FROM ONLY {name} t USING w{n} w "
        f"WHERE w.line IS NULL AND {has_key(table, 'w.key')}), "
        f"i{n} AS (INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {rows} "
        f"WHERE NOT EXISTS (SELECT FROM ONLY {name} t WHERE {has_key(table, 'r.key')}))"
    )
    if settings:
        put += f", u{n} AS (UPDATE ONLY {name} t SET {settings} FROM {rows} WHERE {has_key(table, 'r.key')})"
    return clear, _format(put)


def _format(part: str) -> str:
    """For SQL's format(): a percent sign in a name means itself."""
    return part.replace("%", "%%").replace("%%1$L", "%1$L").replace("%%2$s", "%2$s")


def key_log_function(table: Table) -> str:
    """``log_keys_<number>()`` logs the key of every row that is written, in triggers."""
    old, new = key_of(table, "old"), key_of(table, "new")
    snapshot_number = f"pg_catalog.pg_sequence_last_value('{OURS}.snapshot')"
    dated = any(kind.startswith(("date", "timestamp")) for _, kind in table.key)
    settings = "SET \"DateStyle\" = 'ISO, YMD' SET \"TimeZone\" = 'UTC' " if dated else ""
    into = f"INSERT INTO {OURS}.changed_key VALUES ({snapshot_number}, {table.number}"
    return (
        f"CREATE OR REPLACE FUNCTION {OURS}.log_keys_{table.number}() RETURNS trigger LANGUAGE plpgsql "
        f"SECURITY DEFINER {settings}AS $log$\nBEGIN\n"
        "IF pg_catalog.current_setting('protean_testing.backend', true) OPERATOR(pg_catalog.=) 'on' THEN\n"
        "RETURN NULL;\nEND IF;\n"
        f"CASE tg_op\nWHEN 'TRUNCATE' THEN {into}, NULL);\n"
        f"WHEN 'INSERT' THEN {into}, {new});\nWHEN 'DELETE' THEN {into}, {old});\n"
        f"ELSE\n{into}, {old});\n"
        f"IF {old} OPERATOR(pg_catalog.<>) {new} THEN {into}, {new}); END IF;\n"
        "END CASE;\nRETURN NULL;\nEND $log$"
    )
