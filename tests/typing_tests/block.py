"""What the block gives, as a type checker sees it."""

from __future__ import annotations

import unittest
from typing import assert_type

from sqlalchemy import MetaData
from sqlalchemy.orm import Session

from protean_testing import CallableStore, Database, test_database

metadata = MetaData()

with test_database(metadata) as db:
    assert_type(db, Database)
    assert_type(db.session(), Session)

with test_database(metadata, CallableStore({"a": 1}.clear, name="cache"), drop=True) as db:
    assert_type(db.reset(), bool)

with test_database() as db:
    assert_type(db.url, str)


async def asynchronous() -> None:
    async with test_database(metadata) as db:
        assert_type(db, Database)


class LegacyTests(unittest.TestCase):
    db: Database

    @classmethod
    def setUpClass(cls) -> None:
        cls.db = cls.enterClassContext(test_database(metadata))

    def setUp(self) -> None:
        assert_type(self.enterContext(self.db.scope()), Database)


class AsyncLegacyTests(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        assert_type(await self.enterAsyncContext(test_database(metadata)), Database)
