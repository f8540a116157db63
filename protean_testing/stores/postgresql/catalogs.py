"""The system catalogs that tell what a schema is, and the statements that are made of their list."""

from __future__ import annotations

from typing import NamedTuple

from . import sql
from .connection import OURS

Address = tuple[int, int]
"""classid and objid of an object, as in pg_depend."""

CLASS = 1259
"""The oid of pg_class, on every server."""


class _Catalog(NamedTuple):
    """Lines of one catalog, each of which is an object of `objects.sql` or a part of one.

    Attributes:
        name: The catalog, or a query that stands for it.
        owner: The catalog of the objects, or the column that says which.
        objid: The column with the object's oid.
        oid: What tells the object's lines apart.
        where: Lines of users, found by an index if the server has many of its own.
        alone: The lines belong to no relation, whose alterations the server tells every session of.
    """

    name: str
    owner: str
    objid: str = "oid"
    oid: str = "oid"
    where: str = "oid >= 16384"
    alone: bool = False


def _simple(*names: str) -> list[_Catalog]:
    return [_Catalog(name, f"'{name}'::regclass", alone=True) for name in names]


_RELATION, _TYPE = "'pg_class'::regclass", "'pg_type'::regclass"
_NOT_OURS = (
    f"(SELECT pronamespace FROM pg_proc f WHERE f.oid = tgfoid) IS DISTINCT FROM to_regnamespace('{OURS}')"
)
_SUBSCRIPTIONS = "SELECT oid, '3'::xid AS xmin FROM pg_subscription"  # the rest is a superuser's to see
_ALL = (
    _Catalog("pg_class", _RELATION),
    _Catalog("pg_attribute", _RELATION, "attrelid", "attnum", "attrelid >= 16384"),
    _Catalog("pg_constraint", _RELATION, "conrelid", where="conrelid >= 16384"),
    _Catalog("pg_constraint", _TYPE, "contypid", where="contypid >= 16384", alone=True),
    _Catalog("pg_trigger", _RELATION, "tgrelid", where=f"tgrelid >= 16384 AND {_NOT_OURS}"),
    _Catalog("pg_index", _RELATION, "indrelid", "indexrelid", "indrelid >= 16384"),
    _Catalog("pg_attrdef", _RELATION, "adrelid", where="adrelid >= 16384"),
    _Catalog("pg_type", _TYPE),
    _Catalog("pg_proc", "'pg_proc'::regclass"),
    _Catalog("pg_rewrite", _RELATION, "ev_class", where="ev_class >= 16384"),
    _Catalog("pg_enum", _TYPE, "enumtypid", alone=True),
    # No invalidation tells what a sequence is owned by.
    _Catalog("pg_sequence", _RELATION, "seqrelid", "seqrelid", "true", alone=True),
    _Catalog("pg_policy", _RELATION, "polrelid", where="true"),
    _Catalog("pg_inherits", _RELATION, "inhrelid", "inhparent", "true", alone=True),
    _Catalog("pg_namespace", "'pg_namespace'::regclass", where="true", alone=True),
    _Catalog("pg_description", "classoid", "objoid", "objsubid", "objoid >= 16384", alone=True),
    _Catalog("pg_description", "classoid", "objoid", "objsubid", "objoid = 2200", alone=True),  # public
    _Catalog("pg_publication_rel", _RELATION, "prrelid", where="true", alone=True),
    _Catalog("pg_publication_namespace", "'pg_publication'::regclass", "pnpubid", where="true", alone=True),
    _Catalog("pg_amop", "'pg_opfamily'::regclass", "amopfamily", alone=True),
    _Catalog("pg_amproc", "'pg_opfamily'::regclass", "amprocfamily", alone=True),
    _Catalog(
        "pg_ts_config_map",
        "'pg_ts_config'::regclass",
        "mapcfg",
        "maptokentype * 100 + mapseqno",
        "mapcfg >= 16384",
        alone=True,
    ),
    _Catalog(
        "(SELECT umid AS oid, '3'::xid AS xmin FROM pg_user_mappings)",
        "'pg_user_mapping'::regclass",
        alone=True,
    ),
    _Catalog(f"({_SUBSCRIPTIONS})", "'pg_subscription'::regclass", where="true", alone=True),
    *_simple("pg_extension", "pg_operator", "pg_cast", "pg_publication", "pg_statistic_ext", "pg_collation"),
    *_simple("pg_opclass", "pg_opfamily", "pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template"),
    *_simple("pg_conversion", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_am", "pg_language"),
    *_simple("pg_transform", "pg_default_acl", "pg_event_trigger"),
)

_NEWEST = f"nullif(min(age(xmin)), {2**31 - 1}) - age('3'::xid)"  # a frozen line has that age for ever
_ALWAYS = frozenset(
    "pg_enum pg_constraint pg_inherits pg_namespace pg_extension pg_description pg_operator pg_cast "
    "pg_publication_rel pg_statistic_ext pg_event_trigger pg_collation pg_opclass pg_ts_config".split()
)
_OF_OTHERS = frozenset(
    "pg_publication pg_publication_namespace pg_conversion pg_ts_dict pg_ts_config_map pg_default_acl "
    "pg_foreign_server pg_sequence".split()
)

_IDENTITIES = (  # the sequence of one goes with its column, and is no object of its own
    "(SELECT objid AS sequence, refobjid AS relation FROM pg_depend JOIN pg_sequence ON seqrelid = objid "
    "WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype = 'i')"
)
_OF_PARTS = (  # columns as above, and the condition
    *(
        (
            f"'pg_class'::regclass, relation, sequence::int8, s.xmin FROM {_IDENTITIES} p "
            f"JOIN {part} s ON s.{oid} = sequence",
            "relation",
        )
        for part, oid in (("pg_sequence", "seqrelid"), ("pg_class", "oid"))
    ),
    (
        "'pg_class'::regclass, indrelid, indexrelid::int8, r.xmin "
        "FROM pg_index JOIN pg_class r ON r.oid = indexrelid WHERE indrelid >= 16384",
        "indrelid",
    ),
    (
        "'pg_type'::regclass, t.oid, attnum, a.xmin FROM pg_class r JOIN pg_type t ON t.oid = reltype "
        "JOIN pg_attribute a ON attrelid = r.oid WHERE relkind = 'c'",
        "t.oid",
    ),
    *(
        (
            f"'{of}'::regclass, {objid}, objoid::int8, d.xmin FROM pg_description d "
            f"JOIN {part} p ON classoid = '{named}'::regclass AND {oid} = objoid WHERE objoid >= 16384",
            objid,
        )
        for part, named, oid, objid, of in (
            ("pg_index", "pg_class", "indexrelid", "indrelid", "pg_class"),
            (_IDENTITIES, "pg_class", "sequence", "relation", "pg_class"),
            ("pg_trigger", "pg_trigger", "p.oid", "tgrelid", "pg_class"),
            ("pg_rewrite", "pg_rewrite", "p.oid", "ev_class", "pg_class"),
            ("pg_policy", "pg_policy", "p.oid", "polrelid", "pg_class"),
            ("pg_constraint", "pg_constraint", "p.oid", "conrelid", "pg_class"),
            ("pg_constraint", "pg_constraint", "p.oid", "contypid", "pg_type"),
        )
    ),
)


def fingerprint(*, superuser: bool, internal: bool, some: bool) -> str:
    """The query for the version of every object, or of those whose oids are its parameter."""
    among = " AND {} = ANY ($1::oid[])" if some else ""
    lines = [
        f"SELECT {one.owner}::oid, {one.objid}, ({one.oid})::int8, xmin FROM {one.name} c WHERE {one.where}"
        + among.format(one.objid)
        + (" AND NOT tgisinternal" if one.name == "pg_trigger" and not internal else "")
        for one in _ALL
        if internal or one.name != "pg_publication_rel"
    ]
    lines += [f"SELECT {columns}" + among.format(objid) for columns, objid in _OF_PARTS]
    parts = "\n    UNION ALL ".join(lines)
    chosen = "SELECT DISTINCT classid::int8, objid::int8 FROM part" if some else sql.text("objects")
    return _seen(sql.text("fingerprint").replace(":objects", chosen).replace(":parts", parts), superuser)


def quick(*, superuser: bool) -> str:
    """The query for how many lines the catalogs have for objects of users, and the latest writer of one."""
    lines = [
        f"SELECT {number} AS number, count(*) AS lines, min(age(xmin)) AS age FROM {one.name} c "
        f"WHERE {one.where}"
        for number, one in enumerate(_ALL)
    ]
    text = " UNION ALL ".join(lines).replace(f" AND {_NOT_OURS}", "")
    newest = _NEWEST.replace("age(xmin)", "age")
    text = f"SELECT array_agg(lines ORDER BY number), ({newest})::int8 FROM ({text}) part"
    return _seen(text, superuser)


def counts(*, superuser: bool) -> str:
    """The same as expressions, for the lines of no relation, of which a superuser is not told otherwise.

    What only a superuser may write is left out: its own writes are logged by event triggers.
    """
    lines = [
        f"(SELECT (count(*), {_NEWEST}) FROM {one.name} c WHERE {one.where})"
        for one in _ALL
        if one.alone and (one.name in _ALWAYS or (one.name in _OF_OTHERS and not superuser))
    ]
    return ",\n       ".join(lines)


def _seen(text: str, superuser: bool) -> str:
    return text.replace(f"({_SUBSCRIPTIONS})", "pg_subscription") if superuser else text
