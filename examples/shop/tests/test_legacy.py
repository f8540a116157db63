"""Tests with a base class of their own, which cannot be changed: blocks do the same for them."""

import unittest

import shop
from protean_testing import test_database

from .base import STORES, a_customer, a_product, open_shop


class LegacyTestCase(unittest.TestCase):
    """Somebody's own base class, with things of its own in it."""


class LegacyTests(LegacyTestCase):
    @classmethod
    def setUpClass(cls):
        cls.db = cls.enterClassContext(test_database(*STORES))
        cls.enterClassContext(open_shop(cls.db))
        cls.ann = a_customer("Ann")
        cls.tea = a_product("TEA", 1000, stock=2)

    def setUp(self):
        self.enterContext(self.db.scope())

    def test_the_last_two(self):
        shop.orders.place(self.ann, {self.tea: 2})
        self.assertEqual(shop.stock.available(self.tea), 0)

    def test_the_last_two_again(self):
        self.assertEqual(shop.orders.place(self.ann, {self.tea: 2}).id, 1)

    def test_one_at_a_time(self):
        for _ in range(3):
            with self.subTest(), self.db.scope():
                self.assertEqual(shop.orders.place(self.ann, {self.tea: 1}).id, 1)
        self.assertEqual(shop.stock.available(self.tea), 2)
