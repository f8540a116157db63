"""Which rows differ from those of an image, and how they are put back: one statement looks at many tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

IMAGE = "protean_testing_image"
"""The name under which the image is attached to the connection that reaches the database as ``main``."""

_TERMS = 50
"""Tables that one statement looks at. SQLite takes 500, but walks through its open cursors to close one."""

# Microseconds, measured; only their proportions matter.
_PER_ROW, _PER_VALUE, _PER_TYPE = 0.08, 0.025, 0.1
_PER_KILOBYTE = {True: 0.6, False: 3.0}
_PER_TABLE_PARSED = 5.0  # by every other connection, after the whole image was copied


class Inexact(Exception):
    """Take the whole image: rows alone would not bring everything back, or cost more."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Tables:
    """The tables of a schema, in an order in which their rows can be put back.

    Parameters:
        connection: Its ``main`` has the schema.
        leave: Tables that are not to be looked at.
    """

    def __init__(self, connection: sqlite3.Connection, *, leave: Collection[str] = ()) -> None:
        listed = [
            (name, bool(without))
            for _, name, kind, _, without, *_ in connection.execute("PRAGMA main.table_list")
            if kind in ("table", "shadow") and name != "sqlite_schema" and name not in leave
        ]
        listed.sort(key=lambda pair: pair[0] == "sqlite_sequence")  # inserting rows moves its counters
        self.names = [name for name, _ in listed]
        self.without_rowid = {name for name, without in listed if without}
        self.triggered = set() if _silenced(connection) else _with_triggers(connection)

    def filled(self, connection: sqlite3.Connection, database: str = "main") -> set[int]:
        """The numbers of the tables that hold rows."""
        found: set[int] = set()
        for start in range(0, len(self.names), _TERMS):
            looks = (
                f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {database}.{quoted(name)})"
                for number, name in enumerate(self.names[start : start + _TERMS], start)
            )
            found.update(number for (number,) in connection.execute(" UNION ALL ".join(looks)))
        return found


class Rows:
    """The rows of an image, as something to compare with and to put back.

    Parameters:
        connection: It has the image attached.
        tables: Those of the image.
        filled: The numbers of those that hold rows in it.
        in_memory: Whether the database itself is in memory.

    Attributes:
        dear: Copying the whole image costs less than comparing its rows.
    """

    def __init__(
        self, connection: sqlite3.Connection, tables: Tables, filled: Collection[int], *, in_memory: bool
    ) -> None:
        self._tables = tables
        self._filled: dict[int, _Filled] = {}
        for number in sorted(filled):
            name = tables.names[number]
            (count,) = connection.execute(f"SELECT count(*) FROM {IMAGE}.{quoted(name)}").fetchone()
            columns = _columns(connection, name)
            typed = sum(column.typed for column in columns)
            cost = count * (_PER_ROW + _PER_VALUE * len(columns) + _PER_TYPE * typed)
            without_rowid = name in tables.without_rowid
            self._filled[number] = _filled(name, count, columns, cost, without_rowid=without_rowid)
        pages, size, *self._header = (
            connection.execute(f"PRAGMA {IMAGE}.{pragma}").fetchone()[0]
            for pragma in ("page_count", "page_size", *_HEADER)
        )
        self._whole = pages * size / 1024 * _PER_KILOBYTE[in_memory] + len(tables.names) * _PER_TABLE_PARSED
        self.dear = sum(table.cost for table in self._filled.values()) > self._whole
        self._looks = [
            " UNION ALL ".join(f"SELECT {number} WHERE {table.differs}" for number, table in part)
            for part in _parts(list(self._filled.items()))
        ]

    def restore(self, connection: sqlite3.Connection) -> bool:
        """Make all rows as they are in the image. The schemas are equal, a transaction is open.

        Returns:
            True where anything was different.

        Raises:
            Inexact: That takes more than rows, or the whole image is cheaper.
        """
        different = self._tables.filled(connection) - self._filled.keys()
        for look in self._looks:
            different.update(number for (number,) in connection.execute(look))
        if any(self._tables.names[number].lower() in self._tables.triggered for number in different):
            raise Inexact
        if 2 * sum(self._filled[number].cost for number in different & self._filled.keys()) > self._whole:
            raise Inexact
        counters = self._counters()
        for number in sorted(different if counters is None or not different else different | {counters}):
            for statement in self._mend(number):
                connection.execute(statement)
        header = False
        for pragma, value in zip(_HEADER, self._header, strict=True):
            if connection.execute(f"PRAGMA main.{pragma}").fetchone()[0] != value:
                connection.execute(f"PRAGMA main.{pragma} = {value}")
                header = True
        return header or bool(different)

    def _counters(self) -> int | None:
        """The number of the table of counters, which rows that are put back may move."""
        names = self._tables.names
        return len(names) - 1 if names and names[-1] == "sqlite_sequence" else None

    def _mend(self, number: int) -> tuple[str, ...]:
        if number not in self._filled:
            return (f"DELETE FROM main.{quoted(self._tables.names[number])}",)
        mend = self._filled[number].mend
        if mend is None:
            raise Inexact
        return mend


_HEADER = ("user_version", "application_id")


@dataclass(frozen=True)
class _Filled:
    """A table with rows in the image.

    Attributes:
        differs: An expression, true where it has other rows now.
        mend: Statements that make it the same; None where there are none.
        cost: Of a comparison.
    """

    differs: str
    mend: tuple[str, ...] | None
    cost: float


def _parts(tables: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(tables), _TERMS):
        yield tables[start : start + _TERMS]


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


@dataclass(frozen=True)
class _Column:
    """A column.

    Attributes:
        key: Its place in the primary key, from 1; 0: none.
        generated: Its value is computed.
        typed: A value of it may be equal to the image's and yet be of another type, as 1 and 1.0 are.
    """

    name: str
    key: int
    generated: bool
    typed: bool


def _columns(connection: sqlite3.Connection, table: str) -> list[_Column]:
    rows = connection.execute(f"PRAGMA {IMAGE}.table_xinfo({quoted(table)})").fetchall()
    typed = ", ".join(_may_differ_in_type(quoted(name), kind.upper()) for _, name, kind, *_ in rows)
    found = connection.execute(f"SELECT {typed} FROM {IMAGE}.{quoted(table)}").fetchone()
    return [
        _Column(name, key, hidden != 0, bool(differs))
        for (_, name, _, _, _, key, hidden), differs in zip(rows, found, strict=True)
    ]


def _may_differ_in_type(column: str, kind: str) -> str:
    if "INT" not in kind and any(word in kind for word in ("CHAR", "CLOB", "TEXT")):
        return "0"
    if kind in ("", "ANY") or ("INT" not in kind and "BLOB" in kind):  # no affinity: anything stays as it is
        return f"max(typeof({column}) IN ('integer', 'real'))"
    # Others turn every whole number into an integer, but for this one.
    return f"max({column} = -9223372036854775808)"


def _filled(
    name: str, count: int, columns: Sequence[_Column], cost: float, *, without_rowid: bool
) -> _Filled:
    now, then = f"main.{quoted(name)}", f"{IMAGE}.{quoted(name)}"
    stored = [quoted(column.name) for column in columns if not column.generated]
    typed = [quoted(column.name) for column in columns if column.typed and not column.generated]
    if without_rowid:
        keyed = sorted((column for column in columns if column.key), key=lambda column: column.key)
        key = [quoted(column.name) for column in keyed]
        kept = stored
    else:
        taken = {column.name.lower() for column in columns}
        free = [alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken]
        if not free:  # the rowid cannot be named
            return _Filled("1", None, cost)
        key = free[:1]
        kept = key + stored
    same_key = " AND ".join(f"n.{column} = t.{column}" for column in key)
    # IS compares as the column's collation says, and takes 1 for 1.0.
    other = " OR ".join(
        [f"n.{column} COLLATE BINARY IS NOT t.{column}" for column in stored]
        + [f"typeof(n.{column}) <> typeof(t.{column})" for column in typed]
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
    return _Filled(differs, (delete, insert), cost)
