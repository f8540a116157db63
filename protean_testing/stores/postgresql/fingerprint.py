"""What the schema is made of: was it changed since it was made, and what did a test add to it?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import catalogs, parts, sql
from .catalogs import Address
from .connection import Connection, psycopg

Fingerprint = dict[Address, str]
"""The version of every object of the user's: another one where it, or a part of it, was written."""


Quick = list[tuple[Any, ...]]
"""How many lines the catalogs have, and who wrote the latest one: a number that decreases."""


@dataclass(frozen=True)
class Object:
    """An object that can be dropped by itself.

    Attributes:
        address: Where it is in the catalogs.
        kind: Its type, as pg_identify_object calls it.
        identity: Its name in full, quoted where needed.
        schema, name: The parts of it that ALTER can change, quoted where needed; empty where there is none.
    """

    address: Address
    kind: str
    identity: str
    schema: str = ""
    name: str = ""

    @property
    def key(self) -> str:
        """What an ownership marker calls it."""
        return f"{self.address[0]}:{self.address[1]}"

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


def addresses(keys: Iterable[str]) -> set[Address]:
    """Where what an ownership marker names is in the catalogs."""
    found = (key.partition(":") for key in keys)
    return {(int(classid), int(objid)) for classid, _, objid in found}


def take_quick(connection: Connection) -> Quick:
    """Equal to an earlier one where the schema is as it was then; it may differ where it is, too."""
    return connection.rows(catalogs.quick(superuser=connection.superuser), again=True)


def take(connection: Connection, oids: Iterable[int] | None = None, *, internal: bool = True) -> Fingerprint:
    """Look at every object of the database that is not the server's, an extension's or ours.

    Parameters:
        oids: Objects of others may be looked at in part.
        internal: Triggers of the server's own and publications count as well, by which what refers to a
            table shows in the table.
    """
    some = oids is not None
    statement = catalogs.fingerprint(superuser=connection.superuser, internal=internal, some=some)
    name = connection.prepare(statement) + (f"('{{{','.join(map(str, oids))}}}')" if oids is not None else "")
    return {(classid, objid): looks for classid, objid, looks in connection.rows(f"EXECUTE {name}")}


def present(connection: Connection) -> set[Address]:
    """The objects that are there, without their names."""
    return {(classid, objid) for classid, objid in connection.rows(sql.text("objects"), again=True)}


def objects(connection: Connection, addresses: Iterable[Address] | None = None) -> list[Object]:
    """Their names; of all objects where no addresses are given."""
    if addresses is None:
        chosen = sql.text("objects")
    else:
        values = ", ".join(f"({classid}::oid, {objid}::oid)" for classid, objid in addresses)
        if not values:
            return []
        chosen = f"SELECT * FROM (VALUES {values}) o (classid, objid)"
    routine = "(SELECT quote_ident(p.proname) FROM pg_proc p WHERE p.oid = o.objid)"
    found = connection.rows(
        "SELECT o.classid::int8, o.objid::int8, i.type, i.identity, coalesce(i.schema, ''), "
        f"coalesce(i.name, CASE WHEN o.classid::oid = 'pg_proc'::regclass THEN {routine} END, '') "
        f"FROM ({chosen}) o, pg_identify_object(o.classid::oid, o.objid::oid, 0) i "
        "WHERE i.identity IS NOT NULL"
    )
    return [Object((classid, objid), *names) for classid, objid, *names in found]


# Names

_ALTERED_AS = {
    "composite type": "TYPE",
    "statistics object": "STATISTICS",
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
}


def restore_names(connection: Connection, then: Mapping[Address, Object]) -> list[tuple[Object, Object]]:
    """Rename what has another name or schema than in `then`, and is the same object: it has the same oid.

    Returns:
        What cannot have its name again, as it is now and as it was: something else has that name.
    """
    failed: list[tuple[Object, Object]] = []
    for of_schemas in (True, False):  # a schema's name is a part of all others
        wrong = _renamed(connection, then, of_schemas)
        if wrong and not _rename(connection, wrong):
            failed += [pair for pair in wrong if not _rename(connection, [pair])]
    return failed


def _renamed(
    connection: Connection, then: Mapping[Address, Object], of_schemas: bool
) -> list[tuple[Object, Object]]:
    found = [(now, then[now.address]) for now in objects(connection, then)]  # wherever it is now
    return [
        (now, was)
        for now, was in found
        if was.name
        and (now.kind == "schema") == of_schemas
        and (now.schema, now.name) != (was.schema, was.name)
    ]


def _rename(connection: Connection, wrong: list[tuple[Object, Object]]) -> bool:
    """All of them, or none: two may have changed names."""

    def alter(one: Object, what: str) -> None:
        (there,) = objects(connection, [one.address])
        connection.run(f"ALTER {_ALTERED_AS.get(one.kind, one.kind)} {there.identity} {what}")

    try:
        with connection.raw.transaction():
            for number, (now, _) in enumerate(wrong):
                alter(now, f"RENAME TO protean_testing_{number}")
            for now, was in wrong:
                if now.schema != was.schema:
                    alter(now, f"SET SCHEMA {was.schema}")
                alter(now, f"RENAME TO {was.name}")
    except psycopg.Error as error:
        if not connection.refuses(error):
            raise
        return False
    return True


# Removal


class EntangledError(Exception):
    """What would be dropped or changed together with other objects, and is to stay as it is."""

    def __init__(self, harmed: list[Object]) -> None:
        self.harmed = harmed
        super().__init__(", ".join(map(str, harmed)))


def dependents(connection: Connection, doomed: Collection[Address]) -> list[Object]:
    """What else would be dropped or changed with `doomed`: views, foreign keys, partitions, ..."""
    if not doomed:
        return []
    values = ", ".join(f"({classid}::oid, {objid}::oid)" for classid, objid in doomed)
    statement = sql.text("dependents").replace(":doomed", values).replace(":objects", sql.text("objects"))
    return objects(connection, [(classid, objid) for classid, objid in connection.rows(statement)])


def drop(
    connection: Connection,
    doomed: Collection[Address],
    *,
    may_go: Collection[Address] = (),
    parts: bool = True,
) -> None:
    """Drop objects, and what depends on them, but nothing else's.

    Parameters:
        doomed: Some of them may be gone already.
        may_go: What may be dropped with them.
        parts: Nothing else may be changed, either: a foreign key to one of them is part of another table.

    Raises:
        EntangledError: It would. Nothing is dropped then, or only some that could be.
    """

    def others() -> Fingerprint:
        found = take(connection, internal=False) if parts else dict.fromkeys(present(connection), "")
        return {address: looks for address, looks in found.items() if address not in going}

    locations = {kind: number for number, kind in enumerate(_FIRST)}
    found = sorted(objects(connection, doomed), key=lambda one: locations.get(one.kind, len(_FIRST)))
    going = set(doomed) | set(may_go)
    for begin in range(0, len(found), _TOGETHER):
        harmed: list[Address] = []
        with connection.raw.transaction() as transaction:
            stay = others()
            _drop(connection, found[begin : begin + _TOGETHER])
            left = others()
            harmed = [address for address, looks in stay.items() if left.get(address) != looks]
            if harmed:
                raise psycopg.Rollback(transaction)
        if harmed:
            raise EntangledError(objects(connection, harmed))


def drop_possible(connection: Connection, doomed: Collection[Address]) -> set[Address]:
    """Drop what can be dropped without anything else. Returns the rest."""
    if not doomed:
        return set()
    try:
        drop(connection, doomed, parts=False)
        return set()
    except EntangledError:
        pass
    left = set()
    for address in doomed:
        try:
            drop(connection, [address], may_go=doomed, parts=False)
        except EntangledError:
            left.add(address)
    return left


def untie(connection: Connection, doomed: Collection[Address]) -> None:
    """Take from tables that are dropped what was made theirs: partitions, children, sequences."""
    tables = ", ".join(str(objid) for _, objid in doomed) or "0"
    for statement in (
        "SELECT format(CASE WHEN relispartition THEN 'ALTER TABLE %2$s DETACH PARTITION %1$s' "
        "ELSE 'ALTER TABLE %1$s NO INHERIT %2$s' END, inhrelid::regclass, inhparent::regclass) "
        "FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
        f"WHERE c.relkind IN ('r', 'p', 'f') AND inhparent IN ({tables}) AND inhrelid NOT IN ({tables})",
        "SELECT format('ALTER SEQUENCE %s OWNED BY NONE', objid::regclass) FROM pg_depend "
        "JOIN pg_class c ON c.oid = objid AND c.relkind = 'S' "
        "WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype = 'a' "
        f"AND refobjid IN ({tables}) AND objid NOT IN ({tables})",
    ):
        for (line,) in connection.rows(statement):
            connection.run(line)


def attach_half_detached(connection: Connection) -> None:
    """Attach partitions again whose DETACH CONCURRENTLY was interrupted, without the CHECK of that."""
    for child, parent, bound, check in connection.rows(
        "SELECT inhrelid::regclass::text, inhparent::regclass::text, pg_get_expr(relpartbound, inhrelid), "
        "quote_ident(conname) FROM pg_inherits h JOIN pg_class c ON c.oid = inhrelid "
        "LEFT JOIN pg_constraint k ON conrelid = inhrelid AND contype = 'c' AND k.xmin = h.xmin "
        "WHERE inhdetachpending"
    ):
        connection.run(f"ALTER TABLE {parent} DETACH PARTITION {child} FINALIZE")
        connection.run(f"ALTER TABLE {parent} ATTACH PARTITION {child} {bound}")
        if check is not None:
            connection.run(f"ALTER TABLE {child} DROP CONSTRAINT {check}")


def _drop(connection: Connection, doomed: list[Object]) -> None:
    """Those that went with another one are passed over."""
    kinds: dict[str, list[Object]] = {}
    for one in doomed:
        kinds.setdefault(one.kind, []).append(one)
    for kind, waiting in kinds.items():
        there = objects(connection, [one.address for one in waiting])
        if kind == "default acl":
            for found in parts.take(connection, [one.address for one in there]).values():
                connection.run(found["privileges"].undo)
            continue
        names = [one.identity for one in there]
        drops = [", ".join(names)] if kind in _LISTED else names
        for dropped in filter(None, drops):
            if kind == "subscription":  # what it has on the publisher's server stays: that may not be there
                connection.run(f"ALTER SUBSCRIPTION {dropped} DISABLE")
                connection.run(f"ALTER SUBSCRIPTION {dropped} SET (slot_name = NONE)")
            if kind == "user mapping":
                dropped = f"FOR {dropped.replace(' on server ', ' SERVER ')}"
            tail = "" if kind == "user mapping" else " CASCADE"
            connection.run(f"DROP {_ALTERED_AS.get(kind, kind)} IF EXISTS {dropped}{tail}")


_FIRST = ("schema", "extension", "table")  # most of the rest goes with them
_LISTED = (
    "schema",
    "extension",
    "table",
    "view",
    "materialized view",
    "sequence",
    "foreign table",
    "type",
    "function",
)
_TOGETHER = 500  # each takes locks, of which a server has some thousands
