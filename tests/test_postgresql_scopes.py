"""A scope costs what was written in it, and sees what single tests have hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from protean_testing.stores.postgresql import installed, sequences
from protean_testing.stores.postgresql.catalog import Sequence
from protean_testing.stores.postgresql.connection import Connection
from protean_testing.stores.postgresql.invalidations import Invalidations

from .oracle.postgresql import VERSIONS, dump
from .oracle.program import Dump
from .postgresql_testcase import Mixin, PostgreSQLTestCase, libpq

SCHEMA = """
CREATE TYPE mood AS ENUM ('happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE t (id serial PRIMARY KEY, note varchar(9), a positive, m mood);
CREATE TABLE child (id serial PRIMARY KEY, t int REFERENCES t, CONSTRAINT small CHECK (id < 1000) NOT VALID);
CREATE TABLE heir () INHERITS (t);
CREATE VIEW seen AS SELECT id FROM t;
CREATE SEQUENCE alone;
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER quiet AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION quiet();
CREATE RULE kept AS ON DELETE TO child WHERE false DO INSTEAD NOTHING;
CREATE POLICY most ON t USING (true);
COMMENT ON TABLE child IS 'said before';
"""
ALTERATIONS = (
    "ALTER TABLE t ADD COLUMN b int",
    "ALTER TABLE t DROP COLUMN note CASCADE",
    "ALTER TABLE t ALTER note TYPE varchar(12)",
    "ALTER TABLE t ALTER note SET DEFAULT 'x'",
    "ALTER TABLE t ALTER id SET DEFAULT 5",
    "ALTER TABLE t ALTER note SET NOT NULL",
    "ALTER TABLE t ALTER note SET STATISTICS 7",
    "ALTER TABLE t RENAME note TO renamed",
    "ALTER TABLE t RENAME TO renamed",
    "ALTER TABLE child VALIDATE CONSTRAINT small",
    "ALTER TABLE child RENAME CONSTRAINT small TO smaller",
    "ALTER TABLE child DROP CONSTRAINT small",
    "ALTER TABLE child DROP CONSTRAINT child_t_fkey",
    "ALTER TABLE child ALTER CONSTRAINT child_t_fkey DEFERRABLE",
    "ALTER TABLE child ADD CHECK (t > 0)",
    "ALTER TABLE child ADD UNIQUE (t)",
    "ALTER TABLE child CLUSTER ON child_pkey",
    "ALTER TABLE child SET (fillfactor = 50)",
    "ALTER TABLE child REPLICA IDENTITY FULL",
    "ALTER TABLE heir NO INHERIT t",
    "ALTER TABLE child ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE t DISABLE TRIGGER quiet",
    "ALTER TABLE t DISABLE TRIGGER protean_testing",
    "DROP TRIGGER protean_testing ON t",
    "DROP TRIGGER quiet ON t",
    "ALTER TRIGGER quiet ON t RENAME TO loud",
    "ALTER TABLE child DISABLE RULE kept",
    "ALTER RULE kept ON child RENAME TO held",
    "DROP RULE kept ON child",
    "ALTER POLICY most ON t USING (false)",
    "DROP POLICY most ON t",
    "CREATE INDEX made ON t (note)",
    "ALTER INDEX t_pkey RENAME TO renamed",
    "ALTER INDEX t_pkey SET (fillfactor = 50)",
    "GRANT SELECT ON t TO PUBLIC",
    "GRANT SELECT (note) ON t TO PUBLIC",
    "CREATE OR REPLACE VIEW seen AS SELECT id + 1 - 1 AS id FROM t",
    "DROP VIEW seen",
    "ALTER SEQUENCE alone INCREMENT 3",
    "ALTER SEQUENCE alone CACHE 3",
    "DROP SEQUENCE alone",
    "DROP TABLE child",
    "CREATE TABLE made ()",
    "CREATE SEQUENCE made",
    "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "DROP FUNCTION one()",
    "CREATE FUNCTION made() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TYPE mood ADD VALUE 'new'",
    "ALTER TYPE mood RENAME VALUE 'happy' TO 'glad'",
    "ALTER TYPE mood RENAME TO humour",
    "ALTER DOMAIN positive DROP CONSTRAINT positive_check",
    "ALTER DOMAIN positive SET DEFAULT 4",
    "CREATE TYPE made AS (a int)",
    "CREATE SCHEMA made",
    "COMMENT ON TABLE t IS 'said now'",
    "COMMENT ON TABLE child IS NULL",
    "CREATE STATISTICS made (ndistinct) ON id, note FROM t",
)
ROWS = (
    "INSERT INTO t (note) VALUES ('x')",
    "UPDATE t SET note = 'y'",
    "SELECT setval('alone', 7), nextval('t_id_seq')",
    "DELETE FROM t",
)


class InvalidationTests(PostgreSQLTestCase):
    def test_rows_and_sequences_invalidate_nothing(self) -> None:
        for self.version in VERSIONS:
            with self.subTest(self.version):
                self.setUp()
                told = Invalidations(self.backend(schema=SCHEMA)._connection)
                told.read()
                told.accept()
                for statement in ROWS:
                    self.run_sql(statement)
                    self.assertFalse(told.any_since(), statement)
                self.run_sql("ALTER TABLE child ADD b int")
                self.assertTrue(told.any_since())


class HiddenMixin(Mixin):
    """What single tests may leave is seen at the end of the scope around them."""

    def dump(self) -> Dump:
        return dump(libpq(self.server.url(self.name)))

    def test_an_alteration_in_a_transaction_that_wrote_too(self) -> None:
        backend = self.backend(schema=SCHEMA)
        outer, before = backend.save(), self.dump()
        for statement in ALTERATIONS:
            with self.subTest(statement):
                inner = backend.save()
                self.run_sql(f"BEGIN; INSERT INTO t (note) VALUES ('x'); {statement}; COMMIT")
                backend.reset(inner)
                backend.reset(outer)
                self.assertEqual(self.dump(), before)


class HiddenFromSuperuserTests(PostgreSQLTestCase):
    def test_an_alteration_that_no_event_trigger_tells_of(self) -> None:
        backend = self.backend(schema=SCHEMA)
        outer, before = backend.save(), dump(libpq(self.url))
        self.run_sql(
            "INSERT INTO t (note) VALUES ('x')",
            "BEGIN; SET LOCAL event_triggers = off; ALTER TABLE child ADD b int; COMMIT",
        )
        inner = backend.save()
        self.run_sql("INSERT INTO t (note) VALUES ('y')")
        backend.reset(inner)
        backend.reset(outer)
        self.assertEqual(dump(libpq(self.url)), before)


class HiddenFromGrantedTests(HiddenMixin, PostgreSQLTestCase):
    role = "granted"


class HiddenFromOwnerTests(HiddenMixin, PostgreSQLTestCase):
    version, role = VERSIONS[0], "owner"


MANY = "".join(f"CREATE TABLE s{number} (id serial PRIMARY KEY, a int);" for number in range(120))
MANY += "CREATE SEQUENCE order_number; CREATE SEQUENCE ticket_number START 7;"
UNWRITTEN = ("nextval('s70_id_seq')", "setval('s71_id_seq', 9)", "setval('s72_id_seq', 5, false)")


class SequenceTests(PostgreSQLTestCase):
    """More sequences than are all looked at after every scope."""

    def setUp(self) -> None:
        super().setUp()
        self.keeping = self.backend(schema=MANY)
        self.outer, self.before = self.keeping.save(), self.positions()

    def positions(self) -> Dump:
        return dump(libpq(self.url))

    def assert_same(self, expected: Dump) -> None:
        now = self.positions()
        self.assertEqual(
            {what for what in expected.keys() | now.keys() if expected.get(what) != now.get(what)}, set()
        )

    def scope(self, *statements: str) -> None:
        inner = self.keeping.save()
        self.run_sql(*statements)
        self.keeping.reset(inner)
        self.keeping.reset(self.outer)

    def test_all_are_looked_at_once_something_is_unexplained(self) -> None:
        self.assertGreater(len(self.before), 2 * installed.SEQUENCES_IN_TURN)
        for moved in UNWRITTEN:
            with self.subTest(moved):
                self.scope(
                    f"BEGIN; INSERT INTO s1 (a) VALUES (1); SELECT {moved}; COMMIT",
                    "BEGIN; INSERT INTO s2 (a) VALUES (1); ROLLBACK",
                )
                self.assert_same(self.before)

    def test_else_some_of_them_in_turn(self) -> None:
        for moved in UNWRITTEN:
            with self.subTest(moved):
                self.scope(f"BEGIN; INSERT INTO s1 (a) VALUES (1); SELECT {moved}; COMMIT")
                for _ in range(120 // installed.SEQUENCES_IN_TURN):
                    self.scope("INSERT INTO s1 (a) VALUES (1)")
                self.assert_same(self.before)

    def test_those_of_no_table_are_always_looked_at(self) -> None:
        for moved in ("nextval('order_number')", "setval('ticket_number', 9)"):
            with self.subTest(moved):
                self.scope(f"BEGIN; INSERT INTO s1 (a) VALUES (1); SELECT {moved}; COMMIT")
                self.assert_same(self.before)

    def test_a_snapshot_knows_where_each_stands(self) -> None:
        for moved in UNWRITTEN:
            with self.subTest(moved):
                middle = self.keeping.save()
                self.run_sql(f"BEGIN; INSERT INTO s1 (a) VALUES (1); SELECT {moved}; COMMIT")
                inner, then = self.keeping.save(), self.positions()
                self.run_sql("".join(f"INSERT INTO s{number} (a) VALUES (1);" for number in (1, 70, 71, 72)))
                self.keeping.reset(inner)
                self.assert_same(then)
                self.keeping.reset(middle)
                self.keeping.forget(middle)
                self.keeping.reset(self.outer)
                self.assert_same(self.before)

    def test_of_very_many_a_snapshot_reads_those_that_can_have_moved(self) -> None:
        read: list[int] = []
        positions = sequences.positions

        def reading(connection: Connection, asked: Iterable[Sequence]) -> Any:
            found = positions(connection, asked)
            read.append(len(found))
            return found

        self.enterContext(patch.object(installed, "SEQUENCES_AT_SNAPSHOT", 100))
        self.enterContext(patch.object(sequences, "positions", reading))
        unexplained = "BEGIN; INSERT INTO s2 (a) VALUES (1); ROLLBACK"
        for statements, most in (
            (["BEGIN; INSERT INTO s1 (a) VALUES (1); SELECT nextval('order_number'); COMMIT"], 3),
            ([unexplained, "SELECT nextval('s70_id_seq')"], len(self.before)),
        ):
            with self.subTest(statements):
                read.clear()
                middle = self.keeping.save()
                self.run_sql(*statements)
                inner, then = self.keeping.save(), self.positions()
                self.assertTrue(read)  # more than once if another session was in the way
                self.assertLessEqual(max(read), most)
                self.run_sql("INSERT INTO s1 (a) VALUES (1); INSERT INTO s70 (a) VALUES (1)", unexplained)
                self.keeping.reset(inner)
                self.assert_same(then)
                self.keeping.reset(middle)
                self.keeping.forget(middle)
                self.keeping.reset(self.outer)
                self.assert_same(self.before)


class CostTests(PostgreSQLTestCase):
    def asked(self, tables: int, role: str) -> dict[str, int]:
        """How often the server is asked, in whatever way."""
        self.role = role
        self.setUp()
        names = range(tables)
        backend = self.backend(
            schema="".join(f"CREATE TABLE s{number} (id serial PRIMARY KEY, a int);" for number in names)
        )
        count, run = backend.save(), 0
        costs: dict[str, int] = {}
        originals = {name: getattr(Connection, name) for name in ("call", "rows", "run", "value")}

        def counted(name: str) -> Callable[..., Any]:
            def ask(*arguments: Any, **options: Any) -> Any:
                nonlocal run
                run += 1
                return originals[name](*arguments, **options)

            return ask

        with ExitStack() as stack:
            for name in originals:
                stack.enter_context(patch.object(Connection, name, counted(name)))
            row = "INSERT INTO s2 (a) VALUES (1)"
            for what, shared, statement in (
                ("warm", row, row),
                ("nothing", "", ""),
                ("a row", "", row),
                ("a row of the class", row, ""),
                ("nothing after it", "", ""),
            ):
                run = 0
                backend.reset(count)
                outer = backend.save()
                self.run_sql(shared)
                inner = backend.save()
                self.run_sql(statement)
                backend.reset(inner)
                backend.reset(outer)
                backend.forget(outer)
                costs[what] = run
        return costs

    def test_a_class_asks_the_server_few_times_whatever_there_is(self) -> None:
        for role in ("postgres", "granted", "owner"):
            with self.subTest(role):
                costs = self.asked(3, role)
                self.assertLessEqual(costs["nothing"], 6)
                self.assertLessEqual(costs["a row"], 8)
                self.assertLessEqual(costs["a row of the class"], 17)
                self.assertEqual(costs["nothing after it"], costs["nothing"])
                self.assertEqual(self.asked(60, role), costs)
