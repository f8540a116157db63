"""Large objects: no trigger tells who wrote them, so they are compared where there are any.

They stand in the catalog as one more table, whose rows they are: with owner, privileges, comment and content.
"""

from __future__ import annotations

import json

from .baseline import EMPTY, State, lines, state_of
from .catalog import LARGE_OBJECTS, Table
from .connection import OURS, Connection, literal, quoted

MINE = "pg_has_role(lomowner, 'USAGE')"
"""The condition for those that our role may restore."""

_NOW = f"""
SELECT l.oid::text AS key, jsonb_build_array(
           l.oid::int8, pg_get_userbyid(lomowner), encode(lo_get(l.oid), 'hex'), description,
           CASE WHEN lomacl IS NOT NULL THEN ARRAY(
               SELECT format('GRANT %s ON LARGE OBJECT %s TO %s%s', privilege_type, l.oid,
                             CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                             CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
                 FROM aclexplode(lomacl) ORDER BY 1) END)::text COLLATE "C" AS line
  FROM pg_largeobject_metadata l
  LEFT JOIN pg_description d ON classoid = 'pg_largeobject'::regclass AND objoid = l.oid
 WHERE {MINE}
"""


def keep(connection: Connection, tables: list[Table], copy: int) -> dict[int, State]:
    """Copy all there are, where `tables` has what stands for them. Returns its state."""
    return {
        table.number: state_of(
            connection.raw.execute(
                f"INSERT INTO {OURS}.kept (copy, number, key, line) "
                f"SELECT {copy}, {table.number}, key, line FROM ({_NOW}) n".encode()
            ).rowcount,
            copy,
        )
        for table in tables
    }


def changed(connection: Connection, tables: list[tuple[Table, State]]) -> set[int]:
    """The number of what stands for them, if they are not as in the state beside it."""
    found = set()
    for table, state in tables:
        there = f"SELECT FROM {LARGE_OBJECTS} WHERE {MINE}"
        if state != EMPTY:
            now, then = f"SELECT line FROM ({_NOW}) n", lines(table, state)
            there = f"({now} EXCEPT ALL {then}) UNION ALL ({then} EXCEPT ALL {now})"
        if connection.value(f"SELECT EXISTS ({there})"):
            found.add(table.number)
    return found


def restore(connection: Connection, tables: list[tuple[Table, State]]) -> None:
    """Restore the states, by oid. Inside a transaction."""
    for table, state in tables:
        then = lines(table, state) if state != EMPTY else "SELECT '' WHERE false"
        connection.rows(
            "SELECT lo_unlink(key::oid) "
            f"FROM (SELECT key FROM ({_NOW}) n WHERE line NOT IN ({then}) OFFSET 0) n"
        )
        for (line,) in connection.rows(f"{then} EXCEPT ALL SELECT line FROM ({_NOW}) n"):
            _make(connection, *json.loads(line))


def _make(
    connection: Connection, oid: int, owner: str, content: str, comment: str | None, grants: list[str] | None
) -> None:
    connection.rows(f"SELECT lo_from_bytea({oid}, decode('{content}', 'hex'))")
    if connection.value("SELECT current_user::text") != owner:
        connection.run(f"ALTER LARGE OBJECT {oid} OWNER TO {quoted(owner)}")
    if comment is not None:
        connection.run(f"COMMENT ON LARGE OBJECT {oid} IS {literal(comment)}")
    if grants is not None:
        connection.run(f"REVOKE ALL ON LARGE OBJECT {oid} FROM {quoted(owner)}")
        for grant in grants:
            connection.run(grant)
