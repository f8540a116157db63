"""What MySQL and MariaDB have that SQL in general has not: switches, counters, definitions, a lock."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import get_ident
from typing import Any

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from .schema import Thing

NAMES = ("mysql", "mariadb")


def settle(connection: Connection, wait: float) -> None:
    """Switch off what stands in the way of writing rows as they were: foreign keys, checks, strictness."""
    seconds = max(1, round(wait))
    for setting in (
        "sql_mode = CONCAT(IF(FIND_IN_SET('ANSI_QUOTES', @@sql_mode), 'ANSI_QUOTES,', ''), "
        "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES')",
        f"foreign_key_checks = 0, unique_checks = 0, time_zone = '+00:00', lock_wait_timeout = {seconds}, "
        f"innodb_lock_wait_timeout = {seconds}",
        "check_constraint_checks = 0" if is_mariadb(connection) else "information_schema_stats_expiry = 0",
    ):
        connection.exec_driver_sql(f"SET SESSION {setting}")


def deadlines(connection: Any, seconds: float) -> None:
    """Let each wait for the server end: for PyMySQL's connections; other drivers have none to set."""
    if type(connection).__module__.startswith("pymysql"):
        connection._read_timeout = connection._write_timeout = seconds


@contextmanager
def connecting(engine: Engine, seconds: float) -> Iterator[None]:
    """Inside, connections that this thread makes with PyMySQL have such an end from their first byte on."""
    me = get_ident()

    def give(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
        if get_ident() == me:
            for name in ("connect_timeout", "read_timeout", "write_timeout"):
                parameters[name] = min(parameters.get(name) or seconds, seconds)

    if engine.dialect.driver != "pymysql":
        yield
        return
    event.listen(engine, "do_connect", give)
    try:
        yield
    finally:
        event.remove(engine, "do_connect", give)


def take_lock(connection: Connection, database: str) -> bool:
    """Take the lock of a live run for this session. False where another run has it."""
    return connection.exec_driver_sql(f"SELECT GET_LOCK('{_lock(database)}', 0)").scalar() == 1


def is_locked(connection: Connection, database: str) -> bool:
    """Whether a session other than ours has that lock."""
    return bool(
        connection.exec_driver_sql(f"SELECT IS_USED_LOCK('{_lock(database)}') <> CONNECTION_ID()").scalar()
    )


def was_locked(error: SQLAlchemyError) -> bool:
    """Whether this is a lock that was waited for too long, or a deadlock."""
    return _number(error) in (1205, 1213)


def was_denied(error: SQLAlchemyError) -> bool:
    """Whether a privilege is missing."""
    return _number(error) == 1227


def ddl_count(connection: Connection) -> object:
    """Changes with every statement that changes a schema, whoever says it."""
    found = connection.exec_driver_sql(
        "SHOW GLOBAL STATUS WHERE Variable_name REGEXP '^Com_(alter|create|drop|rename)_'"
    )
    return tuple(map(tuple, found))


def looks(connection: Connection, schemas: Iterable[str | None]) -> dict[Thing, str]:
    """The definition of everything in some schemas."""
    found: dict[Thing, str] = {}
    for schema in schemas:
        found |= _looks(connection, schema)
    return found


def _looks(connection: Connection, schema: str | None) -> dict[Thing, str]:
    where = _schema(connection, schema)
    quoted = connection.dialect.identifier_preparer.quote_identifier
    found = {}
    for name, kind in rows(connection, f"SHOW FULL TABLES FROM {quoted(where)}"):
        kind = {"BASE TABLE": "TABLE", "SYSTEM VERSIONED": "TABLE"}.get(kind, kind)
        (row,) = rows(connection, f"SHOW CREATE TABLE {quoted(where)}.{quoted(name)}")
        found[kind, schema, name] = re.sub(r" AUTO_INCREMENT=\d+", "", row[1])
    for query in (
        "SELECT 'TRIGGER', trigger_name FROM information_schema.triggers WHERE trigger_schema = :schema",
        "SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = :schema",
        "SELECT 'EVENT', event_name FROM information_schema.events WHERE event_schema = :schema",
    ):
        for kind, name in rows(connection, query, schema=where):
            (row,) = rows(connection, f"SHOW CREATE {kind} {quoted(where)}.{quoted(name)}")
            found[kind, schema, name] = str(row[2 if kind != "EVENT" else 3])
    return found


def counters(
    connection: Connection, schemas: Iterable[str | None], things: Iterable[Thing]
) -> dict[str, int]:
    """Where AUTO_INCREMENT and sequences stand, by the statement that sets them there."""
    quoted = connection.dialect.identifier_preparer.quote_identifier
    found = {}
    for schema in schemas:
        where = _schema(connection, schema)
        for name, value in rows(
            connection,
            "SELECT table_name, auto_increment FROM information_schema.tables "
            "WHERE table_schema = :schema AND auto_increment IS NOT NULL AND table_type <> 'SEQUENCE'",
            schema=where,
        ):
            found[f"ALTER TABLE {quoted(where)}.{quoted(name)} AUTO_INCREMENT ="] = int(value)
    for kind, schema, name in things:
        if kind == "SEQUENCE":
            sequence = f"{quoted(_schema(connection, schema))}.{quoted(name)}"
            ((value,),) = rows(connection, f"SELECT next_not_cached_value FROM {sequence}")
            found[f"ALTER SEQUENCE {sequence} RESTART"] = int(value)
    return found


@contextmanager
def without_triggers(connection: Connection, tables: Collection[tuple[str | None, str]]) -> Iterator[None]:
    """Drop the triggers of these tables for as long as their rows are written, and make them again."""
    quoted = connection.dialect.identifier_preparer.quote_identifier
    made = []
    for schema in {schema for schema, _ in tables}:
        where = _schema(connection, schema)
        for trigger, table in rows(
            connection,
            "SELECT trigger_name, event_object_table FROM information_schema.triggers WHERE trigger_schema = "
            ":schema ORDER BY event_object_table, action_timing, event_manipulation, action_order",
            schema=where,
        ):
            if (schema, table) in tables:
                name = f"{quoted(where)}.{quoted(trigger)}"
                made.append((where, rows(connection, f"SHOW CREATE TRIGGER {name}")[0]))
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")  # else making a trigger would commit what was half done
        raise
    finally:
        if made:
            ((*ours, home),) = rows(
                connection, "SELECT @@sql_mode, @@character_set_client, @@collation_connection, DATABASE()"
            )
            for where, (_, mode, statement, charset, collation, *_) in made:
                _set(connection, where, mode, charset, collation)
                connection.exec_driver_sql(_literally(connection, statement))
            _set(connection, home, *ours)


def _set(connection: Connection, schema: str, mode: str, charset: str, collation: str) -> None:
    connection.exec_driver_sql(f"USE {connection.dialect.identifier_preparer.quote_identifier(schema)}")
    connection.exec_driver_sql(
        f"SET sql_mode = '{mode}', character_set_client = {charset}, collation_connection = {collation}"
    )


def rows(connection: Connection, query: str, **values: str) -> list[Any]:
    return list(connection.execute(text(query), values) if values else connection.exec_driver_sql(query))


def _literally(connection: Connection, statement: str) -> str:
    """Of the user's, for a driver that may take a percent sign for a parameter."""
    return statement.replace("%", "%%") if "format" in connection.dialect.paramstyle else statement


def _schema(connection: Connection, schema: str | None) -> str:
    return schema or str(connection.dialect.default_schema_name)


def is_mariadb(connection: Connection) -> bool:
    return bool(getattr(connection.dialect, "is_mariadb", False))


def _lock(database: str) -> str:
    return f"protean_testing_{sha256(database.encode()).hexdigest()[:32]}"


def _number(error: SQLAlchemyError) -> object:
    return next(iter(getattr(getattr(error, "orig", None), "args", ())), None)
