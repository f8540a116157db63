"""Random programs on SQLite: what a scope gives back is what was there when it began. See tests/oracle."""

from __future__ import annotations

import unittest
from typing import Any
from unittest.mock import patch

from protean_testing.stores.sqlite import snapshots as snapshot
from protean_testing.stores.sqlite.rows import Rows, Tables

from .oracle.run import Difference, search
from .oracle.sqlite import SQLite


class OracleTests(unittest.TestCase):
    def test_memory(self) -> None:
        search(SQLite("memory"), 50)

    def test_file(self) -> None:
        search(SQLite("file"), 40)

    def test_private_memory(self) -> None:
        search(SQLite("private"), 20)


class BrokenResetTests(unittest.TestCase):
    """The oracle finds what is wrong with a reset that is broken on purpose."""

    def assertFound(self, pattern: str) -> None:
        with self.assertRaisesRegex(Difference, pattern):
            search(SQLite("memory"), 300, shrink=False)

    def test_without_counters(self) -> None:
        def tables(connection: Any, *, leave: Any = ()) -> Tables:
            return Tables(connection, leave={"sqlite_sequence", *leave})

        with patch.object(snapshot, "Tables", tables):
            self.assertFound("rows of sqlite_sequence")

    def test_a_table_forgotten(self) -> None:
        def tables(connection: Any, *, leave: Any = ()) -> Tables:
            return Tables(connection, leave={"order", *leave})

        with patch.object(snapshot, "Tables", tables):
            self.assertFound("rows of order")

    def test_without_rows_of_outer_scopes(self) -> None:
        def rows(connection: Any, tables: Tables, filled: dict[str, str], **options: Any) -> Rows:
            return Rows(connection, tables, {}, **options)

        with patch.object(snapshot, "Rows", rows):
            self.assertFound("rows of")

    def test_pages_forgotten(self) -> None:
        with patch.object(snapshot.Pages, "changed", lambda *_: (set(), False)):
            self.assertFound("rows of")

    def test_without_what_the_scope_inside_had_found_written(self) -> None:
        with patch.object(snapshot.Snapshot, "written_since", lambda *_: set()):
            self.assertFound("rows of")

    def test_without_the_schema(self) -> None:
        with patch.object(snapshot.Snapshots, "_schema_differs", lambda *_: False):
            self.assertFound("schema:")
