"""What can be left in and around a SQL database."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from typing import Any

import psycopg
from sqlalchemy import Column, Integer, MetaData, String, Table, text
from sqlalchemy.orm import Session

from protean_testing import AsyncDatabaseTestCase, DatabaseTestCase, SQLAlchemyStore
from protean_testing.servers.postgresql import private_postgresql

from . import KEPT, Leaking, go_on, leaves

metadata = MetaData()
orders = Table("orders", metadata, Column("id", Integer, primary_key=True), Column("customer", String))
ORDER = orders.insert().values(customer="Ann")
INSERT = "INSERT INTO orders (customer) VALUES ('Ann')"


def store(url: str | None = None, *, verify: bool = False) -> SQLAlchemyStore:
    return SQLAlchemyStore(metadata, url=url, name="shop", on_leak="fail", wait=0.3, verify=verify)


class Tables(Leaking):
    engine: Any

    def held(self) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(orders.select().order_by("id")))

    def place(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(ORDER)

    def connect(self) -> Any:
        KEPT.append(self.engine.connect())
        return KEPT[-1]


class MemoryLeaks(Tables, DatabaseTestCase):
    stores = [store()]

    def sqlite3(self) -> sqlite3.Connection:
        where = self.engine.url.database
        KEPT.append(sqlite3.connect(f"{where}?vfs=memdb", uri=True, isolation_level=None))
        return KEPT[-1]  # type: ignore[no-any-return]

    @leaves("'shop'", 'a transaction (table "orders": 1 more)', "tables.py")
    def test_rows_of_a_connection(self) -> None:
        self.connect().execute(ORDER)

    @leaves("'shop'", 'a transaction (table "orders": 2 more)', "tables.py")
    def test_rows_of_a_session(self) -> None:
        session = Session(self.engine)
        session.execute(ORDER)
        session.execute(ORDER)
        KEPT.append(session)

    @leaves("'shop'", "a connection, taken at", "tables.py")
    def test_a_connection(self) -> None:
        self.connect()

    @leaves("'shop'", 'a transaction (table "orders": 1 more)')
    def test_rows_of_another_driver_connection(self) -> None:
        connection = self.sqlite3()
        connection.execute("BEGIN")
        connection.execute(INSERT)

    @leaves("'shop'", "a result that was not read to its end")
    def test_a_result(self) -> None:
        self.place()
        self.place()
        KEPT.append(self.sqlite3().execute("SELECT * FROM orders"))
        KEPT[-1].fetchone()

    @leaves("'shop'", "thread 'worker' running, which wrote", 'table "orders": ')
    def test_a_thread(self) -> None:
        go_on(self.place)


class FileLeaks(Tables, DatabaseTestCase):
    directory = tempfile.TemporaryDirectory(prefix="leaks_")
    stores = [store(f"sqlite:///{directory.name}/file_test.db")]

    @leaves("'shop'", "a transaction")
    def test_a_lock(self) -> None:
        KEPT.append(sqlite3.connect(self.engine.url.database, isolation_level=None))
        KEPT[-1].execute("BEGIN IMMEDIATE")

    @leaves("'shop'", 'a transaction (definition of "mine": 1 more')
    def test_a_table(self) -> None:
        KEPT.append(sqlite3.connect(self.engine.url.database, isolation_level=None))
        KEPT[-1].execute("BEGIN")
        KEPT[-1].execute("CREATE TABLE mine (a)")


class AsyncFileLeaks(Tables, AsyncDatabaseTestCase):
    directory = tempfile.TemporaryDirectory(prefix="leaks_")
    stores = [store(f"sqlite:///{directory.name}/async_test.db")]

    @leaves("'shop'", "a transaction")
    async def test_rows_of_an_async_connection(self) -> None:
        connection = await self.db.async_engine.connect()
        KEPT.append(connection)
        await connection.execute(ORDER)

    @leaves("task ", "test_a_task.<locals>.forever", "shop")
    async def test_a_task(self) -> None:
        async def forever() -> None:
            while True:
                async with self.db.async_engine.begin() as connection:
                    await connection.execute(ORDER)
                await asyncio.sleep(0.01)

        KEPT.append(asyncio.create_task(forever()))
        await asyncio.sleep(0.05)


class PostgreSQLLeaks(Tables, DatabaseTestCase):
    stores = [store(private_postgresql().create_database("leaks_test"))]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        with cls.engine.begin() as connection:
            connection.execute(ORDER)
        cls.before = cls.held(cls)  # type: ignore[arg-type]

    def begin(self) -> Any:
        KEPT.append(psycopg.connect(self.db.libpq_url))
        return KEPT[-1]

    @leaves("'shop'", "idle in transaction", "on orders", "INSERT INTO orders", "taken at", "tables.py")
    def test_rows(self) -> None:
        self.connect().execute(ORDER)

    @leaves("'shop'", "idle in transaction", "on orders", "FOR UPDATE")
    def test_locked_rows(self) -> None:
        self.place()
        self.begin().execute("SELECT * FROM orders FOR UPDATE")

    @leaves("'shop'", "prepared transaction 'two phases'", "on orders")
    def test_a_prepared_transaction(self) -> None:
        connection = self.begin()
        connection.execute(INSERT)
        connection.execute("PREPARE TRANSACTION 'two phases'")

    @leaves("'shop'", "thread 'worker' running, which wrote", 'table "orders": ')
    def test_a_thread(self) -> None:
        go_on(self.place)


class AsyncPostgreSQLLeaks(Tables, AsyncDatabaseTestCase):
    stores = [store(private_postgresql().create_database("async_leaks_test"))]

    @leaves("'shop'", "idle in transaction", "on orders", "UPDATE orders")
    async def test_an_async_connection(self) -> None:
        connection = await self.db.async_engine.connect()
        KEPT.append(connection)
        await connection.execute(orders.update().values(customer="Bob"))


class ParanoidPostgreSQLLeaks(Tables, DatabaseTestCase):
    """What a reset does not look at."""

    stores = [store(private_postgresql().create_database("paranoid_leaks_test"), verify=True)]

    @leaves("'shop'", "open transaction of pid ", "on orders: 1 more")
    def test_a_locked_table(self) -> None:
        KEPT.append(psycopg.connect(self.db.libpq_url))
        KEPT[-1].execute("LOCK TABLE orders IN SHARE MODE")

    def run_sql(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    @leaves("'shop'", "session with an advisory lock pid ", "1 more")
    def test_an_advisory_lock(self) -> None:
        self.run_sql("SELECT pg_advisory_lock(7)")

    @leaves("'shop'", "session with an advisory lock pid ", "1 more")
    def test_an_advisory_lock_of_a_transaction(self) -> None:
        KEPT.append(psycopg.connect(self.db.libpq_url))
        KEPT[-1].execute("SELECT pg_advisory_xact_lock(8)")

    @leaves("'shop'", "setting of the database work_mem=5MB: 1 more")
    def test_a_setting(self) -> None:
        self.run_sql("ALTER DATABASE paranoid_leaks_test SET work_mem = '5MB'")
