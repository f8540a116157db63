"""The benchmark of PostgreSQL gives its table, its bars and its chart. What they say is not judged here."""

from __future__ import annotations

import re
import unittest
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path

from .suite import SuiteTestCase

OURS = ("ours, superuser", "ours, owner")
WAYS = ("TRUNCATE all", "DELETE all", "rollback", "template clone", "drop, create")
CELL = r"[\d,.]+ \([\d,.]+\)"


class PostgreSQLTests(SuiteTestCase):
    def test_it_prints_a_table_and_draws_a_chart(self) -> None:
        chart = Path(self.directory, "chart.svg")
        outcome = self.python(
            *("-m", "benchmarks.postgresql", "--quick", "--resets", "100", "--chart", str(chart)),
            *("--tables", "3", "6", "--written", "0", "3", "--rows", "100", "--roles", "superuser", "owner"),
            timeout=120,
        )
        self.assertIn(outcome.code, (0, 1), outcome.err)  # 1 where a bar was missed, on a busy machine
        peers = ["Django TestCase"] if find_spec("django") else []
        peers += ["pytest-postgresql"] if find_spec("pytest_postgresql") else []
        for name in (*OURS, *WAYS, *peers):
            with self.subTest(name):
                self.assertRegex(
                    outcome.out, rf"(?m)^{re.escape(name)} +(-|{CELL}) +{CELL} +(-|{CELL}) +{CELL}"
                )
                self.assertIn(
                    name.replace("ours, superuser", "protean_testing").split(",")[0], chart.read_text()
                )
        self.assertRegex(outcome.out, r"(?m)^(pass|MISS)  .*one-row INSERT")
        self.assertEqual(ElementTree.parse(chart).getroot().tag, "{http://www.w3.org/2000/svg}svg")


if __name__ == "__main__":
    unittest.main()
