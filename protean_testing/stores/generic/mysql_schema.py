"""What a schema on MySQL or MariaDB is made of: read its definitions, and make things again by them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .mysql import can_write_history, error_number, is_mariadb, literally, rows, schema_of
from .rows import Key
from .schema import Thing

ENGINES = ("innodb", "myisam", "aria", "memory", "rocksdb", "tokudb", "ndbcluster", "csv")
"""Storage engines whose tables hold rows of their own, that DELETE and INSERT restore."""

_KINDS = ("SEQUENCE", "TABLE", "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY", "VIEW", "TRIGGER", "EVENT")
"""In the order in which they are made again."""


class Definitions:
    """Reads the definition of everything in some schemas, all that `make` needs.

    Of tables only those are asked that may have changed since they were asked last: InnoDB's tell when their
    definition was written.
    """

    def __init__(self) -> None:
        self._known: dict[Key, tuple[str, str]] = {}  # when it was written, and the definition
        self._at = 0
        self._counts: Mapping[str, int] = {}

    def read(
        self, connection: Connection, schemas: Iterable[str | None], counts: Mapping[str, int]
    ) -> dict[Thing, str]:
        """Read them.

        Parameters:
            counts: What the server has counted, by the names of its status variables.
        """
        schemas = list(schemas)
        made, at = self._made(connection, schemas)
        if self._may_be_renamed(made, counts):
            self._known.clear()
        found: dict[Thing, str] = {}
        for schema in schemas:
            found |= _definitions_in(connection, schema, self._same(made))
        self._known = {
            key: (when, found["TABLE", *key]) for key, when in made.items() if ("TABLE", *key) in found
        }
        self._at, self._counts = at, counts
        return found

    def _made(self, connection: Connection, schemas: list[str | None]) -> tuple[dict[Key, str], int]:
        """When each table's definition was written, in seconds; and the server's time before it was asked."""
        made: dict[Key, str] = {}
        at = 0
        if not is_mariadb(connection):  # it tells when the table was made
            return made, at
        for schema in schemas:
            for listed, now in rows(
                connection,
                "SELECT GROUP_CONCAT(HEX(table_name), ' ', COALESCE(UNIX_TIMESTAMP(create_time), '') "
                "SEPARATOR ','), UNIX_TIMESTAMP() FROM information_schema.tables "
                "WHERE table_schema = :schema AND engine = 'InnoDB' AND "
                "create_options NOT LIKE '%partitioned%'",
                schema=schema_of(connection, schema),
            ):
                at = at or int(now)
                for line in (listed or "").split(",") if listed else ():
                    name, when = line.split(" ")
                    made[schema, bytes.fromhex(name).decode()] = when
        return made, at

    def _may_be_renamed(self, made: Mapping[Key, str], counts: Mapping[str, int]) -> bool:
        """A table that is renamed has other names in the definitions of those that refer to it."""
        other = {name for name in counts if counts[name] != self._counts.get(name)}
        return "Com_rename_table" in other or (
            "Com_alter_table" in other and made.keys() != self._known.keys()
        )

    def _same(self, made: Mapping[Key, str]) -> dict[Key, str]:
        """The definitions that nobody has written since."""
        return {
            key: definition
            for key, (when, definition) in self._known.items()
            if when and made.get(key) == when and int(when) < self._at
        }


def _definitions_in(connection: Connection, schema: str | None, known: Mapping[Key, str]) -> dict[Thing, str]:
    where = schema_of(connection, schema)
    quoted = connection.dialect.identifier_preparer.quote_identifier
    found = {}

    def shown(kind: str, name: str) -> Any:
        try:
            (row,) = rows(connection, f"SHOW CREATE {kind} {quoted(where)}.{quoted(name)}")
        except DBAPIError as error:
            if error_number(error) != 1142:  # what our user may not see
                raise
            return [None] * 7
        return row

    query = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = :schema"
    for name, kind in rows(connection, query, schema=where):
        match kind:
            case "VIEW":
                row = shown("VIEW", name)
                found["VIEW", schema, name] = _definition(row[1], charset=row[2], collation=row[3])
            case "SEQUENCE":
                found["SEQUENCE", schema, name] = _definition(shown("SEQUENCE", name)[1])
            case "BASE TABLE" | "SYSTEM VERSIONED":
                if (definition := known.get((schema, name))) is not None:
                    found["TABLE", schema, name] = definition
                    continue
                statement = re.sub(r" AUTO_INCREMENT=\d+", "", shown("TABLE", name)[1] or "") or None
                versioned = {"history": "yes"} if kind == "SYSTEM VERSIONED" else {}
                found["TABLE", schema, name] = _definition(statement, **versioned)
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
        by_transaction = {
            name
            for (name,) in rows(
                connection,
                "SELECT table_name FROM information_schema.columns WHERE table_schema = :schema AND "
                "generation_expression = 'ROW START' AND data_type = 'bigint'",
                schema=schema_of(connection, schema),
            )
        }
        for name, kind, engine in rows(
            connection,
            "SELECT table_name, table_type, engine FROM information_schema.tables WHERE table_schema = "
            ":schema AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')",
            schema=schema_of(connection, schema),
        ):
            thing = ("TABLE", schema, name)
            if kind == "SYSTEM VERSIONED" and not can_write_history(connection):
                found[thing] = (
                    "it is system-versioned, and its history can be restored by MariaDB 10.11 or later"
                )
            elif kind == "SYSTEM VERSIONED" and name in by_transaction:
                found[thing] = "it is system-versioned by transactions, whose numbers cannot be restored"
            elif str(engine).lower() not in ENGINES:
                found[thing] = f"its rows are not in it (storage engine {engine})"
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
