"""Tests as plain functions: the decorator gives them the handle `db`, and takes everything back."""

import unittest

import shop
from protean_testing import uses_database
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
async def test_an_async_function(db):
    from shop.storefront import Storefront

    with open_shop(db):
        ann, tea = a_customer("Ann"), a_product("TEA", 1000)
        async with Storefront(db.url, db.store("redis").url) as front:
            await front.put(ann, tea)
            assert (await front.checkout(ann)).id == 1


def load_tests(loader, tests, pattern):
    import asyncio

    functions = [test_a_first_sale, test_another_first_sale, test_what_if]
    suite = unittest.TestSuite(unittest.FunctionTestCase(function) for function in functions)
    suite.addTest(unittest.FunctionTestCase(lambda: asyncio.run(test_an_async_function())))
    return suite
