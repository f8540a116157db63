"""Tests without our base classes: a decorator gives them the handle `db`, and takes everything back."""

import unittest

import shop
from protean_testing import uses_database
from shop.storefront import Storefront
from shop.worker import Worker

from .base import STORES, a_customer, a_paid_order, a_product, open_shop


@uses_database(*STORES)
def test_a_first_sale(db):
    with open_shop(db):
        a_paid_order(a_customer("Ann"), {a_product("TEA", 1000): 1})
        Worker().run_once()
        assert shop.dashboard.revenue() == {"EUR": 1200}


@uses_database(*STORES)
def test_another_first_sale(db):
    with open_shop(db):
        assert a_paid_order(a_customer("Ann"), {a_product("TEA", 500): 1}) == 1
        assert shop.dashboard.revenue() == {}


@uses_database(*STORES)
def test_what_if(db):
    """Go back to a point in between, as often as you like."""
    with open_shop(db):
        ann, tea = a_customer("Ann"), a_product("TEA", 1000, stock=2)
        for quantity, left in {1: 1, 2: 0}.items():
            with db.scope():
                shop.orders.place(ann, {tea: quantity})
                assert shop.stock.available(tea) == left
        assert shop.stock.available(tea) == 2


@uses_database(*STORES)
class CheckoutTests(unittest.IsolatedAsyncioTestCase):
    """A whole class, and an async one."""

    async def asyncSetUp(self):
        self.enterContext(open_shop(self.db))
        self.front = await self.enterAsyncContext(Storefront(self.db.url, self.db.store("redis").url))

    async def test_the_first_checkout(self):
        await self.front.put(a_customer("Ann"), a_product("TEA", 1000))
        self.assertEqual((await self.front.checkout(1)).id, 1)

    async def test_and_another_first_one(self):
        await self.front.put(a_customer("Bob"), a_product("CUP", 500))
        self.assertEqual((await self.front.checkout(1)).total, 600)


def load_tests(loader, tests, pattern):
    functions = [test_a_first_sale, test_another_first_sale, test_what_if]
    tests.addTests(unittest.FunctionTestCase(function) for function in functions)
    return tests
