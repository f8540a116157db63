"""Compare the rows of a database with those of a snapshot, many tables in a statement, and restore them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

IMAGE = "protean_testing_image"
"""The name under which the image is attached to the connection that reaches the database as ``main``."""

COUNTERS = "sqlite_sequence"
"""The table of AUTOINCREMENT's counters."""

_TERMS = 50
"""Tables that one statement looks at. SQLite takes 500, but walks through its open cursors to close one."""

# Microseconds, measured; only their proportions matter.
_PER_ROW, _PER_VALUE, _PER_TYPE = 0.08, 0.025, 0.1
_PER_KILOBYTE = {True: 0.6, False: 3.0}
_PER_TABLE_PARSED = 5.0  # by every other connection, after the whole image was copied


class Inexact(Exception):
    """Take the whole image: rows alone would not restore everything, or cost more."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Tables:
    """The tables of a schema, in an order in which their rows can be restored.

    Parameters:
        connection: Its ``main`` has the schema.
        leave: Tables that are not to be looked at.

    Attributes:
        names: Of all of them.
        triggered: Those whose triggers fire when their rows are written, in lower case.
    """

    def __init__(self, connection: sqlite3.Connection, *, leave: Collection[str] = ()) -> None:
        listed = [
            (name, bool(without))
            for _, name, kind, _, without, *_ in connection.execute("PRAGMA main.table_list")
            if kind in ("table", "shadow") and name != "sqlite_schema" and name not in leave
        ]
        listed.sort(key=lambda pair: pair[0] == COUNTERS)  # inserting rows moves its counters
        self.names = [name for name, _ in listed]
        self._all = frozenset(self.names)
        self.without_rowid = {name for name, without in listed if without}
        self.triggered = set() if _silenced(connection) else _with_triggers(connection)

    def filled(
        self, connection: sqlite3.Connection, database: str = "main", among: Set[str] | None = None
    ) -> set[str]:
        """Those of the tables, all of them by default, that hold rows."""
        looks = [
            f"SELECT {_text(name)} WHERE EXISTS (SELECT 1 FROM {database}.{quoted(name)})"
            for name in (self.names if among is None else self._all.intersection(among))
        ]
        return {name for look in _together(looks) for (name,) in connection.execute(look)}


class Rows:
    """The rows of a snapshot, as something to compare with and to restore from.

    Parameters:
        connection: It has the image, and what else the snapshot is made of, attached.
        tables: Those of the schema.
        filled: Those that hold rows in the snapshot, each with the table that has these rows.
        in_memory: Whether the database itself is in memory.
        like: One of the same image; what it knows of the same rows is not asked for again.

    Attributes:
        whole: Microseconds, roughly, to copy the whole image.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        tables: Tables,
        filled: Mapping[str, str],
        *,
        in_memory: bool,
        like: Rows | None = None,
    ) -> None:
        self._tables = tables
        known = {} if like is None else like._filled
        self._filled: dict[str, _Filled] = {
            name: known[name]
            if name in known and known[name].source == source
            else _filled(connection, name, source, without_rowid=name in tables.without_rowid)
            for name, source in filled.items()
        }
        (pages,), (size,) = (
            connection.execute(f"PRAGMA {IMAGE}.{pragma}").fetchone()
            for pragma in ("page_count", "page_size")
        )
        per_kilobyte = _PER_KILOBYTE[in_memory]
        self.whole = pages * size / 1024 * per_kilobyte + len(tables.names) * _PER_TABLE_PARSED

    def cost(self, among: Set[str] | None = None) -> float:
        """Microseconds, roughly, to compare these tables, or all."""
        names = self._filled.keys() if among is None else self._filled.keys() & among
        return sum(self._filled[name].cost for name in names)

    def differing(self, connection: sqlite3.Connection, among: Set[str] | None = None) -> set[str]:
        """Those of the tables, all of them by default, that have other rows now. The schemas are equal."""
        different = self._tables.filled(connection, among=among) - self._filled.keys()
        looks = [
            f"SELECT {_text(name)} WHERE {self._filled[name].differs}"
            for name in (self._filled.keys() if among is None else self._filled.keys() & among)
        ]
        return different.union(name for look in _together(looks) for (name,) in connection.execute(look))

    def restore(self, connection: sqlite3.Connection, among: Set[str] | None = None) -> set[str]:
        """Make all rows as they are in the snapshot. The schemas are equal, a transaction is open.

        Parameters:
            among: The tables that may differ; all of them by default.

        Returns:
            The tables that were different.

        Raises:
            Inexact: That takes more than rows, or the whole image is cheaper.
        """
        different = self.differing(connection, among)
        if not self._tables.triggered.isdisjoint(name.lower() for name in different):
            raise Inexact
        if 2 * self.cost(different) > self.whole:
            raise Inexact
        for statement in self.statements(different):
            connection.execute(statement)
        return different

    def statements(self, names: Set[str]) -> Iterator[str]:
        """What restores the rows of some tables.

        Raises:
            Inexact: Those of one cannot be restored by rows.
        """
        # Rows that are inserted move the counters, which therefore come last.
        counters = {COUNTERS}.intersection(self._tables.names) if names else set()
        for name in sorted(names | counters, key=lambda name: name == COUNTERS):
            if name not in self._filled:
                yield f"DELETE FROM main.{quoted(name)}"
                continue
            statements = self._filled[name].restore
            if statements is None:
                raise Inexact
            yield from statements


def copy_rows(connection: sqlite3.Connection, tables: Tables, name: str, target: str) -> None:
    """Copy the rows of a table to one of ours, which is made if need be and keeps every value as it is.

    Raises:
        Inexact: Its rows cannot be named one by one.
    """
    columns = columns_of(connection, name)
    stored = [quoted(column.name) for column in columns if not column.generated]
    key = ""
    if name not in tables.without_rowid:
        key = rowid_of(columns)
        stored.insert(0, key)
    listed = ", ".join(stored)
    # A column without a type takes what comes as it is; INTEGER PRIMARY KEY is what joins find rows by.
    defined = f"{key} INTEGER PRIMARY KEY{listed.removeprefix(key)}" if key else listed
    connection.execute(f"CREATE TABLE IF NOT EXISTS {target} ({defined})")
    connection.execute(f"INSERT INTO {target} SELECT {listed} FROM main.{quoted(name)}")


@dataclass(frozen=True)
class _Filled:
    """A table with rows in the snapshot.

    Attributes:
        source: Where these rows are.
        differs: An expression, true if it has other rows now.
        restore: Statements that make it the same; None if there are none.
        cost: Of a comparison.
    """

    source: str
    differs: str
    restore: tuple[str, ...] | None
    cost: float


def _together(looks: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(looks), _TERMS):
        yield " UNION ALL ".join(looks[start : start + _TERMS])


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


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
class Column:
    """A column.

    Attributes:
        kind: Its type, as it was declared.
        key: Its number in the primary key, from 1; 0: none.
        generated: Its value is computed.
    """

    name: str
    kind: str
    key: int
    generated: bool


def columns_of(connection: sqlite3.Connection, table: str) -> list[Column]:
    rows = connection.execute(f"PRAGMA main.table_xinfo({quoted(table)})")
    return [Column(name, kind.upper(), key, hidden != 0) for _, name, kind, _, _, key, hidden in rows]


def rowid_of(columns: Sequence[Column]) -> str:
    """A name by which the rowid can be had.

    Raises:
        Inexact: All are taken.
    """
    taken = {column.name.lower() for column in columns}
    for alias in ("rowid", "_rowid_", "oid"):
        if alias not in taken:
            return alias
    raise Inexact


def _typed(connection: sqlite3.Connection, source: str, columns: Sequence[Column]) -> list[str]:
    """The columns of which a value may be equal to another and yet be of another type, as 1 and 1.0 are."""
    asked = ", ".join(_may_differ_in_type(quoted(column.name), column.kind) for column in columns)
    found = connection.execute(f"SELECT {asked} FROM {source}").fetchone()
    return [quoted(column.name) for column, differs in zip(columns, found, strict=True) if differs]


def _may_differ_in_type(column: str, kind: str) -> str:
    if "INT" not in kind and any(word in kind for word in ("CHAR", "CLOB", "TEXT")):
        return "0"
    if kind in ("", "ANY") or ("INT" not in kind and "BLOB" in kind):  # no affinity: anything stays as it is
        return f"max(typeof({column}) IN ('integer', 'real'))"
    # Others turn every whole number into an integer, but for this one.
    return f"max({column} = -9223372036854775808)"


def _filled(connection: sqlite3.Connection, name: str, source: str, *, without_rowid: bool) -> _Filled:
    columns = columns_of(connection, name)
    (count,) = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    stored = [quoted(column.name) for column in columns if not column.generated]
    typed = _typed(connection, source, [column for column in columns if not column.generated])
    cost = count * (_PER_ROW + _PER_VALUE * len(columns) + _PER_TYPE * len(typed))
    now, then = f"main.{quoted(name)}", source
    if without_rowid:
        keyed = sorted((column for column in columns if column.key), key=lambda column: column.key)
        key = [quoted(column.name) for column in keyed]
        kept = stored
    else:
        try:
            key = [rowid_of(columns)]
        except Inexact:
            return _Filled(source, "1", None, cost)
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
    return _Filled(source, differs, (delete, insert), cost)
