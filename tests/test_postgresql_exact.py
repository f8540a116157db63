"""What real schemas hold comes back exactly: functions that are found by bare names, rows that no constraint
would let in now, what DDL leaves that fails half-way."""

from __future__ import annotations

import json
import re
import sys
import time
import unittest
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, ClassVar

import psycopg

from .depth import DEEP
from .oracle.postgresql import ROLES, VERSIONS, dump
from .oracle.program import Dump
from .postgresql_testcase import Class, Mixin, PostgreSQLTestCase, libpq, owned_database
from .suite import SuiteTestCase

SOME = (
    ("15", "superuser", "fast"),
    ("18", "owner", "fast"),
    ("18", "superuser", "generic"),
    ("15", "owner", "generic"),
    ("18", "granted", "fast"),
    ("18", "application", "fast"),
)
"""Each role, version and kind of reset at least once. Every other class has every other of them."""

EVERY = tuple((version, who, reset) for version in VERSIONS for who in ROLES for reset in ("fast", "generic"))

_numbers = count()


def for_every_role(mixin: Class) -> Class:
    """Make a TestCase of `mixin` for roles of the oracle, on each version, fast and generic."""
    module = sys.modules[mixin.__module__]
    for version, who, reset in EVERY if DEEP else SOME[next(_numbers) % 2 :: 2]:
        if version not in VERSIONS:
            continue
        name = f"{mixin.__name__}_{version}_{who}_{reset}"
        role = who if who in ("granted", "owner") else "postgres"
        settings = {"version": version, "who": who, "role": role, "reset": reset}
        settings["__module__"] = mixin.__module__
        setattr(module, name, type(name, (mixin, PostgreSQLTestCase), settings))
    return mixin


class ExactTests(Mixin):
    who: ClassVar[str]

    @property
    def indexable(self) -> str:
        """The function that indexes may call: from 17 on the server finds no bare name while it makes one."""
        return "b" if self.version == "15" else "c"

    def setUp(self) -> None:
        super().setUp()
        with self.superuser() as connection:
            for statement in (
                "SET search_path = app, public",
                "SET \"TimeZone\" = 'Asia/Tokyo'",
                "SET \"DateStyle\" = 'SQL, DMY'",
                "SET extra_float_digits = 0",
            ):
                connection.execute(f"ALTER DATABASE {self.name} {statement}")

    def begin(self, schema: str, *class_rows: str, **options: Any) -> None:
        """The schema is made, a class has begun, and its first test."""
        grants = (
            "GRANT USAGE ON SCHEMA app, public TO application; "
            "GRANT ALL ON ALL TABLES IN SCHEMA app, public TO application"
        )
        self.kept = self.backend(
            schema=f"CREATE SCHEMA app; SET search_path = app, public; {schema}; {grants}", **options
        )
        self.outer = self.kept.save()
        self.run_sql(*class_rows)
        self.snapshot, self.before = self.kept.save(), self.dump()

    def dump(self) -> Dump:
        return dump(libpq(self.server.url(self.name)))

    def work(self, *statements: str) -> None:
        self.run_sql(*statements, role="application" if self.who == "application" else None)

    def assertRestored(self, but: str = "nothing") -> None:
        """After a test, and once more after one that does nothing; `but` what is said to differ."""
        for _ in range(2):
            self.kept.reset(self.snapshot)
            after = self.dump()
            for name in self.before.keys() | after.keys():
                if but not in name:
                    self.assertEqual(after.get(name), self.before.get(name), name)

    def assertTestsRestored(self, *tests: str, but: str = "nothing") -> None:
        for test in tests:
            with self.subTest(test):
                self.work(test)
                self.assertNotEqual(self.dump(), self.before)
                self.assertRestored(but)
        self.kept.forget(self.snapshot)
        self.kept.reset(self.outer)


FUNCTIONS = """
CREATE FUNCTION a(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1';
CREATE FUNCTION b(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT a($1)';
CREATE FUNCTION c(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN a($1); END';
CREATE FUNCTION day(timestamptz) RETURNS text IMMUTABLE LANGUAGE plpgsql
    AS 'BEGIN RETURN CAST($1 AS date)::text; END';
"""
BARE_NAMES = {
    "checked": "CREATE TABLE {0} (n int PRIMARY KEY, t text, CHECK (b(n) > 0), CHECK (c(n) > 0))",
    "generated": "CREATE TABLE {0} (n int PRIMARY KEY, t text, g int GENERATED ALWAYS AS (b(n)) STORED)",
    "domains": "CREATE DOMAIN positive AS int CHECK (c(VALUE) > 0); "
    "CREATE TABLE {0} (n positive, t text, m positive[] DEFAULT '{{1}}')",
    "excluded": "CREATE TABLE {0} (n int, t text, EXCLUDE USING btree ({1}(n) WITH =))",
    "indexed": "CREATE TABLE {0} (n int PRIMARY KEY, t text); CREATE INDEX ON {0} ({1}(n)); "
    "CREATE INDEX ON {0} (n) WHERE {1}(n) > 1",
    "parted": "CREATE TABLE {0} (n int, t text) PARTITION BY RANGE (c(n)); "
    "CREATE TABLE {0}_low PARTITION OF {0} FOR VALUES FROM (MINVALUE) TO (50); "
    "CREATE TABLE {0}_high PARTITION OF {0} FOR VALUES FROM (50) TO (MAXVALUE)",
    "zoned": "CREATE TABLE {0} (n int PRIMARY KEY, t text, at timestamptz DEFAULT '2020-01-01 05:00+09', "
    "day date DEFAULT '1.1.2020', shown text DEFAULT '01/01/2020', "
    "g text GENERATED ALWAYS AS (day(at)) STORED, "
    "CHECK (at::date = day), CHECK (day::text = shown))",
    "referring": "CREATE TABLE {0} (n int PRIMARY KEY, t text, CHECK (b(n) > 0)); "
    "CREATE TABLE {0}_to (n int REFERENCES {0} ON DELETE SET NULL ON UPDATE CASCADE, t text, "
    "CHECK (b(coalesce(n, 1)) > 0)); CREATE INDEX ON {0}_to (c(n))",
}


@for_every_role
class BareNameTests(ExactTests):
    """Functions in a schema of the search_path, and another TimeZone than ours."""

    def test_rows_of_a_class(self) -> None:
        self.begin(
            FUNCTIONS + ";".join(text.format(name, self.indexable) for name, text in BARE_NAMES.items()),
            *(f"INSERT INTO {name} SELECT n, 'x' FROM generate_series(1, 3) n" for name in BARE_NAMES),
            "INSERT INTO referring_to SELECT n, 'x' FROM generate_series(1, 3) n",
        )
        for name in BARE_NAMES:
            with self.subTest(name):
                self.assertTableRestored(name)

    def test_many_rows_of_a_class(self) -> None:
        self.begin(
            FUNCTIONS + ";".join(text.format(name, self.indexable) for name, text in BARE_NAMES.items()),
            *(f"INSERT INTO {name} SELECT n, 'x' FROM generate_series(1, 150) n" for name in BARE_NAMES),
            "INSERT INTO referring_to SELECT n, 'x' FROM generate_series(1, 3) n",
        )
        for name in BARE_NAMES:
            with self.subTest(name):
                self.assertTableRestored(name)

    def assertTableRestored(self, name: str) -> None:
        for test in (
            f"DELETE FROM {name} WHERE n = 2",
            f"UPDATE {name} SET t = 'new'",
            f"DELETE FROM {name}; INSERT INTO {name} (n) VALUES (7)",
            f"TRUNCATE {name} CASCADE",
            f"INSERT INTO {name} VALUES (1000, 'new')",
        ):
            with self.subTest(test):
                self.work(test)
                self.assertRestored()

    def test_rows_of_the_schema_itself(self) -> None:
        self.begin(
            FUNCTIONS
            + ";".join(text.format(name, self.indexable) for name, text in BARE_NAMES.items())
            + "; INSERT INTO checked VALUES (1); INSERT INTO generated VALUES (1); "
            "INSERT INTO domains VALUES (1)"
        )
        self.assertTestsRestored("DELETE FROM checked", "DELETE FROM generated", "DELETE FROM domains")

    def test_rows_are_the_only_thing_that_is_different_in_an_adopted_database(self) -> None:
        self.run_sql(
            f"CREATE SCHEMA app; SET search_path = app, public; {FUNCTIONS}; "
            + BARE_NAMES["checked"].format("checked")
            + "; INSERT INTO checked VALUES (1)"
        )
        before = self.dump()
        backend = self.backend(adopt=True, rebuild=None)
        backend.save()
        self.run_sql("DELETE FROM checked")
        backend.drop()
        self.assertEqual(self.dump(), before)


@for_every_role
class ViewTests(ExactTests):
    """Materialized views that call functions by bare names, as far as the server itself allows it."""

    def test_refreshed_by_a_test(self) -> None:
        path = "" if self.version == "15" else "SET search_path = app"
        self.begin(
            f"{FUNCTIONS}; ALTER FUNCTION c(int) {path or 'RESET search_path'}; CREATE TABLE t (n int); "
            "CREATE MATERIALIZED VIEW shown AS SELECT c(n) AS n FROM t",
            "INSERT INTO t VALUES (1), (2)",
            "REFRESH MATERIALIZED VIEW shown",
        )
        for test in ("DELETE FROM t WHERE n = 1", "INSERT INTO t VALUES (7)"):
            self.work(test)
            self.run_sql("REFRESH MATERIALIZED VIEW shown")
            self.assertRestored()

    def test_refreshed_by_a_test_and_not_by_its_class(self) -> None:
        self.begin(
            "CREATE TABLE t (n int); CREATE MATERIALIZED VIEW stale AS SELECT n FROM t; "
            "CREATE MATERIALIZED VIEW on_it AS SELECT n FROM stale",
            "INSERT INTO t VALUES (1), (2)",
        )
        exact = self.role == "postgres"
        for number in range(3):
            self.run_sql(
                "INSERT INTO t VALUES (7)",
                "REFRESH MATERIALIZED VIEW stale",
                "REFRESH MATERIALIZED VIEW on_it",
            )
            with self.assertNotWarned() if exact or number else self.assertWarnsRegex(UserWarning, "stale"):
                self.assertRestored() if exact else self.kept.reset(self.snapshot)
            self.assertEqual(self.rows("SELECT n FROM app.t"), [(1,), (2,)])
            shown = [] if exact else [(1,), (2,)]
            self.assertEqual(self.rows("SELECT n FROM app.stale"), shown)
            self.assertEqual(self.rows("SELECT n FROM app.on_it"), shown)
        self.kept.forget(self.snapshot)
        self.kept.reset(self.outer)
        for table in ("t", "stale", "on_it"):
            self.assertEqual(self.rows(f"SELECT n FROM app.{table}"), [])

    @contextmanager
    def assertNotWarned(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield


@for_every_role
class NotHeldTests(ExactTests):
    """Rows that a constraint does not hold for now."""

    def test_not_valid(self) -> None:
        self.begin(
            "CREATE TABLE t (n int, t text); CREATE TABLE u (n int PRIMARY KEY, t text); "
            "CREATE TABLE inherited (n int, t text); CREATE TABLE heir () INHERITS (inherited)",
            "INSERT INTO t VALUES (-1), (1)",
            "INSERT INTO u SELECT n FROM generate_series(-100, 100) n",
            "INSERT INTO inherited VALUES (-1); INSERT INTO heir VALUES (-1)",
            "ALTER TABLE t ADD CONSTRAINT positive CHECK (n > 0) NOT VALID",
            "COMMENT ON CONSTRAINT positive ON t IS 'said of it'",
            "ALTER TABLE u ADD CHECK (n > 0) NOT VALID; ALTER TABLE u ADD CHECK (n <> -5) NOT VALID",
            "ALTER TABLE inherited ADD CHECK (n > 0) NOT VALID",
        )
        self.assertTestsRestored(
            "DELETE FROM t",
            "UPDATE u SET n = 1000 WHERE n = -1",
            "DELETE FROM u WHERE n < -98",
            "TRUNCATE t; DELETE FROM u",
            "DELETE FROM heir; DELETE FROM ONLY inherited",
        )

    def test_made_so_with_the_schema(self) -> None:
        self.begin(
            "CREATE TABLE t (n int, t text); INSERT INTO t VALUES (-1), (1); "
            "ALTER TABLE t ADD CHECK (n > 0) NOT VALID"
        )
        self.assertTestsRestored("DELETE FROM t", "UPDATE t SET n = 3")

    def test_a_domain(self) -> None:
        self.begin(
            "CREATE DOMAIN whole AS int; CREATE DOMAIN part AS whole; "
            "CREATE TABLE t (n whole, m part, t text)",
            "INSERT INTO t VALUES (-1, -1), (1, 1)",
            "ALTER DOMAIN whole ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID",
            "ALTER DOMAIN part ADD CHECK (VALUE > 0) NOT VALID",
            "COMMENT ON CONSTRAINT positive ON DOMAIN whole IS 'said of it'",
        )
        self.assertTestsRestored("DELETE FROM t", "DELETE FROM t WHERE n < 0")

    def test_a_foreign_key(self) -> None:
        self.begin(
            "CREATE TABLE whole (id int PRIMARY KEY); "
            "CREATE TABLE part (id int PRIMARY KEY, whole int, t text)",
            "INSERT INTO whole VALUES (1), (2)",
            "INSERT INTO part VALUES (1, 1), (2, 77)",
            "ALTER TABLE part ADD FOREIGN KEY (whole) REFERENCES whole NOT VALID",
        )
        self.assertTestsRestored(
            "DELETE FROM part",
            "UPDATE part SET whole = 2 WHERE id = 2",
            "DELETE FROM part WHERE id = 2; INSERT INTO part VALUES (3, 1)",
            "TRUNCATE whole CASCADE",
        )

    def test_a_foreign_key_that_somebody_was_not_held_to(self) -> None:
        self.begin("CREATE TABLE whole (id int PRIMARY KEY); CREATE TABLE part (whole int REFERENCES whole)")
        with self.superuser() as connection:
            connection.execute("SET session_replication_role = replica; INSERT INTO part VALUES (77)")
        self.snapshot, self.before = self.kept.save(), self.dump()
        self.assertTestsRestored(
            "DELETE FROM part", "TRUNCATE part", but="part_whole_fkey" if self.role == "owner" else "nothing"
        )

    def test_a_moment_that_has_passed(self) -> None:
        self.begin(
            "CREATE TABLE t (id int PRIMARY KEY, until timestamptz CONSTRAINT later "
            "CHECK (until > clock_timestamp()), t text)",
            "INSERT INTO t VALUES (1, clock_timestamp() + interval '0.2 s')",
        )
        time.sleep(0.3)
        self.assertTestsRestored(
            "DELETE FROM t",
            "DELETE FROM t; INSERT INTO t VALUES (1, 'infinity')",
            but="later" if self.role in ("granted", "owner") else "nothing",
        )

    def test_null(self) -> None:
        if self.version == "15":
            return
        self.begin(
            "CREATE TABLE t (n int, t text); CREATE TABLE u (id int PRIMARY KEY, n int)",
            "INSERT INTO t VALUES (NULL), (1)",
            "INSERT INTO u SELECT n, NULL FROM generate_series(1, 100) n",
            "ALTER TABLE t ADD CONSTRAINT given NOT NULL n NOT VALID",
            "ALTER TABLE u ADD CONSTRAINT given_too NOT NULL n NOT VALID",
        )
        self.assertTestsRestored(
            "DELETE FROM t", "DELETE FROM t WHERE n IS NULL", "DELETE FROM u WHERE id < 5"
        )


@for_every_role
class RefusedTests(ExactTests):
    """Statements that fail with what psycopg calls an operational error, or with a SQLSTATE of the user's."""

    CODES = ("55000", "08001", "HV00N", "OURS1")

    def test_by_a_constraint(self) -> None:
        for code in self.CODES:
            with self.subTest(code):
                self.setUp()
                self.begin(
                    "CREATE FUNCTION held(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "
                    f"IF $1 < 0 THEN RAISE 'no' USING ERRCODE = '{code}'; END IF; RETURN true; END $$; "
                    "CREATE DOMAIN whole AS int; "
                    "CREATE TABLE t (id int PRIMARY KEY, n int, t text); CREATE TABLE u (n whole, t text)",
                    "INSERT INTO t VALUES (1, -1), (2, 2)",
                    "INSERT INTO u VALUES (-1), (2)",
                    "ALTER TABLE t ADD CONSTRAINT held CHECK (held(n)) NOT VALID",
                    "ALTER DOMAIN whole ADD CONSTRAINT held CHECK (held(VALUE)) NOT VALID",
                )
                self.work("DELETE FROM t; DELETE FROM u")
                written = {one.name: len(one.deleted) for one in self.kept.written_since(self.snapshot)}
                self.assertEqual({name: n for name, n in written.items() if n}, {"app.t": 2, "app.u": 2})
                self.assertRestored()
                self.assertTestsRestored("UPDATE t SET n = 5", "TRUNCATE t, u")

    def test_by_a_trigger_that_fires_always(self) -> None:
        for code in ("55000", "OURS1"):
            with self.subTest(code):
                self.setUp()
                self.begin(
                    "CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    f"RAISE 'no' USING ERRCODE = '{code}'; END $$; CREATE TABLE t (id int PRIMARY KEY); "
                    "CREATE TRIGGER deny BEFORE DELETE OR TRUNCATE ON t EXECUTE FUNCTION deny(); "
                    "ALTER TABLE t ENABLE ALWAYS TRIGGER deny",
                    "INSERT INTO t VALUES (1)",
                )
                self.assertTestsRestored("INSERT INTO t VALUES (2)")

    def test_what_refreshes_a_view(self) -> None:
        self.begin(
            "CREATE TABLE t (n int); CREATE FUNCTION shown(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
            "IF $1 < 0 THEN RAISE 'no' USING ERRCODE = '08001'; END IF; RETURN $1; END $$; "
            "CREATE MATERIALIZED VIEW v AS SELECT shown(n) FROM t",
            "INSERT INTO t VALUES (1)",
            "REFRESH MATERIALIZED VIEW v",
            "INSERT INTO t VALUES (-1)",
        )
        self.run_sql("DELETE FROM t WHERE n < 0; REFRESH MATERIALIZED VIEW v")
        self.kept.reset(self.snapshot)
        self.assertEqual(self.rows("SELECT n FROM app.t ORDER BY 1"), [(-1,), (1,)])


@for_every_role
class HalfWayTests(ExactTests):
    """What DDL commits before it fails, and what no event trigger tells."""

    def test_an_index_that_is_not_valid(self) -> None:
        self.begin("CREATE TABLE t (n int)", "INSERT INTO t VALUES (1), (1)")
        for _ in range(2):
            self.fails("CREATE UNIQUE INDEX CONCURRENTLY made ON t (n)")
            self.assertEqual(self.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 1)
            self.assertRestored()
            self.assertEqual(self.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 0)

    def test_a_partition_half_detached(self) -> None:
        for adopt in (False, True):
            with self.subTest(adopt=adopt):
                self.half_detached(adopt)
                self.kept.drop()
                self.kept.close()
                self.run_sql("DROP SCHEMA IF EXISTS app CASCADE")

    def half_detached(self, adopt: bool) -> None:
        schema = (
            "CREATE TABLE app.whole (n int) PARTITION BY RANGE (n); "
            "CREATE TABLE app.low PARTITION OF app.whole FOR VALUES FROM (0) TO (10); "
            "CREATE TABLE app.high PARTITION OF app.whole FOR VALUES FROM (10) TO (20)"
        )
        if adopt:
            self.run_sql("CREATE SCHEMA app", *schema.split(";"))
            self.kept = self.backend(adopt=True, rebuild=None)
            self.kept.save()
            self.run_sql("INSERT INTO app.whole VALUES (1), (11)")
            self.snapshot, self.before = self.kept.save(), self.dump()
        else:
            self.begin(schema, "INSERT INTO whole VALUES (1), (11)")
        for _ in range(2):
            reader = self.connect()
            reader.execute("BEGIN; SELECT * FROM app.whole")
            self.interrupted()
            reader.execute("COMMIT")
            reader.close()
            self.assertEqual(self.value("SELECT count(*) FROM app.whole"), 1)
            self.assertRestored()
            self.assertEqual(self.value("SELECT count(*) FROM app.whole"), 2)

    def interrupted(self) -> None:
        with self.connect() as connection, self.assertRaises(psycopg.errors.QueryCanceled):
            connection.execute("SET statement_timeout = '300ms'")
            connection.execute("ALTER TABLE app.whole DETACH PARTITION app.low CONCURRENTLY")

    def test_ddl_that_no_event_trigger_tells(self) -> None:
        off = "SELECT 1" if self.version == "15" else "SET event_triggers = off"
        self.begin("CREATE TABLE t (n int); CREATE VIEW seen AS SELECT n FROM t", "INSERT INTO t VALUES (1)")
        for ddl in (
            "ALTER TABLE t ADD m int",
            "DROP VIEW seen",
            "CREATE TABLE made (n int)",
            "CREATE INDEX ON t (n)",
            "ALTER TABLE t ALTER n SET DEFAULT 7",
        ):
            with self.subTest(ddl), self.superuser() as connection:
                connection.execute(f"{off}; SET search_path = app; {ddl}")
                connection.close()
                self.assertRestored()


IDENTITY = """
SELECT attidentity, relname, relpersistence, obj_description(c.oid),
       has_sequence_privilege('application', c.oid, 'USAGE'), seqincrement, seqmax, seqcycle
  FROM pg_attribute LEFT JOIN pg_sequence ON seqrelid = pg_get_serial_sequence('app.t', 'id')::regclass
  LEFT JOIN pg_class c ON c.oid = seqrelid
 WHERE attrelid = 'app.t'::regclass AND attname = 'id'
"""


@for_every_role
class AlteredTests(ExactTests):
    """Twice each: the second one is compared with what is known of the schema after the first."""

    def test_an_identity(self) -> None:
        schema = "CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY, n int)"
        self.begin(
            f"{schema}; GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO application",
            "INSERT INTO t (n) VALUES (1)",
        )
        before = self.rows(IDENTITY)
        for ddl in (
            "ALTER TABLE t ALTER id DROP IDENTITY",
            "ALTER TABLE t ALTER id SET GENERATED ALWAYS SET INCREMENT 5 SET CYCLE",
            "ALTER SEQUENCE t_id_seq MAXVALUE 99",
            "ALTER SEQUENCE t_id_seq RENAME TO other",
            "ALTER SEQUENCE t_id_seq SET UNLOGGED",
            "COMMENT ON SEQUENCE t_id_seq IS 'of a test'",
            "REVOKE ALL ON SEQUENCE t_id_seq FROM application",
        ):
            for number in (1, 2):
                with self.subTest(ddl, number=number):
                    self.run_sql(ddl)
                    self.assertNotEqual(self.rows(IDENTITY), before)
                    self.assertRestored()
                    self.assertEqual(self.rows(IDENTITY), before)
                    self.run_sql("INSERT INTO t (n) VALUES (2)")
                    self.assertEqual(self.value("SELECT max(id) FROM app.t"), 2)
                    self.assertRestored()

    def test_the_identity_of_a_partition_is_that_of_the_whole(self) -> None:
        self.begin(
            "CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY, n int) PARTITION BY RANGE (n)",
            "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9)",
            "INSERT INTO t (n) VALUES (1)",
        )
        for number in (1, 2):
            with self.subTest(number):
                self.run_sql("ALTER TABLE t ALTER id SET GENERATED ALWAYS", "INSERT INTO t (n) VALUES (2)")
                self.assertRestored()
                self.run_sql("INSERT INTO t (id, n) VALUES (7, 2)")
                self.assertRestored()

    def test_a_sequence_in_a_class(self) -> None:
        self.begin("CREATE TABLE t (id serial PRIMARY KEY)")
        greatest = "SELECT seqmax FROM pg_sequence WHERE seqrelid = 'app.t_id_seq'::regclass"
        for _ in range(2):
            self.run_sql("ALTER SEQUENCE t_id_seq MAXVALUE 99")
            inner = self.kept.save()
            self.run_sql("ALTER SEQUENCE t_id_seq MAXVALUE 98")
            self.kept.reset(inner)
            self.assertEqual(self.value(greatest), 99)
            self.kept.reset(self.snapshot)
            self.assertEqual(self.value(greatest), 2**31 - 1)

    def test_what_a_sequence_is_owned_by(self) -> None:
        self.begin("CREATE TABLE t (id serial, n int); CREATE SEQUENCE s")
        owned = "SELECT objid::regclass::text, refobjsubid FROM pg_depend WHERE deptype = 'a' AND objid IN "
        owned += (
            "('app.s'::regclass, 'app.t_id_seq'::regclass) AND refclassid = 'pg_class'::regclass ORDER BY 1"
        )
        before = self.rows(owned)
        for change in ("s OWNED BY t.n", "t_id_seq OWNED BY NONE", "t_id_seq OWNED BY t.n"):
            for _ in range(2):
                with self.subTest(change):
                    self.run_sql(f"ALTER SEQUENCE {change}")
                    self.assertNotEqual(self.rows(owned), before)
                    self.assertRestored()
                    self.assertEqual(self.rows(owned), before)

    def test_a_publication_that_lets_nobody_delete(self) -> None:
        self.begin(
            "CREATE TABLE t (n int); CREATE TABLE u (n int PRIMARY KEY); "
            "ALTER TABLE u REPLICA IDENTITY NOTHING; CREATE PUBLICATION published FOR TABLE t, u; "
            "CREATE TABLE v (id int PRIMARY KEY, n int); CREATE PUBLICATION chosen FOR TABLE v WHERE (n > 0)",
            "INSERT INTO t VALUES (1)",
            "INSERT INTO u VALUES (1)",
            "INSERT INTO v VALUES (1, 1)",
        )
        identity = "SELECT relname, relreplident FROM pg_class WHERE relname IN ('t', 'u', 'v')"
        before = sorted(self.rows(identity))
        self.fails("DELETE FROM t", "UPDATE u SET n = 2", "DELETE FROM v")
        self.assertTestsRestored(
            "INSERT INTO t VALUES (2)",
            "INSERT INTO u VALUES (2)",
            "INSERT INTO v VALUES (2)",
            "TRUNCATE t, u, v",
        )
        self.assertEqual(sorted(self.rows(identity)), before)

    def test_columns_that_change_names_and_a_table_of_a_type(self) -> None:
        self.begin("CREATE TYPE kind AS (a int, b int); CREATE TABLE t (a int, b int)")
        self.run_sql(
            "ALTER TABLE t OF kind", "INSERT INTO t VALUES (1, 2)"
        )  # by a class: it is not made again
        inner, before = self.kept.save(), self.dump()
        for _ in range(2):
            self.run_sql(
                "ALTER TABLE t NOT OF",
                "ALTER TABLE t RENAME a TO c",
                "ALTER TABLE t RENAME b TO a",
                "ALTER TABLE t RENAME c TO b",
            )
            self.kept.reset(inner)
            self.assertEqual(self.rows("SELECT a, b FROM app.t"), [(1, 2)])
            self.assertTrue(self.value("SELECT reloftype <> 0 FROM pg_class WHERE oid = 'app.t'::regclass"))
            self.assertEqual(self.dump(), before)


LATER = """
import json, os, unittest
from sqlalchemy import text
from protean_testing import DatabaseTestCase, SQLAlchemyStore

SCHEMA = (
    "CREATE FUNCTION lenient(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "
    "IF current_setting('app.lenient', true) IS DISTINCT FROM 'on' THEN RAISE 'not here'; END IF; "
    "RETURN $1; END $$",
    "CREATE TABLE whole (id int PRIMARY KEY)",
    "CREATE TABLE t (n int REFERENCES whole, g int GENERATED ALWAYS AS (lenient(n)) STORED)",
)

def run(engine, *statements):
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL app.lenient = on"))
        for statement in statements:
            connection.execute(text(statement))

def make(engine):
    run(engine, *SCHEMA)

for number, options in enumerate(json.loads(os.environ["STORES"])):
    class Tests(DatabaseTestCase):
        stores = [SQLAlchemyStore(schema=make, **options)]

        def test_1(self):
            run(self.db.engine, "DELETE FROM t", "INSERT INTO whole VALUES (7)")

    class WithRowsTests(Tests):
        @classmethod
        def setUpClass(cls):
            super().setUpClass()
            run(cls.db.engine, "INSERT INTO whole VALUES (1)", "INSERT INTO t VALUES (1)")

        def test_2(self):
            pass

    class WithoutTests(Tests):
        def test_0(self):
            with self.db.engine.connect() as connection:
                for table in ("whole", "t"):
                    self.assertEqual(connection.execute(text(f"SELECT * FROM {table}")).all(), [])

        def test_2(self):
            self.test_0()
            run(self.db.engine, "INSERT INTO whole VALUES (1)", "INSERT INTO t VALUES (1)")

        test_3 = test_0

    for one in (WithRowsTests, WithoutTests):
        name = f"Store{number}{one.__name__}"
        globals()[name] = type(name, (one,), {"__module__": __name__})
    del Tests, WithRowsTests, WithoutTests, one
"""


class LaterClassTests(SuiteTestCase):
    def test_rows_that_cannot_be_restored(self) -> None:
        self.write("test_later.py", LATER)
        for version in VERSIONS:
            with self.subTest(version=version):
                stores = [
                    {"url": owned_database(self, version, role, f"later_{role}_{reset}_test"), "reset": reset}
                    for role in ("postgres", "granted", "owner")
                    for reset in ("fast", "generic")
                ]
                outcome = self.unittest("test_later", STORES=json.dumps(stores))
                self.assertFailed(outcome, "not here")
                self.assertEqual(outcome.ran, 36)
                failed = re.findall(r"^(?:ERROR|FAIL): (\w+) \(.*?(With\w+)", outcome.err, re.MULTILINE)
                self.assertEqual([one for one in failed if one[1] == "WithoutTests"], [], outcome.err)


if __name__ == "__main__":
    unittest.main()
