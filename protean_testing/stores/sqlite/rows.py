"""Which rows differ from those of an image, and how they are put back: one statement looks at many tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

IMAGE = "protean_testing_image"
"""The name under which the image is attached to the connection that reaches the database as ``main``."""

_TERMS = 400
"""Tables that one statement looks at; SQLite takes 500."""

# Microseconds, measured; only their proportions matter.
_PER_VALUE = 0.09
_PER_ROW = 0.15
_PER_PAGE = {True: 2.0, False: 6.0}
_PER_TABLE_PARSED = 20.0


class Inexact(Exception):
    """Rows alone would not bring everything back: take the whole image."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class _Table:
    """A table, and its statements.

    Attributes:
        differs: An expression, true where the table is not as in the image.
        mend: Statements that make it so.
        inexact: Mending it would fire a trigger, or cannot be done by rows.
    """

    differs: str
    mend: tuple[str, ...]
    inexact: bool


class Rows:
    """The rows of an image, as something to compare with and to put back.

    Parameters:
        connection: It has the image attached.
        in_memory: Whether the database itself is in memory.
        leave: Tables that are not to be looked at.

    Attributes:
        dear: Copying the whole image costs less than comparing its rows.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, in_memory: bool, leave: Collection[str] = ()
    ) -> None:
        listed = connection.execute(f"PRAGMA {IMAGE}.table_list").fetchall()
        names = [
            (name, without)
            for _, name, kind, _, without, *_ in listed
            if kind in ("table", "shadow") and name != "sqlite_schema" and name not in leave
        ]
        names.sort(key=lambda pair: pair[0] == "sqlite_sequence")  # inserting rows moves its counters
        filled = _filled(connection, [name for name, _ in names])
        fires = set() if _silenced(connection) else _with_triggers(connection)
        cost = 0.0
        tables = []
        for name, without in names:
            triggered = name.lower() in fires
            if name not in filled:
                tables.append(_empty(name, triggered))
                continue
            count = connection.execute(f"SELECT count(*) FROM {IMAGE}.{quoted(name)}").fetchone()[0]
            columns = _columns(connection, name)
            cost += count * (_PER_ROW + _PER_VALUE * len(columns))
            tables.append(_with_rows(name, count, columns, bool(without), triggered))
        self._tables = tables
        self._counters = tables[-1] if names and names[-1][0] == "sqlite_sequence" else None
        (pages,) = connection.execute("PRAGMA main.page_count").fetchone()
        self.dear = cost > pages * _PER_PAGE[in_memory] + len(tables) * _PER_TABLE_PARSED
        self._looks = [
            " UNION ALL ".join(f"SELECT {start + number} WHERE {table.differs}" for number, table in part)
            for start, part in _parts(tables)
        ]
        self._header = [
            (pragma, connection.execute(f"PRAGMA {IMAGE}.{pragma}").fetchone()[0])
            for pragma in ("user_version", "application_id")
        ]

    def put_back(self, connection: sqlite3.Connection) -> bool:
        """Make all rows as they are in the image. The schemas are equal, a transaction is open.

        Returns:
            True where anything was different.

        Raises:
            Inexact: That takes more than rows.
        """
        anything = False
        for pragma, value in self._header:
            if connection.execute(f"PRAGMA main.{pragma}").fetchone()[0] != value:
                connection.execute(f"PRAGMA main.{pragma} = {value}")
                anything = True
        different = [
            self._tables[number] for look in self._looks for (number,) in connection.execute(look).fetchall()
        ]
        if any(table.inexact for table in different):
            raise Inexact
        for table in different:
            for statement in table.mend:
                connection.execute(statement)
        if self._counters and different:  # rows that were put back may have moved them
            for statement in self._counters.mend:
                connection.execute(statement)
        return anything or bool(different)


def _parts(tables: Sequence[_Table]) -> Iterator[tuple[int, Iterator[tuple[int, _Table]]]]:
    for start in range(0, len(tables), _TERMS):
        yield start, enumerate(tables[start : start + _TERMS])


def _silenced(connection: sqlite3.Connection) -> bool:
    """Whether triggers can be, and are now, off on this connection (Python 3.12 and newer)."""
    configure = getattr(connection, "setconfig", None)
    if configure is None:
        return False
    configure(getattr(sqlite3, "SQLITE_DBCONFIG_ENABLE_TRIGGER"), False)  # noqa: B009
    return True


def _with_triggers(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT lower(tbl_name) FROM main.sqlite_schema WHERE type = 'trigger'")
    return {name for (name,) in rows}


def _filled(connection: sqlite3.Connection, names: Sequence[str]) -> set[str]:
    """The tables that have rows in the image."""
    found = set()
    for start in range(0, len(names), _TERMS):
        looks = [
            f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {IMAGE}.{quoted(name)})"
            for number, name in enumerate(names[start : start + _TERMS], start)
        ]
        found |= {names[number] for (number,) in connection.execute(" UNION ALL ".join(looks))}
    return found


@dataclass(frozen=True)
class _Column:
    name: str
    key: int  # its place in the primary key, from 1; 0: none
    generated: bool


def _columns(connection: sqlite3.Connection, name: str) -> list[_Column]:
    rows = connection.execute(f"PRAGMA {IMAGE}.table_xinfo({quoted(name)})").fetchall()
    return [_Column(column, key, hidden != 0) for _, column, _, _, _, key, hidden in rows]


def _empty(name: str, triggered: bool) -> _Table:
    table = f"main.{quoted(name)}"
    return _Table(f"EXISTS (SELECT 1 FROM {table})", (f"DELETE FROM {table}",), triggered)


def _with_rows(
    name: str, count: int, columns: Sequence[_Column], without_rowid: bool, triggered: bool
) -> _Table:
    now, then = f"main.{quoted(name)}", f"{IMAGE}.{quoted(name)}"
    stored = [quoted(column.name) for column in columns if not column.generated]
    if without_rowid:
        keyed = sorted((column for column in columns if column.key), key=lambda column: column.key)
        key = [quoted(column.name) for column in keyed]
        kept = stored
    else:
        taken = {column.name.lower() for column in columns}
        free = [alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken]
        if not free:  # the rowid cannot be named
            return _Table("1", (), True)
        key = free[:1]
        kept = key + stored
    same_key = " AND ".join(f"n.{column} = t.{column}" for column in key)
    # IS compares as the column's collation says, and takes 1 for 1.0.
    other = " OR ".join(
        f"n.{column} COLLATE BINARY IS NOT t.{column} OR typeof(n.{column}) <> typeof(t.{column})"
        for column in stored
    )
    listed, values = ", ".join(kept), ", ".join(f"t.{column}" for column in kept)
    keys, now_keys = ", ".join(key), ", ".join(f"n.{column}" for column in key)
    differs = (
        f"(SELECT count(*) FROM {now}) <> {count} OR EXISTS (SELECT 1 FROM {then} AS t "
        f"LEFT JOIN {now} AS n ON {same_key} WHERE n.{key[0]} IS NULL OR {other})"
    )
    delete = (
        f"DELETE FROM {now} WHERE ({keys}) IN (SELECT {now_keys} FROM {now} AS n "
        f"LEFT JOIN {then} AS t ON {same_key} WHERE t.{key[0]} IS NULL OR {other})"
    )
    insert = (
        f"INSERT INTO {now} ({listed}) SELECT {values} FROM {then} AS t "
        f"WHERE NOT EXISTS (SELECT 1 FROM {now} AS n WHERE {same_key})"
    )
    return _Table(differs, (delete, insert), triggered)
