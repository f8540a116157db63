"""The functions that bring tables back: their statements are planned once and found without a search."""

from __future__ import annotations

from collections.abc import Sequence

from .baseline import has_key, insertion
from .catalog import Table
from .connection import OURS, quoted

LARGEST_BRANCH = 4  # tables that are told apart one by one


def clear_function(tables: Sequence[Table]) -> str:
    """``clear(number)`` empties a table and returns how many rows it had: a tree, for there may be many."""
    ordered = sorted(tables, key=lambda table: table.number)
    return (
        f"CREATE OR REPLACE FUNCTION {OURS}.clear(one int) RETURNS bigint LANGUAGE plpgsql AS $clear$\n"
        f"DECLARE rows bigint := 0;\nBEGIN\n{_tree(ordered)}    RETURN rows;\nEND $clear$"
    )


def _tree(tables: Sequence[Table]) -> str:
    if len(tables) <= LARGEST_BRANCH:
        return "".join(
            f"IF one = {table.number} THEN\nDELETE FROM ONLY {table.sql};\n"
            "GET DIAGNOSTICS rows = ROW_COUNT;\nRETURN rows;\nEND IF;\n"
            for table in tables
        )
    middle = len(tables) // 2
    left, right = _tree(tables[:middle]), _tree(tables[middle:])
    return f"IF one < {tables[middle].number} THEN\n{left}ELSE\n{right}END IF;\n"


def put_function(table: Table) -> str:
    """``put_<number>(since, copies)`` gives a table the rows of a state.

    Only those with keys that were written in the era `since` or later, where that is known (not NULL).
    """
    copies = f"FROM {OURS}.kept WHERE number = {table.number} AND copy = ANY (copies)"
    all_lines = f"SELECT line {copies}"
    if table.key:
        latest = f"SELECT DISTINCT ON (key) line {copies} ORDER BY key, copy DESC"
        all_lines = f"SELECT line FROM ({latest}) l WHERE line IS NOT NULL"
    whole = f"DELETE FROM ONLY {table.sql};\n{insertion(table, all_lines)};\n"
    body = f"{whole}RETURN;\n"
    if table.key:
        touched = f"FROM {OURS}.touched WHERE number = {table.number} AND era >= since"
        latest = (
            f"SELECT k.line FROM (SELECT DISTINCT key {touched}) w CROSS JOIN LATERAL "
            f"(SELECT line {copies} AND key = w.key ORDER BY copy DESC LIMIT 1) k WHERE k.line IS NOT NULL"
        )
        body = (
            f"IF since IS NULL OR EXISTS (SELECT {touched} AND key IS NULL) THEN\n{body}END IF;\n"
            f"FOR one IN SELECT DISTINCT key {touched} LOOP\n"
            f"DELETE FROM ONLY {table.sql} t WHERE {has_key(table, 'one')};\n"
            f"END LOOP;\n{insertion(table, latest)};\n"
        )
    return (
        f"CREATE OR REPLACE FUNCTION {OURS}.put_{table.number}(since bigint, copies int[]) RETURNS void "
        "LANGUAGE plpgsql SET enable_seqscan = off AS $put$\n"  # it is planned while there is little to find
        f"#variable_conflict use_variable\nDECLARE one text[];\nBEGIN\n{body}END $put$"
    )


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
