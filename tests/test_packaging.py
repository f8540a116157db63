"""The wheel: what is in it, and that it works in an empty environment, away from the checkout."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tempfile
import unittest
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUITE = """
import unittest
from protean_testing import CallableStore, DatabaseTestCase

cache = {"a": 1}

class CacheTests(DatabaseTestCase):
    stores = [CallableStore(cache)]

    def test_change(self):
        cache["b"] = 2

    def test_nothing_was_changed(self):
        self.assertEqual(cache, {"a": 1})
"""
SQL_SUITE = """
from sqlalchemy import Column, Integer, MetaData, Table
from protean_testing import DatabaseTestCase

metadata = MetaData()
order = Table("order", metadata, Column("id", Integer, primary_key=True))

class OrderTests(DatabaseTestCase):
    metadata = metadata

    def make_order(self):
        with self.db.session() as session:
            made = session.execute(order.insert())
            session.commit()
        self.assertEqual(made.inserted_primary_key.id, 1)

    test_first = test_second = make_order
"""


class WheelTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        source = cls.directory / "source"
        shutil.copytree(
            ROOT / "protean_testing", source / "protean_testing", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ("setup.cfg", "setup.py", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        cls.run_in(
            cls.directory, sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", ".", "./source"
        )
        (cls.wheel,) = cls.directory.glob("*.whl")

    @staticmethod
    def run_in(directory: Path, *command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
        )
        if done.returncode:
            raise AssertionError(f"{command} ended with exit code {done.returncode}:\n{done.stdout}")
        return done.stdout

    def metadata(self) -> str:
        with zipfile.ZipFile(self.wheel) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
            return wheel.read(name).decode()

    def test_holds_the_package_and_nothing_else(self) -> None:
        names = set(zipfile.ZipFile(self.wheel).namelist())
        source = self.directory / "source"
        package = {
            str(path.relative_to(source))
            for kind in ("*.py", "*.sql", "py.typed")
            for path in (source / "protean_testing").rglob(kind)
        }
        self.assertEqual({name for name in names if ".dist-info/" not in name}, package)
        self.assertEqual(sum(name.endswith("/LICENSE") for name in names), 1)

    def test_tells_what_it_needs(self) -> None:
        metadata = self.metadata()
        settings = configparser.ConfigParser()
        settings.read(ROOT / "setup.cfg")
        extras = set(settings["options.extras_require"])
        for line in ("Name: protean-testing", "Requires-Python: >=3.11"):
            self.assertIn(f"\n{line}\n", metadata)
        told = {
            line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Provides-Extra")
        }
        self.assertEqual(told, extras)
        for line in metadata.splitlines():
            if line.startswith("Requires-Dist") and "extra ==" not in line:
                self.assertRegex(line, r"^Requires-Dist: (filelock|platformdirs|psutil)\b")

    def test_works_in_an_empty_environment(self) -> None:
        place = self.directory / "environment"
        venv.create(place, with_pip=True)
        python = place / "bin" / "python"
        suites = self.directory / "suites"
        suites.mkdir()
        self.run_in(suites, python, "-m", "pip", "install", "-q", self.wheel)
        (suites / "test_cache.py").write_text(SUITE)
        self.assertIn("Ran 2 tests", self.run_in(suites, python, "-m", "unittest"))
        self.run_in(suites, python, "-m", "pip", "install", "-q", f"{self.wheel}[sqlalchemy]")
        (suites / "test_orders.py").write_text(SQL_SUITE)
        self.assertIn("Ran 4 tests", self.run_in(suites, python, "-m", "unittest"))
