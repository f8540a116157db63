"""Everything that is in a database, whoever put it there: for stores with `verify`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from . import sql
from .catalog import read_catalog
from .connection import Connection
from .sequences import positions
from .transactions import READERS, open_transactions

HOLDERS = """
SELECT l.pid, a.state LIKE 'idle%'
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory'
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.pid <> pg_backend_pid() AND a.application_name <> 'protean_testing'
"""
"""The sessions with an advisory lock, and whether they do nothing now."""

_OTHERS = {
    "large object": "SELECT oid::text, 1 FROM pg_largeobject_metadata",
    "prepared transaction": "SELECT gid, 1 FROM pg_prepared_xacts WHERE database = current_database()",
    "setting of the database": "SELECT unnest(setconfig), 1 FROM pg_db_role_setting s JOIN pg_database d "
    "ON d.oid = s.setdatabase WHERE d.datname = current_database()",
    "session with an advisory lock": f"SELECT 'pid ' || pid, 1 FROM ({HOLDERS}) h",
}


def look(connection: Connection) -> dict[str, Counter[Any]]:
    """Rows, sequences, definitions, and what lives beside the tables."""
    catalog = read_catalog(connection, {})
    found: dict[str, Counter[Any]] = {}
    for table in catalog.tables.values():
        if table.kind not in ("p", "l") and not table.forced:
            rows = connection.rows(f"SELECT (t.*)::text FROM ONLY {table.sql} t")
            found[f"table {table}"] = Counter(line for (line,) in rows)
    for (schema, name), location in positions(connection, catalog.sequences.values()).items():
        found[f"sequence {schema}.{name}"] = Counter([location])
    for what, definition in connection.rows(sql.text("definitions")):
        found.setdefault(f"definition of {what}", Counter())[definition] += 1
    for one in open_transactions(connection, READERS):
        if one.pid is not None:
            found[f"open transaction of pid {one.pid} on {one.tables}"] = Counter([1])
    for kind, statement in _OTHERS.items():
        for name, value in connection.rows(statement):
            found[f"{kind} {name}"] = Counter([value])
    return found


def holders(connection: Connection) -> dict[int, bool]:
    """The sessions that hold an advisory lock, or a lock of a transaction, and whether they sleep."""
    transactions = open_transactions(connection, READERS)
    in_transactions = {one.pid: one.sleeps for one in transactions if one.pid is not None}
    return in_transactions | dict(connection.rows(HOLDERS))
