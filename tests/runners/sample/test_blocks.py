"""Ten tests without our base class, five with the decorator, and five that use no store at all."""

import unittest

import shop
from protean_testing import test_database, uses_database


@shop.repeated(10)
class BlockTests(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.db = self.enterContext(test_database(*shop.STORES))
        shop.began(self)

    def each(self):
        self.assertEqual(shop.orders(self.db), (0, 0, 0))
        self.assertEqual(shop.order(self.db), 1)
        with self.db.scope():
            self.assertEqual(shop.order(self.db), 2)
        self.assertEqual(shop.orders(self.db), (1, 1, 1))


@shop.repeated(5)
@uses_database(*shop.STORES)
class DecoratedTests(unittest.TestCase):
    def setUp(self):
        shop.began(self)

    def each(self):
        self.assertEqual(shop.orders(self.db), (0, 0, 0))
        self.assertEqual(shop.order(self.db), 1)


@shop.repeated(5)
class PlainTests(unittest.TestCase):
    def each(self):
        self.assertIn("id", shop.Order.__table__.columns)
