"""Twenty tests of which each would meet the orders of the last one, and a class with rows of its own."""

import shop
from protean_testing import DatabaseTestCase


@shop.repeated(10)
class OrderTests(DatabaseTestCase):
    stores = shop.STORES

    def setUp(self):
        super().setUp()
        shop.began(self)

    def each(self):
        self.assertEqual(shop.orders(self.db), (0, 0, 0))
        self.assertEqual(shop.order(self.db), 1)
        self.assertEqual(shop.orders(self.db), (1, 1, 1))


@shop.repeated(10)
class AgainTests(OrderTests):
    pass


@shop.repeated(10)
class ReportTests(DatabaseTestCase):
    stores = shop.STORES

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for customer in "Ann", "Bob":
            shop.order(cls.db, customer)

    def setUp(self):
        super().setUp()
        shop.began(self)

    def each(self):
        self.assertEqual(shop.orders(self.db), (2, 2, 2))
        self.assertEqual(shop.order(self.db), 3)
