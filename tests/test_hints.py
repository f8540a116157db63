"""What a suite does to its own harm is warned of: the class or the table is named, and the line to change."""

from __future__ import annotations

import re
import sqlite3
import unittest

from .suite import MODELS, SuiteTestCase

DOMAIN = """
import os
from protean import Domain
from protean.fields import String
os.environ["PROTEAN_NO_AUTO_LOGGING"] = "1"
shop = Domain(root_path=__file__, name="Shop", config={
    "databases": {
        "default": {"provider": "sqlite", "database_uri": "sqlite:///shop_test.db"},
        "memory": {"provider": "memory"},
    },
})
@shop.event(part_of="Item")
class Added:
    name = String()
@shop.aggregate
class Item:
    name = String(max_length=50)
    @classmethod
    def add(cls, name):
        item = cls(name=name)
        item.raise_(Added(name=name))
        return item
"""


class SchemaPerTestTests(SuiteTestCase):
    def run_class(self, body: str, **variables: str) -> str:
        self.write("test_a.py", f"class OrderTests(DatabaseTestCase):\n{body}", before=MODELS)
        outcome = self.unittest("test_a", **variables)
        self.assertEqual(outcome.code, 0, outcome.err)
        return outcome.err

    def test_in_set_up_and_tear_down(self) -> None:
        said = self.run_class(
            """
            metadata = Base.metadata
            def setUp(self):
                super().setUp()
                Base.metadata.create_all(self.engine)
            def tearDown(self):
                Base.metadata.drop_all(self.engine)
                super().tearDown()
            def check(self): self.assertEqual(place(self.engine), 1)
            test_1 = test_2 = check
            """
        )
        self.assertEqual(said.count("SchemaPerTestWarning: "), 1, said)
        self.assertRegex(
            said,
            r"test_a.py:\d+: SchemaPerTestWarning: test_a.OrderTests makes or drops its schema in every "
            r"test \(setUp, .*test_a.py:\d+\). Store 'database' has made it once for the run",
        )

    def test_in_a_cleanup_by_an_engine_of_its_own(self) -> None:
        said = self.run_class(
            """
            metadata = Base.metadata
            def setUp(self):
                super().setUp()
                from sqlalchemy import create_engine
                own = create_engine(self.database_url)
                self.addCleanup(own.dispose)
                self.addCleanup(Base.metadata.drop_all, own)
            def test_1(self): place(self.engine)
            """,
            TEST_DB="postgresql",
        )
        self.assertIn("SchemaPerTestWarning: test_a.OrderTests makes or drops its schema", said)
        self.assertIn("a cleanup", said)

    def test_async(self) -> None:
        self.write(
            "test_a.py",
            """
            class OrderTests(AsyncDatabaseTestCase):
                metadata = Base.metadata
                def setUp(self):
                    super().setUp()
                    Base.metadata.create_all(self.engine)
                async def test_1(self): place(self.engine)
            """,
            before=MODELS,
        )
        self.assertIn("SchemaPerTestWarning: test_a.OrderTests", self.unittest("test_a").err)

    def test_what_is_no_such_thing(self) -> None:
        said = self.run_class(
            """
            stores = [SQLAlchemyStore(Base.metadata, name="shop"), SQLAlchemyStore(empty=True, name="empty")]
            @classmethod
            def setUpClass(cls):
                super().setUpClass()
                Base.metadata.create_all(cls.db.store("shop").engine)
            def setUp(self):
                super().setUp()
                Base.metadata.create_all(self.db.store("empty").engine)  # a test of migrations
                with self.db.scope(): pass
            def test_1(self):
                Base.metadata.drop_all(self.db.store("shop").engine)     # what a test does is its own affair
            """
        )
        self.assertNotIn("SchemaPerTestWarning", said)

    def test_made_anew_for_other_objects(self) -> None:
        self.write(
            "test_a.py",
            """
            import os, unittest
            os.environ["PROTEAN_NO_AUTO_LOGGING"] = "1"
            from protean import Domain
            from protean.fields import String
            from sqlalchemy import Column, Integer, MetaData, Table
            from protean_testing import SQLAlchemyStore, end_run, test_database
            from protean_testing.domain import test_domain

            config = {"databases": {"default": {"provider": "sqlite"}}}

            def shop():
                made = Domain(root_path=__file__, name="Shop", config={})
                made.aggregate(type("Item", (), {"__annotations__": {}, "name": String(max_length=50)}))
                return made

            def tables(name):
                made = MetaData()
                Table(name, made, Column("id", Integer, primary_key=True))
                return made

            class OrderTests(unittest.TestCase):
                def test_metadata(self):
                    for _ in range(7):
                        with test_database(SQLAlchemyStore(tables("items"))): pass          # A
                def test_domain(self):
                    for _ in range(7):
                        with test_domain(shop(), config=config): pass                        # B
                def test_others(self):
                    for number in range(7):
                        with test_database(SQLAlchemyStore(tables(f"items_{number}"))): pass
                def test_one(self):
                    made = tables("others")
                    for number in range(7):
                        store = SQLAlchemyStore(made, url=f"sqlite:///others_{number}_test.db")
                        with test_database(store): pass
                        end_run()
            """,
        )
        said = self.unittest("test_a").err
        lines = [line for line in said.splitlines() if "SchemaPerTestWarning" in line]
        self.assertEqual(len(lines), 2, said)
        source = (self.directory / "test_a.py").read_text().splitlines()
        for line, mark, what in zip(sorted(lines), "AB", ("MetaData", "domain"), strict=True):
            found = re.search(r"test_a.py:(\d+): .*for the 5th time, each time for another (\w+)", line)
            assert found is not None, said
            self.assertEqual(found[2], what)
            self.assertTrue(source[int(found[1]) - 1].endswith(f"# {mark}"), line)

    def test_by_a_domains_own_calls(self) -> None:
        self.write("shop.py", DOMAIN)
        self.write(
            "test_a.py",
            """
            from shop import shop, Item
            from protean_testing.domain import DomainTestCase
            class ItemTests(DomainTestCase):
                domain = shop
                traverse = False
                def setUp(self):
                    super().setUp()
                    shop.providers["default"]._create_database_artifacts()
                def tearDown(self):
                    shop.providers["default"]._drop_database_artifacts()
                    super().tearDown()
                def check(self):
                    items = shop.repository_for(Item)
                    self.assertEqual(items.query.all().total, 0)
                    items.add(Item(name="a"))
                test_1 = test_2 = check
            """,
        )
        for test_db in ({}, {"TEST_DB": "postgresql"}):
            with self.subTest(**test_db):
                outcome = self.unittest("test_a", **test_db)
                self.assertPassed(outcome, 2)
                self.assertRegex(
                    outcome.err,
                    r"SchemaPerTestWarning: test_a.ItemTests makes or drops its schema in every test "
                    r"\(setUp, .*test_a.py:\d+\). Store 'default'",
                )


class StaleTableTests(SuiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        with sqlite3.connect(self.directory / "shop_test.db") as connection:
            connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, client TEXT)")
            connection.execute("CREATE TABLE item (name TEXT)")

    def test_an_adopted_database(self) -> None:
        self.write(
            "test_a.py",
            """
            class OrderTests(DatabaseTestCase):
                stores = [
                    SQLAlchemyStore(Base.metadata, adopt=True, name="shop", url="sqlite:///shop_test.db")
                ]
                def test_1(self):
                    with self.engine.begin() as connection:
                        connection.execute(text("INSERT INTO orders (client) VALUES ('a')"))
                def test_2(self):
                    with self.engine.begin() as connection:
                        self.assertEqual(connection.scalar(text("SELECT count(*) FROM orders")), 0)
            """,
            before=MODELS,
        )
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 2)
        self.assertIn(
            "StaleTableWarning: the database of store 'shop', which this run did not make, is stale:\n"
            "  table 'orders' lacks 'customer' and has 'client'\n  table 'items' is not there\nMigrate it",
            outcome.err,
        )
        with sqlite3.connect(self.directory / "shop_test.db") as connection:
            self.assertEqual(connection.execute("SELECT * FROM orders").fetchall(), [])

    def test_a_database_that_is_not_managed(self) -> None:
        self.write("shop.py", DOMAIN.replace('"database_uri"', '"managed": False, "database_uri"'))
        self.write(
            "test_a.py",
            """
            from shop import shop
            from protean_testing.domain import DomainTestCase
            class ItemTests(DomainTestCase):
                domain = shop
                traverse = False
                def test_1(self): pass
            """,
        )
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 1)
        self.assertIn(
            "StaleTableWarning: the database of store 'default (not managed)', which this run did not make, "
            "is stale:\n  table 'item' lacks ",
            outcome.err,
        )

    def test_a_table_that_fits(self) -> None:
        with sqlite3.connect(self.directory / "shop_test.db") as connection:
            connection.execute("DROP TABLE orders")
            connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer VARCHAR)")
            connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER)")
        self.write(
            "test_a.py",
            """
            class OrderTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, adopt=True, url="sqlite:///shop_test.db")]
                def check(self): self.assertEqual(place(self.engine), 1)
                test_1 = test_2 = check
            """,
            before=MODELS,
        )
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 2)
        self.assertNotIn("StaleTableWarning", outcome.err)


class NeverResetTests(SuiteTestCase):
    SUITE = """
        from shop import shop, Item
        from protean_testing import *
        from protean_testing import RedisStore, SQLAlchemyStore
        shop.init(traverse=False)
        provider = shop.providers["default"]
        def schema():
            with shop.domain_context():
                shop.setup_database()
        class ItemTests(DatabaseTestCase):
            stores = [
                SQLAlchemyStore(schema=schema, engine=lambda: provider._engine, name="shop"),
                Hook(shop.domain_context),
                {more}
            ]
            def check(self):
                shop.repository_for(Item).add(Item.add("a"))
                shop.brokers["default"].publish("items", {{"name": "a"}})
                self.assertEqual(shop.repository_for(Item).query.all().total, 1)
            test_1 = test_2 = check
    """

    def test_a_domain_of_which_only_the_database_is_given_back(self) -> None:
        self.write("shop.py", DOMAIN)
        self.write("test_a.py", self.SUITE.format(more=""))
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 2)
        self.assertEqual(outcome.err.count("NeverResetWarning: "), 1, outcome.err)
        self.assertIn(
            "NeverResetWarning: test_a.ItemTests.test_1 works with the Protean domain 'Shop', whose database "
            "is given back, and not what it holds elsewhere: broker 'default' (inline), database 'memory' "
            "(memory). The next test finds it.\nTake DomainTestCase, with domain = shop",
            outcome.err,
        )

    def test_what_has_a_store_is_not_told(self) -> None:
        self.write("shop.py", DOMAIN)
        self.write(
            "test_a.py",
            self.SUITE.format(
                more="CallableStore(shop.brokers['default']._data_reset), "
                "CallableStore(shop.event_store.store._data_reset)"
            ),
        )
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 2)
        self.assertNotIn("NeverResetWarning", outcome.err)

    def test_a_redis_of_which_no_store_knows(self) -> None:
        self.write(
            "shop.py",
            DOMAIN.replace(
                "config={",
                'config={"caches": {"default": {"provider": "redis", "URI": os.environ["URI"], "TTL": 300}},',
            ),
        )
        from protean_testing.servers.redis import private_redis

        for more, told in (("", True), ("RedisStore(os.environ['URI'], unsafe=True)", False)):
            with self.subTest(more):
                self.write(
                    "test_a.py", "import os\n" + self.SUITE.format(more=more).replace("\n        ", "\n")
                )
                outcome = self.unittest("test_a", URI=private_redis().url(7))
                self.assertPassed(outcome, 2)
                self.assertEqual("cache 'default' (redis)" in outcome.err, told, outcome.err)


if __name__ == "__main__":
    unittest.main()
