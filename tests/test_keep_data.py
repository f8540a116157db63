"""A kept schema as every role: rows, sequences, views and what was installed serve the next run."""

from __future__ import annotations

import itertools
import unittest
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Sequence,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from protean_testing import SQLAlchemyStore
from protean_testing.stores.sql.definition import define

from .oracle.postgresql import dump
from .postgresql_testcase import Mixin, everywhere, libpq

SCHEMA = """
CREATE TABLE many (id serial PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED);
INSERT INTO many (a) SELECT n FROM generate_series(1, 200) n;
CREATE TABLE few (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text);
INSERT INTO few (t) VALUES ('a'), ('b');
CREATE TABLE none (id serial PRIMARY KEY, many int REFERENCES many);
CREATE TABLE parts (id int, k int) PARTITION BY LIST (k);
CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);
INSERT INTO parts VALUES (1, 1);
CREATE MATERIALIZED VIEW shown AS SELECT count(*) FROM many;
CREATE SEQUENCE numbers START 5; SELECT nextval('numbers');
CREATE TABLE hidden (a int); INSERT INTO hidden VALUES (1);
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY few ON hidden USING (a < 100)
"""
WRITE = """
INSERT INTO many (a) VALUES (9); UPDATE many SET a = 7 WHERE id = 3; DELETE FROM many WHERE id = 10;
DELETE FROM few WHERE t = 'a'; INSERT INTO none (many) VALUES (1); UPDATE parts SET id = 3;
INSERT INTO parts VALUES (2, 1); SELECT nextval('numbers'); INSERT INTO hidden VALUES (2)
"""


made: list[int] = []


def make(engine: Any) -> None:
    made.append(1)
    with engine.begin() as connection:
        for statement in SCHEMA.split(";"):
            connection.execute(text(statement))


@everywhere
class KeptData(Mixin):
    def test_the_next_runs_have_it(self) -> None:
        first = None
        made.clear()
        for _ in range(3):
            reset: Any = self.reset
            store = SQLAlchemyStore(schema=make, inputs=[SCHEMA], url=self.url, keep=True, reset=reset)
            store.check()
            store.create_schema()
            snapshot = store.save_data()
            found = dump(libpq(self.server.url(self.name)))
            first = first or found
            self.assertEqual(found, first)
            for more in ("", "REFRESH MATERIALIZED VIEW shown", "CREATE TABLE more (a int)"):
                self.run_sql(WRITE, more)
                self.assertTrue(store.reset_data(snapshot))
                self.assertEqual(dump(libpq(self.server.url(self.name))), first)
            self.run_sql("INSERT INTO many (a) VALUES (1)")
            inner = store.save_data()
            self.run_sql("UPDATE many SET a = 1 WHERE id > 5")
            store.reset_data(inner)
            self.run_sql("DELETE FROM few")  # after the last reset
            store.drop_schema()
            store.close()
        self.assertEqual(len(made), 1)


def shop(**changes: Any) -> MetaData:
    """A schema in which one thing is another."""
    metadata = MetaData(naming_convention=changes.get("naming", {"ix": "ix_%(column_0_label)s"}))
    one = Table("one", metadata, Column("id", Integer, primary_key=True), schema=changes.get("schema"))
    two = Table(
        changes.get("name", "two"),
        metadata,
        Column("id", Integer, primary_key=True),
        Column(
            "a",
            changes.get("type", String(50)),
            *changes.get("parts", ()),
            nullable=changes.get("nullable", True),
            unique=changes.get("unique"),
            index=changes.get("index"),
            server_default=changes.get("server_default"),
            comment=changes.get("comment"),
        ),
        Column("ref", ForeignKey(one.c.id, **changes.get("reference", {}))),
        *changes.get("more", ()),
        **changes.get("options", {}),
    )
    for listener in changes.get("listeners", ()):
        event.listen(two, "after_create", listener)
    return metadata


def listener(target: Any, connection: Any, **options: Any) -> None:
    """Does nothing."""


CHANGES: list[Callable[[], dict[str, Any]]] = [
    dict,
    lambda: {"name": "three"},
    lambda: {"schema": "other"},
    lambda: {"type": String(51)},
    lambda: {"type": String(50, collation="C")},
    lambda: {"type": Text()},
    lambda: {"type": Integer()},
    lambda: {"type": BigInteger()},
    lambda: {"type": Float(3)},
    lambda: {"type": Float(4)},
    lambda: {"type": Numeric(5, 2)},
    lambda: {"type": Numeric(5, 3)},
    lambda: {"type": DateTime()},
    lambda: {"type": DateTime(timezone=True)},
    lambda: {"type": Enum("x", "y", name="kind")},
    lambda: {"type": Enum("x", "z", name="kind")},
    lambda: {"type": ARRAY(Integer)},
    lambda: {"type": JSONB()},
    lambda: {"nullable": False},
    lambda: {"unique": True},
    lambda: {"index": True},
    lambda: {"server_default": "x"},
    lambda: {"server_default": text("now()")},
    lambda: {"comment": "a word"},
    lambda: {"parts": (CheckConstraint("a > '1'"),)},
    lambda: {"parts": (Computed("1"),)},
    lambda: {"type": Integer(), "parts": (Identity(start=3),)},
    lambda: {"type": Integer(), "parts": (Identity(start=4),)},
    lambda: {"type": Integer(), "parts": (Sequence("numbers"),)},
    lambda: {"type": Integer(), "parts": (Sequence("numbers", start=7),)},
    lambda: {"reference": {"ondelete": "CASCADE"}},
    lambda: {"reference": {"onupdate": "CASCADE"}},
    lambda: {"reference": {"deferrable": True}},
    lambda: {"reference": {"deferrable": True, "initially": "DEFERRED"}},
    lambda: {"reference": {"name": "fk"}},
    lambda: {"more": (CheckConstraint("a > '1'", name="c"),)},
    lambda: {"more": (CheckConstraint("a > '2'", name="c"),)},
    lambda: {"more": (UniqueConstraint("a", "ref"),)},
    lambda: {"more": (Index("i", "a", "ref"),)},
    lambda: {"more": (Index("i", "ref", "a"),)},
    lambda: {"more": (Index("i", "a", "ref", unique=True),)},
    lambda: {"more": (Index("i", "a", postgresql_using="gin"),)},
    lambda: {"more": (Index("i", "a", postgresql_where=text("a > '1'")),)},
    lambda: {"more": (Index("i", text("lower(a)")),)},
    lambda: {"more": (Column("b", Integer),)},
    lambda: {"options": {"comment": "a table"}},
    lambda: {"options": {"prefixes": ["UNLOGGED"]}},
    lambda: {"options": {"postgresql_partition_by": "LIST (a)"}},
    lambda: {"naming": {"pk": "pk_%(table_name)s"}},
    lambda: {"listeners": (DDL("SELECT 1"),)},
    lambda: {"listeners": (DDL("SELECT 2"),)},
    lambda: {"listeners": (listener,)},
]


class DefinitionTests(unittest.TestCase):
    def define(self, changes: dict[str, Any]) -> str:
        return define([shop(**changes)], None, postgresql.dialect()).digest  # type: ignore[no-untyped-call]

    def test_equal_schemas_have_one(self) -> None:
        for number, change in enumerate(CHANGES):
            with self.subTest(number):
                self.assertEqual(self.define(change()), self.define(change()))

    def test_any_change_gives_another(self) -> None:
        found = [self.define(change()) for change in CHANGES]
        for (first, one), (second, other) in itertools.combinations(enumerate(found), 2):
            self.assertNotEqual(one, other, f"changes {first} and {second}")

    def test_callables_and_their_source(self) -> None:
        def other(target: Any, connection: Any, **options: Any) -> None:
            """Does nothing else."""

        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        self.assertNotEqual(define([], listener, dialect), define([], other, dialect))
        self.assertEqual(define([], listener, dialect), define([], listener, dialect))
