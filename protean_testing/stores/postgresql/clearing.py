"""The functions that bring tables back: their statements are planned once and found without a search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .baseline import has_key, insertion
from .catalog import Table
from .connection import OURS, quoted

LARGEST_BRANCH = 4  # numbers that are told apart one by one


def clear_function(tables: Iterable[Table]) -> str:
    """``clear(number)`` empties a table and returns how many rows it had."""
    count = "GET DIAGNOSTICS done = ROW_COUNT;\n"
    cases = {table.number: f"DELETE FROM ONLY {table.sql};\n{count}" for table in tables}
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
        f"#variable_conflict use_variable\nDECLARE done bigint := 0; {variables}\n"
        f"BEGIN\n{body}RETURN done;\nEND $function$"
    )


def put_function(table: Table) -> str:
    """``put_<number>(since, copies)`` gives a table the rows of a state.

    Only those with keys that were written in the era `since` or later, where that is known (not NULL).
    """
    copies = f"FROM {OURS}.kept WHERE number = {table.number} AND copy = ANY (copies)"
    all_lines = f"SELECT line {copies}"
    if table.key:
        latest = f"SELECT DISTINCT ON (key) line {copies} ORDER BY key, copy DESC"
        all_lines = f"SELECT line FROM ({latest}) l WHERE line IS NOT NULL"
    count = "GET DIAGNOSTICS done = ROW_COUNT;\n"
    body = f"DELETE FROM ONLY {table.sql};\n{count}{insertion(table, all_lines)};\n"
    if table.key:
        touched = f"FROM {OURS}.touched WHERE number = {table.number} AND era >= since"
        latest = (
            f"SELECT k.line FROM (SELECT DISTINCT key {touched}) w CROSS JOIN LATERAL "
            f"(SELECT line {copies} AND key = w.key ORDER BY copy DESC LIMIT 1) k WHERE k.line IS NOT NULL"
        )
        body = (
            f"IF since IS NULL OR EXISTS (SELECT {touched} AND key IS NULL) THEN\n{body}RETURN done;\n"
            f"END IF;\nFOR one_key IN SELECT DISTINCT key {touched} LOOP\n"
            f"DELETE FROM ONLY {table.sql} t WHERE {has_key(table, 'one_key')};\ndone := done + 1;\n"
            f"END LOOP;\n{insertion(table, latest)};\n"
        )
    # It is planned while there is little to find.
    head = f"put_{table.number}(since bigint, copies int[])"
    return _function(head, body, "one_key text[];", "SET enable_seqscan = off ")


def touch_function(table: Table) -> str:
    """``touch_<number>()`` notes the key of every row that is written, in triggers."""
    old, new = (
        f"ARRAY[{', '.join(f'{row}.{quoted(column)}::pg_catalog.text' for column, _ in table.key)}]"
        for row in ("old", "new")
    )
    era = f"pg_catalog.pg_sequence_last_value('{OURS}.era')"
    dated = any(kind.startswith(("date", "timestamp")) for _, kind in table.key)
    settings = "SET \"DateStyle\" = 'ISO, YMD' SET \"TimeZone\" = 'UTC' " if dated else ""
    into = f"INSERT INTO {OURS}.touched VALUES ({era}, {table.number}"
    return (
        f"CREATE OR REPLACE FUNCTION {OURS}.touch_{table.number}() RETURNS trigger LANGUAGE plpgsql "
        f"SECURITY DEFINER {settings}AS $touch$\nBEGIN\n"
        "IF pg_catalog.current_setting('protean_testing.keeper', true) OPERATOR(pg_catalog.=) 'on' THEN\n"
        "RETURN NULL;\nEND IF;\n"
        f"CASE tg_op\nWHEN 'TRUNCATE' THEN {into}, NULL);\n"
        f"WHEN 'INSERT' THEN {into}, {new});\nWHEN 'DELETE' THEN {into}, {old});\n"
        f"ELSE\n{into}, {old});\n"
        f"IF {old} OPERATOR(pg_catalog.<>) {new} THEN {into}, {new}); END IF;\n"
        "END CASE;\nRETURN NULL;\nEND $touch$"
    )
