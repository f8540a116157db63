"""An image takes the rows of an older one and keeps what the older one does not know."""

from __future__ import annotations

from .image import Image
from .rows import IMAGE, Rows, Tables, quoted


def put_rows(source: Image, target: Image) -> None:
    """Give the target the rows of the source, but for tables that are not the same in both."""
    connection = target.connection
    connection.execute(f"ATTACH ? AS {IMAGE}", (source.uri,))
    connection.execute("BEGIN")
    ours = f"SELECT name FROM {IMAGE}.sqlite_schema WHERE type = 'table'"
    same = f"SELECT name FROM {IMAGE}.sqlite_schema JOIN main.sqlite_schema USING (name, sql)"
    others = connection.execute(f"SELECT name FROM main.sqlite_schema WHERE type = 'table' EXCEPT {same}")
    leave = {"sqlite_sequence", *(name for (name,) in others)}
    triggers = connection.execute(
        "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger'"
    ).fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {quoted(name)}")
    tables = Tables(connection, leave=leave)
    Rows(connection, tables, tables.filled(connection, IMAGE), in_memory=True).restore(connection)
    for _, sql in triggers:
        connection.execute(sql)
    if connection.execute(f"SELECT 1 FROM {IMAGE}.sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
        connection.execute(f"DELETE FROM main.sqlite_sequence WHERE name IN ({ours})")
        connection.execute(f"INSERT INTO main.sqlite_sequence SELECT name, seq FROM {IMAGE}.sqlite_sequence")
    connection.execute("COMMIT")
    connection.execute(f"DETACH {IMAGE}")
