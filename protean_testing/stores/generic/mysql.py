"""What MySQL and MariaDB have that SQL in general has not: switches, counters, definitions, a lock."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from threading import get_ident
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.dialects.mysql import INTEGER
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from .rows import Key, Table
from .schema import Thing

NAMES = ("mysql", "mariadb")

ENGINES = ("innodb", "myisam", "aria", "memory", "rocksdb", "tokudb", "ndbcluster", "csv")
"""Storage engines whose tables hold rows of their own, that DELETE and INSERT restore."""

_KINDS = ("SEQUENCE", "TABLE", "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY", "VIEW", "TRIGGER", "EVENT")
"""In the order in which they are made again."""

_OPTIONS = (  # of URLs, that would change what our own connection reads
    "charset",
    "use_unicode",
    "sql_mode",
    "init_command",
    "autocommit",
    "conv",
)

_TEXT = re.compile("char|text|blob|binary|json|set")


def own_engine(url: URL) -> Engine:
    """An engine that the application's settings, converters and character set do not reach."""
    charset = (
        {"charset": "utf8mb4"} if url.get_driver_name() in ("pymysql", "mysqldb", "mysqlconnector") else {}
    )
    own = url.difference_update_query(_OPTIONS).update_query_dict(charset)
    return create_engine(own, poolclass=NullPool)


def server(connection: Connection) -> str:
    """Names the server and the database, as far as there is a name for them."""
    found = dict(
        map(
            tuple,
            rows(
                connection,
                "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('hostname', 'port', 'socket', 'datadir', "
                "'server_uuid', 'server_uid')",
            ),
        )
    )
    (database,) = rows(connection, "SELECT DATABASE()")[0]
    return " ".join([*(f"{name}={value}" for name, value in sorted(found.items())), f"database={database}"])


def made_at(connection: Connection, table: str) -> str:
    """When a table was made: a copy of it was made at another time."""
    query = (
        "SELECT create_time FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_name = :t"
    )
    return str(rows(connection, query, t=table)[0][0])


def settle(connection: Connection, wait: float) -> None:
    """Switch off what stands in the way of writing rows as they were: foreign keys, checks, strictness."""
    seconds = max(1, round(wait))
    for setting in (
        "NAMES utf8mb4",
        "SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SESSION sql_mode = CONCAT(IF(FIND_IN_SET('ANSI_QUOTES', @@sql_mode), 'ANSI_QUOTES,', ''), "
        "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES')",
        "SESSION foreign_key_checks = 0, unique_checks = 0, time_zone = '+00:00'",
        f"SESSION lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}",
        # What init_connect or the server's configuration may have set.
        "SESSION sql_select_limit = DEFAULT, sql_safe_updates = 0, sql_big_selects = 1, "
        "sql_quote_show_create = 1, sql_auto_is_null = 0, wait_timeout = 2147483",
        "SESSION check_constraint_checks = 0, max_statement_time = 0"
        if is_mariadb(connection)
        else "SESSION information_schema_stats_expiry = 0, max_execution_time = 0",
    ):
        connection.exec_driver_sql(f"SET {setting}")


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


def is_gone(error: SQLAlchemyError) -> bool:
    """Whether there is no such session any more."""
    return _number(error) == 1094


def lock_of(connection: Connection) -> str:
    """The name of the lock that a live run has on the database in which this session stands."""
    return _lock(str(rows(connection, "SELECT DATABASE()")[0][0]))


def activity(connection: Connection) -> dict[str, int]:
    """How often other sessions, of whatever database, have changed a schema or rows. Rows count when written.

    A cascade and a failed statement count with their statement, what empties a table at once by its own.
    """
    all_of_them, ours = (
        dict(
            map(tuple, connection.exec_driver_sql(f"SHOW {of} STATUS WHERE Variable_name REGEXP '{_WRITES}'"))
        )
        for of in ("GLOBAL", "SESSION")
    )
    return {name: int(count) - int(ours.get(name, 0)) for name, count in all_of_them.items()}


_WRITES = (
    "^(Com_(alter|create|drop|rename|truncate|delete|insert|update|replace|load|repair|xa)|"
    "Handler_(delete|update|write))"
)


def of_schemas(found: Mapping[str, int]) -> dict[str, int]:
    """The part of `activity` that changes schemas."""
    return {name: count for name, count in found.items() if re.match("Com_(alter|create|drop|rename)_", name)}


def tables(connection: Connection, schemas: Iterable[str | None], besides: Collection[Key]) -> list[Table]:
    """The tables that are there but `besides`, and how their values are read so that equal ones are equal."""
    columns: dict[Key, list[tuple[str, str]]] = {}
    parents: dict[Key, set[Key]] = {}
    for schema in schemas:
        where = schema_of(connection, schema)
        for table, name, kind in rows(
            connection,
            "SELECT table_name, column_name, data_type FROM information_schema.columns JOIN "
            "information_schema.tables USING (table_schema, table_name) WHERE table_schema = :schema AND "
            "table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND COALESCE(generation_expression, '') = '' "
            "ORDER BY table_name, ordinal_position",
            schema=where,
        ):
            columns.setdefault((schema, table), []).append((name, kind))
        for table, of, parent in rows(
            connection,
            "SELECT table_name, unique_constraint_schema, referenced_table_name FROM "
            "information_schema.referential_constraints WHERE constraint_schema = :schema",
            schema=where,
        ):
            home = None if schema is None and of == where else of
            parents.setdefault((schema, table), set()).add((home, parent))
    return [
        Table(
            key,
            sa.table(key[1], *(sa.column(name) for name, _ in of), schema=key[0]),
            [_exactly(sa.column(name), kind.lower()).label(f"c{n}") for n, (name, kind) in enumerate(of)],
            parents=frozenset(parents.get(key, ())),
        )
        for key, of in columns.items()
        if key not in besides
    ]


def _exactly(column: sa.ColumnClause[Any], kind: str) -> sa.ColumnElement[Any]:
    """A value as plain ASCII that differs where the value does, whatever the driver makes of its type.

    Long ones are hashed by the server: they may be longer than a packet, which hex digits would double.
    """
    if kind in ("enum", "bit"):  # '' is a member of an enum, or no member at all
        return sa.cast(column, INTEGER(unsigned=True))
    if kind == "float":
        return sa.cast(column * sa.literal_column("1e0"), sa.CHAR)  # six digits of it are shown otherwise
    if _TEXT.search(kind) or kind in _SPATIAL:
        return sa.case(
            (sa.func.octet_length(column) <= sa.literal_column("64"), sa.func.hex(column)),
            else_=sa.func.concat(sa.literal_column("'#'"), sa.func.sha2(column, sa.literal_column("256"))),
        )
    return sa.cast(column, sa.CHAR)


_SPATIAL = frozenset(
    "geometry point linestring polygon multipoint multilinestring multipolygon geometrycollection "
    "geomcollection vector".split()
)


def definitions(connection: Connection, schemas: Iterable[str | None]) -> dict[Thing, str]:
    """The definition of everything in some schemas: all that `make` needs."""
    found: dict[Thing, str] = {}
    for schema in schemas:
        found |= _definitions_in(connection, schema)
    return found


def _definitions_in(connection: Connection, schema: str | None) -> dict[Thing, str]:
    where = schema_of(connection, schema)
    quoted = connection.dialect.identifier_preparer.quote_identifier
    found = {}

    def shown(kind: str, name: str) -> Any:
        try:
            (row,) = rows(connection, f"SHOW CREATE {kind} {quoted(where)}.{quoted(name)}")
        except DBAPIError as error:
            if _number(error) != 1142:  # what our user may not see
                raise
            return [None] * 7
        return row

    for name, kind in rows(connection, f"SHOW FULL TABLES FROM {quoted(where)}"):
        match kind:
            case "VIEW":
                row = shown("VIEW", name)
                found["VIEW", schema, name] = _definition(row[1], charset=row[2], collation=row[3])
            case "SEQUENCE":
                found["SEQUENCE", schema, name] = _definition(shown("SEQUENCE", name)[1])
            case "BASE TABLE" | "SYSTEM VERSIONED":
                statement = re.sub(r" AUTO_INCREMENT=\d+", "", shown("TABLE", name)[1] or "") or None
                found["TABLE", schema, name] = _definition(statement)
    for name, table, created in triggers(connection, where):
        row = shown("TRIGGER", name)
        found["TRIGGER", schema, name] = _definition(
            row[2], mode=row[1], charset=row[3], collation=row[4], table=table, created=created
        )
    query = (
        "SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = :schema"
    )
    for kind, name in rows(connection, query, schema=where):
        row = shown(kind, name)
        found[kind, schema, name] = _definition(row[2], mode=row[1], charset=row[3], collation=row[4])
    query = "SELECT event_name FROM information_schema.events WHERE event_schema = :schema"
    for (name,) in rows(connection, query, schema=where):
        row = shown("EVENT", name)
        found["EVENT", schema, name] = _definition(
            row[3], mode=row[1], zone=row[2], charset=row[4], collation=row[5]
        )
    return found


def _definition(statement: str | None, **settings: str | None) -> str:
    return json.dumps({"statement": statement} | settings)


def triggers(connection: Connection, schema: str) -> list[tuple[str, str, str]]:
    """The name, table and time of each trigger, in the order in which they are to be made."""
    keeps = can_set_time(connection)
    return [
        (name, table, str(created) if keeps and created is not None else "")
        for name, table, created in rows(
            connection,
            "SELECT trigger_name, event_object_table, UNIX_TIMESTAMP(created) FROM "
            "information_schema.triggers "
            "WHERE trigger_schema = :schema ORDER BY event_object_table, action_timing, event_manipulation, "
            "action_order",
            schema=schema,
        )
    ]


def can_set_time(connection: Connection) -> bool:
    """Whether a trigger that is made again can have the time at which it was made first."""
    found = rows(connection, "SHOW GLOBAL VARIABLES LIKE 'secure_timestamp'")
    return bool(found) and found[0][1] == "NO"


def make(connection: Connection, things: Mapping[Thing, str]) -> None:
    """Make things again by their definitions, as they were and in the name of who had defined them.

    Raises:
        DBAPIError: One cannot be made.
    """
    waiting = sorted(
        things.items(), key=lambda one: _KINDS.index(one[0][0]) if one[0][0] in _KINDS else len(_KINDS)
    )
    with _settings_kept(connection):
        while waiting:
            failed: list[tuple[Thing, str]] = []
            for thing, definition in waiting:
                try:
                    _make(connection, thing, json.loads(definition))
                except DBAPIError as error:
                    if error.connection_invalidated or thing[0] == "TABLE":
                        raise
                    failed.append((thing, definition))
                    why = error
            if len(failed) == len(waiting):
                raise why
            waiting = failed  # views that refer to views


def _make(connection: Connection, thing: Thing, definition: dict[str, str]) -> None:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    connection.exec_driver_sql(f"USE {quoted(schema_of(connection, thing[1]))}")
    for name, setting in (
        ("mode", "sql_mode = '{}'"),
        ("charset", "character_set_client = {}"),
        ("collation", "collation_connection = {}"),
        ("zone", "time_zone = '{}'"),
        ("created", "timestamp = {}"),
    ):
        if definition.get(name) is not None and definition[name] != "":
            connection.exec_driver_sql(f"SET SESSION {setting.format(definition[name])}")
        elif name == "mode" and "mode" in definition:
            connection.exec_driver_sql("SET SESSION sql_mode = ''")
    connection.exec_driver_sql(literally(connection, definition["statement"]))


@contextmanager
def _settings_kept(connection: Connection) -> Iterator[None]:
    ((mode, charset, collation, zone, home),) = rows(
        connection,
        "SELECT @@sql_mode, @@character_set_client, @@collation_connection, @@time_zone, DATABASE()",
    )
    try:
        yield
    finally:
        if not connection.invalidated:
            quoted = connection.dialect.identifier_preparer.quote_identifier
            connection.exec_driver_sql(f"USE {quoted(home)}")
            connection.exec_driver_sql(
                f"SET SESSION sql_mode = '{mode}', character_set_client = {charset}, "
                f"collation_connection = {collation}, time_zone = '{zone}', timestamp = DEFAULT"
            )


def other_definers(connection: Connection, schemas: Iterable[str | None]) -> dict[Thing, str]:
    """The triggers that we could drop but not make again, with who has defined them."""
    granted = " ".join(str(row[0]) for row in rows(connection, "SHOW GRANTS") if " ON *.* TO " in row[0])
    if re.search(r"ALL PRIVILEGES|SUPER|SET USER|SET_USER_ID|SET_ANY_DEFINER", granted):
        return {}
    return {
        ("TRIGGER", schema, name): definer
        for schema in schemas
        for name, definer in rows(
            connection,
            "SELECT trigger_name, definer FROM information_schema.triggers WHERE trigger_schema = :schema "
            "AND definer <> CURRENT_USER()",
            schema=schema_of(connection, schema),
        )
    }


def user(connection: Connection) -> str:
    """The user of this session, as GRANT wants it."""
    name, _, host = str(connection.exec_driver_sql("SELECT CURRENT_USER()").scalar()).rpartition("@")
    return f"'{name}'@'{host}'"


def definer_privilege(connection: Connection) -> str:
    """What allows to make a trigger in another user's name."""
    return "SET USER" if is_mariadb(connection) else "SET_ANY_DEFINER"


def unrestorable(connection: Connection, schemas: Iterable[str | None]) -> dict[Thing, str]:
    """The tables whose rows cannot be restored, each with the reason."""
    found = {}
    for schema in schemas:
        for name, kind, engine in rows(
            connection,
            "SELECT table_name, table_type, engine FROM information_schema.tables WHERE table_schema = "
            ":schema AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')",
            schema=schema_of(connection, schema),
        ):
            thing = ("TABLE", schema, name)
            if kind == "SYSTEM VERSIONED":
                found[thing] = "it is system-versioned, and its history cannot be restored"
            elif str(engine).lower() not in ENGINES:
                found[thing] = f"its rows are not in it (storage engine {engine})"
    return found


def counters(
    connection: Connection, schemas: Iterable[str | None], things: Iterable[Thing]
) -> dict[str, int]:
    """Where AUTO_INCREMENT and sequences stand, by the statement that sets them there."""
    quoted = connection.dialect.identifier_preparer.quote_identifier
    found = {}
    for schema in schemas:
        where = schema_of(connection, schema)
        for name, value in rows(
            connection,
            "SELECT table_name, auto_increment FROM information_schema.tables "
            "WHERE table_schema = :schema AND auto_increment IS NOT NULL AND table_type <> 'SEQUENCE'",
            schema=where,
        ):
            found[f"ALTER TABLE {quoted(where)}.{quoted(name)} AUTO_INCREMENT ="] = int(value)
    for kind, schema, name in things:
        if kind == "SEQUENCE":
            sequence = f"{quoted(schema_of(connection, schema))}.{quoted(name)}"
            ((value,),) = rows(connection, f"SELECT next_not_cached_value FROM {sequence}")
            found[f"ALTER SEQUENCE {sequence} RESTART"] = int(value)
    return found


@contextmanager
def without_triggers(
    connection: Connection, tables: Collection[Key], known: Mapping[Thing, str]
) -> Iterator[None]:
    """Drop the triggers of these tables for as long as their rows are written, and make them again.

    There is no way to write rows past them. What was there before the run is written down in the marker too,
    since this session may be killed in between.

    Parameters:
        known: The definitions of everything that is there.
    """
    quoted = connection.dialect.identifier_preparer.quote_identifier
    dropped = {
        thing: definition
        for thing, definition in known.items()
        if thing[0] == "TRIGGER" and (thing[1], json.loads(definition)["table"]) in tables
    }
    for _, schema, name in dropped:
        connection.exec_driver_sql(
            f"DROP TRIGGER IF EXISTS {quoted(schema_of(connection, schema))}.{quoted(name)}"
        )
    try:
        yield
    except BaseException:
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK")  # else making a trigger would commit what was half done
        raise
    finally:
        if dropped and not connection.invalidated:
            make(connection, dropped)


def rows(connection: Connection, query: str, **values: str) -> list[Any]:
    return list(connection.execute(text(query), values) if values else connection.exec_driver_sql(query))


def literally(connection: Connection, statement: str) -> str:
    """Of the user's, for a driver that may take a percent sign for a parameter."""
    return statement.replace("%", "%%") if "format" in connection.dialect.paramstyle else statement


def schema_of(connection: Connection, schema: str | None) -> str:
    return schema or str(connection.dialect.default_schema_name)


def is_mariadb(connection: Connection) -> bool:
    return bool(getattr(connection.dialect, "is_mariadb", False))


def _lock(database: str) -> str:
    return f"protean_testing_{sha256(database.encode()).hexdigest()[:32]}"


def _number(error: SQLAlchemyError) -> object:
    return next(iter(getattr(getattr(error, "orig", None), "args", ())), None)
