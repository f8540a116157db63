"""PostgreSQL for the oracle: its own DDL and statements, roles with more or fewer rights, a full dump."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from hypothesis import reject
from hypothesis import strategies as st
from psycopg import sql
from sqlalchemy import create_engine, make_url

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql
from protean_testing.stores.postgresql import PostgreSQLBackend, installed
from protean_testing.stores.sql.backend import Database

from .program import Dialect, Dump, Schema, Table, Work

SESSION = (
    "SET search_path = public, \"Elsewhere\"; SET lock_timeout = '40ms'; SET statement_timeout = '3s'; "
    "SET row_security = on; SET array_nulls = on; SET app.lenient = on"
)

_WORKER = """
import json, psycopg, sys
for line in sys.stdin:
    url, session, statements, end = json.loads(line)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(session)
        if end != "autocommit":
            connection.execute("BEGIN")
        for statement in statements:
            try:
                connection.execute(statement)
            except psycopg.Error:
                pass
        try:
            connection.execute("COMMIT" if end == "commit" else "ROLLBACK")
        except psycopg.Error:
            pass
    print(flush=True)
"""

CRASH = "-- kill -9 of this session's process"
LOST = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'protean_testing' AND datname = current_database()"
)
UNSEEN = "SELECT set_config('event_triggers', 'off', true); "
PREPARED = "PREPARE TRANSACTION 'left'"

ROLES = ("superuser", "granted", "owner", "application")
"""Who resets: the last is a superuser, for an application that may only read and write."""


def old_binaries() -> Path | None:
    """The directory of PostgreSQL 15's programs, where it is on this machine."""
    for place in (Path("/usr/lib/postgresql/15/bin"), Path("/opt/homebrew/opt/postgresql@15/bin")):
        if (place / "postgres").exists():
            return place
    found = shutil.which("postgres")
    if found and " 15." in subprocess.run([found, "--version"], capture_output=True, text=True).stdout:
        return Path(found).parent
    return None


VERSIONS = ("15", "18") if old_binaries() or os.environ.get("CI") else ("18",)
"""On a developer's machine without PostgreSQL 15 that one is left out; in CI its absence is a failure."""


@cache
def server(version: str) -> PrivatePostgreSQL:
    """One server of each version for the whole process."""
    binaries = None
    if version == "15":
        binaries = old_binaries()
        if binaries is None:
            raise LookupError("no PostgreSQL 15 is installed")
    started = start_postgresql(binaries=binaries)
    url = started.url("postgres").replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE ROLE owner LOGIN; CREATE ROLE granted LOGIN; CREATE ROLE application LOGIN"
        )
        connection.execute("GRANT SET ON PARAMETER session_replication_role TO granted")
    return started


class PostgreSQL(Dialect):
    """On a server of our own.

    Parameters:
        version: ``15`` or ``18``.
        role: Who resets, one of `ROLES`.
        reset: ``fast`` or ``generic``.
        backend: Makes the backend; another one than the real one to see that the oracle finds its faults.
    """

    kinds = (
        "integer",
        "integer",
        "text",
        "text",
        "varchar(3)",
        "timestamptz",
        "float8",
        "numeric",
        "json",
        "bytea",
    )
    kinds += ("integer[]", "interval", "date", '"Mood"', "char(4)", "lenient")
    rests = (*Dialect.rests, " GENERATED ALWAYS AS (1 + 1) STORED")
    traits = (
        "delete trigger",
        "always trigger",
        "partitioned",
        "child",
        "always identity",
        "unlogged",
        "rule",
    )
    traits += ("forced", "elsewhere", "cache", "changing trigger", "raising trigger", "hiding")
    traits += ("bare names", "not valid", "zoned")
    schema_traits = ("log keys early", "few sequences", "faults", "crashes")
    column_names = (*Dialect.column_names, "one", "line", "t", "since", "key")

    def __init__(
        self, version: str, role: str, reset: str, backend: Callable[[Database], Any] = PostgreSQLBackend
    ) -> None:
        self.version, self.role, self.reset, self.backend = version, role, reset, backend
        self.database = f"{role}_{reset}_test"

    def literal(self, value: Any) -> str:
        return "NULL" if value is None else super().literal(str(value))

    def values(self) -> st.SearchStrategy[Any]:
        more = ("1.0", "1.00", "-0", "NaN", "2020-01-01", "2020-06-01 12:00+02", "infinity", "{}", "{1,NULL}")
        more += ("1 mon -1 day", "null", '{"a": 1.0, "a": 2}', "\\x00ff", "happy", "(", '"', "a,b", "\\")
        return st.one_of(st.integers(-3, 5), super().values(), st.sampled_from(more))

    # The schema

    def create(self, schema: Schema) -> list[str]:
        return [
            "CREATE TYPE \"Mood\" AS ENUM ('happy', '1', 'a')",
            'CREATE TABLE "log" (what text)',
            "CREATE FUNCTION bare(anyelement) RETURNS text IMMUTABLE LANGUAGE sql "
            "AS 'SELECT left($1::text, 3)'",
            "CREATE FUNCTION calling(anyelement) RETURNS text IMMUTABLE LANGUAGE plpgsql AS "
            "'BEGIN RETURN bare($1); END'",
            # what holds in sessions of the code under test, and not when rows are restored
            "CREATE FUNCTION lenient() RETURNS bool LANGUAGE sql AS "
            "$$ SELECT current_setting('app.lenient', true) = 'on' $$",
            "CREATE DOMAIN lenient AS integer; "
            "ALTER DOMAIN lenient ADD CHECK (public.lenient() IS TRUE) NOT VALID",
            "CREATE FUNCTION logging() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO public.log VALUES (tg_op); RETURN NULL; END $$",
            "CREATE FUNCTION raising() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'not allowed'; END $$",
            *(statement for table in schema.tables for statement in self._table(table)),
            *(statement for table in schema.tables for statement in self._references(table)),
            *schema.extras,
        ]

    def _name(self, table: Table) -> str:
        return ('"Elsewhere".' if "elsewhere" in table.traits else "public.") + self.quoted(table.name)

    def _table(self, table: Table) -> list[str]:
        name, lines, found = self._name(table), [], []
        if table.identity and "always identity" in table.traits:
            cache = "(CACHE 5)" if "cache" in table.traits else ""
            lines.append(f"id integer GENERATED ALWAYS AS IDENTITY {cache} PRIMARY KEY")
        elif table.identity:
            lines.append("id serial PRIMARY KEY")
        else:
            lines += [f"{self.quoted(column)} integer" for column in table.key]
            if table.key:
                lines.append(f"PRIMARY KEY ({', '.join(map(self.quoted, table.key))})")
        partitioned = "partitioned" in table.traits and len(table.key) > 0
        for column in table.columns:
            rest = column.rest.replace("DEFAULT 1", f"DEFAULT {self._default(column.kind)}")
            rest = (
                rest.replace("(1 + 1)", "(1 + 1)")
                if column.kind == "integer"
                else rest.split(" GENERATED")[0]
            )
            if partitioned or column.kind == "json":
                rest = rest.replace(" UNIQUE", "")
            lines.append(f"{self.quoted(column.name)} {column.kind}{rest}")
        lines += [f"{reference.column} integer DEFAULT 1" for reference in table.references]
        key = self.quoted(table.key[0]) if table.key else ""
        unlogged = "UNLOGGED " if "unlogged" in table.traits and not partitioned else ""
        tail = f" PARTITION BY RANGE ({key})" if partitioned else ""
        found.append(f"CREATE {unlogged}TABLE {name} ({', '.join(lines)}){tail}")
        if partitioned:
            low, high = (self.quoted(table.name + part) for part in (" low", " high"))
            found.append(f"CREATE TABLE {low} PARTITION OF {name} FOR VALUES FROM (MINVALUE) TO (3)")
            rest = "FOR VALUES FROM (3) TO (MAXVALUE)" if "elsewhere" in table.traits else "DEFAULT"
            found.append(f"CREATE TABLE {high} PARTITION OF {name} {rest}")
        elif "child" in table.traits:
            found.append(
                f"CREATE TABLE {self.quoted(table.name + ' child')} (more integer) INHERITS ({name})"
            )
        if "bare names" in table.traits:
            column = self.quoted(table.columns[0].name)
            found.append(f"ALTER TABLE {name} ADD CHECK (calling({column}) IS DISTINCT FROM 'never')")
            found.append(f"CREATE INDEX ON {name} (calling({column}))")
            found.append(f"ALTER TABLE {name} ADD called text GENERATED ALWAYS AS (calling({column})) STORED")
        if "not valid" in table.traits:
            found.append(f"ALTER TABLE {name} ADD CHECK (lenient() IS TRUE) NOT VALID")
        if "zoned" in table.traits:
            found += [
                f"ALTER TABLE {name} ADD CHECK (extract(timezone FROM {self.quoted(column.name)}) = 20700)"
                for column in table.columns
                if column.kind == "timestamptz"
            ]
        if "delete trigger" in table.traits:
            found.append(
                f"CREATE TRIGGER logging AFTER INSERT OR DELETE ON {name} "
                "FOR EACH ROW EXECUTE FUNCTION logging()"
            )
        if "always trigger" in table.traits:
            found.append(
                f"CREATE TRIGGER always AFTER DELETE OR UPDATE ON {name} FOR EACH STATEMENT "
                f"EXECUTE FUNCTION logging(); ALTER TABLE {name} ENABLE ALWAYS TRIGGER always"
            )
        if "changing trigger" in table.traits and table.columns[0].kind == "integer":
            column, changing = self.quoted(table.columns[0].name), self.quoted(f"changing {table.name}")
            found.append(
                f"CREATE FUNCTION {changing}() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN NEW.{column} := COALESCE(NEW.{column}, 0) + 1; RETURN NEW; END $$"
            )
            found.append(
                f"CREATE TRIGGER changing BEFORE INSERT OR UPDATE ON {name} "
                f"FOR EACH ROW EXECUTE FUNCTION {changing}()"
            )
        if "raising trigger" in table.traits:
            found.append(
                f"CREATE TRIGGER raising BEFORE DELETE OR TRUNCATE ON {name} "
                "FOR EACH STATEMENT EXECUTE FUNCTION raising()"
            )
        if "rule" in table.traits and not partitioned:
            found.append(f"CREATE RULE kept AS ON DELETE TO {name} WHERE random() < 0 DO INSTEAD NOTHING")
        if "forced" in table.traits:
            shown = f"{key}::integer IS DISTINCT FROM 2" if "hiding" in table.traits and key else "true"
            found.append(
                f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; ALTER TABLE {name} FORCE ROW LEVEL SECURITY; "
                f"CREATE POLICY most ON {name} USING ({shown}) WITH CHECK (true)"
            )
        return found

    @staticmethod
    def _default(kind: str) -> str:
        if kind in ("integer", "float8", "numeric"):
            return "1"
        special = {"json": "'1'", "bytea": "'1'", "integer[]": "'{1}'", "interval": "'1 day'"}
        special |= {"timestamptz": "'2020-01-01'", "date": "'2020-01-01'"}
        return special.get(kind, "'1'")

    def _references(self, table: Table) -> list[str]:
        return [
            f"ALTER TABLE {self._name(table)} ADD FOREIGN KEY ({reference.column}) REFERENCES "
            f"{self.quoted(reference.table)} ({self.quoted(reference.key)}) ON DELETE {reference.on_delete}"
            + (" DEFERRABLE INITIALLY DEFERRED" if reference.on_delete == "NO ACTION" else "")
            for reference in table.references
        ]

    def extras(self, tables: tuple[Table, ...]) -> st.SearchStrategy[tuple[str, ...]]:
        first = self._name(tables[0])
        return st.lists(
            st.sampled_from(
                [
                    f'CREATE VIEW "a view" AS SELECT count(*) AS n FROM {first}',
                    f'CREATE MATERIALIZED VIEW "mat" AS SELECT count(*) AS n FROM {first}',
                    f'CREATE MATERIALIZED VIEW "unfilled" AS SELECT count(*) AS n FROM {first} WITH NO DATA',
                    "CREATE SEQUENCE alone START 5 INCREMENT 2",
                    "CREATE SEQUENCE cached CACHE 10",
                    "CREATE TABLE uses (n integer DEFAULT nextval('alone'), t text)",
                    self._unknown(tables),
                ]
            ),
            unique=True,
            max_size=6,
        ).map(lambda found: tuple(sorted(found)))

    def _unknown(self, tables: tuple[Table, ...]) -> str:
        """A table that refers to another one."""
        for table in tables:
            if len(table.key) == 1:
                return (
                    f"CREATE TABLE unknown (ref integer DEFAULT 1 REFERENCES {self._name(table)} "
                    "ON DELETE RESTRICT)"
                )
        return "CREATE TABLE unknown (ref integer DEFAULT 1)"

    # What the code under test does

    def statements(self, schema: Schema) -> list[st.SearchStrategy[str]]:
        names = {table.name: self._name(table) for table in schema.tables}
        table = st.sampled_from(list(names.values()))
        keyed = [t for t in schema.tables if t.key]
        plain = [t for t in schema.tables if t.columns and "GENERATED" not in t.columns[0].rest]
        found = [
            table.map(lambda name: f"TRUNCATE {name} CASCADE"),
            table.map(lambda name: f"TRUNCATE {name} RESTART IDENTITY CASCADE"),
            table.map(lambda name: f"SELECT * FROM {name} FOR UPDATE"),
            table.map(
                lambda name: (
                    f"WITH gone AS (DELETE FROM {name} RETURNING 1) INSERT INTO log SELECT 'x' FROM gone"
                )
            ),
            table.map(
                lambda name: (
                    f"DO $$ BEGIN DELETE FROM {name}; INSERT INTO log VALUES (1/0); "
                    "EXCEPTION WHEN OTHERS THEN INSERT INTO log VALUES ('caught'); END $$"
                )
            ),
            st.just("INSERT INTO uses (t) VALUES ('x'); SELECT pg_sleep(0)"),
            st.just("REFRESH MATERIALIZED VIEW mat"),
            st.just("REFRESH MATERIALIZED VIEW unfilled"),
            st.just("SET LOCAL session_replication_role = replica"),
            st.just("SET LOCAL search_path = ''"),
            st.just("CREATE TEMP TABLE passing (a serial); INSERT INTO passing DEFAULT VALUES"),
            st.just("DISCARD ALL"),
            st.just("SELECT nextval('cached')"),
            table.map(lambda name: f"SELECT count(*) FROM {name}"),
            st.just("INSERT INTO unknown DEFAULT VALUES"),
            st.just("ALTER SEQUENCE alone RESTART"),
            st.just("ALTER SEQUENCE cached RESTART WITH 40"),
            st.just("SELECT lo_from_bytea(0, 'made')"),
            st.just("SELECT lo_put(oid, 1, 'XY') FROM pg_largeobject_metadata"),
            st.just("SELECT lo_unlink(min(oid)) FROM pg_largeobject_metadata"),
            st.just("SET LOCAL \"DateStyle\" = 'German, DMY'; SET LOCAL timezone = 'Asia/Tokyo'"),
        ]
        if "few sequences" in schema.traits:
            found.append(st.just("SELECT nextval('alone')"))
            for one in schema.tables:
                if one.identity:
                    sequence = (
                        f"pg_get_serial_sequence('{self._name(one).replace(chr(39), chr(39) * 2)}', 'id')"
                    )
                    found.append(st.just(f"SELECT nextval({sequence})"))
                    found.append(st.just(f"SELECT setval({sequence}, 3)"))
        for one in schema.tables:
            if one.identity:
                found.append(st.just(f"ALTER TABLE {self._name(one)} ALTER id RESTART WITH 4"))
        if "faults" in schema.traits:
            found += [*[st.just(PREPARED)] * 3, st.just(LOST), st.just("SELECT 1 / 0")]
            if "crashes" in schema.traits:
                found += [st.just(CRASH)] * 4
        if keyed:
            key = st.sampled_from(keyed)
            found += [
                st.tuples(key, st.integers(1, 6)).map(self._on_conflict),
                st.tuples(key, st.integers(1, 6)).map(self._merge),
            ]
        if plain:
            found.append(st.sampled_from(plain).map(self._copy))
        return found

    def _on_conflict(self, drawn: tuple[Table, int]) -> str:
        table, value = drawn
        columns = ", ".join(map(self.quoted, table.key))
        values = ", ".join(str(value) for _ in table.key)
        override = "OVERRIDING SYSTEM VALUE " if table.identity else ""
        action = "NOTHING" if value % 2 else f"UPDATE SET {self.quoted(table.key[0])} = {value + 1}"
        return (
            f"INSERT INTO {self._name(table)} ({columns}) {override}VALUES ({values}) "
            f"ON CONFLICT ({columns}) DO {action}"
        )

    def _merge(self, drawn: tuple[Table, int]) -> str:
        table, value = drawn
        key = self.quoted(table.key[0])
        return (
            f"MERGE INTO {self._name(table)} t "
            f"USING (VALUES ({value}), ({value + 1})) v (n) ON t.{key} = v.n "
            f"WHEN MATCHED AND v.n > 3 THEN DELETE WHEN MATCHED THEN UPDATE SET {key} = v.n + 10 "
            f"WHEN NOT MATCHED AND v.n < 0 THEN DO NOTHING"
        )

    def _copy(self, table: Table) -> str:
        columns = [*(table.key if not table.identity else ()), table.columns[0].name]
        names = ", ".join(map(self.quoted, columns))
        return f"COPY {self._name(table)} ({names}) FROM STDIN\n" + "\t".join("1" for _ in columns) + "\n"

    def ddl(self, schema: Schema) -> list[st.SearchStrategy[str]]:
        table = st.sampled_from([self._name(table) for table in schema.tables])
        detached = st.sampled_from(
            [
                f"ALTER TABLE {self._name(table)} DETACH PARTITION {low} CONCURRENTLY"
                for table in schema.tables
                for low in [self.quoted(table.name + " low")]
            ]
        )
        return [
            table.map(lambda name: f"CREATE UNIQUE INDEX CONCURRENTLY made_unique ON {name} ((1))"),
            table.map(lambda name: f"{UNSEEN}ALTER TABLE {name} ADD unseen integer"),
            detached,
            table.map(lambda name: f"DROP TABLE {name} CASCADE"),
            table.map(lambda name: f'ALTER TABLE {name} ADD COLUMN "added" integer DEFAULT 7'),
            table.map(lambda name: f'ALTER TABLE {name} RENAME TO "renamed"'),
            table.map(lambda name: f"ALTER TABLE {name} DISABLE TRIGGER USER"),
            table.map(
                lambda name: f"ALTER TABLE {name} DISABLE TRIGGER ALL; ALTER TABLE {name} ENABLE TRIGGER ALL"
            ),
            table.map(lambda name: f"DROP TRIGGER IF EXISTS protean_testing ON {name}"),
            table.map(lambda name: f'CREATE INDEX "made index" ON {name} ((1))'),
            table.map(lambda name: f'CREATE TABLE "made" AS SELECT * FROM {name}'),
            table.map(lambda name: f'CREATE TABLE "made child" (extra serial) INHERITS ({name})'),
            table.map(lambda name: f'CREATE VIEW "made view" AS SELECT 1 AS one FROM {name}'),
            table.map(lambda name: f"COMMENT ON TABLE {name} IS 'of a test'"),
            st.just('CREATE TABLE "of a test" (id serial PRIMARY KEY, t text)'),
            st.just("INSERT INTO \"of a test\" (t) VALUES ('x')"),
            st.just("ALTER TYPE \"Mood\" ADD VALUE IF NOT EXISTS 'new'"),
            st.just("CREATE TYPE made_type AS (a integer); CREATE DOMAIN made_domain AS text"),
            st.just("CREATE FUNCTION made() RETURNS integer LANGUAGE sql AS 'SELECT 1'"),
            st.just("CREATE SCHEMA made; CREATE TABLE made.t (a integer); INSERT INTO made.t VALUES (1)"),
            st.just('DROP VIEW "a view"'),
            st.just("DROP SEQUENCE alone CASCADE"),
            st.just("ALTER SEQUENCE alone RESTART WITH 77"),
            st.just("CREATE SEQUENCE made_sequence"),
            st.just("ALTER SEQUENCE alone INCREMENT 5 RESTART"),
            st.just("ALTER SEQUENCE cached OWNED BY log.what"),
            table.map(
                lambda name: (
                    f"ALTER TABLE {name} DISABLE TRIGGER USER; DELETE FROM {name}; "
                    f"ALTER TABLE {name} ENABLE TRIGGER USER"
                )
            ),
            table.map(lambda name: f"CREATE TABLE later PARTITION OF {name} FOR VALUES FROM (5) TO (50)"),
            table.map(lambda name: f'CREATE TABLE "later child" () INHERITS ({name})'),
            table.map(lambda name: f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"),
            st.sampled_from(
                [
                    "DROP SCHEMA public CASCADE; CREATE SCHEMA public",
                    "ALTER SCHEMA public RENAME TO elsewhere; CREATE SCHEMA public",
                    "GRANT CREATE ON SCHEMA public TO application",
                    "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
                    "COMMENT ON SCHEMA public IS 'of a test'",
                ]
            ),
            st.tuples(table, st.sampled_from(_PARTS)).map(lambda drawn: drawn[1].format(drawn[0])),
            st.sampled_from(_BESIDE),
            st.tuples(table, table).map(
                lambda names: (
                    f"ALTER TABLE {names[0]} ADD made integer; CREATE UNIQUE INDEX ON {names[0]} (made); "
                    f"ALTER TABLE {names[1]} ADD refers integer REFERENCES {names[0]} (made)"
                )
            ),
        ]

    @contextmanager
    def world(self, schema: Schema) -> Iterator[World]:
        with suppress(KeyError):
            del _worlds[self.database]
        keys, few = installed.MANY_ROWS, installed.FEW_SEQUENCES
        installed.MANY_ROWS = 1 if "log keys early" in schema.traits else keys
        installed.FEW_SEQUENCES = few if "few sequences" in schema.traits else 0
        world = World(self, schema)
        try:
            yield world
        finally:
            installed.MANY_ROWS, installed.FEW_SEQUENCES = keys, few
            world.close()


_PARTS = [
    "ALTER TABLE {} ADD CONSTRAINT made CHECK (true)",
    "ALTER TABLE {} ADD made serial PRIMARY KEY",
    "ALTER TABLE {} ADD made text DEFAULT 'x' COLLATE \"C\"",
    "ALTER TABLE {} ALTER COLUMN id SET STATISTICS 7",
    "ALTER TABLE {} ALTER COLUMN ref0 SET DEFAULT 2",
    "ALTER TABLE {} RENAME COLUMN ref0 TO made",
    "ALTER TABLE {} SET (fillfactor = 50)",
    "ALTER TABLE {} REPLICA IDENTITY FULL",
    "ALTER TABLE {} DISABLE TRIGGER logging",
    "DROP TRIGGER logging ON {}",
    "DROP POLICY most ON {}",
    "DROP RULE kept ON {}",
    "CREATE POLICY made ON {} FOR SELECT USING (false)",
    "CREATE RULE made AS ON UPDATE TO {} DO INSTEAD NOTHING",
    "CREATE TRIGGER made BEFORE INSERT ON {} FOR EACH STATEMENT EXECUTE FUNCTION logging()",
    "CREATE STATISTICS made ON tableoid, ctid FROM {}",
    "CREATE PUBLICATION made FOR TABLE {}",
    "GRANT TRIGGER ON {} TO application",
    "REVOKE ALL ON {} FROM application",
    "GRANT UPDATE (ref0) ON {} TO application WITH GRANT OPTION",
    "COMMENT ON COLUMN {}.ref0 IS 'of a test'",
]
"""Changes to one table, each of which can be undone alone."""

_BESIDE = [
    "CREATE FOREIGN DATA WRAPPER made; CREATE SERVER made FOREIGN DATA WRAPPER made",
    "CREATE CONVERSION made FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "CREATE TEXT SEARCH DICTIONARY made (template = simple)",
    "CREATE OPERATOR FAMILY made USING btree",
    "CREATE ACCESS METHOD made TYPE TABLE HANDLER heap_tableam_handler",
    "CREATE LANGUAGE made HANDLER plpgsql_call_handler",
    "CREATE SUBSCRIPTION made CONNECTION '' PUBLICATION p WITH (connect = false, slot_name = 'made')",
    "CREATE OR REPLACE FUNCTION logging() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO application",
    "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TYPES TO application",
]
"""What belongs to the database and to no table."""

_worlds: dict[str, Any] = {}

_STAYS = (
    "CREATE ",
    "GRANT ",
    "REVOKE ",
    "COMMENT ",
    "SELECT lo_",
    "ALTER DEFAULT ",
    "ALTER SCHEMA ",
    "DROP SCHEMA ",
)
"""How what nobody undoes begins, where it is done while no scope is open."""


class World:
    """A database that is used again and again: what a program leaves in it is dropped by the backend."""

    _made: ClassVar[set[tuple[str, str]]] = set()

    def __init__(self, dialect: PostgreSQL, schema: Schema) -> None:
        private = self.private = server(dialect.version)
        self.is_gone = False
        login = {"superuser": "postgres", "application": "postgres"}.get(dialect.role, dialect.role)
        self.user = {"superuser": "postgres"}.get(dialect.role, dialect.role)
        if (dialect.version, dialect.database) not in self._made:
            private.create_database(dialect.database)
            with psycopg.connect(_libpq(private.url(dialect.database)), autocommit=True) as connection:
                connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(dialect.database), sql.Identifier(login)))  # fmt: skip
                connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(login)))
                connection.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO application")
                connection.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO application")
                connection.execute("GRANT USAGE ON SCHEMA public TO application")
                # what a reset relies on is not inherited
                for setting in (
                    "default_transaction_isolation = 'serializable'",
                    "\"DateStyle\" = 'SQL, DMY'",
                    'search_path = public, "Elsewhere"',
                    "bytea_output = 'escape'",
                    "\"IntervalStyle\" = 'sql_standard'",
                    "\"TimeZone\" = 'Asia/Kathmandu'",
                    "extra_float_digits = 0",
                    "array_nulls = off",
                    "statement_timeout = '20s'",
                    "row_security = off",
                ):
                    statement = sql.SQL("ALTER DATABASE {} SET " + setting)
                    connection.execute(statement.format(sql.Identifier(dialect.database)))
            self._made.add((dialect.version, dialect.database))
        url = private.url(dialect.database, user=login)
        self.owner = _libpq(url)
        self.all = _libpq(private.url(dialect.database))  # of whom nothing is hidden
        self.url = _libpq(private.url(dialect.database, user=self.user))
        self.connections: dict[str, psycopg.Connection[Any]] = {}
        self.watch: psycopg.Connection[Any] | None = None
        self.create = dialect.create(schema)
        engine = create_engine(url)
        self.backend = dialect.backend(
            Database(
                name="oracle",
                url=make_url(url),
                engine=lambda: engine,
                rebuild=self._make,
                private=True,
                wait=0.1,
                on_leak="reset",
                reset=dialect.reset,
            )
        )
        self.engine = engine
        self.backend.acquire()
        self.before = self.dump(rows=False)
        self._make()
        with psycopg.connect(self.owner, autocommit=True) as connection:
            connection.execute(SESSION)
            for statement in schema.rows:
                with suppress(psycopg.Error):
                    connection.execute(statement)
        self.backend.created()
        self.schema = self.dump(rows=False)
        self.scopes = _Scopes(self, dialect.reset == "fast" and dialect.role in ("granted", "owner"))

    def _make(self) -> None:
        with psycopg.connect(self.owner, autocommit=True) as connection:
            connection.execute(SESSION)
            connection.execute('CREATE SCHEMA "Elsewhere"; GRANT USAGE ON SCHEMA "Elsewhere" TO application')
            for statement in self.create:
                with suppress(psycopg.Error):  # what this version or these columns cannot have
                    connection.execute(statement.encode())

    def connection(self, name: str) -> psycopg.Connection[Any]:
        found = self.connections.get(name)
        if found is None or found.closed or found.broken:
            found = self.connections[name] = self._connect()
        return found

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self.url, autocommit=True, prepare_threshold=None)
        connection.execute(SESSION)
        return connection

    def work(self, work: Work) -> None:
        statements = [
            s
            for s in work.statements
            if not (
                self.scopes.altered
                and s.startswith(("ALTER", "DROP", "COMMENT", "CREATE INDEX", "CREATE UNIQUE", UNSEEN))
            )
            and (work.end == "autocommit" or not s.startswith(UNSEEN))  # no lock of it is left
            and (self.scopes.is_open or not s.startswith(_STAYS) or s.startswith("CREATE TEMP"))
        ]
        if work.where == "process":
            _process(self.url, [s for s in statements if not s.startswith("COPY")], work.end)
        elif work.where == "thread":
            thread = threading.Thread(target=self._alone, args=[work, statements])
            thread.start()
            thread.join()
        else:
            with suppress(psycopg.OperationalError):  # the session was ended
                self._execute(self.connection(work.where), work, statements)

    def _alone(self, work: Work, statements: list[str]) -> None:
        with self._connect() as connection, suppress(psycopg.OperationalError):
            self._execute(connection, work, statements)
            connection.rollback()

    def _execute(self, connection: psycopg.Connection[Any], work: Work, statements: list[str]) -> None:
        open_already = connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
        if work.end != "autocommit" and not open_already:
            connection.execute("BEGIN")
        careful = work.where == "second" and work.end != "autocommit"
        for statement in statements:
            with suppress(psycopg.Error):
                if careful:
                    connection.execute("SAVEPOINT careful")
                if statement == CRASH:
                    self._crash(connection.info.backend_pid)
                _one(connection, statement)
            if careful and connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
                with suppress(psycopg.Error):
                    connection.execute("ROLLBACK TO SAVEPOINT careful")
        if work.end == "commit":
            with suppress(psycopg.Error):
                if (
                    work.where == "first"
                    and len(statements) == 1
                    and connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
                ):
                    connection.execute("PREPARE TRANSACTION 'one'")
                    connection.execute("COMMIT PREPARED 'one'")
                else:
                    connection.commit()
        if work.end != "leak" and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.rollback()
        if work.end == "autocommit" and "DISCARD ALL" in statements:
            connection.execute(SESSION)

    def _crash(self, pid: int) -> None:
        """Kill one session's process: the server ends all sessions, and empties what is unlogged.

        PostgreSQL does not start again after a rolled back ALTER of an unlogged sequence ("could not create
        file"), whoever is there or not. The program then says nothing, and the next one has a new server.
        """
        os.kill(pid, signal.SIGKILL)
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()
        self.watch = None
        with suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                time.sleep(0.01)
        for _ in range(1000):
            with suppress(psycopg.OperationalError), psycopg.connect(self.all):
                return
            if self.private.log.read_bytes().endswith(b"database system is shut down\n"):
                break
            time.sleep(0.01)
        self.is_gone = True
        self._made.clear()
        server.cache_clear()
        self.private.stop()
        reject()

    def settle(self) -> None:
        for connection in self.connections.values():
            with suppress(psycopg.Error):
                connection.rollback()
        with psycopg.connect(self.all, autocommit=True) as connection, suppress(psycopg.Error):
            connection.execute("ROLLBACK PREPARED 'left'")
        with psycopg.connect(self.owner, autocommit=True) as connection:
            connection.execute(SESSION)
            if self.user in ("granted", "owner"):  # by whom a view is not restored that shows something else
                with suppress(psycopg.Error):
                    connection.execute("REFRESH MATERIALIZED VIEW public.mat")
            with suppress(psycopg.Error):
                connection.execute("REFRESH MATERIALIZED VIEW public.unfilled WITH NO DATA")

    def dump(self, rows: bool = True) -> Dump:
        if self.watch is None:
            self.watch = psycopg.connect(self.all, autocommit=True)
        return _dump(self.watch, rows)

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()
        if self.is_gone:
            return
        self.backend.drop()
        left = self.dump(rows=False)
        self.backend.close()
        self.engine.dispose()
        if self.watch is not None:
            self.watch.close()
        assert left == self.before, f"dropping left {left}, and there was {self.before}"


class _Scopes:
    """The scopes of a program.

    What only a superuser is told of after every test, others see when a scope around tests ends: so each
    scope of theirs has one inside of it that stands for its tests.
    """

    def __init__(self, world: World, around: bool) -> None:
        self.world, self.backend = world, world.backend
        self.around = around
        self.altered = False  # an outer scope changed the schema, which cannot be made again inside of it
        self._stack: list[bool] = []
        self._inner: list[Any] = []

    @property
    def is_open(self) -> bool:
        """What is made beside a run, while none of its scopes is open, is not its own and stays."""
        return bool(self._stack)

    def enter(self) -> Any:
        token = self.backend.save()
        self._stack.append(self.altered)
        self.altered = self.altered or self.world.dump(rows=False) != self.world.schema
        return self._begin(token)

    def reset(self, token: Any) -> Any:
        self._end()
        changed = self.backend.reset(token)
        self._begin(token)
        return changed

    def leave(self, token: Any) -> None:
        self.altered = self._stack.pop()
        self._end()
        self.backend.reset(token)
        self.backend.forget(token)

    def _begin(self, token: Any) -> Any:
        if self.around:
            self._inner.append(self.backend.save())
        return token

    def _end(self) -> None:
        if self.around:
            inner = self._inner.pop()
            self.backend.reset(inner)
            self.backend.forget(inner)


def _one(connection: psycopg.Connection[Any], statement: str) -> None:
    head, line_end, rows = statement.partition("\n")
    if head.startswith("COPY ") and line_end:
        with connection.cursor() as cursor, cursor.copy(head.encode()) as copy:
            copy.write(rows)
    else:
        connection.execute(statement.encode())


def _libpq(url: str) -> str:
    return url.replace("+psycopg", "")


_SCHEMA = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")


def dump(url: str, rows: bool = True) -> Dump:
    """The schema by names, every row as text, where sequences stand."""
    with psycopg.connect(url, autocommit=True) as connection:
        return _dump(connection, rows)


def _dump(connection: psycopg.Connection[Any], rows: bool) -> Dump:
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog; SET LOCAL row_security = on")
        connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s'")
        found = connection.execute(_SCHEMA).fetchall()
        parts: Dump = {f"{kind} {space}.{name}": text for kind, space, name, text in found}
        queries = []
        for kind, space, relation, text in found if rows else ():
            name = sql.Identifier(space, relation).as_string()
            if kind == "relation" and text.startswith("S"):
                what, query = "place", f"SELECT ARRAY[last_value::text, is_called::text] FROM {name}"
            elif kind == "relation" and text.startswith(("r", "m p t")):
                what, query = "rows", f"SELECT ARRAY(SELECT (t.*)::text FROM ONLY {name} t ORDER BY 1)"
            else:
                continue
            label = sql.Literal(f"{what} of {space}.{relation}").as_string()
            queries.append(f"SELECT {label}, ({query})")
        if queries:
            connection.execute("SET LOCAL search_path TO DEFAULT")  # functions of indexes are found by it
            parts |= dict(connection.execute(" UNION ALL ".join(queries).encode()).fetchall())
    return parts


def dialects() -> dict[str, PostgreSQL]:
    return {
        f"PostgreSQL {version}, {role}, {reset}": PostgreSQL(version, role, reset)
        for version in ("15", "18")
        for role in ROLES
        for reset in ("fast", "generic")
    }


_worker: list[subprocess.Popen[str]] = []


def _process(url: str, statements: list[str], end: str) -> None:
    if not _worker:
        command = [sys.executable, "-c", _WORKER]
        _worker.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    worker = _worker[0]
    assert worker.stdin is not None and worker.stdout is not None
    print(json.dumps([url, SESSION, statements, end]), file=worker.stdin, flush=True)
    worker.stdout.readline()
