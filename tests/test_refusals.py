"""Bad input is refused with a clear error, before anything is touched, and without a password."""

from __future__ import annotations

import sqlite3

import psycopg
import redis

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql
from protean_testing.servers.redis import PrivateRedis, start_redis

from .suite import MODELS, Outcome, SuiteTestCase

SECRET = "hunter2secret"


class RefusalTests(SuiteTestCase):
    postgresql: PrivatePostgreSQL
    redis: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.postgresql, cls.redis = start_postgresql(tcp=True), start_redis()
        cls.addClassCleanup(cls.postgresql.stop)
        cls.addClassCleanup(cls.redis.stop)

    def assertRefused(self, store: str, *texts: str) -> Outcome:
        """A suite on `store` runs no test, and says each of `texts` and no password."""
        self.write(
            "test_a.py",
            f"""
            from protean_testing import RedisStore
            from sqlalchemy import MetaData, create_engine
            from sqlalchemy.ext.asyncio import create_async_engine
            class ShopTests(DatabaseTestCase):
                stores = [{store}]
                def test_1(self): self.fail("must not run")
            """,
            before=MODELS,
        )
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, *texts)
        self.assertEqual(outcome.ran, 0, outcome.err)
        self.assertNotIn(SECRET, outcome.out + outcome.err)
        return outcome

    def sql(self, database: str, *statements: str) -> list[tuple[object, ...]]:
        url = self.postgresql.url(database).replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def test_metadata_without_tables(self) -> None:
        self.assertRefused(
            "SQLAlchemyStore(MetaData())", "has no tables", "Are the modules with the models imported?"
        )

    def test_arguments_that_contradict_each_other(self) -> None:
        self.assertRefused("SQLAlchemyStore()", "takes one of metadata, schema=, adopt=True and empty=True")
        self.assertRefused("SQLAlchemyStore(Base.metadata, empty=True)", "takes one of metadata")
        self.assertRefused(
            "SQLAlchemyStore(Base.metadata, url='sqlite://', engine=create_engine('sqlite://'))",
            "takes one of url=, engine= and dialect=",
        )
        self.assertRefused("SQLAlchemyStore(Base.metadata, engine=lambda: 3)", "engine= must be an Engine")
        self.assertRefused(
            "SQLAlchemyStore(Base.metadata, engine=create_async_engine('sqlite+aiosqlite://'))",
            "has memory that nothing else can reach",
        )

    def test_an_unreadable_url(self) -> None:
        url = f"'//' + {SECRET[:4]!r} + {SECRET[4:]!r} + '@'"  # not whole in a traceback's own line of code
        self.assertRefused(f"SQLAlchemyStore(Base.metadata, url={url})", "a database URL cannot be read")

    def test_a_missing_driver(self) -> None:
        self.assertRefused(
            f"SQLAlchemyStore(Base.metadata, url='mssql+pyodbc://ann:{SECRET}@localhost/shop_test')",
            "needs a driver that is not installed",
        )

    def test_an_unreachable_server(self) -> None:
        self.assertRefused(
            f"SQLAlchemyStore(Base.metadata, name='shop', url='postgresql://ann:{SECRET}@127.0.0.1:1/shop_test')",
            "ConfigurationError",
            "'shop'",
        )
        self.assertRefused(f"RedisStore('redis://:{SECRET}@127.0.0.1:1/0')", "ConfigurationError", "'redis'")

    def test_a_wrong_password(self) -> None:
        right = self.postgresql.url("postgres")
        wrong = f"postgresql://postgres:{SECRET}@{right.rpartition('@')[2].rpartition('/')[0]}/shop_test"
        self.assertRefused(
            f"SQLAlchemyStore(Base.metadata, name='shop', url={wrong!r})", "ConfigurationError", "'shop'"
        )

    def test_a_database_that_is_no_test_database(self) -> None:
        url = self.postgresql.create_database("shop")
        self.sql("shop", "CREATE TABLE kept (id int)")
        outcome = self.assertRefused(
            f"SQLAlchemyStore(Base.metadata, name='shop store', url={url!r})",
            "UnsafeStoreError",
            "'shop store'",
            "unsafe=True",
        )
        self.assertNotIn(self.postgresql.url().partition("postgres:")[2].partition("@")[0], outcome.err)
        tables = self.sql("shop", "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        self.assertEqual(tables, [("kept",)])
        self.assertEqual(self.sql("shop", "SELECT FROM pg_namespace WHERE nspname = 'protean_testing'"), [])

    def test_tables_with_rows_that_we_did_not_make(self) -> None:
        url = self.postgresql.create_database("rows_test")
        self.sql("rows_test", "CREATE TABLE orders (id int)", "INSERT INTO orders VALUES (1)")
        self.assertRefused(
            f"SQLAlchemyStore(Base.metadata, url={url!r})",
            "UnsafeStoreError",
            "orders",
            "adopt=True",
            "unsafe=True",
        )
        self.assertEqual(self.sql("rows_test", "SELECT * FROM orders"), [(1,)])

    def test_a_stale_table_is_never_used(self) -> None:
        url = self.postgresql.create_database("stale_test")
        self.sql("stale_test", "CREATE TABLE orders (id int)")
        self.assertRefused(
            f"SQLAlchemyStore(Base.metadata, url={url!r})", "table public.orders (empty)", "adopt=True"
        )
        path = self.directory / "stale_test.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE orders (id int)")
            connection.execute("CREATE VIEW theirs AS SELECT id FROM orders")
        connection.close()
        content = path.read_bytes()
        self.assertRefused(
            f"SQLAlchemyStore(Base.metadata, url='sqlite:///{path}')",
            "UnsafeStoreError",
            "table orders (empty)",
            "adopt=True",
        )
        self.assertEqual(path.read_bytes(), content)

    def test_a_sqlite_file_that_is_no_test_database(self) -> None:
        path = self.directory / "contest.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE kept (id int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        connection.close()
        self.assertRefused(
            f"SQLAlchemyStore(Base.metadata, url='sqlite:///{path}')", "UnsafeStoreError", "unsafe=True"
        )
        with sqlite3.connect(path) as connection:
            self.assertEqual(connection.execute("SELECT * FROM kept").fetchall(), [(7,)])
        connection.close()

    def test_a_redis_database_with_foreign_keys(self) -> None:
        client = redis.Redis.from_url(self.redis.url(5))
        self.addCleanup(client.close)
        client.set("theirs", "kept")
        self.assertRefused(
            f"RedisStore({self.redis.url(5)!r}, name='outbox')",
            "UnsafeStoreError",
            "'outbox'",
            "theirs",
            "adopt=True",
        )
        self.assertEqual(client.keys(), [b"theirs"])

    def test_one_refused_store_leaves_the_others_untouched(self) -> None:
        url = self.postgresql.create_database("untouched_test")
        self.assertRefused(
            f"SQLAlchemyStore(Base.metadata, url={url!r}), RedisStore('redis://127.0.0.1:1/0')", "redis"
        )
        self.assertEqual(
            self.sql("untouched_test", "SELECT FROM pg_namespace WHERE nspname = 'protean_testing'"), []
        )

    def test_two_schemas_in_one_database(self) -> None:
        url = f"sqlite:///{self.directory}/shared_test.db"
        self.write(
            "test_a.py",
            f"""
            from sqlalchemy import Column, Integer, MetaData, Table
            other, clash = MetaData(), MetaData()
            visits = Table("visits", other, Column("id", Integer, primary_key=True))
            Table("orders", clash, Column("id", Integer, primary_key=True))
            class AShopTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, url="{url}")]
                def test_1(self):
                    self.assertEqual(place(self.engine), 1)
                    with test_database(SQLAlchemyStore(other, url="{url}")) as db:
                        with db.session() as session:
                            session.execute(visits.insert())
                            session.commit()
                        self.assertEqual(customers(self.engine), ["c"])
                    self.assertEqual(place(self.engine), 2)
                def test_2(self):
                    with self.session() as session:
                        self.assertEqual(session.execute(select(visits)).all(), [])
                    self.assertEqual(place(self.engine), 1)
            class BVisitTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(other, url="{url}")]
                def check(self):
                    with self.session() as session:
                        self.assertEqual(session.execute(select(visits)).all(), [])
                        session.execute(visits.insert())
                        session.commit()
                test_3 = test_4 = check
            class CClashTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(clash, url="{url}")]
                def test_5(self): pass
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a.AShopTests", "test_a.BVisitTests"), 4)
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, 'both have table "orders"', "AShopTests", "CClashTests", "errors=1")
