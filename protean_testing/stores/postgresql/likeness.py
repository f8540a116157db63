"""What an administrator put in a given database, which the workers' own have as well."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from ...ownership import Marker
from . import sql
from .connection import OURS, literal, psycopg, quoted

_LISTS = (
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
    "temp_tablespaces", "unix_socket_directories",
)  # fmt: skip

_TRIES = 20

PLAIN = "extension ", "of the server: "
"""How the lines of `content` begin of what a new database has, or can be given, without a copy."""


def content(connection: Any) -> set[str]:
    """A line for everything in a database that is not the server's, or not as the server has made it.

    What a run of ours has made there, which may be at work or be dead, is not counted.

    Parameters:
        connection: A psycopg connection to it.
    """
    connection.execute("SET search_path = pg_catalog; SET jit = off")
    statement = sql.text("likeness").replace(":objects", sql.text("objects")).encode()
    marker = _marker(connection)
    for _ in range(_TRIES):
        found, before = connection.execute(statement).fetchall(), marker
        marker = _marker(connection)
        if marker == before:  # else a run has begun or ended meanwhile
            break
    return {line for line, key in found if marker is None or key is None or _is_of_others(key, marker)}


def _is_of_others(key: str, marker: Marker) -> bool:
    return key not in marker.made if marker.ended else key in marker.before


def _marker(connection: Any) -> Marker | None:
    """That of the run which uses the database or used it last; None if there is none that can be read."""
    query = f"SELECT marker FROM {OURS}.owner"
    try:
        found = connection.execute(query).fetchone()
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.InsufficientPrivilege,
    ):
        return None
    return None if found is None else Marker.from_json(found[0])


def digest(lines: Iterable[str]) -> str:
    """A short text that is equal for equal lines."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def uncommon(lines: Iterable[str]) -> set[str]:
    """Those which no new database has, whatever extensions are created in it."""
    return {line for line in lines if not line.startswith(PLAIN)}


def named(lines: Iterable[str], most: int = 5) -> str:
    """Some of the lines, for a message."""
    several = sorted(line.removeprefix(PLAIN[1]).strip() for line in lines)
    return ", ".join(several[:most]) + f" and {len(several) - most} more" * (len(several) > most)


FACTS = (
    "SELECT datacl::text, shobj_description(d.oid, 'pg_database'), datconnlimit, "
    "pg_get_userbyid(datdba)::text, pg_has_role(datdba, 'USAGE') AND pg_get_userbyid(datdba) <> current_user "
    "FROM pg_database d WHERE datname = %s"
)
GRANTS = (
    "SELECT CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee)::text END, privilege_type, "
    "is_grantable FROM pg_database d, aclexplode(datacl) WHERE datname = %s AND grantee <> datdba"
)
SETTINGS = (
    "SELECT coalesce(rolname, ''), unnest(setconfig) FROM pg_db_role_setting s "
    "JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE datname = %s"
)
"""What belongs to a database and is not in it: a copy does not have it."""


def beside(rows: Any, like: str, name: str) -> list[tuple[str, str]]:
    """The statements that give the database `name` what `like` has beside its content, with what that is.

    Parameters:
        rows: Runs a query with one parameter.
    """
    ((acl, comment, limit, owner, may_give),) = rows(FACTS, like)
    database, found = quoted(name), []
    for role, setting in rows(SETTINGS, like):
        option, _, value = setting.partition("=")
        whose = f"ROLE {quoted(role)} IN DATABASE {database}" if role else f"DATABASE {database}"
        value = value if option in _LISTS else literal(value)
        shown = f"setting {option}" + f" of role {role!r}" * bool(role)
        found.append((f"ALTER {whose} SET {quoted(option)} TO {value}", shown))
    if acl is not None:
        found.append((f"REVOKE ALL ON DATABASE {database} FROM PUBLIC", "privileges"))
        for role, privilege, grantable in rows(GRANTS, like):
            to = (quoted(role) if role else "PUBLIC") + " WITH GRANT OPTION" * grantable
            found.append((f"GRANT {privilege} ON DATABASE {database} TO {to}", f"privilege {privilege}"))
    if limit != -1:
        found.append((f"ALTER DATABASE {database} CONNECTION LIMIT {limit}", "connection limit"))
    if comment:
        found.append((f"COMMENT ON DATABASE {database} IS {literal(comment)}", "comment"))
    if may_give:  # else it is the worker's, which must be able to drop it
        found.append((f"ALTER DATABASE {database} OWNER TO {quoted(owner)}", "owner"))
    return found
