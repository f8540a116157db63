"""What the schema is made of: was it changed since it was made, and what did a test add to it?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .connection import OURS, Connection

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


def take(connection: Connection) -> Fingerprint:
    """Look at every object of the database that is not the server's, an extension's or ours."""
    return {(classid, objid): hashed for classid, objid, hashed in connection.rows(_FINGERPRINT)}


def objects(connection: Connection, addresses: Iterable[Address] | None = None) -> list[Object]:
    """Their names; of all objects where no addresses are given."""
    if addresses is None:
        chosen = _OBJECTS
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
    order = {"schema": 2, "extension": 1}  # the biggest first: most of the rest goes with it
    for one in sorted(doomed, key=lambda one: (-order.get(one.kind, 0), one.identity)):
        still = connection.value(
            f"SELECT identity FROM pg_identify_object({one.address[0]}, {one.address[1]}, 0)"
        )
        if still is None:
            continue
        kind = _DROPPED_AS.get(one.kind, one.kind)
        connection.run(f"DROP {kind} IF EXISTS {one.identity} CASCADE")


_DROPPED_AS = {
    "composite type": "TYPE",
    "statistics object": "STATISTICS",
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
}

# Members of extensions and what is a part of something else (row types, identity sequences) go with their owner.
_NOT_ALONE = "SELECT FROM pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype IN ('e', 'i') AND d.refobjid <> d.objid"


def _of_namespace(catalog: str, namespace: str, where: str = "true") -> str:
    return f"SELECT '{catalog}'::regclass::oid AS classid, c.oid AS objid FROM {catalog} c JOIN spaces s ON s.oid = c.{namespace} WHERE {where}"


_OBJECTS = f"""
WITH spaces AS (
    SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', '{OURS}')
), every AS (
    SELECT 'pg_namespace'::regclass::oid AS classid, oid AS objid FROM spaces
    UNION ALL {_of_namespace("pg_class", "relnamespace", "c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')")}
    UNION ALL {_of_namespace("pg_type", "typnamespace", "c.typtype <> 'c' OR (SELECT r.relkind FROM pg_class r WHERE r.oid = c.typrelid) = 'c'")}
    UNION ALL {_of_namespace("pg_proc", "pronamespace")}
    UNION ALL {_of_namespace("pg_operator", "oprnamespace")}
    UNION ALL {_of_namespace("pg_opclass", "opcnamespace")}
    UNION ALL {_of_namespace("pg_opfamily", "opfnamespace")}
    UNION ALL {_of_namespace("pg_collation", "collnamespace")}
    UNION ALL {_of_namespace("pg_conversion", "connamespace")}
    UNION ALL {_of_namespace("pg_statistic_ext", "stxnamespace")}
    UNION ALL {_of_namespace("pg_ts_config", "cfgnamespace")}
    UNION ALL {_of_namespace("pg_ts_dict", "dictnamespace")}
    UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension
    UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast WHERE oid >= 16384
    UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger WHERE evtname <> '{OURS}'
    UNION ALL SELECT 'pg_publication'::regclass, oid FROM pg_publication
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
)
SELECT classid, objid FROM every o WHERE NOT EXISTS ({_NOT_ALONE})
"""


def _part(owner_class: str, owner: str, catalog: str, text: str, where: str = "true") -> str:
    return f"SELECT '{owner_class}'::regclass::oid AS classid, {owner} AS objid, {text} AS line FROM {catalog} c WHERE {where}"


_OURS_TRIGGER = f"c.tgfoid NOT IN (SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = '{OURS}')"

_FINGERPRINT = f"""
WITH object AS MATERIALIZED ({_OBJECTS}), part AS (
    {_part("pg_class", "c.oid", "pg_class", "concat_ws(' ', 'c', relname, relnamespace, relowner, relam, reltablespace, relisshared, relpersistence, relkind, relnatts, relrowsecurity, relforcerowsecurity, relreplident, relispartition, relacl, reloptions, relpartbound)", "relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')")}
    UNION ALL {_part("pg_class", "attrelid", "pg_attribute", "concat_ws(' ', 'a', attnum, attname, atttypid, atttypmod, attnotnull, atthasdef, attidentity, attgenerated, attisdropped, attcollation, attstorage, attcompression, attacl, attoptions)", "attnum > 0 AND attrelid >= 16384")}
    UNION ALL {_part("pg_class", "adrelid", "pg_attrdef", "concat('d', c)")}
    UNION ALL {_part("pg_class", "conrelid", "pg_constraint", "concat('k', c)", "conrelid <> 0")}
    UNION ALL {_part("pg_type", "contypid", "pg_constraint", "concat('k', c)", "contypid <> 0")}
    UNION ALL {_part("pg_class", "indrelid", "pg_index", "concat('i', c, (SELECT concat_ws(' ', relname, relam, reltablespace, reloptions) FROM pg_class r WHERE r.oid = c.indexrelid))", "indrelid >= 16384")}
    UNION ALL {_part("pg_class", "tgrelid", "pg_trigger", "concat('t', c)", _OURS_TRIGGER)}
    UNION ALL {_part("pg_class", "ev_class", "pg_rewrite", "concat('r', c.*)", "ev_class >= 16384")}
    UNION ALL {_part("pg_class", "polrelid", "pg_policy", "concat('p', c)")}
    UNION ALL {_part("pg_class", "inhrelid", "pg_inherits", "concat('h', c)")}
    UNION ALL {_part("pg_class", "seqrelid", "pg_sequence", "concat('s', c)")}
    UNION ALL {_part("pg_class", "prrelid", "pg_publication_rel", "concat('b', c)")}
    UNION ALL {_part("pg_type", "c.oid", "pg_type", "concat('y', c)", "c.oid >= 16384")}
    UNION ALL {_part("pg_type", "enumtypid", "pg_enum", "concat('e', c)")}
    UNION ALL {_part("pg_proc", "c.oid", "pg_proc", "concat('f', c)", "c.oid >= 16384")}
    UNION ALL {_part("pg_namespace", "c.oid", "pg_namespace", "concat('n', c)")}
    UNION ALL {_part("pg_extension", "c.oid", "pg_extension", "concat('x', c)")}
    UNION ALL {_part("pg_event_trigger", "c.oid", "pg_event_trigger", "concat('v', c)")}
    UNION ALL SELECT classoid, objoid, concat_ws(' ', 'o', objsubid, description) FROM pg_description WHERE objoid >= 16384
)
SELECT o.classid::int8, o.objid::int8, md5(COALESCE(string_agg(p.line, ' ' ORDER BY p.line), ''))
  FROM object o LEFT JOIN part p USING (classid, objid)
 GROUP BY 1, 2
"""
