"""Runs a suite that a test writes, as a user would: in a process of its own, and reads its outcome."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import textwrap
import unittest
from dataclasses import dataclass
from pathlib import Path

from . import interpreters

ROOT = Path(__file__).resolve().parent.parent
CHOOSING = (
    "TEST_DB",
    "TEST_INFRA",
    "DATABASE_URL",
    "REDIS_URL",
    "MESSAGE_DB_URL",
    "PROTEAN_TESTING_KEEP",
    "PROTEAN_TESTING_SUMMARY",
    "PROTEAN_TESTING_WORKER",
    "PYTEST_XDIST_WORKER",
)

RECORDER = """
import os, sys, unittest
from protean_testing import *

class Recorder(Store):
    '''Writes down every call, and keeps its data in a list.'''
    def __init__(self, name="recorder"):
        self.name, self.rows = name, []
    def log(self, what):
        with open(os.environ["LOG"], "a") as log:
            print(what, self.name, file=log)
    def identity(self): return self.name
    def create_schema(self): self.log("create")
    def drop_schema(self): self.log("drop")
    def save_data(self): return list(self.rows)
    def reset_data(self, snapshot):
        self.log("reset")
        changed, self.rows[:] = self.rows != snapshot, snapshot
        return changed
"""


MODELS = """
import asyncio, os, sys, threading, unittest
from sqlalchemy import ForeignKey, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from protean_testing import *
from protean_testing import SQLAlchemyStore

class Base(DeclarativeBase): pass

class Order(Base):
    __tablename__ = "orders"
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]

class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))

def place(engine, customer="c"):
    '''The code under test: a session of its own, and a real commit. Gives the order's id.'''
    with Session(engine) as session:
        order = Order(customer=customer)
        session.add(order)
        session.commit()
        return order.id

def customers(engine):
    with Session(engine) as session:
        return sorted(session.scalars(select(Order.customer)))
"""


@dataclass(frozen=True)
class Outcome:
    """What a suite's process said.

    Attributes:
        code: Its exit code.
        out: Standard output.
        err: Standard error, where unittest prints.
        log: The lines that its stores wrote into the file named by ``LOG``.
    """

    code: int
    out: str
    err: str
    log: list[str]

    @property
    def ran(self) -> int:
        """How many tests unittest ran."""
        found = re.search(r"^Ran (\d+) test", self.err, re.MULTILINE)
        return int(found[1]) if found else 0

    def count(self, line: str) -> int:
        """How often the stores wrote this line."""
        return self.log.count(line)


class SuiteTestCase(unittest.TestCase):
    """A test that runs suites in a directory of its own."""

    maxDiff = None

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="suite_")))

    def write(self, name: str, source: str, *, before: str = "") -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(before + textwrap.dedent(source))
        return path

    def environment(self, **variables: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in CHOOSING}
        path = os.pathsep.join([str(self.directory), str(ROOT)])
        return {**inherited, "LOG": str(self.directory / "log"), "PYTHONPATH": path, **variables}

    def python(self, *arguments: str, timeout: float = 120, **variables: str) -> Outcome:
        """Run Python in the suite's directory; `variables` are added to its environment."""
        done = interpreters.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=self.environment(**variables),
            timeout=timeout,
        )
        log = self.directory / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return Outcome(done.returncode, done.stdout, done.stderr, lines)

    def unittest(self, *arguments: str, timeout: float = 120, **variables: str) -> Outcome:
        return self.python("-m", "unittest", *arguments, timeout=timeout, **variables)

    def assertPassed(self, outcome: Outcome, tests: int) -> None:
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        self.assertEqual(outcome.ran, tests, outcome.err)

    def assertFailed(self, outcome: Outcome, *texts: str) -> None:
        self.assertNotEqual(outcome.code, 0, outcome.out + outcome.err)
        for text in texts:
            self.assertIn(text, outcome.out + outcome.err)
