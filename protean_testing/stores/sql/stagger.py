"""Let the ids of each table begin elsewhere, so that one which was taken for another is found."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from ...core.remarks import remark

STEP = 1000
"""From where one table's ids begin to where the next one's do, in the order of their names."""

# Those that a table's column owns, of a type with room for it, which nobody has moved so far.
_POSTGRESQL = """
SELECT s.oid::regclass::text, row_number() OVER (ORDER BY n.nspname, t.relname, s.relname), seqmax,
       seqincrement, coalesce(pg_sequence_last_value(s.oid), 0)
FROM pg_sequence q JOIN pg_class s ON s.oid = q.seqrelid
JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_class t ON t.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname <> 'protean_testing'
"""
_SQLITE = """
SELECT m.name, row_number() OVER (ORDER BY m.name), coalesce(s.seq, 0), m.sql LIKE '%AUTOINCREMENT%'
FROM sqlite_master m LEFT JOIN {} s ON s.name = m.name
WHERE m.type = 'table' AND m.name NOT GLOB 'sqlite_*' AND m.name NOT GLOB 'protean_testing*'
"""
_MYSQL = """
SELECT table_name, row_number() OVER (ORDER BY table_name), auto_increment FROM information_schema.tables
WHERE table_schema = database() AND auto_increment IS NOT NULL
"""


def stagger(connection: Connection, store: str) -> None:
    """Move the counters of all tables apart, those that are where they began."""
    left = _moved(connection)
    if left:
        remark(
            f"stagger=True of store {store!r} has no effect on {', '.join(map(repr, sorted(left)))}: there "
            "is no counter. On SQLite, that is  sqlite_autoincrement=True"
        )


def _moved(connection: Connection) -> list[str]:
    """Move them, and name the tables whose ids cannot begin elsewhere."""
    match connection.dialect.name:
        case "postgresql":
            return list(_on_postgresql(connection))
        case "sqlite":
            return list(_on_sqlite(connection))
        case "mysql" | "mariadb":
            _on_mysql(connection)
            return []
        case name:
            return [f"all tables ({name})"]


def _on_postgresql(connection: Connection) -> Iterator[str]:
    rows = connection.execute(text(_POSTGRESQL)).all()
    for name, number, most, increment, last in rows:
        begin = number * min(STEP, most // (2 * len(rows) + 2))
        if increment > 0 and last < begin:
            moved = text("SELECT setval(CAST(:name AS regclass), :n, false)")
            connection.execute(moved, {"name": name, "n": begin + 1})
        elif increment <= 0:
            yield name


def _on_sqlite(connection: Connection) -> Iterator[str]:
    looked = text("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'")
    has_counters = connection.execute(looked).first()
    counters = "sqlite_sequence" if has_counters else "(SELECT '' AS name, 0 AS seq)"
    for name, number, last, counts in connection.execute(text(_SQLITE.format(counters))).all():
        if not counts:
            yield name
        elif last < number * STEP:
            values = {"name": name, "n": number * STEP}
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :n)"), values)


def _on_mysql(connection: Connection) -> None:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    for name, number, following in connection.execute(text(_MYSQL)).all():
        if following <= number * STEP:
            connection.execute(text(f"ALTER TABLE {quoted(name)} AUTO_INCREMENT = {number * STEP + 1}"))
