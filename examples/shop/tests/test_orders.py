from sqlalchemy import func, select

import shop
from shop.errors import ChangedMeanwhile, NotFound, OrderRefused, OutOfStock, WrongStatus
from shop.models import Order, OrderLine, OutboxEvent, Stock, StockMovement

from .base import ShopTestCase, a_customer, a_paid_order, a_product


class PlacingTests(ShopTestCase):
    """Ann, in Austria, and two products are there for every test."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            cls.ann = a_customer("Ann")
            cls.tea = a_product("TEA", 1250)
            cls.cup = a_product("CUP", 795)

    def counts(self) -> dict[str, int]:
        with self.db.session() as session:
            return {
                model.__tablename__: session.scalar(select(func.count()).select_from(model))
                for model in (Order, OrderLine, StockMovement, OutboxEvent)
            }

    def test_the_first_order_is_number_1(self):
        self.assertEqual(shop.orders.place(self.ann, {self.tea: 1}).id, 1)

    def test_an_order_in_full(self):
        placed = shop.orders.place(self.ann, {self.tea: 2, self.cup: 1})
        order = shop.orders.get(placed.id)
        self.assertEqual((order.subtotal, order.discount, order.vat, order.total), (3295, 0, 659, 3954))
        self.assertEqual((order.status, order.currency_code, order.country_code), ("placed", "EUR", "AT"))
        self.assertEqual(
            [(line.line_no, line.product.sku, line.quantity, line.amount) for line in order.lines],
            [(1, "CUP", 1, 795), (2, "TEA", 2, 2500)],
        )
        self.assertIsNone(order.last_payment)

    def test_the_tax_is_that_of_the_country(self):
        for country, vat in {"AT": 250, "CH": 100, "DE": 238, "SE": 313}.items():
            with self.subTest(country), self.db.scope():  # in each of them the same first order
                order = shop.orders.place(a_customer("Bob", country), {self.tea: 1})
                self.assertEqual((order.id, order.vat), (1, vat))

    def test_an_order_keeps_its_price(self):
        order = shop.orders.place(self.ann, {self.tea: 1})
        shop.catalog.change_price(self.tea, 9999)
        self.assertEqual(shop.orders.get(order.id).lines[0].unit_price, 1250)

    def test_orders_that_make_no_sense_are_refused(self):
        for items in ({}, {self.tea: 0}, {self.tea: 1, self.cup: -1}):
            with self.subTest(items=items), self.assertRaises(OrderRefused):
                shop.orders.place(self.ann, items)
        self.assertEqual(self.counts()["orders"], 0)

    def test_who_has_no_address_can_order_nothing(self):
        bob = shop.customers.register("bob@example.com", "Bob")
        with self.assertRaisesRegex(OrderRefused, "no shipping address"):
            shop.orders.place(bob.id, {self.tea: 1})

    def test_unknown_customers_and_products(self):
        with self.assertRaisesRegex(NotFound, "customer 99"):
            shop.orders.place(99, {self.tea: 1})
        with self.assertRaisesRegex(NotFound, "product COFFEE"):
            shop.orders.place(self.ann, {"COFFEE": 1})

    def test_currencies_are_not_mixed(self):
        clock = a_product("CLOCK", 9900, currency="CHF")
        with self.assertRaisesRegex(OrderRefused, "CHF, EUR"):
            shop.orders.place(self.ann, {self.tea: 1, clock: 1})

    def test_what_is_discontinued_is_not_sold(self):
        shop.catalog.discontinue(self.tea)
        with self.assertRaisesRegex(OrderRefused, "TEA"):
            shop.orders.place(self.ann, {self.tea: 1})

    def test_an_order_that_cannot_be_filled_leaves_nothing_behind(self):
        before = self.counts()
        with self.assertRaises(OutOfStock):
            shop.orders.place(
                self.ann, {self.cup: 1, self.tea: 11}
            )  # the order and a line were written by then
        self.assertEqual(self.counts(), before)
        self.assertEqual(shop.stock.available(self.cup), 10)

    def test_two_tills_cannot_change_one_order(self):
        order_id = shop.orders.place(self.ann, {self.tea: 1}).id
        stale = shop.orders.get(order_id)
        shop.orders.cancel(order_id)
        with self.assertRaises(ChangedMeanwhile), shop.database.transaction() as session:
            session.add(stale)
            stale.country_code = "DE"
        self.assertEqual(shop.orders.get(order_id).country_code, "AT")


class CancellingTests(ShopTestCase):
    def setUp(self):
        super().setUp()
        self.ann = a_customer("Ann")
        self.tea = a_product("TEA", 1250, stock=3)

    def test_the_goods_go_back_to_where_they_were(self):
        shop.stock.receive(self.tea, 4, warehouse="LYON")
        order = shop.orders.place(self.ann, {self.tea: 5})
        shop.orders.cancel(order.id)
        self.assertEqual(shop.orders.get(order.id).status, "cancelled")
        with self.db.session() as session:
            rows = session.execute(select(Stock.warehouse_code, Stock.on_hand).order_by(Stock.on_hand))
            self.assertEqual(rows.all(), [("VIENNA", 3), ("LYON", 4)])

    def test_what_is_cancelled_stays_so(self):
        order = shop.orders.place(self.ann, {self.tea: 1})
        shop.orders.cancel(order.id)
        with self.assertRaisesRegex(WrongStatus, "order 1 is cancelled"):
            shop.orders.cancel(order.id)
        self.assertEqual(shop.stock.available(self.tea), 3)

    def test_what_is_paid_cannot_be_cancelled(self):
        order_id = a_paid_order(self.ann, {self.tea: 1})
        with self.assertRaisesRegex(WrongStatus, "is paid"):
            shop.orders.cancel(order_id)

    def test_a_cancelled_order_can_be_placed_again_under_the_next_number(self):
        shop.orders.cancel(shop.orders.place(self.ann, {self.tea: 3}).id)
        self.assertEqual(shop.orders.place(self.ann, {self.tea: 3}).id, 2)

    def test_the_history_of_an_order(self):
        order = shop.orders.place(self.ann, {self.tea: 1})
        with shop.acting_as("the owner"):
            shop.orders.cancel(order.id)
        self.assertEqual(shop.reports.history("order 1"), [("tests", "placed"), ("the owner", "cancelled")])
