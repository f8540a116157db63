"""What MySQL and MariaDB show of writes: how many there were, when each table had its last one, counters."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .mysql import is_mariadb, rows, schema_of
from .rows import Key
from .schema import Thing

_WRITES = (
    "Com_(alter|create|drop|rename|truncate|delete|insert|update|replace|load|repair|optimize|"
    "xa_commit|xa_prepare|xa_rollback)|"
    "Handler_(delete|update|write)"
)
_LOCKS = "Com_(lock_tables|flush|backup)"
_FORGETS = "Com_(truncate|flush|optimize|repair)|Table_open_cache_overflows"
"""After these, tables may say that they were never written, or what they said before they were emptied."""

_ONE_BY_ONE = 20
"""Tables that are asked for by name, each; a look at all of them is cheaper for more."""

_NOT_SHOWN = "?"


@dataclass(frozen=True)
class Activity:
    """How often sessions other than ours have done something, of whatever database.

    Rows count when written. A cascade and a failed statement count with their statement, what empties a table
    at once by its own.

    Attributes:
        counts: By the names of the server's status variables.
        at: The server's time before it was asked, in seconds.
    """

    counts: Mapping[str, int]
    at: int

    def _of(self, names: str) -> dict[str, int]:
        return {name: count for name, count in self.counts.items() if _is_one_of(names, name)}

    @property
    def writes(self) -> dict[str, int]:
        """What changes rows or schemas."""
        return self._of(_WRITES)

    @property
    def schemas(self) -> dict[str, int]:
        """What changes schemas."""
        return self._of("Com_(alter|create|drop|rename)_")

    @property
    def locks(self) -> dict[str, int]:
        """What may lock tables."""
        return self._of(f"{_LOCKS}|Com_(alter|create|drop|rename)_")

    @property
    def prepared(self) -> dict[str, int]:
        """What prepares transactions."""
        return self._of("Com_xa_")

    @property
    def forgets(self) -> dict[str, int]:
        """What lets the server forget when tables were written, or changes them all the same."""
        return self._of(f"{_FORGETS}|Com_(alter|create|drop|rename)_")


@lru_cache(4096)  # hundreds of names, each asked for after every test
def _is_one_of(names: str, name: str) -> bool:
    return re.match(names, name) is not None


def activity(connection: Connection, own: dict[str, int]) -> Activity:
    """Ask the server.

    Parameters:
        own: What this session has done, as it was read last; read anew, and changed, if it is empty.
    """
    of = "information_schema" if is_mariadb(connection) else "performance_schema"
    scopes = ["session", "global"][bool(own) :]
    told = rows(
        connection,
        " UNION ALL ".join(
            "SELECT GROUP_CONCAT(variable_name, ' ', variable_value SEPARATOR ','), UNIX_TIMESTAMP() "
            f"FROM {of}.{scope}_status WHERE variable_name REGEXP '^({_WRITES}|{_LOCKS}|{_FORGETS})'"
            for scope in scopes
        ),
    )
    found = {}
    for scope, (listed, _) in zip(scopes, told, strict=True):
        pairs = (one.split(" ") for one in listed.split(","))
        found[scope] = {name.capitalize(): int(count) for name, count in pairs}
    if "session" in found:
        own |= {
            name: count for name, count in found["session"].items() if name.startswith(("Com", "Handler"))
        }
    return Activity(
        {name: count - own.get(name, 0) for name, count in found["global"].items()}, int(told[-1][1])
    )


@dataclass(frozen=True)
class Stamps:
    """What tables say of themselves.

    Attributes:
        counters: Where AUTO_INCREMENT and sequences stand, by the statement that sets them there.
        keys: The table or sequence of each such statement.
        updated: When a table was written last, as far as it knows.
    """

    counters: dict[str, int] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    updated: dict[Key, str] = field(default_factory=dict)

    def written_since(self, before: Mapping[Key, str], since: int) -> set[Key]:
        """The tables that may have been written since they were asked before.

        What they tell is the second at which the transaction began that wrote last.

        Parameters:
            before: `updated` of that time, of tables that are known.
            since: No transaction that ended later began before this second.
        """
        return {
            key
            for key, updated in self.updated.items()
            if updated != before.get(key) or updated == _NOT_SHOWN or (updated and int(updated) >= since)
        }


def stamps(
    connection: Connection,
    schemas: Iterable[str | None],
    things: Iterable[Thing],
    only: Collection[Key] | None = None,
) -> Stamps:
    """Ask tables and sequences.

    Parameters:
        things: All that is there.
        only: Those that are asked; all if this is None.
    """
    found = Stamps()
    for schema in schemas:
        where = schema_of(connection, schema)
        names = [name for of, name in only or () if of == schema]
        if only is not None and not names:
            continue
        for line in _told(connection, where, names if only is not None else None):
            encoded, counter, updated = line.split(" ")
            name, statement = _table(connection.dialect.identifier_preparer, where, encoded)
            found.updated[schema, name] = updated
            if counter:
                found.counters[statement], found.keys[statement] = int(counter), (schema, name)
    sequences = [
        (of, name) for kind, of, name in things if kind == "SEQUENCE" and (only is None or (of, name) in only)
    ]
    for schema, name in sequences:
        named = _named(connection, (schema, name))
        statement = f"ALTER SEQUENCE {named} RESTART"
        ((value,),) = rows(connection, f"SELECT next_not_cached_value FROM {named}")
        found.counters[statement], found.keys[statement] = int(value), (schema, name)
    return found


def _told(connection: Connection, schema: str, names: Collection[str] | None) -> list[str]:
    """A line for each table: its name in hexadecimal digits, its counter, its second.

    They come as one value: a driver takes longer to read hundreds of rows than the server to find them.
    """
    query = (
        "SELECT GROUP_CONCAT(HEX(table_name), ' ', COALESCE(auto_increment, ''), ' ', IF(engine = 'InnoDB' "
        "AND create_options NOT LIKE '%partitioned%', COALESCE(UNIX_TIMESTAMP(update_time), ''), "
        f"'{_NOT_SHOWN}') SEPARATOR ',') FROM information_schema.tables WHERE table_schema = :schema AND "
        "table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"
    )
    chosen = {}
    if names is not None and len(names) <= _ONE_BY_ONE:  # the server finds one table by its name, not several
        chosen = {f"name{number}": name for number, name in enumerate(names)}
        query = " UNION ALL ".join(f"{query} AND table_name = :{value}" for value in chosen)
    told = rows(connection, query, schema=schema, **chosen)
    lines = [line for (listed,) in told if listed for line in listed.split(",")]
    wanted = None if names is None else {name.encode().hex().upper() for name in names}
    return [line for line in lines if wanted is None or line.split(" ")[0] in wanted]


@lru_cache(4096)
def _table(preparer: Any, schema: str, encoded: str) -> tuple[str, str]:
    """The name of a table, and the statement that sets its counter."""
    name = bytes.fromhex(encoded).decode()
    named = f"{preparer.quote_identifier(schema)}.{preparer.quote_identifier(name)}"
    return name, f"ALTER TABLE {named} AUTO_INCREMENT ="


def _named(connection: Connection, key: Key) -> str:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    return f"{quoted(schema_of(connection, key[0]))}.{quoted(key[1])}"


def empty_caches(connection: Connection, sequences: Iterable[Key]) -> None:
    """Let the stored value of sequences be the one that is given next.

    Else nothing shows which of the values that the server has taken in advance were given.
    """
    for key in sequences:
        named = _named(connection, key)
        ((size,),) = rows(connection, f"SELECT cache_size FROM {named}")
        if size:
            with suppress(DBAPIError):  # it has given its last value
                ((value,),) = rows(connection, f"SELECT NEXTVAL({named})")
                connection.exec_driver_sql(f"ALTER SEQUENCE {named} RESTART {value}")
