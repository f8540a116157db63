"""Ten tests without our base class, five with the decorator, and five that use no store at all."""

import unittest

import shop
from protean_testing import test_database, uses_database


class BlockTests(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.db = self.enterContext(test_database(*shop.STORES))
        shop.began(self)

    def order(self):
        self.assertEqual(shop.orders(self.db), (0, 0, 0))
        self.assertEqual(shop.order(self.db), 1)
        with self.db.scope():
            self.assertEqual(shop.order(self.db), 2)
        self.assertEqual(shop.orders(self.db), (1, 1, 1))

    test_01 = test_02 = test_03 = test_04 = test_05 = order
    test_06 = test_07 = test_08 = test_09 = test_10 = order


@uses_database(*shop.STORES)
class DecoratedTests(unittest.TestCase):
    def setUp(self):
        shop.began(self)

    def order(self):
        self.assertEqual(shop.orders(self.db), (0, 0, 0))
        self.assertEqual(shop.order(self.db), 1)

    test_01 = test_02 = test_03 = test_04 = test_05 = order


class PlainTests(unittest.TestCase):
    def nothing(self):
        self.assertIn("id", shop.Order.__table__.columns)

    test_01 = test_02 = test_03 = test_04 = test_05 = nothing
