"""Say what to write if a domain cannot be initialized: a package is missing, or a provider unknown."""

from __future__ import annotations

import re
from difflib import get_close_matches

_EXTRAS = {
    "message_db": "message-db",
    "psycopg": "postgresql",
    "psycopg2": "postgresql-psycopg2",
    "pymysql": "mysql",
    "pyodbc": "mssql",
    "redis": "redis",
    "sqlalchemy": "sqlite",
    "elasticsearch": "elasticsearch",
    "elasticsearch_dsl": "elasticsearch",
}
"""Protean's extras, by what they install."""


def hint(error: Exception) -> str:
    """Return the line to write, with a line break before it; empty if there is nothing to say.

    Parameters:
        error: As Protean has raised it.
    """
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in _EXTRAS:
        return f'\nInstall it with: pip install "protean[{_EXTRAS[missing]}]"'
    found = re.search(r"(?:provider|[Bb]roker|cache) '([^']+)'.*?Available \w+: ([\w, ]+)", str(error))
    if found is None:
        return ""
    wrong, known = found[1], found[2].split(", ")
    name = wrong.rpartition(".")[2].lower()  # of a class, as older versions of Protean were told
    near = sorted((one for one in known if name.startswith(one.replace("_", ""))), key=len, reverse=True)
    near += get_close_matches(name, known, 1)
    return f'\nWrite  provider = "{near[0]}"' if near else ""
