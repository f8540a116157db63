"""Ten async tests."""

import asyncio

import shop
from protean_testing import AsyncDatabaseTestCase


class AsyncTests(AsyncDatabaseTestCase):
    stores = shop.STORES

    async def asyncSetUp(self):
        await super().asyncSetUp()
        shop.began(self)

    async def order(self):
        self.assertEqual(shop.orders(self.db), (0, 0, 0))
        self.assertEqual(await asyncio.to_thread(shop.order, self.db), 1)
        async with self.db.async_session() as session:
            self.assertEqual((await session.get(shop.Order, 1)).customer, "Ann")

    test_01 = test_02 = test_03 = test_04 = test_05 = order
    test_06 = test_07 = test_08 = test_09 = test_10 = order
