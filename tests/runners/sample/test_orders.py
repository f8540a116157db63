"""Twenty tests of which each would meet the orders of the last one, and a class with rows of its own."""

import shop
from protean_testing import DatabaseTestCase


class OrderTests(DatabaseTestCase):
    stores = shop.STORES

    def setUp(self):
        super().setUp()
        shop.began(self)

    def order(self):
        self.assertEqual(shop.orders(self.db), (0, 0, 0))
        self.assertEqual(shop.order(self.db), 1)
        self.assertEqual(shop.orders(self.db), (1, 1, 1))

    test_01 = test_02 = test_03 = test_04 = test_05 = order
    test_06 = test_07 = test_08 = test_09 = test_10 = order


class AgainTests(OrderTests):
    pass


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

    def report(self):
        self.assertEqual(shop.orders(self.db), (2, 2, 2))
        self.assertEqual(shop.order(self.db), 3)

    test_01 = test_02 = test_03 = test_04 = test_05 = report
    test_06 = test_07 = test_08 = test_09 = test_10 = report
