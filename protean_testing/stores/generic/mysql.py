"""What MySQL and MariaDB have that SQL in general has not: switches, counters, definitions, a lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import get_ident
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

NAMES = ("mysql", "mariadb")

_OPTIONS = (  # of URLs, that would change what our own connection reads
    "charset",
    "use_unicode",
    "sql_mode",
    "init_command",
    "autocommit",
    "conv",
)


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
        "sql_quote_show_create = 1, sql_auto_is_null = 0, wait_timeout = 2147483, "
        "group_concat_max_len = 16000000",
        "SESSION check_constraint_checks = 0, max_statement_time = 0"
        if is_mariadb(connection)
        else "SESSION information_schema_stats_expiry = 0, max_execution_time = 0",
        *(["SESSION system_versioning_insert_history = 1"] if can_write_history(connection) else []),
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


def free_lock(connection: Connection, database: str) -> None:
    """Let that lock go."""
    connection.exec_driver_sql(f"SELECT RELEASE_LOCK('{_lock(database)}')")


def is_locked(connection: Connection, database: str) -> bool:
    """Whether a session other than ours has that lock."""
    return bool(
        connection.exec_driver_sql(f"SELECT IS_USED_LOCK('{_lock(database)}') <> CONNECTION_ID()").scalar()
    )


def holder(connection: Connection, database: str) -> object:
    """The number of the session that has that lock; None if nobody has it."""
    return connection.exec_driver_sql(f"SELECT IS_USED_LOCK('{_lock(database)}')").scalar()


def was_locked(error: SQLAlchemyError) -> bool:
    """Whether this is a lock that was waited for too long, or a deadlock."""
    return error_number(error) in (1205, 1213)


def was_denied(error: SQLAlchemyError) -> bool:
    """Whether a privilege is missing."""
    return error_number(error) == 1227


def is_forbidden(error: SQLAlchemyError) -> bool:
    """Whether the role may not do this in that database."""
    return error_number(error) == 1044


def is_without_database(error: SQLAlchemyError) -> bool:
    """Whether the session's database is there no more."""
    return error_number(error) in (1046, 1049)


def is_gone(error: SQLAlchemyError) -> bool:
    """Whether there is no such session any more."""
    return error_number(error) == 1094


def lock_of(connection: Connection) -> str:
    """The name of the lock that a live run has on the database in which this session stands."""
    return _lock(str(rows(connection, "SELECT DATABASE()")[0][0]))


def rows(connection: Connection, query: str, **values: str) -> list[Any]:
    return list(connection.execute(text(query), values) if values else connection.exec_driver_sql(query))


def literally(connection: Connection, statement: str) -> str:
    """Of the user's, for a driver that may take a percent sign for a parameter."""
    doubled = getattr(connection.dialect.identifier_preparer, "_double_percents", True)
    return statement.replace("%", "%%") if doubled else statement


def schema_of(connection: Connection, schema: str | None) -> str:
    return schema or str(connection.dialect.default_schema_name)


def can_write_history(connection: Connection) -> bool:
    """Whether rows of system-versioned tables can be written with the time for which they were true."""
    return is_mariadb(connection) and (connection.dialect.server_version_info or ()) >= (10, 11)


def is_mariadb(connection: Connection) -> bool:
    return bool(getattr(connection.dialect, "is_mariadb", False))


def _lock(database: str) -> str:
    return f"protean_testing_{sha256(database.encode()).hexdigest()[:32]}"


def error_number(error: SQLAlchemyError) -> object:
    return next(iter(getattr(getattr(error, "orig", None), "args", ())), None)
