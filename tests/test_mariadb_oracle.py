"""Random programs on MariaDB: what a scope gives back is what was there when it began. See tests/oracle."""

from __future__ import annotations

import unittest
from unittest.mock import patch

from protean_testing.stores.generic import mysql_changes, mysql_rows

from .oracle.mariadb import MariaDB
from .oracle.run import Difference, search


class OracleTests(unittest.TestCase):
    def test_mariadb(self) -> None:
        search(MariaDB(), 10)


class BrokenResetTests(unittest.TestCase):
    """The oracle finds what is wrong with a reset that is broken on purpose."""

    def assertFound(self, pattern: str) -> None:
        with self.assertRaisesRegex(Difference, pattern):
            search(MariaDB(), 40, shrink=False)

    def test_tables_that_are_taken_for_unwritten(self) -> None:
        with patch.object(mysql_changes.Stamps, "written_since", lambda *_: set()):
            self.assertFound("rows of")

    def test_a_server_that_counts_nothing(self) -> None:
        with patch.object(mysql_changes.Activity, "writes", 0):
            self.assertFound("rows of")

    def test_rows_that_are_only_counted(self) -> None:
        real = mysql_rows._counted
        with patch.object(mysql_rows, "_counted", lambda read: real(read)[:1]):
            self.assertFound("rows of")


if __name__ == "__main__":
    unittest.main()
