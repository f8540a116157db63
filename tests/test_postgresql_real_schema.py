"""What real schemas hold, and what tests do to it: all is as it was after each kind of change."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg

from .oracle.postgresql import dump
from .postgresql_testcase import Mixin, everywhere, libpq
from .real_schema import changes, pg_dump, rows, schema

FEW = 6
"""Plain tables beside the special ones, where a change is made alone."""


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
        for name, statement in changes(self.role).items():
            with self.subTest(name):
                self.assertRestored(name, statement)
        self.assertEqual(pg_dump(self.server, self.name), everything)

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
