"""What the base classes give, as a type checker sees it."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import assert_type

from sqlalchemy import Engine, Integer
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from protean_testing import (
    AsyncDatabaseTestCase,
    CallableStore,
    Database,
    DatabaseTestCase,
    Hook,
    SQLAlchemyStore,
)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "order"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


class Mixin:
    def helper(self) -> int:
        return 1


class OrderTests(Mixin, DatabaseTestCase):
    metadata = Base.metadata

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        assert_type(cls.db, Database)
        assert_type(cls.database_url, str)
        assert_type(cls.engine, Engine)
        assert_type(cls.session(), Session)

    def setUp(self) -> None:
        super().setUp()

    def test_handles(self) -> None:
        assert_type(self.db, Database)
        assert_type(self.db.url, str)
        assert_type(self.db.libpq_url, str)
        assert_type(self.db.async_url, str)
        assert_type(self.db.engine, Engine)
        assert_type(self.db.reset(), bool)
        assert_type(self.engine, Engine)
        assert_type(self.session, Callable[..., Session])
        with self.db.session() as session:
            assert_type(session, Session)
            assert_type(session.get(Order, 1), Order | None)
        with self.db.scope() as inner:
            assert_type(inner, Database)


class StoresTests(DatabaseTestCase):
    stores = [
        SQLAlchemyStore(Base.metadata, name="orders"),
        CallableStore({}),
        Hook(unittest.TestCase().subTest),
    ]


class SeveralMetadataTests(DatabaseTestCase):
    metadata = [Base.metadata, Base.metadata]


class AsyncTests(AsyncDatabaseTestCase):
    metadata = Base.metadata

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()

    async def test_handles(self) -> None:
        assert_type(self.db.async_engine, AsyncEngine)
        async with self.db.async_session() as session:
            assert_type(session, AsyncSession)
        async with self.db.scope() as inner:
            assert_type(inner, Database)
        assert_type(self.session(), Session)
