import asyncio
from contextlib import aclosing

from sqlalchemy import func, select

import shop
from shop.errors import NotFound, OrderRefused, OutOfStock
from shop.models import Order, StockMovement
from shop.storefront import BASKETS_LIVE, Storefront
from shop.worker import Worker

from .base import AsyncShopTestCase, a_customer, a_product


class StorefrontTests(AsyncShopTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            cls.ann = a_customer("Ann")
            cls.tea = a_product("TEA", 1250, stock=3)
            cls.cup = a_product("CUP", 795)

    async def asyncSetUp(self):
        await super().asyncSetUp()
        redis_url = self.db.store("redis").url
        self.front = await self.enterAsyncContext(Storefront(self.database_url, redis_url))

    async def test_search_finds_a_part_of_the_name_in_any_case(self):
        for text, skus in {"tea": ["TEA"], "THE": ["CUP", "TEA"], "coffee": []}.items():
            with self.subTest(text):
                self.assertEqual([product.sku for product in await self.front.search(text)], skus)

    async def test_search_does_not_find_what_is_discontinued(self):
        shop.catalog.discontinue(self.tea)
        self.assertEqual([product.sku for product in await self.front.search("the")], ["CUP"])

    async def test_things_are_put_into_a_basket_and_taken_out(self):
        await self.front.put(self.ann, self.tea, 2)
        await self.front.put(self.ann, self.cup)
        await self.front.put(self.ann, self.tea)
        self.assertEqual(await self.front.basket(self.ann), {"CUP": 1, "TEA": 3})
        await self.front.put(self.ann, self.tea, -5)
        self.assertEqual(await self.front.basket(self.ann), {"CUP": 1})

    async def test_every_customer_has_a_basket_and_it_is_empty_at_first(self):
        bob = a_customer("Bob")
        await self.front.put(bob, self.tea)
        self.assertEqual(await self.front.basket(self.ann), {})

    async def test_a_basket_is_forgotten_after_a_day(self):
        await self.front.put(self.ann, self.tea)
        left = await asyncio.to_thread(self.db.store("redis").client.ttl, f"shop:basket:{self.ann}")
        self.assertTrue(BASKETS_LIVE - 60 < left <= BASKETS_LIVE, left)

    async def test_only_what_we_sell_goes_into_a_basket(self):
        with self.assertRaises(NotFound):
            await self.front.put(self.ann, "COFFEE")
        self.assertEqual(await self.front.basket(self.ann), {})

    async def test_a_checkout_orders_the_basket_and_empties_it(self):
        await self.front.put(self.ann, self.tea, 2)
        order = await self.front.checkout(self.ann)
        self.assertEqual((order.id, order.total), (1, 3000))
        self.assertEqual(await self.front.basket(self.ann), {})
        self.assertEqual(shop.stock.available(self.tea), 1)
        async with self.db.async_session() as session:
            self.assertEqual(await session.scalar(select(func.count(Order.id))), 1)

    async def test_a_checkout_with_a_coupon(self):
        shop.coupons.issue("TENTH", percent=10)
        await self.front.put(self.ann, self.tea)
        self.assertEqual((await self.front.checkout(self.ann, coupon="TENTH")).discount, 125)

    async def test_a_refused_checkout_leaves_the_basket_full(self):
        await self.front.put(self.ann, self.tea, 4)
        with self.assertRaises(OutOfStock):
            await self.front.checkout(self.ann)
        self.assertEqual(await self.front.basket(self.ann), {"TEA": 4})
        async with self.db.async_session() as session:
            self.assertEqual((await session.scalars(select(Order))).all(), [])

    async def test_an_empty_basket_is_no_order(self):
        with self.assertRaises(OrderRefused):
            await self.front.checkout(self.ann)

    async def test_who_is_first_gets_the_last_ones(self):
        customers = [a_customer(f"c{number}") for number in range(5)]
        for customer in customers:
            await self.front.put(customer, self.tea)
        results = await asyncio.gather(
            *(self.front.checkout(customer) for customer in customers), return_exceptions=True
        )
        self.assertEqual(sum(isinstance(result, OutOfStock) for result in results), 2, results)
        async with self.db.async_session() as session:
            sold = await session.scalar(
                select(func.sum(StockMovement.change)).where(StockMovement.reason == "sold")
            )
        self.assertEqual(sold, -3)

    async def test_news_of_an_order_come_while_the_worker_works(self):
        async def follow() -> list[str]:
            kinds = []
            async for kind, _ in self.front.news():
                kinds.append(kind)
                if kind == "order.shipped":
                    return kinds

        following = asyncio.create_task(follow())
        await self.front.put(self.ann, self.tea)
        order = await self.front.checkout(self.ann)
        await asyncio.to_thread(shop.payments.pay, order.id, order.total)
        await asyncio.to_thread(Worker().run_once)
        kinds = await asyncio.wait_for(following, timeout=30)
        self.assertEqual(kinds, ["order.placed", "order.paid", "order.shipped"])

    async def test_news_tell_first_what_happened_before(self):
        for customer in (self.ann, a_customer("Bob")):
            await self.front.put(customer, self.tea)
            await self.front.checkout(customer)
        shop.outbox.publish()
        async with aclosing(self.front.news()) as news:
            orders = [(await anext(news))[1]["order"] for _ in range(2)]
        self.assertEqual(orders, [1, 2])
