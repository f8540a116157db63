import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

import shop
from shop.errors import NotFound, OutOfStock
from shop.models import Product, Stock, StockMovement

from .base import ShopTestCase, a_customer, a_product


class StockTests(ShopTestCase):
    def setUp(self):
        super().setUp()
        self.tea = a_product("TEA", stock=0)

    def on_hand(self) -> dict[str, int]:
        with self.db.session() as session:
            return dict(session.execute(select(Stock.warehouse_code, Stock.on_hand)).all())

    def test_goods_that_come_in_are_available(self):
        shop.stock.receive(self.tea, 5)
        shop.stock.receive(self.tea, 2, warehouse="LYON")
        self.assertEqual(shop.stock.available(self.tea), 7)
        self.assertEqual(self.on_hand(), {"VIENNA": 5, "LYON": 2})

    def test_there_is_none_before_anything_came_in(self):
        self.assertEqual(shop.stock.available(self.tea), 0)

    def test_no_more_can_be_written_off_than_there_is(self):
        shop.stock.receive(self.tea, 5)
        with self.assertRaises(OutOfStock) as caught:
            shop.stock.write_off(self.tea, 6)
        self.assertEqual((caught.exception.wanted, caught.exception.available), (6, 5))
        self.assertEqual([move.change for move in shop.stock.movements(self.tea)], [5])

    def test_an_unknown_warehouse(self):
        with self.assertRaises(NotFound):
            shop.stock.receive(self.tea, 1, warehouse="MARS")
        self.assertEqual(self.on_hand(), {})

    def test_not_even_by_hand_can_there_be_less_than_nothing(self):
        shop.stock.receive(self.tea, 5)
        with self.assertRaises(IntegrityError), self.db.session() as session:
            session.execute(update(Stock).values(on_hand=-1))

    def test_an_order_empties_the_nearest_warehouse_first(self):
        shop.stock.receive(self.tea, 5)
        shop.stock.receive(self.tea, 5, warehouse="LYON")
        shop.orders.place(a_customer(), {self.tea: 7})
        self.assertEqual(self.on_hand(), {"VIENNA": 0, "LYON": 3})
        sold = [(move.warehouse_code, move.change) for move in shop.stock.movements(self.tea)[2:]]
        self.assertEqual(sold, [("VIENNA", -5), ("LYON", -2)])

    def test_what_moved_adds_up_to_what_is_there(self):
        ann = a_customer()
        shop.stock.receive(self.tea, 20)
        shop.stock.write_off(self.tea, 3)
        shop.orders.place(ann, {self.tea: 4})
        shop.orders.cancel(shop.orders.place(ann, {self.tea: 5}).id)
        moved = [(move.reason, move.change) for move in shop.stock.movements(self.tea)]
        self.assertEqual(
            moved, [("received", 20), ("written off", -3), ("sold", -4), ("sold", -5), ("returned", 5)]
        )
        self.assertEqual(shop.stock.available(self.tea), 13)


class ConcurrencyTests(ShopTestCase):
    """Threads that really commit, each on a connection of its own."""

    def at_once(self, count: int, work) -> list:
        """What `work` returned or raised in so many threads that begin together."""
        barrier = threading.Barrier(count)

        def run(number: int):
            with shop.acting_as(f"till {number}"):
                barrier.wait(timeout=30)
                try:
                    return work(number)
                except shop.errors.ShopError as error:
                    return error

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))

    def test_the_last_ones_are_sold_once(self):
        tea = a_product("TEA", stock=3)
        customers = [a_customer(f"c{number}") for number in range(5)]
        results = self.at_once(5, lambda number: shop.orders.place(customers[number], {tea: 1}))
        self.assertEqual(sum(isinstance(result, OutOfStock) for result in results), 2, results)
        self.assertEqual(shop.stock.available(tea), 0)
        with self.db.session() as session:
            self.assertEqual(session.scalar(select(func.sum(StockMovement.change))), 0)

    def test_no_delivery_is_lost(self):
        tea = a_product("TEA", stock=1)
        self.at_once(4, lambda number: [shop.stock.receive(tea, 1) for _ in range(3)])
        self.assertEqual(shop.stock.available(tea), 13)

    def test_a_coupon_is_used_once(self):
        tea = a_product("TEA", stock=10)
        shop.coupons.issue("HALF", percent=50, max_uses=1)
        customers = [a_customer(f"c{number}") for number in range(4)]
        results = self.at_once(4, lambda n: shop.orders.place(customers[n], {tea: 1}, coupon="HALF"))
        refused = [result for result in results if isinstance(result, shop.errors.CouponRefused)]
        self.assertEqual(len(refused), 3, results)
        self.assertEqual(shop.stock.available(tea), 9)

    def test_opposite_orders_do_not_block_each_other(self):
        a, b = a_product("A", stock=50), a_product("B", stock=50)
        customers = [a_customer(f"c{number}") for number in range(4)]

        def order(number: int) -> int:
            items = {a: 1, b: 2} if number % 2 else {b: 2, a: 1}
            return shop.orders.place(customers[number], items).id

        self.assertEqual(sorted(self.at_once(4, order)), [1, 2, 3, 4])
        self.assertEqual((shop.stock.available(a), shop.stock.available(b)), (46, 42))

    def test_the_tills_are_named_in_the_audit(self):
        self.at_once(3, lambda number: shop.customers.register(f"c{number}@example.com", "C"))
        actors = {shop.reports.history(f"customer {number}")[0][0] for number in (1, 2, 3)}
        self.assertEqual(actors, {"till 0", "till 1", "till 2"})

    def test_none_of_their_products_is_left(self):
        with self.db.session() as session:
            self.assertEqual(session.scalars(select(Product.sku)).all(), [])
