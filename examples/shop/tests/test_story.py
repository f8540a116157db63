import shop
from shop.worker import Worker

from .base import STORY, ShopTestCase, a_customer, a_product


class OneOrderFromBeginToEnd(ShopTestCase):
    """A story: every test goes on where the last one ended; all of it is gone after the class."""

    stores = STORY

    def test_1_the_shop_is_empty(self):
        self.assertEqual(shop.customers.find(""), [])
        self.assertEqual(shop.dashboard.bestsellers(), [])

    def test_2_a_customer_and_a_product_come(self):
        self.assertEqual(a_customer("Ann"), 1)
        a_product("TEA", 1000, stock=5)

    def test_3_she_orders(self):
        self.assertEqual(shop.orders.place(1, {"TEA": 2}).total, 2400)
        self.assertEqual(shop.stock.available("TEA"), 3)

    def test_4_the_worker_shows_it(self):
        self.assertEqual(Worker().run_once(), 1)
        self.assertEqual(shop.dashboard.order(1)["status"], "placed")

    def test_5_she_pays(self):
        self.assertEqual(shop.payments.pay(1, 2400).id, 1)

    def test_6_the_worker_sends_it(self):
        self.assertEqual(Worker().run_once(), 2)
        self.assertEqual([s.tracking for s in shop.orders.get(1).shipments], ["VIENNA-000001"])

    def test_7_a_part_is_refunded(self):
        shop.payments.refund(1, 400, "came late")
        Worker().run_once()
        self.assertEqual(shop.dashboard.revenue(), {"EUR": 2000})

    def test_8_the_books_know_it_all(self):
        self.assertEqual(
            shop.reports.history("order 1"),
            [("tests", "placed"), ("tests", "paid"), ("worker-1", "shipped"), ("tests", "refunded")],
        )
        self.assertEqual(shop.reports.revenue_by_country(), {"AT": 2000})
