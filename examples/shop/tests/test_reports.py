from datetime import timedelta

from sqlalchemy import insert, update

import shop
from shop.models import Order, OrderStatus, Stock, now

from .base import ShopTestCase, a_customer, a_product


class ReportTests(ShopTestCase):
    """Six hundred orders, made once: whatever a test does to them, the next one finds them again."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the books"):
            cls.ann = a_customer("Ann", "AT")
            cls.tea = a_product("TEA", stock=3)
            cls.cup = a_product("CUP", stock=50)
        with shop.database.transaction() as session:
            session.execute(
                insert(Order),
                [
                    {
                        "customer_id": cls.ann,
                        "country_code": ("AT", "DE", "FR")[number % 3],
                        "currency_code": "EUR",
                        "status": list(OrderStatus)[number % 4],
                        "subtotal": number,
                        "discount": 0,
                        "vat": 0,
                        "total": number,
                        "placed_at": now() - timedelta(days=number),
                        "version": 1,
                    }
                    for number in range(1, 601)
                ],
            )

    def test_revenue_is_what_was_paid_in_each_country(self):
        expected = {"AT": 0, "DE": 0, "FR": 0}
        for number in range(1, 601):
            if number % 4 in (1, 2):  # paid, shipped
                expected["AT" if number % 3 == 0 else "DE" if number % 3 == 1 else "FR"] += number
        self.assertEqual(shop.reports.revenue_by_country(), expected)

    def test_no_revenue_where_everything_is_cancelled(self):
        with shop.database.transaction() as session:
            session.execute(update(Order).values(status=OrderStatus.CANCELLED))
        self.assertEqual(shop.reports.revenue_by_country(), {})

    def test_orders_to_remind_customers_of(self):
        self.assertEqual(shop.reports.unpaid_orders(timedelta(days=590, hours=1)), [592, 596, 600])

    def test_who_pays_is_not_reminded(self):
        shop.payments.pay(596, 596)
        self.assertEqual(shop.reports.unpaid_orders(timedelta(days=590, hours=1)), [592, 600])

    def test_the_next_order_is_number_601(self):
        self.assertEqual(shop.orders.place(self.ann, {self.tea: 1}).id, 601)

    def test_what_is_running_low(self):
        for below, low in {3: {}, 4: {"TEA": 3}, 51: {"CUP": 50, "TEA": 3}}.items():
            with self.subTest(below):
                self.assertEqual(shop.reports.running_low(below), low)

    def test_what_never_came_in_is_low_too(self):
        a_product("POT", stock=0)
        with shop.database.transaction() as session:
            session.execute(update(Stock).values(on_hand=0))
        self.assertEqual(shop.reports.running_low(1), {"CUP": 0, "POT": 0, "TEA": 0})


class EmptyShopTests(ShopTestCase):
    def test_there_is_no_revenue_yet(self):
        self.assertEqual(shop.reports.revenue_by_country(), {})

    def test_nothing_has_happened_yet(self):
        self.assertEqual(shop.reports.history("order 1"), [])
        self.assertEqual(shop.reports.unpaid_orders(timedelta(0)), [])
