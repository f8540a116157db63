"""Random programs on PostgreSQL: a scope gives back what was there when it began. See tests/oracle.

What is missed without a part of the fast reset: tests/test_postgresql_parts.py.
"""

from __future__ import annotations

import unittest
from typing import Any
from unittest.mock import patch

from protean_testing.errors import StoreError
from protean_testing.stores.postgresql import baseline, catalog, data
from protean_testing.stores.postgresql.history import History

from .oracle.postgresql import CRASH, ROLES, VERSIONS, PostgreSQL
from .oracle.program import Column, Enter, Leave, Program, Reference, Schema, Step, Table, Work
from .oracle.run import Difference, run, search


class OracleTests(unittest.TestCase):
    def test_fast(self) -> None:
        for version in VERSIONS:
            for role in ROLES:
                with self.subTest(version=version, role=role):
                    search(PostgreSQL(version, role, "fast"), 6)

    def test_generic(self) -> None:
        for version in VERSIONS:
            for role in ("superuser", "owner"):
                with self.subTest(version=version, role=role):
                    search(PostgreSQL(version, role, "generic"), 4)


class FoundTests(unittest.TestCase):
    """Programs that the oracle once found."""

    def run_everywhere(self, *steps: Step, key: tuple[str, ...] = ("k1",), trait: str = "elsewhere") -> None:
        table = Table(
            name="order",
            key=key,
            identity=False,
            columns=(Column(name="a", kind="integer", rest=""),),
            references=(),
            traits=frozenset({trait}),
        )
        program = Program(schema=Schema(tables=(table,)), steps=steps)
        for role, reset in (("superuser", "fast"), ("owner", "fast"), ("superuser", "generic")):
            with self.subTest(role=role, reset=reset):
                run(program, PostgreSQL("18", role, reset))

    def test_a_table_dropped_before_an_inner_scope_began(self) -> None:
        insert, drop = 'INSERT INTO "order" ("k1") VALUES (1)', 'DROP TABLE "Elsewhere"."order" CASCADE'
        self.run_everywhere(
            Enter(), Work("first", (insert,), "commit"), Work("first", (drop,), "autocommit"), Enter()
        )

    def test_our_trigger_dropped_before_an_inner_scope_began(self) -> None:
        insert = 'INSERT INTO "order" ("a") VALUES (0)'
        drop = 'DROP TRIGGER IF EXISTS protean_testing ON "Elsewhere"."order"'
        self.run_everywhere(
            Enter(),
            Work("first", (insert,), "commit"),
            Work("first", (drop, insert), "commit"),
            Enter(),
            Work("first", (insert,), "commit"),
            key=(),
        )

    def test_our_trigger_dropped_by_a_test(self) -> None:
        insert = 'INSERT INTO "order" ("a") VALUES (0)'
        drop = 'DROP TRIGGER IF EXISTS protean_testing ON "Elsewhere"."order"'
        self.run_everywhere(Enter(), Enter(), Work("first", (drop, insert), "commit"), key=())

    def test_our_trigger_dropped_beside_a_view_that_is_looked_at_after_every_test(self) -> None:
        insert = 'INSERT INTO "order" ("a") VALUES (0)'
        table = Table("order", (), False, (Column(name="a", kind="integer", rest=""),), (), frozenset())
        schema = Schema((table,), ('CREATE MATERIALIZED VIEW "mat" AS SELECT 1 AS n',))
        drop = Work("first", ('DROP TRIGGER protean_testing ON "order"', insert), "autocommit")
        run(Program(schema, (Enter(), drop)), PostgreSQL("18", "owner", "fast"))

    def test_a_column_added_before_an_inner_scope_began(self) -> None:
        insert = 'INSERT INTO "order" ("k1", "a") VALUES (1, 1)'
        self.run_everywhere(
            Enter(),
            Work("first", (insert,), "commit"),
            Enter(),
            Work("first", ('ALTER TABLE "order" ADD COLUMN "added" integer DEFAULT 7',), "commit"),
            Work("first", ('INSERT INTO "order" ("k1") VALUES (2)',), "commit"),
            Enter(),
            Work("first", ('UPDATE "order" SET "a" = 0',), "commit"),
        )

    def test_a_cascade_that_reaches_a_trigger_as_owner(self) -> None:
        column = (Column(name="a", kind="integer", rest=""),)
        whole = Table("order", ("k1",), False, column, (), frozenset())
        refers = (Reference("ref0", "order", "k1", "CASCADE"),)
        part = Table("part", ("k1",), False, column, refers, frozenset({"always trigger"}))
        insert = Work("first", ('INSERT INTO "order" ("k1") VALUES (1)',), "commit")
        run(Program(Schema((whole, part)), (Enter(), insert)), PostgreSQL("18", "owner", "fast"))

    def test_a_crash_that_emptied_an_unlogged_table(self) -> None:
        insert = 'INSERT INTO "order" ("k1") VALUES (1)'
        self.run_everywhere(
            Enter(),
            Work("first", (insert,), "commit"),
            Enter(),
            Work("first", (CRASH,), "autocommit"),
            Enter(),
            Leave(),
            trait="unlogged",
        )


class BrokenResetTests(unittest.TestCase):
    """The oracle finds what is wrong with a reset that is broken on purpose."""

    def assertFound(self) -> None:
        with self.assertRaisesRegex((Difference, StoreError), "at its start|cannot be restored"):
            search(PostgreSQL("18", "superuser", "generic"), 300, shrink=False)

    def test_without_sequences(self) -> None:
        with patch.object(data.sequences, "restore", lambda *_: None):
            self.assertFound()

    def test_a_table_forgotten(self) -> None:
        kept = catalog.Catalog.kept.func

        def all_but_one(self: catalog.Catalog) -> list[Any]:
            return sorted(kept(self), key=lambda table: table.sql)[1:]

        with patch.object(catalog.Catalog, "kept", property(all_but_one)):
            self.assertFound()

    def test_without_rows_of_outer_scopes(self) -> None:
        state = History.state

        def base(self: History[Any, Any], thing: Any, snapshot: Any) -> Any:
            return baseline.EMPTY if isinstance(thing, int) else state(self, thing, snapshot)

        with patch.object(History, "state", base):
            self.assertFound()
