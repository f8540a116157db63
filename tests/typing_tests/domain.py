"""What the faces for a Protean domain give, as a type checker sees it."""

from __future__ import annotations

import unittest
from typing import Any, assert_type

from protean import Domain

from protean_testing import Database
from protean_testing.domain import (
    AsyncDomainTestCase,
    DomainTestCase,
    drain,
    drain_async,
    published,
    query_count,
    test_domain,
    uses_domain,
)

shop = Domain(name="Shop")


class Placed:
    customer: str


class OrderTests(DomainTestCase):
    domain = shop
    config = {"databases": {"default": {"provider": "postgresql"}}}
    on_leak = "fail"
    verify = True

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        assert_type(cls.db, Database)

    def test_helpers(self) -> None:
        assert_type(self.db.reset(), bool)
        assert_type(self.drain(), int)
        assert_type(self.drain(until=lambda: True, max_cycles=2), int)
        assert_type(self.published("orders"), list[dict[str, Any]])
        assert_type(self.assertEventRaised(Placed, customer="c1"), Placed)
        assert_type(self.assertPublished("orders", name="a"), dict[str, Any])
        self.assertStream("orders", [Placed])
        with self.assertQueryCount(1) as queries:
            assert_type(queries, list[str])


class AsyncOrderTests(AsyncDomainTestCase):
    domain = shop
    traverse = False

    async def test_helpers(self) -> None:
        assert_type(await drain_async(), None)
        async with self.db.scope() as inner:
            assert_type(inner, Database)


with test_domain(shop, config={}, traverse=False, on_leak="reset", verify=True) as db:
    assert_type(db, Database)
    assert_type(drain(domain=shop), int)
    assert_type(published("orders", "default", domain=shop), list[dict[str, Any]])
    with query_count(2) as queries:
        assert_type(queries, list[str])


@uses_domain(shop, on_leak="warn")
def test_function(db: Database, number: int) -> str:
    return str(number)


@uses_domain(shop)
class DecoratedTests(unittest.TestCase):
    db: Database

    def test_it(self) -> None:
        assert_type(self.db, Database)


assert_type(DecoratedTests("test_it").db, Database)
