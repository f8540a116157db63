"""What is decorated keeps its type."""

from __future__ import annotations

import unittest
from typing import assert_type

from sqlalchemy import MetaData

from protean_testing import Database, uses_database

metadata = MetaData()


@uses_database(metadata)
def test_plain() -> int:
    return 1


@uses_database(metadata)
class OrderTests(unittest.TestCase):
    db: Database

    def test_it(self) -> None:
        assert_type(self.db, Database)


class MethodTests(unittest.TestCase):
    @uses_database(metadata)
    def test_method(self, db: Database) -> None:
        assert_type(db, Database)


@uses_database(metadata)
async def test_asynchronous(number: int) -> str:
    return str(number)


async def main() -> None:
    assert_type(test_plain(), int)
    assert_type(await test_asynchronous(1), str)
    assert_type(OrderTests("test_it"), OrderTests)
