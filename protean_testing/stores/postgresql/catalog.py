"""What there is in the database that can hold data: tables, materialized views, sequences."""

from __future__ import annotations

from dataclasses import dataclass

from .connection import OURS, Connection, quoted

USER_SCHEMA = f"""(n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', '{OURS}'))"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, partitioned table or materialized view.

    Attributes:
        number: Its number in our notes; the same for one name as long as the run lasts.
        oid: In pg_class.
        schema, name: As they are, not quoted.
        kind: As in pg_class.relkind: ``r``, ``p`` (partitioned, holds no rows itself) or ``m``.
        columns: Those that an INSERT may name, in order: all but generated ones.
        shape: Every column with its type: what a row that was kept must fit into again.
        key: Columns of a unique index without NULLs, the primary key if there is one.
        always_identity: Columns that are GENERATED ALWAYS AS IDENTITY.
        children: Numbers of its direct partitions and heirs.
        forced: Row level security hides rows from the owner too.
        loud: Triggers and rules that would fire although we asked for silence: how to switch each off and on.
        references: Numbers of the tables that its foreign keys point to.
        changeable: False where our role may not write to it.
    """

    number: int
    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[str, ...]
    shape: str
    key: tuple[str, ...]
    always_identity: frozenset[str]
    children: tuple[int, ...]
    forced: bool
    loud: tuple[tuple[str, str], ...]
    references: tuple[int, ...]
    changeable: bool

    @property
    def sql(self) -> str:
        """The name as SQL writes it."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def holds_rows(self) -> bool:
        return self.kind == "r"

    def __str__(self) -> str:
        return f'"{self.name}"' if self.schema == "public" else f'"{self.schema}.{self.name}"'


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A sequence.

    Attributes:
        oid: In pg_class.
        schema, name: As they are, not quoted.
        tables: Numbers of the tables that own it, or take a default from it.
        cached: Sessions keep values of it to themselves (CACHE above 1).
    """

    oid: int
    schema: str
    name: str
    tables: tuple[int, ...]
    cached: bool

    @property
    def key(self) -> tuple[str, str]:
        return (self.schema, self.name)

    @property
    def sql(self) -> str:
        """The name as SQL writes it."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True)
class Catalog:
    """All of them, at one moment."""

    tables: dict[int, Table]
    sequences: dict[tuple[str, str], Sequence]

    def holding(self) -> list[Table]:
        """Every table that holds rows itself."""
        return [table for table in self.tables.values() if table.holds_rows]

    def views(self) -> list[Table]:
        """Every materialized view."""
        return [table for table in self.tables.values() if table.kind == "m"]

    def rows_of(self, numbers: set[int]) -> set[int]:
        """The tables whose rows a statement that names one of `numbers` may have written."""
        found: set[int] = set()
        waiting = list(numbers)
        while waiting:
            number = waiting.pop()
            if number not in found and number in self.tables:
                found.add(number)
                waiting += self.tables[number].children
        return {number for number in found if self.tables[number].kind != "p"}

    def referring(self, numbers: set[int]) -> set[int]:
        """`numbers`, all tables that refer to one of them by foreign keys, near or far, and their partitions."""
        found = set(numbers)
        while True:
            more = {table.number for table in self.tables.values() if found.intersection(table.references)}
            for number in found | more:
                if self.tables[number].kind == "p":
                    more.update(self.tables[number].children)
            if more <= found:
                return found
            found |= more


def read_catalog(connection: Connection, numbers: dict[tuple[str, str], int]) -> Catalog:
    """Read the catalogs.

    Parameters:
        connection: Where.
        numbers: The number of every name that ever had one; new names are added to it.
    """
    found = connection.rows(_TABLES)
    oids = {}
    for oid, schema, name, *_ in found:
        oids[oid] = numbers.setdefault((schema, name), len(numbers))
    loud = _loud(connection)
    tables = {}
    for (
        oid,
        schema,
        name,
        kind,
        forced,
        changeable,
        columns,
        shape,
        key,
        always,
        children,
        references,
    ) in found:
        tables[oids[oid]] = Table(
            number=oids[oid],
            oid=oid,
            schema=schema,
            name=name,
            kind=kind,
            columns=tuple(columns),
            shape=shape,
            key=tuple(key),
            always_identity=frozenset(always),
            children=tuple(oids[child] for child in children if child in oids),
            forced=forced,
            loud=tuple(loud.get(oid, ())),
            references=tuple(oids[other] for other in references if other in oids),
            changeable=changeable,
        )
    sequences = {}
    for oid, schema, name, owners, cached in connection.rows(_SEQUENCES):
        owning = tuple(oids[owner] for owner in owners if owner in oids)
        sequences[schema, name] = Sequence(oid=oid, schema=schema, name=name, tables=owning, cached=cached)
    return Catalog(tables, sequences)


def _loud(connection: Connection) -> dict[int, list[tuple[str, str]]]:
    found: dict[int, list[tuple[str, str]]] = {}
    for oid, table, kind, name, enabled in connection.rows(_LOUD):
        if connection.silent and enabled == "O":
            continue
        if not connection.silent and enabled == "R":
            continue
        again = {"A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "O": "ENABLE"}[enabled]
        found.setdefault(oid, []).append(
            (f"ALTER TABLE {table} DISABLE {kind} {name}", f"ALTER TABLE {table} {again} {kind} {name}")
        )
    return found


_TABLES = f"""
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,
       c.relrowsecurity AND c.relforcerowsecurity
           AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user),
       c.relkind = 'm' OR has_table_privilege(c.oid, 'SELECT, INSERT') AND has_table_privilege(c.oid, 'DELETE'),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              ORDER BY a.attnum),
       COALESCE((SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                                   ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), ''),
       COALESCE((SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a
                      WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[]) ORDER BY a.attnum)
          FROM pg_index i
         WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
           AND i.indpred IS NULL AND i.indexprs IS NULL
           AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
                              AND a.attnum = ANY (i.indkey::int2[]) AND (NOT a.attnotnull OR a.attgenerated <> ''))
         ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1), '{{}}'),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = 'a'),
       ARRAY(SELECT h.inhrelid::int8 FROM pg_inherits h WHERE h.inhparent = c.oid),
       ARRAY(SELECT DISTINCT f.confrelid::int8 FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND {USER_SCHEMA}
 ORDER BY n.nspname, c.relname
"""

_LOUD = f"""
SELECT t.tgrelid::int8, t.tgrelid::regclass::text, 'TRIGGER', quote_ident(t.tgname), t.tgenabled::text
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_proc p ON p.oid = t.tgfoid
 WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND {USER_SCHEMA}
   AND p.pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname = '{OURS}')
UNION ALL
SELECT r.ev_class::int8, r.ev_class::regclass::text, 'RULE', quote_ident(r.rulename), r.ev_enabled::text
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND r.ev_enabled <> 'D' AND r.ev_type <> '1' AND {USER_SCHEMA}
"""

_SEQUENCES = f"""
SELECT c.oid::int8, n.nspname::text, c.relname::text,
       ARRAY(SELECT d.refobjid::int8 FROM pg_depend d
              WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                AND d.refclassid = 'pg_class'::regclass
             UNION
             SELECT a.adrelid::int8 FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
              WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = c.oid),
       s.seqcache > 1
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
 WHERE {USER_SCHEMA}
 ORDER BY n.nspname, c.relname
"""
