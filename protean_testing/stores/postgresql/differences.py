"""Which rows differ between a state that was kept and now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from ...changes import KEPT, Written
from .baseline import EMPTY, State, has_key, key_of, lines
from .catalog import Catalog, Table
from .connection import OURS, Connection, psycopg

_NEW = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.oid >= 16384 AND n.nspname <> '{OURS}' AND n.nspname !~ '^pg_'
   AND c.oid::int8 <> ALL (%s)
"""

_DIFFERENCE = """
WITH now AS ({now}), kept(key, line) AS ({then}),
     found AS (SELECT CASE WHEN k.key IS NULL THEN 0 WHEN n.key IS NULL THEN 2 ELSE 1 END AS way,
                      k.line AS before, n.line AS after, CASE WHEN k.key IS NULL THEN place END AS place,
                      coalesce(n.key, k.key) AS key
                 FROM now n FULL JOIN kept k ON n.key = k.key WHERE n.line IS DISTINCT FROM k.line),
     counted AS (SELECT *, count(*) OVER (PARTITION BY way) AS total,
                        row_number() OVER (PARTITION BY way ORDER BY place, length(key), key) AS n FROM found)
SELECT way, total, {shown}
  FROM (SELECT way, total, n, before{cast} AS b, after{cast} AS a FROM counted WHERE n <= {limit} OFFSET 0) r
 ORDER BY r.way, r.n
"""


def differences(
    connection: Connection,
    pairs: Iterable[tuple[Table, State]],
    catalog: Catalog,
    by_key: Collection[int],
    since: int,
) -> list[Written]:
    """What was written to these tables; partitions count as the table that they are of.

    Parameters:
        by_key: Numbers of the tables of which each key that was written since then is logged.
    """
    whole_tables = f"SELECT DISTINCT number FROM {OURS}.changed_key WHERE key IS NULL AND snapshot >= {since}"
    logged = (
        set(by_key).difference(number for (number,) in connection.rows(whole_tables)) if by_key else set()
    )
    whole = {
        child: table for table in catalog.tables.values() if table.kind == "p" for child in table.children
    }
    found: dict[str, Written] = {}
    for table, state in pairs:
        root = table
        while root.number in whole:
            root = whole[root.number]
        name = _name(root.schema, root.name)
        one = _difference(connection, table, state, name, since if table.number in logged else None)
        found[name] = _together(found[name], one) if name in found else one
    return list(found.values())


def made(connection: Connection, catalog: Catalog) -> Iterator[Written]:
    """The tables that came since the catalog was read."""
    known = [table.oid for table in catalog.tables.values()]
    for schema, name in connection.raw.execute(_NEW.encode(), [known]).fetchall():
        yield Written(_name(schema, name), remark="the test has made it, and its rows are not listed")


def _difference(connection: Connection, table: Table, state: State, name: str, since: int | None) -> Written:
    if table.forced and not connection.superuser:
        return Written(name, remark="row level security hides its rows from the role")
    for typed in (True, False):
        try:
            return _compared(connection, table, state, name, since, typed=typed)
        except psycopg.errors.LockNotAvailable:
            return Written(name, remark="an open transaction has locked it")
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            return Written(name, remark="the test has altered or dropped it")
        except psycopg.Error as error:  # a value that Python has not, such as infinity; another shape
            if not connection.refuses(error):
                raise
            reason = str(error).partition("\n")[0]
    return Written(name, remark=f"its rows cannot be compared ({reason})")


def _compared(
    connection: Connection, table: Table, state: State, name: str, since: int | None, *, typed: bool
) -> Written:
    """Compare the rows by their texts.

    Parameters:
        since: Since which each key that was written is logged, if that is so: the other rows are not read.
        typed: Whether the values are to be Python's own, in place of each row's text.
    """
    own = key_of(table, "t") if table.key else "NULL::text"
    line = f'{own} COLLATE "C" AS key, (t.*)::text COLLATE "C" AS line'
    now = f"SELECT {line}, t.ctid AS place FROM ONLY {table.sql} t"
    then = lines(table, state, "key, line") if state != EMPTY else "SELECT NULL::text, NULL::text WHERE false"
    if not table.key:  # equal rows are told apart by counting them
        number = "concat(row_number() OVER (PARTITION BY line), ' ', line) COLLATE \"C\" AS key"
        now = f"SELECT {number}, line, place FROM ({now}) w"
        then = f"SELECT {number}, line FROM ({then}) w(key, line)"
    if since is not None:
        logged = f"number = {table.number} AND snapshot >= {since}"
        keys = f"(SELECT DISTINCT key FROM {OURS}.changed_key WHERE {logged})"
        written = f"{keys} w JOIN ONLY {table.sql} t ON {has_key(table, 'w.key')}"
        now = f"SELECT {line}, t.ctid AS place FROM {written}"
        then = f"SELECT key, line FROM ({then}) k(key, line) WHERE key IN {keys}"
    shown = "(b).*, (a).*" if typed else "b AS row, a AS row"
    cast = f"::{table.sql}" if typed else ""
    cursor = connection.raw.execute(
        _DIFFERENCE.format(now=now, then=then, shown=shown, cast=cast, limit=KEPT).encode()
    )
    names = [column.name for column in cursor.description or ()][2:]
    size = len(names) // 2
    rows: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    totals = [0, 0, 0]
    for way, total, *values in cursor.fetchall():
        before, after = (dict(zip(names, part, strict=False)) for part in (values[:size], values[size:]))
        totals[way] = total
        rows[way].append((after, (before, after), before)[way])
    key = [column for column, _ in table.key] if typed else ()
    more = (totals[0] - len(rows[0]), totals[1] - len(rows[1]), totals[2] - len(rows[2]))
    return Written(name, *rows, key=key, more=more)


def _together(one: Written, other: Written) -> Written:
    """Of two partitions of a table."""
    more = (one.more[0] + other.more[0], one.more[1] + other.more[1], one.more[2] + other.more[2])
    return Written(
        one.name,
        [*one.inserted, *other.inserted],
        [*one.updated, *other.updated],
        [*one.deleted, *other.deleted],
        key=one.key or other.key,
        more=more,
        remark=one.remark or other.remark,
    )


def _name(schema: str, name: str) -> str:
    return name if schema == "public" else f"{schema}.{name}"
