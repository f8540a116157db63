"""Constraints that rows are not held to: they are set aside while such rows are restored.

A row may be older than a constraint that is NOT VALID, or than the moment with which a CHECK compares it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from . import fingerprint
from .connection import Connection, listed, psycopg

# Each with what is dropped for it: one that is inherited goes with the one that it comes from.
_CONSTRAINTS = """
WITH RECURSIVE origin (oid, top) AS (
    SELECT oid, oid FROM pg_constraint
     WHERE conrelid = ANY (:tables) AND contype IN (:kinds)
        OR contypid <> 0 AND contype = 'c' AND oid >= 16384
    UNION
    SELECT o.oid, above.oid
      FROM origin o JOIN pg_constraint k ON k.oid = o.top JOIN pg_inherits h ON h.inhrelid = k.conrelid
      JOIN pg_constraint above ON above.conrelid = h.inhparent AND above.contype = k.contype
     WHERE k.coninhcount > 0
       AND CASE k.contype WHEN 'f' THEN above.oid = k.conparentid
                          WHEN 'c' THEN above.conname = k.conname
                          ELSE pg_get_constraintdef(above.oid) = pg_get_constraintdef(k.oid) END
)
SELECT k.oid::int8, k.conrelid::int8 + k.contypid::int8, k.conname::text, k.contype::text, a.attname::text,
       CASE top.contypid WHEN 0 THEN '' ELSE 'DOMAIN ' END,
       CASE top.contypid WHEN 0 THEN top.conrelid::regclass::text ELSE top.contypid::regtype::text END,
       quote_ident(top.conname), pg_get_constraintdef(top.oid),
       quote_literal(obj_description(top.oid, 'pg_constraint'))
  FROM origin o JOIN pg_constraint k USING (oid) JOIN pg_constraint top ON top.oid = o.top
  LEFT JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] AND k.contype = 'n'
 WHERE top.coninhcount = 0
"""


@dataclass(frozen=True)
class _Constraint:
    """One, and the one that is dropped for it.

    Attributes:
        on: The oid of its table or domain.
        kind: As in pg_constraint.contype.
        column: Of a NOT NULL constraint.
        domain, where, origin, definition, comment: Of what is dropped; quoted where needed.
    """

    oid: int
    on: int
    name: str
    kind: str
    column: str | None
    domain: str
    where: str
    origin: str
    definition: str
    comment: str | None

    @property
    def key(self) -> tuple[int, str]:
        return self.on, self.name

    @property
    def dropped(self) -> str:
        return f"ALTER {self.domain or 'TABLE '}{self.where} DROP CONSTRAINT {self.origin}"

    def refuses(self, error: psycopg.Error) -> bool:
        """Whether `error` may come from this: what fails inside of a CHECK does not say so."""
        if isinstance(error, psycopg.errors.NotNullViolation):
            return self.kind == "n" and self.column == error.diag.column_name
        named = error.diag.constraint_name
        return self.name == named if named is not None else self.kind == "c"


def write(connection: Connection, tables: Collection[int], statements: str) -> None:
    """Write rows inside a transaction, whatever constraints are in their way.

    Parameters:
        tables: The oids of those that are written.
        statements: What writes them.
    """
    known = connection.not_held
    try:
        while True:
            connection.run("SAVEPOINT restoring")
            try:
                _write(connection, tables, statements)
            except psycopg.Error as error:
                if not connection.refuses(error):
                    raise
                connection.run("ROLLBACK TO SAVEPOINT restoring")
                found = [one for one in _constraints(connection, tables) if one.refuses(error)]
                more = {one.key: tables if one.domain else {one.on} for one in found}
                if more.keys() <= connection.not_held.keys():
                    raise
                connection.not_held = connection.not_held | more
            else:
                connection.run("RELEASE SAVEPOINT restoring")
                return
    except BaseException:
        connection.not_held = known
        raise


def _write(connection: Connection, tables: Collection[int], statements: str) -> None:
    if not connection.not_held:
        connection.run(statements)
    elif connection.superuser:
        found = _constraints(connection, tables)
        off, on = _catalog_changes([one for one in found if one.key in connection.not_held])
        connection.run(f"{off} {statements}; {on}")
    else:
        _write_as_owner(connection, tables, statements)


def _constraints(connection: Connection, tables: Collection[int]) -> list[_Constraint]:
    kinds = "'c', 'n'" if connection.can_disable_triggers else "'c', 'n', 'f'"
    text = _CONSTRAINTS.replace(":tables", f"{listed(tables)}::oid[]").replace(":kinds", kinds)
    return [_Constraint(*line) for line in connection.rows(text)]


def _catalog_changes(aside: Collection[_Constraint]) -> tuple[str, str]:
    """The statements by which a superuser has the server pass over them, and enforce them again.

    They are the same afterwards. Of those that are made again one that was valid would not be.
    """
    checked = listed(one.on for one in aside if one.kind == "c" and not one.domain)
    of_domains = listed(one.oid for one in aside if one.domain)
    columns = f"oid = ANY ({listed(one.oid for one in aside if one.kind == 'n')})"
    filled = f"UPDATE pg_attribute SET attnotnull = %s FROM pg_constraint k WHERE k.{columns} "
    filled += "AND attrelid = k.conrelid AND attnum = k.conkey[1]"
    count = "(SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid AND contype = 'c')"
    change = (
        f"UPDATE pg_class c SET relchecks = %s WHERE oid = ANY ({checked}); {filled}; "
        f"UPDATE pg_constraint SET contype = '%s' WHERE oid = ANY ({of_domains});"
    )
    return change % ("0", "false", "-"), change % (count, "true", "c")


def _write_as_owner(connection: Connection, tables: Collection[int], statements: str) -> None:
    """Drop them meanwhile. What is made again is another one, and is not to look like a test's work."""
    looks = fingerprint.take(connection)
    aside: dict[str, _Constraint] = {}
    while found := [one for one in _constraints(connection, tables) if one.key in connection.not_held]:
        for one in found:  # one that is inherited may be its table's own as well, and there after this
            if one.dropped not in aside:
                connection.run(one.dropped)
            aside[one.dropped] = one
    connection.run(statements)
    for one in reversed(aside.values()):
        _add(connection, one)
    now = fingerprint.take(connection)
    connection.replaced += [(at, was, now[at]) for at, was in looks.items() if now.get(at, was) != was]


def _add(connection: Connection, one: _Constraint) -> None:
    add = f"ALTER {one.domain or 'TABLE '}{one.where} ADD CONSTRAINT {one.origin} {one.definition}"
    try:
        with connection.raw.transaction():
            connection.run(add)
    except psycopg.Error as error:
        if not connection.refuses(error):
            raise
        connection.run(f"{add} NOT VALID")
        logging.getLogger("protean_testing").warning(
            "constraint %s on %s is NOT VALID from now on: a row that was there does not keep it any more, "
            "and was restored all the same (%s). A superuser restores such rows without this.",
            one.origin,
            one.where,
            error.diag.message_primary,
        )
    if one.comment is not None:
        connection.run(f"COMMENT ON CONSTRAINT {one.origin} ON {one.domain}{one.where} IS {one.comment}")
