# ruff: noqa: E501 -- lines of the suites that are written here
"""What a block or a test wrote, in every store, and what a test that fails says of it under every runner."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import psycopg

from protean_testing.servers.postgresql import start_postgresql
from protean_testing.servers.redis import start_redis

from .mariadb_server import MariaDB
from .message_db import bring
from .suite import ROOT, Outcome, SuiteTestCase

HEAD = """
import os, sys, unittest
from pathlib import Path
from sqlalchemy import *
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from protean_testing import *

class Base(DeclarativeBase): pass

class Order(Base):
    __tablename__ = "order"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str | None] = mapped_column(String(200))
    password: Mapped[str | None] = mapped_column(String(50))
    data: Mapped[bytes | None]
    doc: Mapped[dict | None] = mapped_column(JSON)

class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(2000))

keyless = Table('key"less', Base.metadata, Column("a", Integer), Column('b "q', String(20)))

def put(engine, number, name="written"):
    with Session(engine) as session:
        session.add(Item(id=number, name=name))
        session.commit()

def execute(engine, statement):
    with engine.begin() as connection:
        connection.execute(text(statement))
"""

ROWS = """
class RowTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, reset=os.environ.get("RESET", "fast"), url=os.environ.get("AT"), unsafe=True)]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for number in (1, 2, 10):
            put(cls.engine, number, f"i{number}")
        with cls.engine.begin() as connection:
            connection.execute(keyless.insert(), [{"a": 1, 'b "q': "x"}] * 2)

    def write(self):
        with Session(self.engine) as session:
            session.add(Order(id=1, customer=None, password="hunter2", data=b"\\x00\\xff", doc={"a": [1, None]}))
            session.get(Item, 1).name = "x"
            session.delete(session.get(Item, 2))
            session.execute(keyless.insert(), [{"a": 1, 'b "q': "x"}, {"a": None, 'b "q': None}])
            session.execute(keyless.delete().where(keyless.c.a == 7))
            session.commit()

    def test_values(self):
        with self.db.changes() as changes:
            self.write()
        self.assertEqual(changes.counts(), {"order": 1, "item": 2, 'key"less': 2})
        (order,) = changes["order"].inserted
        self.assertEqual((order["id"], order["customer"], order["password"], order["data"]), (1, None, "hunter2", b"\\x00\\xff"))
        self.assertIn(order["doc"], ({"a": [1, None]}, '{"a": [1, null]}'))
        item = changes["item"]
        self.assertEqual(item.updated, [({"id": 1, "name": "i1"}, {"id": 1, "name": "x"})])
        self.assertEqual((item.inserted, item.deleted), ([], [{"id": 2, "name": "i2"}]))
        self.assertCountEqual(changes['key"less'].inserted, [{"a": 1, 'b "q': "x"}, {"a": None, 'b "q': None}])
        self.assertEqual(changes["nothing"].inserted, ())
        self.assertNotIn("hunter2", changes.listed())
        self.assertEqual(self.db.written().counts(), changes.counts())

    test_values_again = test_values

    def test_each_block_has_its_own(self):
        with self.db.changes() as outer:
            self.write()
            with self.db.changes() as inner:
                execute(self.engine, "UPDATE item SET name = 'y'")
            with self.db.changes() as nothing:
                execute(self.engine, "UPDATE item SET name = name")
            with self.db.changes() as later:
                execute(self.engine, "DELETE FROM item")
        self.assertEqual(sorted(row[0]["name"] for row in inner["item"].updated), ["i10", "x"])
        self.assertEqual(nothing.counts(), {})
        self.assertEqual([row["name"] for row in later["item"].deleted], ["y", "y"])
        self.assertEqual(outer["item"].count, 3)
        self.assertEqual(len(outer["item"].deleted), 3)

    def test_what_comes_and_goes_is_not_counted(self):
        with self.db.changes() as changes:
            put(self.engine, 77)
            execute(self.engine, "DELETE FROM item WHERE id = 77")
            with self.db.scope():
                self.write()
        self.assertEqual(changes.counts(), {})
        self.assertWrites()

    def test_it_stays_written_and_goes_with_its_scope(self):
        with self.db.scope():
            with self.db.changes():
                put(self.engine, 77)
                session = self.session()
            self.assertIsNotNone(session.get(Item, 77))  # a session that was given out inside is open still
        with Session(self.engine) as session:
            self.assertIsNone(session.get(Item, 77))

    def test_an_error_in_the_block_is_the_tests(self):
        with self.assertRaisesRegex(KeyError, "mine"), self.db.changes() as changes:
            put(self.engine, 77)
            raise KeyError("mine")
        with self.assertRaisesRegex(ScopeError, "end of the block"):
            changes.counts()
        self.assertWrites(item=1)

    def test_a_reset_is_refused_while_it_is_open(self):
        with self.db.changes() as changes:
            with self.assertRaisesRegex(ScopeError, "the changes at test_rows.py"):
                self.db.reset()
            put(self.engine, 77)
        self.assertEqual(changes.counts(), {"item": 1})
        self.assertTrue(self.db.reset())
        self.assertWrites()

    def test_assert_writes(self):
        self.write()
        self.assertWrites({"item": 2, 'key"less': 2}, order=1)
        with self.assertRaises(AssertionError) as raised:
            self.assertWrites(item=3, order=1, other=1)
        said = str(raised.exception)
        self.assertTrue(said.startswith('not as expected:\\n  item: 2, not 3\\n  other: 0, not 1\\n  key"less: 2, not 0\\nWritten was:\\n'), said)
        self.assertIn("~ {'id': 1} 'name': 'i1' -> 'x'", said)
        self.assertNotIn("hunter2", said)

    def test_many_rows_are_counted_and_a_few_listed(self):
        with self.engine.begin() as connection:
            connection.execute(Item.__table__.insert(), [{"id": n, "name": "n" * 1000} for n in range(100, 1100)])
        self.assertWrites(item=1000)
        written = self.db.written()
        self.assertEqual(len(written["item"].inserted), 100)
        self.assertEqual(len(written.listed().splitlines()), 7)
        self.assertLess(len(written.listed()), 2000)
        self.assertIn("... and 995 more", written.listed())

    def test_what_was_committed_by_others(self):
        other = create_engine(self.database_url)
        with self.db.changes() as changes:
            put(other, 78)
        other.dispose()
        self.assertEqual(changes.counts(), {"item": 1})
"""

ASYNC = """
class AsyncRowTests(AsyncDatabaseTestCase):
    stores = RowTests.stores

    async def test_async(self):
        async with self.db.changes() as changes:
            put(self.engine, 1)
            with self.db.changes() as inner:
                put(self.engine, 2)
        self.assertEqual((changes.counts(), inner.counts()), ({"item": 2}, {"item": 1}))
        self.assertWrites(item=2)
"""

FAILING = """
class FailingTests(DatabaseTestCase):
    metadata = Base.metadata

    def test_passes(self):
        put(self.engine, 1, "of the test that passes")

    def test_fails(self):
        put(self.engine, 2, "of test_fails")
        self.assertEqual(1, 2, "the failure")

    def test_subtests(self):
        with self.subTest("one"):
            put(self.engine, 3, "of a subtest")
            raise ValueError("in the subtest")

    @(unittest.skip("trial cannot print it") if "twisted.trial" in sys.modules else unittest.expectedFailure)
    def test_expected(self):
        put(self.engine, 4, "of what is expected")
        self.fail("expected")

    def test_skipped(self):
        put(self.engine, 5, "of what is skipped")
        self.skipTest("for now")

class SetUpTests(DatabaseTestCase):
    metadata = Base.metadata

    def setUp(self):
        super().setUp()
        put(self.engine, 6, "of setUp")
        raise RuntimeError("in setUp")

    def test_never(self): pass

class AsyncTests(AsyncDatabaseTestCase):
    metadata = Base.metadata

    async def test_async(self):
        put(self.engine, 7, "of the async test")
        raise LookupError("in the async test")

@uses_database(Base.metadata)
class DecoratedTests(unittest.TestCase):
    def test_decorated(self):
        put(self.db.engine, 8, "of the decorated test")
        self.fail("decorated")
"""

BLOCKS = """
class BlockTests(DatabaseTestCase):
    metadata = Base.metadata
    def test_scope(self):
        for number in (1, 2):
            with self.subTest(number=number), self.db.scope():
                put(self.engine, number, f"in scope {number}")
                self.fail("in a scope")
    def test_tear_down(self):
        put(self.engine, 3, "before tearDown")
    def tearDown(self):
        if self._testMethodName == "test_tear_down":
            raise OSError("in tearDown")
        super().tearDown()
"""

RANDOM = """
import random

class RandomTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, reset=os.environ.get("RESET", "fast"))]

    def rows(self):
        with self.engine.connect() as connection:
            items = {row.id: row.name for row in connection.execute(select(Item.__table__))}
            return items, sorted(map(str, connection.execute(select(keyless))))

    def act(self, chosen):
        key, other = chosen.randrange(1, 30), chosen.randrange(1, 30)
        statement = chosen.choice([
            f"INSERT INTO item SELECT {key}, 'n{chosen.random()}' WHERE NOT EXISTS (SELECT 1 FROM item WHERE id = {key})",
            f"UPDATE item SET name = 'u{chosen.random()}' WHERE id BETWEEN {key} AND {key + 3}",
            f"UPDATE item SET name = name WHERE id > {key}",
            f"DELETE FROM item WHERE id = {key}",
            f"UPDATE item SET id = {other} WHERE id = {key} AND NOT EXISTS (SELECT 1 FROM item WHERE id = {other})",
            f"INSERT INTO {self.keyless} VALUES ({key % 3}, 'x')", f"DELETE FROM {self.keyless} WHERE a = {key % 3}",
            self.empty if chosen.random() < 0.3 else "DELETE FROM item WHERE id = 1",
        ])
        with self.engine.connect() as connection:
            connection.execute(text(statement))
            (connection.rollback if chosen.random() < 0.2 else connection.commit)()

    def check(self, written, then):
        (before, lines), (after, now) = then, self.rows()
        found = written["item"]
        self.assertEqual({row["id"] for row in found.inserted}, after.keys() - before.keys())
        self.assertEqual({row["id"]: row["name"] for row in found.deleted}, {key: before[key] for key in before.keys() - after.keys()})
        changed = {key: (before[key], after[key]) for key in before.keys() & after.keys() if before[key] != after[key]}
        self.assertEqual({new["id"]: (old["name"], new["name"]) for old, new in found.updated}, changed)
        rest = list(lines)
        added = [line for line in now if not (line in rest and rest.remove(line) is None)]
        self.assertEqual(written['key"less'].numbers, (len(added), 0, len(rest)))

    def steps(self, chosen, depth):
        for _ in range(chosen.randrange(6)):
            kind = chosen.random()
            if kind < 0.6 or depth == 3:
                self.act(chosen)
                continue
            then = self.rows()
            if kind < 0.8:
                with self.db.scope() as inner:
                    self.steps(chosen, depth + 1)
                    self.check(inner.written(), then)
                self.assertEqual(self.rows(), then)
            else:
                with self.db.changes() as changes:
                    self.steps(chosen, depth + 1)
                self.check(changes, then)

    def test_all(self):
        self.keyless = self.engine.dialect.identifier_preparer.format_table(keyless)
        self.empty = "DELETE FROM item" if self.engine.dialect.name == "sqlite" else "TRUNCATE item"
        for seed in range(int(os.environ.get("SEEDS", 25))):
            chosen = random.Random(seed)
            with self.subTest(seed=seed), self.db.scope() as outer:
                for _ in range(chosen.randrange(15)):
                    self.act(chosen)
                then = self.rows()
                with self.db.scope() as inner:
                    self.steps(chosen, 0)
                    self.check(inner.written(), then)
                    if chosen.random() < 0.5:
                        inner.reset()
                        self.steps(chosen, 2)
                        self.check(inner.written(), then)
                self.assertEqual(self.rows(), then)
"""

SAID = ("of test_fails", "of a subtest", "of setUp", "of the async test", "of the decorated test")
NOT_SAID = ("of the test that passes", "of what is skipped")


class RowTests(SuiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("test_rows.py", ROWS + ASYNC, before=HEAD)

    def check(self, **variables: str) -> None:
        self.assertPassed(self.unittest("test_rows", **variables), 11)

    def test_in_memory(self) -> None:
        self.check(TEST_DB="memory")

    def test_in_a_private_memory(self) -> None:
        source = (ROWS + ASYNC).replace(
            'url=os.environ.get("AT")',
            'engine=create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})',
        )
        source = source.replace("create_engine(self.database_url)", "self.engine").replace(
            "other.dispose()", ""
        )
        self.write("test_rows.py", source, before=HEAD)
        self.check()

    def test_in_a_file(self) -> None:
        self.check(TEST_DB="sqlite")

    def test_on_postgresql(self) -> None:
        self.check(TEST_DB="postgresql")

    def test_on_postgresql_by_looking_at_every_table(self) -> None:
        self.check(TEST_DB="postgresql", RESET="generic")

    def test_on_postgresql_as_a_plain_owner(self) -> None:
        server = start_postgresql()
        self.addCleanup(server.stop)
        with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE ROLE plain LOGIN")
            connection.execute("CREATE DATABASE plain_test OWNER plain")
        self.check(AT=server.url("plain_test", user="plain"))

    def test_on_mariadb(self) -> None:
        server = MariaDB()
        self.addCleanup(server.stop)
        self.check(AT=server.create("shop_test"))


class RandomTests(SuiteTestCase):
    def test_random_writes_in_nested_blocks(self) -> None:
        self.write("test_random.py", RANDOM, before=HEAD)
        for test_db, reset in (
            ("memory", "fast"),
            ("sqlite", "fast"),
            ("postgresql", "fast"),
            ("postgresql", "generic"),
        ):
            with self.subTest(test_db, reset=reset):
                self.assertPassed(self.unittest("test_random", TEST_DB=test_db, RESET=reset), 1)


class KindsTests(SuiteTestCase):
    def test_what_postgresql_has(self) -> None:
        """Partitions, schemas, values that Python has not, tables that a test makes, alters and drops, locks."""
        self.write(
            "test_kinds.py",
            """
            def make(engine):
                for statement in (
                    "CREATE SCHEMA other", "CREATE TABLE other.item (id int PRIMARY KEY)",
                    "CREATE TABLE log (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
                    "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
                    "CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2021-01-01') TO ('infinity')",
                    "CREATE TABLE item (id int PRIMARY KEY, at timestamp, twice int GENERATED ALWAYS AS (id * 2) STORED)",
                    "CREATE TABLE big (id int PRIMARY KEY, n int)",
                    "INSERT INTO big SELECT n, 0 FROM generate_series(1, 20000) n",
                ):
                    execute(engine, statement)

            class KindTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(schema=make, dialect="postgresql", on_leak="reset")]

                def test_partitions_and_schemas(self):
                    with self.db.changes() as changes:
                        execute(self.engine, "INSERT INTO log VALUES (1, '2020-02-02'), (2, '2021-02-02')")
                        execute(self.engine, "INSERT INTO other.item VALUES (1)")
                        execute(self.engine, "INSERT INTO item VALUES (1), (2)")
                    self.assertEqual(changes.counts(), {"log": 2, "other.item": 1, "item": 2})
                    self.assertEqual(changes["item"].inserted[1], {"id": 2, "at": None, "twice": 4})
                    self.assertEqual(len(changes["log"].inserted), 2)

                def test_what_python_has_not(self):
                    execute(self.engine, "INSERT INTO item VALUES (1, 'infinity')")
                    written = self.db.written()
                    self.assertEqual(written.counts(), {"item": 1})
                    self.assertIn("infinity", written.listed())

                def test_a_few_rows_of_a_large_table(self):
                    execute(self.engine, "UPDATE big SET n = 1 WHERE id IN (7, 11)")
                    with self.db.changes() as changes:
                        execute(self.engine, "DELETE FROM big WHERE id = 7")
                    self.assertEqual(changes["big"].deleted, [{"id": 7, "n": 1}])
                    execute(self.engine, "TRUNCATE big")
                    self.assertWrites(big=20000)

                def test_a_changed_schema(self):
                    with self.db.changes() as changes:
                        execute(self.engine, "INSERT INTO item VALUES (1)")
                        execute(self.engine, "CREATE TABLE made (id int)")
                        execute(self.engine, "DROP TABLE big")
                    self.assertEqual(changes.counts(), {"item": 1, "made": None, "big": None})
                    with self.assertRaisesRegex(AssertionError, "made: not known, not 0"):
                        self.assertWrites(item=1)

                def test_what_is_locked(self):
                    execute(self.engine, "INSERT INTO item VALUES (1)")
                    with self.engine.connect() as connection:
                        connection.execute(text("LOCK TABLE item"))
                        self.assertIn("an open transaction has locked it", self.db.written().listed())
                        self.assertEqual(connection.execute(text("SELECT count(*) FROM item")).scalar(), 1)

                def test_what_is_not_committed(self):
                    with self.engine.connect() as connection:
                        connection.execute(text("INSERT INTO item VALUES (1)"))
                        self.assertWrites()
                        with self.assertRaises(OpenTransactionError):
                            self.db.changes().__enter__()
                        connection.commit()
                    self.assertWrites(item=1)
            """,
            before=HEAD,
        )
        self.assertPassed(self.unittest("test_kinds"), 6)

    def test_what_sqlite_has(self) -> None:
        self.write(
            "test_kinds.py",
            '''
            SQL = """
            CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, n);
            CREATE TABLE keyed (a TEXT, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID;
            CREATE TABLE taken (rowid, _rowid_, oid);
            CREATE TABLE twice (n INT, m INT AS (n * 2) STORED);
            CREATE VIRTUAL TABLE words USING fts5(word);
            """
            Path(__file__).with_name("schema.sql").write_text(SQL)

            class KindTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(schema=Path(__file__).with_name("schema.sql"))]

                def test_all(self):
                    with self.db.changes() as changes:
                        for statement in (
                            "INSERT INTO counted (n) VALUES (1), ('1'), (x'01')", "INSERT INTO keyed VALUES ('a', 1)",
                            "INSERT INTO twice VALUES (1), (1)", "INSERT INTO words VALUES ('hello')",
                        ):
                            execute(self.engine, statement)
                    self.assertEqual(changes.counts(), {"counted": 3, "keyed": 1, "twice": 2, "taken": None})
                    self.assertEqual([row["n"] for row in changes["counted"].inserted], [1, "1", b"\\x01"])
                    with self.db.changes() as changes:
                        execute(self.engine, "UPDATE counted SET n = 1.0 WHERE id = 1")
                        execute(self.engine, "UPDATE keyed SET b = 2")
                    self.assertEqual(changes["counted"].updated, [({"id": 1, "n": 1}, {"id": 1, "n": 1.0})])
                    self.assertEqual(changes["keyed"].numbers, (1, 0, 1))

                def test_a_changed_schema(self):
                    with self.db.changes() as changes:
                        execute(self.engine, "CREATE TABLE made (id INT)")
                        execute(self.engine, "INSERT INTO made VALUES (1)")
                        execute(self.engine, "ALTER TABLE keyed ADD COLUMN c")
                        execute(self.engine, "DROP TABLE twice")
                    counts = changes.counts()
                    del counts["taken"]
                    self.assertEqual(counts, {"made": 1, "keyed": None, "twice": None})

                def test_an_open_transaction(self):
                    with self.engine.connect() as connection:
                        connection.execute(text("INSERT INTO counted (n) VALUES (1)"))
                        if "memdb" in self.database_url:  # a file has what is committed beside it
                            with self.assertRaisesRegex(OpenTransactionError, "still open"):
                                self.db.written()
                        else:
                            self.assertEqual(self.db.written()["counted"].count, 0)
                        connection.commit()
                    self.assertEqual(self.db.written()["counted"].count, 1)
            ''',
            before=HEAD,
        )
        for test_db in ("memory", "sqlite"):
            with self.subTest(test_db):
                self.assertPassed(self.unittest("test_kinds", TEST_DB=test_db), 3)

    def test_several_stores(self) -> None:
        """Equal names are told apart, a store that can only be cleared says so, and others say what they can."""
        self.write(
            "test_stores.py",
            """
            class Own(Store):
                def __init__(self, name): self.name, self.rows = name, []
                def save_data(self): return list(self.rows)
                def reset_data(self, snapshot):
                    changed, self.rows[:] = self.rows != snapshot, snapshot
                    return changed

            class Says(Own):
                async def written_since(self, snapshot):
                    return [Written("rows", [{"n": one} for one in self.rows[len(snapshot):]], kind="list")]

            shop, warehouse = (SQLAlchemyStore(Base.metadata, name=name, url=f"sqlite:///{name}_test.db") for name in ("shop", "warehouse"))
            cache, queue, silent, says, cleared = {"one": 1}, [], Own("silent"), Says("says"), set()

            class StoreTests(DatabaseTestCase):
                stores = [shop, warehouse, CallableStore(cache, name="cache"), CallableStore(queue, name="queue"), silent, says,
                          CallableStore(cleared.clear, name="cleared")]

                def test_all(self):
                    with self.db.changes() as changes:
                        put(shop.engine, 1)
                        put(shop.engine, 2)
                        put(warehouse.engine, 1)
                        execute(shop.engine, 'INSERT INTO "order" (id) VALUES (1)')
                        cache.update(one=2, two=2)
                        queue.extend([1, 1])
                        silent.rows.append(1)
                        says.rows.append(5)
                    self.assertEqual(changes.counts(), {"cache": 2, "queue": 2, "rows": 1, "order": 1, "shop.item": 2, "warehouse.item": 1})
                    self.assertEqual(changes.counts("warehouse"), {"item": 1})
                    self.assertEqual(changes["cache"].updated, [({"one": 1}, {"one": 2})])
                    self.assertEqual(changes["rows"].inserted, [{"n": 5}])
                    self.assertEqual(changes["warehouse.item"].count, 1)
                    with self.assertRaisesRegex(ConfigurationError, "say 'shop.item' and 'warehouse.item'"):
                        changes["item"]
                    self.assertEqual(changes.unknown, ["silent", "cleared"])
                    self.assertIn("not known of 'silent', 'cleared'", changes.listed())
                    self.assertIn("table \\"item\\" of store 'warehouse': 1 inserted", changes.listed())
                    self.assertWrites({"shop.item": 2, "warehouse.item": 1}, order=1, cache=2, queue=2, rows=1)
                    with self.assertRaisesRegex(AssertionError, "item is in several stores: shop.item, warehouse.item"):
                        self.assertWrites(item=3, order=1, cache=2, queue=2, rows=1)
                test_again = test_all
            """,
            before=HEAD,
        )
        self.assertPassed(self.unittest("test_stores"), 2)

    def test_redis(self) -> None:
        server = start_redis()
        self.addCleanup(server.stop)
        self.write(
            "test_redis.py",
            """
            import redis
            store = RedisStore(os.environ["AT"], prefix=os.environ.get("PREFIX", ""))

            class RedisTests(DatabaseTestCase):
                stores = [store]

                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    if os.environ.get("FILLED"):
                        store.client.set("p:there", "before")
                        store.client.xadd("p:stream", {"n": 1}, id="1-1")
                        store.client.rpush("p:gone", "a", "b")

                def test_all(self):
                    client = redis.Redis.from_url(os.environ["AT"])
                    with self.db.changes() as changes:
                        client.set("p:there", "now")
                        client.set("p:raw", b"\\xff")
                        client.sadd("p:set", "b", "a")
                        client.zadd("p:scores", {"x": 1.5})
                        client.hset("p:hash", mapping={"name": "Ann", "api_key": "k-123"})
                        client.delete("p:gone")
                        client.xadd("p:stream", {"n": 2}, id="2-1")
                        client.xadd("p:stream", {"n": 3}, id="3-1")
                    filled = bool(os.environ.get("FILLED"))
                    expected = {"p:there": 1, "p:raw": 1, "p:set": 1, "p:scores": 1, "p:hash": 1, "p:stream": 2} | ({"p:gone": 1} if filled else {})
                    self.assertEqual(changes.counts(), expected)
                    self.assertEqual(changes["p:stream"].inserted, [{"id": "2-1", "n": "2"}, {"id": "3-1", "n": "3"}])
                    self.assertEqual(changes["p:raw"].inserted, [{"value": b"\\xff"}])
                    self.assertEqual(changes["p:set"].inserted, [{"value": ["a", "b"]}])
                    self.assertEqual(changes["p:scores"].inserted, [{"value": {"x": 1.5}}])
                    self.assertEqual(changes["p:hash"].inserted, [{"value": {"name": "Ann", "api_key": "k-123"}}])
                    if filled:
                        self.assertEqual(changes["p:there"].updated, [({"value": "before"}, {"value": "now"})])
                        self.assertEqual(changes["p:gone"].deleted, [{"value": ["a", "b"]}])
                    self.assertNotIn("k-123", changes.listed())
                    self.assertWrites(expected)
                    with self.db.changes() as changes:
                        client.expire("p:raw", 1000)
                        client.xdel("p:stream", "2-1")
                        with self.db.scope():
                            client.flushdb()
                    self.assertEqual(changes.counts(), {"p:raw": 1, "p:stream": 1})
                    self.assertEqual(changes["p:stream"].deleted, [{"id": "2-1", "n": "2"}])
                    self.assertIsNone(changes["p:raw"].updated[0][0]["expiry"])
                    self.assertEqual(client.keys("*look*"), [])
                    client.close()

                test_again = test_all

                def test_very_many(self):
                    with store.client.pipeline() as pipeline:
                        for number in range(10_500):
                            pipeline.set(f"p:{number}", 1)
                        pipeline.execute()
                    self.assertIn("too many to list", self.db.written().listed())
            """,
            before=HEAD,
        )
        for number, more in enumerate(({}, {"FILLED": "1"}, {"FILLED": "1", "PREFIX": "p:"}), 1):
            with self.subTest(more):
                self.assertPassed(self.unittest("test_redis", AT=server.url(number), **more), 3)

    def test_a_domain(self) -> None:
        """The same counts in memory and on PostgreSQL, Redis and Message DB: rows, events, messages, entries."""
        self.write(
            "test_domain.py",
            """
            import os, sys
            from protean_testing.domain import DomainTestCase
            from tests import library as module
            from tests.library import library, write
            del module.__file__

            FULL = {"databases": {"default": {"provider": "postgresql"}, "memory": {"provider": "memory"}},
                    "brokers": {"default": {"provider": "redis"}}, "caches": {"default": {"provider": "redis", "TTL": 300}},
                    "event_store": {"provider": "message_db"}}
            WRITTEN = {"author": 1, "book": 1, "loan": 1, "processed_message": 1, "shelf": 1, "library::author": 1,
                       "library::author:command": 1, "library::card": 1, "announcements": 1, "returns": 1, "visit:::Ann": 1}

            class MemoryTests(DomainTestCase):
                domain, traverse, on_leak = library, False, "fail"
                more = {}

                def test_all(self):
                    with self.db.changes() as changes:
                        write("Ann")
                    self.assertEqual(changes.counts(), WRITTEN | self.more)
                    self.assertEqual([row["name"] for row in changes["author"].inserted], ["Ann"])
                    (event,) = changes["library::author"].inserted
                    self.assertEqual((event["type"], event["data"]["name"]), ("Library.AuthorAdded.v1", "Ann"))
                    with self.db.changes() as nothing:
                        pass
                    self.assertEqual(nothing.counts(), {})
                    write("Bob")
                    self.assertEqual(self.db.written()["author"].count, 2)
                    self.fail("to be seen")

                test_again = test_all

            class FullTests(MemoryTests):
                config = FULL
                more = {"protean:traces": 2}
            """,
        )
        brought = bring()
        path = {"PYTHONPATH": f"{self.environment()['PYTHONPATH']}:{brought['PYTHONPATH']}"}
        outcome = self.unittest("test_domain", **{**brought, **path}, PROTEAN_NO_AUTO_LOGGING="1")
        said = outcome.err
        self.assertIn("Ran 4 tests", said)
        self.assertIn("failures=4)", said)
        for text in (
            "AssertionError: to be seen",
            'table "author": 2 inserted',
            'category "library::author"',
        ):
            self.assertIn(text, said)
        self.assertIn("""stream "announcements" of store 'redis of""", said)


ENTERED = """
import fixtures, testresources, testtools
from protean_testing.runners.fixtures import DatabaseFixture
from protean_testing.runners.testresources import DatabaseResource

class EnteredTests(unittest.TestCase):
    def setUp(self):
        self.db = self.enterContext(test_database(Base.metadata))
        self.inner = self.enterContext(self.db.scope())
    def test_1(self):
        put(self.db.engine, 1, "of a context")
        self.fail("the failure")
    def test_2(self):
        put(self.db.engine, 1, "of the test that passes")
    def test_3(self):
        self.fail("the failure")

class FixtureTests(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.db = self.useFixture(DatabaseFixture(Base.metadata)).db
    def test_1(self):
        put(self.db.engine, 1, "of a fixture")
        self.fail("the failure")
    def test_2(self):
        put(self.db.engine, 1, "of the test that passes")

class DecoratedTests(unittest.TestCase):
    @uses_database(Base.metadata)
    def test_1(self, db):
        put(db.engine, 1, "of a decorated")
        self.fail("the failure")

class ResourceTests(testresources.ResourcedTestCase):
    resources = [("db", DatabaseResource(Base.metadata))]
    def test_1(self):
        put(self.db.engine, 1, "of a resource 1")
        self.fail("the failure")
    def test_2(self):
        put(self.db.engine, 1, "of the test that passes")
    def test_3(self):
        put(self.db.engine, 1, "of a resource 2")
        self.fail("the failure")

def load_tests(loader, tests, pattern):
    return testresources.OptimisingTestSuite(tests) if os.environ.get("TOGETHER") else tests
"""

LAYERS = """
from protean_testing.runners.layers import DatabaseLayer

class BaseLayer(DatabaseLayer):
    stores = [SQLAlchemyStore(Base.metadata, name="base")]
    @classmethod
    def setUp(cls):
        super().setUp()
        put(cls.db.engine, 1, "of the layer itself")

class ShopLayer(BaseLayer):
    stores = [SQLAlchemyStore(Base.metadata, name="shop", url="sqlite:///shop_test.db")]

class BaseTests(unittest.TestCase):
    layer = BaseLayer
    def test_1(self):
        put(BaseLayer.db.engine, 2, "of layer 1")
        self.fail("the failure")

class ShopTests(unittest.TestCase):
    layer = ShopLayer
    def test_1(self):
        put(ShopLayer.db.engine, 2, "of layer 2")
        put(BaseLayer.db.engine, 2, "of a base layer")
        raise ValueError("the failure")
    def test_2(self):
        put(ShopLayer.db.engine, 2, "of the test that passes")
"""


class FailureTests(SuiteTestCase):
    """A test that fails says what it had written, whichever runner prints it."""

    def setUp(self) -> None:
        super().setUp()
        self.write("test_failing.py", FAILING, before=HEAD)

    def check(self, outcome: Outcome, *, said: tuple[str, ...] = SAID) -> None:
        printed = outcome.out + outcome.err
        self.assertNotEqual(outcome.code, 0, printed)
        for text in said:
            self.assertIn(f"'name': '{text}'", printed)
        for text in NOT_SAID:
            self.assertNotIn(f"'name': '{text}'", printed)
        self.assertIn("the failure", printed)

    def test_unittest(self) -> None:
        for test_db in ("memory", "postgresql"):
            with self.subTest(test_db):
                outcome = self.unittest("test_failing", TEST_DB=test_db)
                self.check(outcome)
                self.assertIn(
                    "AssertionError: 1 != 2 : the failure\n"
                    "protean_testing: test_failing.FailingTests.test_fails had committed, when it failed:\n"
                    "  table \"item\": 1 inserted\n    + {'id': 2, 'name': 'of test_fails'}\n",
                    outcome.err,
                )
                self.assertEqual(outcome.err.count("protean_testing:"), 5)
        self.check(self.unittest("-b", "test_failing"))

    def test_pytest_and_its_workers(self) -> None:
        for arguments in ((), ("-n", "2"), ("--tb=short",)):
            with self.subTest(arguments):
                self.check(
                    self.python("-m", "pytest", "-p", "no:cacheprovider", *arguments, "test_failing.py")
                )

    def test_nose2(self) -> None:
        self.write("unittest.cfg", "[unittest]\nplugins = protean_testing.runners.nose2\n")
        self.check(self.python("-m", "nose2", "test_failing"))

    def test_stestr(self) -> None:
        self.write(".stestr.conf", "[DEFAULT]\ntest_path=.\n")
        self.check(self.python(str(Path(sys.executable).parent / "stestr"), "run"))

    def test_zope(self) -> None:
        program = str(Path(sys.executable).parent / "zope-testrunner")
        self.check(self.python(program, "--path", ".", "--tests-pattern", "^test_failing"))

    def test_trial_and_its_workers(self) -> None:
        self.write(
            "test_deferred.py",
            """
            from test_failing import *
            from twisted.internet import defer
            from twisted.trial import unittest as trial
            for one in ("FailingTests", "SetUpTests", "AsyncTests", "DecoratedTests"): del globals()[one]

            class DeferredTests(DatabaseTestCase, trial.TestCase):
                metadata = Base.metadata
                def test_deferred(self):
                    put(self.engine, 9, "of the deferred test")
                    return defer.fail(ValueError("deferred"))
            """,
        )
        trial = ("-m", "twisted.trial", "--temp-directory", "work")
        self.check(self.python(*trial, "test_failing", "test_deferred"), said=(*SAID, "of the deferred test"))
        without = tuple(text for text in SAID if text != "of a subtest")  # its workers do not report subtests
        outcome = self.python(*trial, "-j", "2", "test_failing", "test_deferred")
        self.check(outcome, said=(*without, "of the deferred test"))

    def test_testtools(self) -> None:
        self.write(
            "test_tools.py",
            """
            import testtools
            from test_failing import *
            for one in ("FailingTests", "SetUpTests", "AsyncTests", "DecoratedTests"): del globals()[one]

            class ToolsTests(DatabaseTestCase, testtools.TestCase):
                metadata = Base.metadata
                def test_tools(self):
                    put(self.engine, 9, "of testtools")
                    self.fail("the failure")
                def test_tools_too(self):
                    put(self.engine, 9, "of the next one")
                    self.fail("the failure")
            """,
        )
        for runner in ("testtools.run", "unittest"):
            with self.subTest(runner):
                outcome = self.python("-m", runner, "test_tools")
                self.check(outcome, said=("of testtools", "of the next one"))

    def test_what_a_test_enters(self) -> None:
        self.write("test_entered.py", ENTERED, before=HEAD)
        entered = ("of a context", "of a fixture", "of a decorated", "of a resource 1", "of a resource 2")
        for runner in (("unittest",), ("testtools.run",), ("pytest", "-p", "no:cacheprovider")):
            with self.subTest(runner):
                module = "test_entered.py" if runner[0] == "pytest" else "test_entered"
                outcome = self.python("-m", *runner, module)
                self.check(outcome, said=entered)
                said = outcome.out + outcome.err
                self.assertEqual(said.count("had committed, when it failed"), len(entered), said)
                self.assertEqual(said.count("had committed nothing when it failed"), 1, said)
        outcome = self.python("-m", "unittest", "test_entered", TOGETHER="1")
        self.check(outcome, said=entered)
        self.write(".stestr.conf", "[DEFAULT]\ntest_path=.\n")
        program = str(Path(sys.executable).parent / "stestr")
        self.check(self.python(program, "run", "--concurrency", "2", "test_entered"), said=entered)

    def test_layers(self) -> None:
        self.write("test_layers.py", LAYERS, before=HEAD)
        self.write(
            "unittest.cfg",
            "[unittest]\nplugins = protean_testing.runners.nose2\n  nose2.plugins.layers\n",
        )
        zope = str(Path(sys.executable).parent / "zope-testrunner")
        for runner in (
            (zope, "--path", ".", "--tests-pattern", "^test_layers"),
            ("-m", "nose2", "test_layers"),
        ):
            with self.subTest(runner):
                outcome = self.python(*runner)
                self.check(outcome, said=("of layer 1", "of layer 2", "of a base layer"))
                said = outcome.out + outcome.err
                self.assertNotIn("of the layer itself", said)
                self.assertEqual(said.count("had committed, when it failed"), 3, said)

    def test_django(self) -> None:
        shutil.copytree(ROOT / "docs" / "project", self.directory, dirs_exist_ok=True)
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": "books.db"}
        self.write(
            "settings.py", f"from bookshop.settings import *\nDATABASES = {{'default': {database!r}}}\n"
        )
        self.write(
            "test_books.py",
            """
            from bookshop.models import Book
            from protean_testing.django import DjangoTestCase

            class BookTests(DjangoTestCase):
                def test_fails(self):
                    Book.objects.create(title="of Django")
                    self.fail("the failure")
                def test_fails_too(self):
                    Book.objects.create(title="of Django too")
                    self.fail("the failure")
            class MoreTests(BookTests): pass
            """,
        )
        for arguments in ((), ("--parallel", "2")):
            with self.subTest(arguments):
                django = ("-m", "django", "test", "--settings", "settings", *arguments)
                outcome = self.python(*django, "test_books")
                self.assertNotEqual(outcome.code, 0)
                self.assertIn("'title': 'of Django'", outcome.err + outcome.out)
                self.assertIn("'title': 'of Django too'", outcome.err + outcome.out)

    def test_blocks_and_fixtures(self) -> None:
        self.write("test_blocks.py", BLOCKS, before=HEAD)
        said = self.unittest("test_blocks").err
        for number in (1, 2):
            self.assertIn(f"'name': 'in scope {number}'", said)
        self.assertIn("'name': 'before tearDown'", said)
        self.assertIn("protean_testing: test_blocks.BlockTests.test_scope had committed nothing when", said)
        self.write(
            "conftest.py",
            """
            from test_failing import Base
            from protean_testing.runners.pytest import database_fixture
            db = database_fixture(Base.metadata)
            shared = database_fixture(Base.metadata, scope="module")
            """,
        )
        self.write(
            "test_functions.py",
            """
            import pytest
            from test_failing import Base, put, test_database, uses_database

            @pytest.fixture
            def client(shared, db):
                put(db.engine, 1, "of a fixture")
                return db

            @pytest.fixture
            def broken(db):
                put(db.engine, 2, "of a broken fixture")
                raise RuntimeError

            def test_fixture(client):
                put(client.engine, 3, "of a function")
                assert client.written().counts() == {"item": 2}
                assert False

            def test_broken(broken): pass

            def test_skipped(db):
                put(db.engine, 4, "of what is skipped")
                pytest.skip("for now")

            @uses_database(Base.metadata)
            def test_decorated(db):
                put(db.engine, 5, "of a decorated function")
                pytest.fail("the failure")

            def test_block():
                with test_database(Base.metadata) as db:
                    put(db.engine, 6, "of a block")
                    raise KeyError("the failure")
            """,
        )
        outcome = self.python("-m", "pytest", "-p", "no:cacheprovider", "test_functions.py", CI="true")
        fixtures = (
            "of a fixture",
            "of a function",
            "of a broken fixture",
            "of a decorated function",
            "of a block",
        )
        self.check(outcome, said=fixtures)
        self.assertEqual(outcome.out.count("protean_testing: test_functions.py::test_fixture had"), 1)

    def test_it_can_be_off(self) -> None:
        outcome = self.unittest("test_failing", PROTEAN_TESTING_SHOW_WRITES="0")
        self.assertFailed(outcome, "the failure")
        self.assertNotIn("protean_testing:", outcome.err)
        self.write("pyproject.toml", "[tool.protean_testing]\nshow_writes = false\n")
        self.assertNotIn("protean_testing:", self.unittest("test_failing").err)
        self.check(self.unittest("test_failing", PROTEAN_TESTING_SHOW_WRITES="1"))

    def test_a_test_that_passes_asks_nothing(self) -> None:
        self.write(
            "test_asked.py",
            """
            import os
            class Asked(Store):
                def log(self, what):
                    with open(os.environ["LOG"], "a") as log: print(what, file=log)
                def save_data(self):
                    self.log("save")
                    return 1
                def reset_data(self, snapshot): return False
                def written_since(self, snapshot):
                    self.log("look")
                    return []
            class AskedTests(DatabaseTestCase):
                stores = [Asked()]
                def test_1(self): pass
                def test_2(self):
                    with self.subTest("passes"): pass
                def test_3(self):
                    with self.assertRaises(KeyError): raise KeyError
                def test_many(self):
                    for number in range(int(os.environ.get("FAIL", 0))):
                        with self.subTest(number): self.fail("again")
            """,
            before=HEAD,
        )
        passed = self.unittest("test_asked")
        self.assertPassed(passed, 4)
        self.assertEqual((passed.count("save"), passed.count("look")), (3, 0))
        self.assertEqual(self.unittest("test_asked", FAIL="3").count("look"), 3)
        self.assertEqual(self.unittest("test_asked", FAIL="50").count("look"), 10)

    def test_secrets_and_length(self) -> None:
        self.write(
            "test_secrets.py",
            """
            class SecretTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_all(self):
                    with Session(self.engine) as session:
                        session.add(Order(id=1, password="hunter2", customer="postgresql://ann:geheim@host/db token=t-123",
                                          doc={"user": {"api_key": "k-123", "name": "shown"}}))
                        session.add_all(Item(id=n, name="n" * 2000) for n in range(1, 500))
                        session.commit()
                    self.fail("the failure")
            """,
            before=HEAD,
        )
        for test_db in ("memory", "postgresql"):
            with self.subTest(test_db):
                said = self.unittest("test_secrets", TEST_DB=test_db).err
                for secret in ("hunter2", "geheim", "t-123", "k-123"):
                    self.assertNotIn(secret, said)
                for shown in ("'password': ***", "shown", "the failure", "... and 494 more"):
                    self.assertIn(shown, said)
                self.assertLess(len(said), 4000)

    def test_a_server_that_is_gone(self) -> None:
        self.write(
            "test_gone.py",
            """
            import signal, time
            class GoneTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, url=os.environ["AT"]), RedisStore(os.environ["REDIS_AT"], wait=1)]
                def test_1(self):
                    put(self.engine, 1)
                    self.db.store("redis").client.set("a", "b")
                    with self.engine.connect() as connection:
                        directory = connection.execute(text("SHOW data_directory")).scalar()
                    pid = Path(directory, "postmaster.pid").read_text().split()[0]
                    for one in (pid, self.db.store("redis").client.info()["process_id"]):
                        os.kill(int(one), signal.SIGKILL)
                    time.sleep(0.5)
                    self.fail("the failure")
            """,
            before=HEAD,
        )
        server, redis = start_postgresql(), start_redis()
        self.addCleanup(server.stop)
        self.addCleanup(redis.stop)
        outcome = self.unittest("test_gone", AT=server.url("shop_test"), REDIS_AT=redis.url(1))
        self.assertFailed(
            outcome, "AssertionError: the failure\nprotean_testing: test_gone.GoneTests.test_1 had"
        )
        self.assertIn("is lost, as was found after test_gone.GoneTests.test_1", outcome.err)
        self.assertIn("  not known: ", outcome.err)
        self.assertIn("Ran 1 test", outcome.err)
