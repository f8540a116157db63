"""Log what the code under test writes by triggers, in its own transaction: which tables, which keys."""

from __future__ import annotations

from collections.abc import Iterable

from . import invalidations, sql
from .catalog import Catalog, Table
from .clearing import key_log_function
from .connection import OURS, Connection
from .ownership import LOCK

TRIGGER = OURS
"""The name of our triggers, and the beginning of the names of our event triggers."""

SCHEMA, VIEW, SENTINEL = -1, -2, 0
"""Lines that stand for no table: a change of the schema, a refreshed view; what a crash takes away."""


def install(connection: Connection) -> None:
    """Create what is logged into. Inside a transaction."""
    statements = [sql.text("install"), invalidations.FUNCTION]
    for event in ("ddl_command_end", "sql_drop") if connection.superuser else ():
        name = f"{TRIGGER}_{event}"
        statements.append(f"CREATE EVENT TRIGGER {name} ON {event} EXECUTE FUNCTION {OURS}.log_schema()")
        statements.append(f"ALTER EVENT TRIGGER {name} ENABLE ALWAYS")
    connection.run(";\n".join(statements))


def uninstall(connection: Connection) -> None:
    """Remove every trigger and function of ours. Harmless where there is none."""
    names = connection.rows(
        f"SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace('{OURS}')"
    )
    if names:
        connection.run(f"DROP FUNCTION {', '.join(name for (name,) in names)} CASCADE")


def log_tables(connection: Connection, catalog: Catalog) -> None:
    """Put triggers on tables that have none yet. Inside a transaction."""
    there = logged(connection)
    missing = [table for table in catalog.tables.values() if table.notable and table.oid not in there]
    text = sql.text("log_write").replace(":lock", str(LOCK))
    for table in missing:
        function = f"{OURS}.log_{table.number}()"  # its own: a number that it is told would have to be read
        connection.run(
            f"CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
            f"AS $log$\n{text.replace(':number', str(table.number))}$log$; "
            f"CREATE OR REPLACE TRIGGER {TRIGGER} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE "
            f"ON {table.sql} FOR EACH STATEMENT EXECUTE FUNCTION {function}; "
            f"ALTER TABLE {table.alone} ENABLE ALWAYS TRIGGER {TRIGGER}"
        )


def log_keys(connection: Connection, table: Table) -> None:
    """Have the keys logged that are written in `table`, from now on. Inside a transaction."""
    connection.run(key_log_function(table))
    for name, when in (
        ("keys", "AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW"),
        ("all", "BEFORE TRUNCATE ON {} FOR EACH STATEMENT"),
    ):
        connection.run(
            f"CREATE OR REPLACE TRIGGER {TRIGGER}_{name} {when.format(table.sql)} "
            f"EXECUTE FUNCTION {OURS}.log_keys_{table.number}(); "
            f"ALTER TABLE {table.alone} ENABLE ALWAYS TRIGGER {TRIGGER}_{name}"
        )


def written(connection: Connection) -> set[int]:
    """What was logged, and committed, since the last reset or snapshot."""
    return {number for (number,) in connection.rows(f"SELECT DISTINCT number FROM {OURS}.change_log")}


def written_late(connection: Connection) -> set[int] | None:
    """Numbers of the tables that were written to while no run was alive; None if that was not logged."""
    if connection.value(f"SELECT to_regclass('{OURS}.change_log')") is None:
        return None
    found = set(connection.rows(f"SELECT DISTINCT number, late FROM {OURS}.change_log"))
    return {number for number, late in found if late} if (SENTINEL, False) in found else None


def logged(connection: Connection) -> set[int]:
    """Oids of the tables whose writes are logged."""
    return {oid for (oid,) in connection.rows(_TRIGGERED)}


def damaged(connection: Connection, expected: Iterable[tuple[int, str]], since: int = 0) -> bool:
    """Whether a test dropped one of our triggers, or switched it off, be it for a while.

    Parameters:
        since: The latest transaction that may have written one; 0: it may have been off for a while.
    """
    found = {
        (oid, name)
        for oid, name, newer in connection.rows(f"EXECUTE {connection.prepare(_INTACT)}('{since or 3}')")
        if not (since and newer)
    }
    return not found.issuperset(expected)


_OURS = f"""
  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = '{OURS}' AND NOT t.tgisinternal
"""
_TRIGGERED = f"SELECT t.tgrelid::int8 {_OURS} AND t.tgname = '{TRIGGER}' AND t.tgenabled = 'A'"
_INTACT = f"SELECT t.tgrelid::int8, t.tgname::text, age(t.xmin) < age($1::xid) {_OURS} AND t.tgenabled = 'A'"
