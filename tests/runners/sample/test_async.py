"""Ten async tests."""

import asyncio

import shop
from protean_testing import AsyncDatabaseTestCase


@shop.repeated(10)
class AsyncTests(AsyncDatabaseTestCase):
    stores = shop.STORES

    async def asyncSetUp(self):
        await super().asyncSetUp()
        shop.began(self)

    async def each(self):
        self.assertEqual(shop.orders(self.db), (0, 0, 0))
        self.assertEqual(await asyncio.to_thread(shop.order, self.db), 1)
        async with self.db.async_session() as session:
            self.assertEqual((await session.get(shop.Order, 1)).customer, "Ann")
