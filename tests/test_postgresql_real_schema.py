"""What real schemas hold, and what tests do to it: all is as it was after each kind of change."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg

from protean_testing.errors import LeakError
from protean_testing.stores.sql.worker_database import derived_name

from .depth import DEEP
from .oracle.postgresql import dump
from .postgresql_testcase import CONFIGURATIONS, Mixin, everywhere, libpq
from .real_schema import changes, pg_dump, rows, schema

FEW, LARGE = 6, 100
"""Plain tables beside the special ones: where each change is made alone, and where some are made together."""


class RealSchemaTests(Mixin):
    tables = FEW

    def setUp(self) -> None:
        super().setUp()
        if self.role != "postgres":
            self.run_sql(f"GRANT CREATE ON DATABASE {self.name} TO {self.role}", role="postgres")
        self.run_sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO application", role="postgres")

    def begin(self, **options: Any) -> None:
        self.kept = self.backend(schema=schema(self.tables), **options)
        self.outer = self.kept.save()
        for statements in rows():
            self.run_sql(statements)
        self.run_sql("SELECT lo_from_bytea(4001, 'first'); SELECT lo_from_bytea(4002, 'second')")
        self.middle = self.kept.save()

    def test_every_kind_of_change(self) -> None:
        self.begin()
        everything = pg_dump(self.server, self.name)
        for name, statement in self.kinds():
            with self.subTest(name):
                self.assertRestored(name, statement)
        self.assertEqual(pg_dump(self.server, self.name), everything)

    def kinds(self) -> list[tuple[str, str]]:
        """Each configuration takes a part of them, unless it is deep: together they are all."""
        every = list(changes(self.role).items())
        part = CONFIGURATIONS.index((self.version, self.role, self.reset))
        return every if DEEP else every[part :: len(CONFIGURATIONS)]

    def test_all_of_a_large_schema(self) -> None:
        """Many changes one after the other, at the size that large applications have."""
        self.tables = LARGE
        self.begin()
        before, everything = pg_dump(self.server, self.name), changes(self.role)
        self.assertGreater(self.value("SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p')"), 120)
        inner = self.kept.save()
        for name in (
            "added index",
            "added column",
            "added comment",
            "added grant",
            "altered trigger dropped",
        ):
            self.run_sql(everything[name])
        self.kept.reset(inner)
        self.kept.forget(inner)
        self.kept.reset(self.middle)
        self.assertEqual(pg_dump(self.server, self.name), before)

    def test_a_part_in_an_outer_scope_that_changed_the_schema(self) -> None:
        self.begin()
        self.run_sql("CREATE TABLE of_class (a int)", "CREATE INDEX index_of_class ON t1 (id, n)")
        self.middle = self.kept.save()
        for name in (
            "added index",
            "added column",
            "altered index dropped",
            "altered default",
            "public revoked",
        ):
            with self.subTest(name):
                self.assertRestored(name, changes(self.role)[name])

    def test_an_adopted_schema(self) -> None:
        self.run_sql(schema(self.tables))
        self.kept = self.backend(adopt=True, rebuild=None)
        self.outer = self.middle = self.kept.save()
        for name in (
            "added index",
            "added column",
            "altered constraint dropped",
            "altered function replaced",
        ):
            with self.subTest(name):
                self.assertRestored(name, changes(self.role)[name])

    def test_a_public_of_the_users(self) -> None:
        self.run_sql("COMMENT ON SCHEMA public IS 'theirs'; REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        before = dump(libpq(self.server.url(self.name)))
        self.begin()
        self.run_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE made (a int)")
        self.kept.reset(self.middle)
        self.run_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        self.kept.drop()
        self.run_sql("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
        self.assertEqual(dump(libpq(self.server.url(self.name))), before)

    def test_a_public_of_the_users_after_a_kill(self) -> None:
        self.run_sql("COMMENT ON SCHEMA public IS 'theirs'", "SELECT lo_from_bytea(4000, 'theirs')")
        before = dump(libpq(self.server.url(self.name)))
        self.begin()
        self.run_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public", "SELECT lo_put(4000, 0, 'X')")
        self.run_sql("SELECT lo_unlink(4001); SELECT lo_unlink(4002)")
        self.kept.close()
        self.kept = self.backend(schema="CREATE TABLE t (a int)")
        self.kept.drop()
        self.assertEqual(dump(libpq(self.server.url(self.name))), before)

    def test_what_belongs_to_the_server_is_named(self) -> None:
        self.begin(on_leak="fail")
        inner = self.kept.save()
        self.run_sql("INSERT INTO nokey VALUES (1)")
        of_a_worker = derived_name("shop_test", "0123456789", "gw1_77")
        self.run_sql(
            "CREATE ROLE of_a_test",
            f"ALTER DATABASE {self.name} SET work_mem = '5MB'",
            f"CREATE DATABASE {of_a_worker}",
            role="postgres",
        )
        try:
            self.kept.reset(inner)
            self.kept.forget(inner)
            with self.assertRaisesRegex(
                LeakError, "(?s)role of_a_test.*setting work_mem.*DROP ROLE of_a_test"
            ) as caught:
                self.kept.reset(self.middle)
        finally:
            self.run_sql("DROP ROLE of_a_test", f"DROP DATABASE {of_a_worker}", role="postgres")
        self.assertNotIn(of_a_worker, str(caught.exception))
        self.kept.reset(self.middle)

    def assertRestored(self, name: str, statement: str) -> None:
        before, inner = self.state(), self.kept.save()
        with suppress(psycopg.Error):  # what this role may not do, or this version cannot
            self.run_sql(statement)
        self.kept.reset(inner)
        self.kept.forget(inner)
        self.kept.reset(self.middle)
        after = self.state()
        self.assertEqual({k: v for k, v in after.items() if before.get(k) != v}, {})
        self.assertEqual(before.keys() - after.keys(), set())

    def state(self) -> dict[str, Any]:
        return dump(libpq(self.server.url(self.name)))


everywhere(RealSchemaTests)
