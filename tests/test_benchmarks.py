"""The benchmarks print what they promise. Times are not judged here, numbers of calls are."""

from __future__ import annotations

import re
import unittest
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path

from .suite import SuiteTestCase

OURS = ("ours, superuser", "ours, owner")
WAYS = ("TRUNCATE all", "DELETE all", "rollback", "template clone", "drop, create")
CELL = r"[\d,.]+ \( *[\d,.]+\)"


class PostgreSQLTests(SuiteTestCase):
    def test_it_prints_a_table_and_draws_a_chart(self) -> None:
        chart = Path(self.directory, "chart.svg")
        outcome = self.python(
            *("-m", "benchmarks.postgresql", "--quick", "--resets", "100", "--chart", str(chart)),
            *("--tables", "3", "6", "--written", "0", "3", "--rows", "100", "--roles", "superuser", "owner"),
            timeout=240,
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
        for name in OURS:
            self.assertRegex(outcome.out, rf"(?m)^{name}: 6 tables( +[\d.]+){{6}}$")
        if find_spec("django"):
            self.assertRegex(outcome.out, r"(?m)^Django: 6 tables( +[\d.]+){3} +-( +[\d.]+){2}$")
        self.assertEqual(ElementTree.parse(chart).getroot().tag, "{http://www.w3.org/2000/svg}svg")


class SuiteTests(SuiteTestCase):
    def test_it_prints_the_seconds_of_each_way(self) -> None:
        size = ("--classes", "2", "--tables", "4", "--rounds", "1")
        outcome = self.python("-m", "benchmarks.postgresql.suite", *size, timeout=120)
        self.assertEqual(outcome.code, 0, outcome.err)
        ways = ["ours", "ours, as a plain owner", "TRUNCATE after each test", "nothing restored"]
        for way in ways + ["Django TestCase"] * bool(find_spec("django")):
            self.assertRegex(outcome.out, rf"(?m)^{way} +\d+\.\d\d \(\d+\.\d\d\)$")


class MariaDBTests(SuiteTestCase):
    def test_it_prints_resets_and_classes(self) -> None:
        size = ("--times", "3", "--tables", "3", "6", "--rows", "0", "50")
        outcome = self.python("-m", "benchmarks.mariadb", *size, timeout=120)
        self.assertEqual(outcome.code, 0, outcome.err)
        for rows in (0, 50):
            self.assertRegex(outcome.out, rf"(?m)^6 tables, {rows} rows before( +\d+\.\d){{4}}$")
            self.assertRegex(outcome.out, rf"(?m)^(pass|MISS)  a row, {rows} rows before: \d")
            self.assertRegex(
                outcome.out, rf"(?m)^6 tables, {rows} rows before +[\d,]+ SELECT 1( +{CELL}){{4}}$"
            )


class LifecycleTests(SuiteTestCase):
    def test_it_prints_a_table_and_the_calls(self) -> None:
        outcome = self.python("-m", "benchmarks.lifecycle", "--quick", "--files", timeout=120)
        self.assertEqual(outcome.code, 0, outcome.err)
        stores = ("memory", "SQLite in memory", "PostgreSQL")
        names = ["plain unittest", *(f"ours, {store}" for store in stores)]
        names += ["fixture, SQLite in memory", "fixture, PostgreSQL"]
        if find_spec("django"):
            names += [
                "Django SimpleTestCase",
                "Django TestCase, SQLite in memory",
                "Django TestCase, PostgreSQL",
            ]
        for name in names:
            with self.subTest(name):
                self.assertRegex(outcome.out, rf"(?m)^{re.escape(name)} +\d+\.\d +\d+\.\d$")
        calls = {
            walk: [(int(number), int(depth)) for number, depth in re.findall(r"(\d+) \((\d+)\)", row)]
            for walk, row in re.findall(
                r"(?m)^(an empty test|the end of a test that wrote) (.*\(.*)$", outcome.out
            )
        }
        self.assertLessEqual(
            calls["an empty test"][0][0], 20, "in memory: nobody is asked who has nothing to say"
        )
        in_memory, _, on_postgresql = calls["the end of a test that wrote"]
        self.assertLessEqual(in_memory[0], 12)
        self.assertLessEqual(on_postgresql[0], 35)
        self.assertLessEqual(on_postgresql[1], 9)


if __name__ == "__main__":
    unittest.main()
