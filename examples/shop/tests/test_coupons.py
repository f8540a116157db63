from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import IntegrityError

import shop
from shop.errors import CouponRefused, NotFound, OutOfStock
from shop.models import Coupon

from .base import ShopTestCase, a_customer, a_product


class CouponTests(ShopTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            cls.ann = a_customer("Ann", country="DE")
            cls.tea = a_product("TEA", 1000)
            shop.coupons.issue("TENTH", percent=10, max_uses=2)
            shop.coupons.issue("FIVER", amount=500)

    def used(self, code: str) -> int:
        with self.db.session() as session:
            return session.get_one(Coupon, code).used

    def test_a_percentage_is_taken_off_before_tax(self):
        order = shop.orders.place(self.ann, {self.tea: 2}, coupon="TENTH")
        self.assertEqual((order.subtotal, order.discount, order.vat, order.total), (2000, 200, 342, 2142))

    def test_an_amount_is_taken_off_but_not_more_than_all(self):
        cup = a_product("CUP", 300)
        order = shop.orders.place(self.ann, {cup: 1}, coupon="FIVER")
        self.assertEqual((order.discount, order.total), (300, 0))
        self.assertEqual(order.status, "paid")  # nothing is owed

    def test_each_customer_may_use_a_coupon_once(self):
        shop.orders.place(self.ann, {self.tea: 1}, coupon="TENTH")
        with self.assertRaisesRegex(CouponRefused, "before"):
            shop.orders.place(self.ann, {self.tea: 1}, coupon="TENTH")
        self.assertEqual(self.used("TENTH"), 1)

    def test_a_coupon_can_be_used_up(self):
        shop.orders.place(self.ann, {self.tea: 1}, coupon="FIVER")
        with self.assertRaisesRegex(CouponRefused, "used up"):
            shop.orders.place(a_customer("Bob"), {self.tea: 1}, coupon="FIVER")

    def test_the_last_day_of_a_coupon_still_counts(self):
        today = datetime.now(UTC).date()
        shop.coupons.issue("TODAY", percent=5, valid_until=today)
        shop.coupons.issue("YESTERDAY", percent=5, valid_until=today - timedelta(days=1))
        self.assertEqual(shop.orders.place(self.ann, {self.tea: 1}, coupon="TODAY").discount, 50)
        with self.assertRaisesRegex(CouponRefused, "valid until"):
            shop.orders.place(self.ann, {self.tea: 1}, coupon="YESTERDAY")

    def test_an_unknown_coupon(self):
        with self.assertRaises(NotFound):
            shop.orders.place(self.ann, {self.tea: 1}, coupon="NONE")

    def test_a_coupon_is_not_used_by_an_order_that_fails(self):
        with self.assertRaises(OutOfStock):
            shop.orders.place(self.ann, {self.tea: 11}, coupon="FIVER")
        self.assertEqual(self.used("FIVER"), 0)
        self.assertEqual(shop.orders.place(self.ann, {self.tea: 1}, coupon="FIVER").discount, 500)

    def test_a_coupon_is_a_percentage_or_an_amount(self):
        for terms in ({}, {"percent": 10, "amount": 100}, {"percent": 101}, {"percent": 0}):
            with self.subTest(terms), self.assertRaises(IntegrityError):
                shop.coupons.issue("BAD", **terms)
