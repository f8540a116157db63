"""What the schema is made of: was it changed since it was made, and what did a test add to it?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from . import sql
from .connection import Connection

Address = tuple[int, int]
"""classid and objid of an object, as in pg_depend."""

Fingerprint = dict[Address, str]
"""What every object of the user's schemas looks like, by a hash."""


@dataclass(frozen=True)
class Object:
    """An object that can be dropped by itself.

    Attributes:
        address: Where it is in the catalogs.
        kind: Its type, as pg_identify_object calls it.
        identity: Its name in full, quoted where needed.
    """

    address: Address
    kind: str
    identity: str

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


def glance(connection: Connection) -> object:
    """Equal to an earlier one where the schema is as it was then; it may differ where it is, too."""
    return connection.rows(sql.text("glance"), again=True)


def take(connection: Connection) -> Fingerprint:
    """Look at every object of the database that is not the server's, an extension's or ours."""
    statement = sql.text("fingerprint").replace(":objects", sql.text("objects"))
    return {(classid, objid): looks for classid, objid, looks in connection.rows(statement, again=True)}


def objects(connection: Connection, addresses: Iterable[Address] | None = None) -> list[Object]:
    """Their names; of all objects where no addresses are given."""
    if addresses is None:
        chosen = sql.text("objects")
    else:
        values = ", ".join(f"({classid}::oid, {objid}::oid)" for classid, objid in addresses)
        if not values:
            return []
        chosen = f"SELECT * FROM (VALUES {values}) o (classid, objid)"
    found = connection.rows(
        "SELECT o.classid::int8, o.objid::int8, i.type, i.identity "
        f"FROM ({chosen}) o, pg_identify_object(o.classid, o.objid, 0) i WHERE i.identity IS NOT NULL"
    )
    return [Object((classid, objid), kind, identity) for classid, objid, kind, identity in found]


def drop(connection: Connection, doomed: Iterable[Object]) -> None:
    """Drop objects, and what depends on them. Those that went with another one are passed over."""
    kinds: dict[str, list[Object]] = {}
    for one in doomed:
        kinds.setdefault(one.kind, []).append(one)
    for kind in sorted(kinds, key=lambda kind: _FIRST.index(kind) if kind in _FIRST else len(_FIRST)):
        waiting = kinds[kind]
        for begin in range(0, len(waiting), _TOGETHER):
            part = waiting[begin : begin + _TOGETHER]
            there = {one.address for one in objects(connection, [one.address for one in part])}
            names = [one.identity for one in part if one.address in there]
            drops = [", ".join(names)] if kind in _LISTED else names
            for dropped in filter(None, drops):
                connection.run(f"DROP {_DROPPED_AS.get(kind, kind)} IF EXISTS {dropped} CASCADE")


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
_DROPPED_AS = {
    "composite type": "TYPE",
    "statistics object": "STATISTICS",
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
}
