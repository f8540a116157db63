"""Files of SQL statements: the driver splits them, as it knows its dialect's strings, bodies and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from ...errors import StoreError
from ..driver_errors import said
from .source import Location, Source
from .urls import in_private_memory, with_secrets

_MULTI_STATEMENTS = 1 << 16  # a client flag of MySQL's protocol
_RESTRICTIONS = re.compile(r"^\\(?:un)?restrict \w+$", re.MULTILINE)
"""Of pg_dump, for psql alone: they change nothing."""

# What a client of the command line does itself, and no server knows.
_OF_CLIENTS = (
    (
        r"^\\(?!\.$)\S+",
        "is a command of psql. Name that file itself:  schema=['types.sql', 'tables.sql']",
    ),
    (r"^COPY .* FROM stdin.*;", "has its rows in the file, for psql. Dump statements:  pg_dump --inserts"),
    (
        r"^.*\bCONCURRENTLY\b.*",
        "cannot be in a transaction, as this file is. Put it into a file of its own.",
    ),
    (r"^\.\w+.*", "is a command of sqlite3's shell. Leave it out."),
    (r"^DELIMITER .*", "is a command of the mysql client. Leave it out, and end each body by  END;"),
)


@dataclass(frozen=True)
class SQLFiles(Source):
    """Files, in their order, on one connection, as the client of the command line would run them."""

    paths: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.paths

    def make(self, name: str, handle: Location) -> None:
        engine = handle.engine()
        with _connected(handle) as connection:
            for path in self.paths:
                text = _RESTRICTIONS.sub("", Path(path).read_text(encoding="utf-8-sig"))
                try:
                    _execute(engine.dialect.name, connection, text)
                    continue
                except engine.dialect.loaded_dbapi.Error as error:
                    failed = error
                reason = said(failed, with_secrets(handle.url))
                raise StoreError(
                    f"could not make the schema of store {name!r} from {path}{_line(failed, text)}: {reason}"
                    f"{_hint(text)}",
                    store=name,
                ) from failed

    def __repr__(self) -> str:
        return f"[{', '.join(Path(path).name for path in self.paths)}]"


@contextmanager
def _connected(handle: Location) -> Iterator[Any]:
    """A connection of the driver, which nobody uses afterwards: a dump leaves its settings on it."""
    engine = handle.engine()
    if engine.dialect.name in ("mysql", "mariadb"):
        flags = {"client_flag": _MULTI_STATEMENTS}
        engine = create_engine(engine.url, connect_args=flags, poolclass=NullPool)
    connection = engine.raw_connection()
    drivers = connection.driver_connection
    if not in_private_memory(engine.url):
        connection.detach()
    try:
        with handle.limited():
            yield drivers
    finally:
        connection.close()


def _execute(dialect: str, connection: Any, text: str) -> None:
    if dialect == "sqlite":
        connection.executescript(text)
    else:
        if dialect == "postgresql":
            connection.autocommit = True  # a file may have its own BEGIN and COMMIT
        cursor = connection.cursor()
        cursor.execute(text)
        while dialect != "postgresql" and hasattr(cursor, "nextset") and cursor.nextset():
            pass  # an error of the second statement comes here
        cursor.close()
    connection.commit()


def _line(error: Any, text: str) -> str:
    """Which line of the file it was, if the server says so."""
    position = getattr(getattr(error, "diag", None), "statement_position", None)
    return f", line {text.count(chr(10), 0, int(position) - 1) + 1}" if position else ""


def _hint(text: str) -> str:
    for pattern, why in _OF_CLIENTS:
        found = re.search(pattern, text, re.MULTILINE | re.IGNORECASE)
        if found is not None:
            return f"\n{found[0].strip()}  {why}"
    return ""
