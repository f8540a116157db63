import shop
from shop.errors import NotFound, WrongAmount, WrongStatus

from .base import ShopTestCase, a_customer, a_product


class PaymentTests(ShopTestCase):
    """An order over 24.00 waits to be paid."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            cls.order = shop.orders.place(a_customer("Ann"), {a_product("TEA", 1000): 2}).id

    def test_paid_at_once(self):
        payment = shop.payments.pay(self.order, 2400)
        order = shop.orders.get(self.order)
        self.assertEqual((payment.id, order.status), (1, "paid"))
        self.assertEqual(order.last_payment.id, payment.id)

    def test_paid_in_parts(self):
        shop.payments.pay(self.order, 1000, "voucher")
        self.assertEqual(shop.orders.get(self.order).status, "placed")
        shop.payments.pay(self.order, 1400, "card")
        order = shop.orders.get(self.order)
        self.assertEqual([(p.method, p.amount) for p in order.payments], [("voucher", 1000), ("card", 1400)])
        self.assertEqual((order.status, order.last_payment.method), ("paid", "card"))

    def test_no_more_is_taken_than_is_owed(self):
        shop.payments.pay(self.order, 2000)
        for amount in (401, 0, -1):
            with self.subTest(amount), self.assertRaises(WrongAmount):
                shop.payments.pay(self.order, amount)
        self.assertEqual(len(shop.orders.get(self.order).payments), 1)

    def test_nothing_is_paid_twice(self):
        shop.payments.pay(self.order, 2400)
        with self.assertRaisesRegex(WrongStatus, "is paid"):
            shop.payments.pay(self.order, 2400)

    def test_a_cancelled_order_is_not_paid(self):
        shop.orders.cancel(self.order)
        with self.assertRaisesRegex(WrongStatus, "is cancelled"):
            shop.payments.pay(self.order, 2400)

    def test_an_unknown_order(self):
        with self.assertRaisesRegex(NotFound, "order 2"):
            shop.payments.pay(2, 100)


class RefundTests(ShopTestCase):
    """An order over 12.00 was paid."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            order = shop.orders.place(a_customer("Ann"), {a_product("TEA", 1000): 1})
            cls.payment = shop.payments.pay(order.id, order.total).id

    def test_a_part_and_then_the_rest(self):
        self.assertEqual(shop.payments.refund(self.payment, 200, "came late").id, 1)
        self.assertEqual(shop.payments.refund(self.payment, 1000, "came broken").id, 2)
        with self.assertRaisesRegex(WrongAmount, "0 of payment 1 left"):
            shop.payments.refund(self.payment, 1, "more")

    def test_no_more_than_was_paid(self):
        with self.assertRaises(WrongAmount):
            shop.payments.refund(self.payment, 1201, "mistake")
        self.assertEqual(shop.reports.revenue_by_country(), {"AT": 1200})

    def test_the_revenue_is_less_by_what_was_refunded(self):
        shop.payments.refund(self.payment, 200, "came late")
        self.assertEqual(shop.reports.revenue_by_country(), {"AT": 1000})

    def test_an_unknown_payment(self):
        with self.assertRaises(NotFound):
            shop.payments.refund(99, 1, "mistake")
