from sqlalchemy import select

import shop
from shop.errors import OutOfStock
from shop.models import OutboxEvent
from shop.outbox import STREAM, unpack

from .base import ShopTestCase, a_customer, a_product


class OutboxTests(ShopTestCase):
    def setUp(self):
        super().setUp()
        self.redis = self.db.store("redis").client
        self.ann = a_customer("Ann")
        self.tea = a_product("TEA", 1000)

    def events(self) -> list[tuple[int, str, dict]]:
        entries = shop.database.redis().xrange(STREAM)
        return [unpack(fields) for _, fields in entries]

    def test_nothing_is_published_before_it_is_asked_for(self):
        shop.orders.place(self.ann, {self.tea: 1})
        self.assertEqual(self.redis.exists(STREAM), 0)

    def test_an_order_becomes_an_event(self):
        shop.orders.place(self.ann, {self.tea: 2})
        self.assertEqual(shop.outbox.publish(), 1)
        payload = {"order": 1, "customer": self.ann, "total": 2400, "currency": "EUR", "items": {"TEA": 2}}
        self.assertEqual(self.events(), [(1, "order.placed", payload)])

    def test_each_event_is_published_once(self):
        shop.orders.place(self.ann, {self.tea: 1})
        self.assertEqual([shop.outbox.publish(), shop.outbox.publish()], [1, 0])
        shop.orders.cancel(1)
        self.assertEqual(shop.outbox.publish(), 1)
        self.assertEqual([kind for _, kind, _ in self.events()], ["order.placed", "order.cancelled"])

    def test_the_table_knows_where_in_the_stream_an_event_went(self):
        shop.orders.place(self.ann, {self.tea: 1})
        shop.outbox.publish()
        [(entry, _)] = shop.database.redis().xrange(STREAM)
        with self.db.session() as session:
            self.assertEqual(session.scalars(select(OutboxEvent.stream_id)).all(), [entry])

    def test_an_order_that_fails_is_no_event(self):
        with self.assertRaises(OutOfStock):
            shop.orders.place(self.ann, {self.tea: 11})
        self.assertEqual(shop.outbox.publish(), 0)

    def test_events_keep_their_order(self):
        order = shop.orders.place(self.ann, {self.tea: 1})
        payment = shop.payments.pay(order.id, order.total)
        shop.payments.refund(payment.id, 100, "came late")
        shop.outbox.publish()
        self.assertEqual(
            [(number, kind) for number, kind, _ in self.events()],
            [(1, "order.placed"), (2, "order.paid"), (3, "order.refunded")],
        )

    def test_the_stream_of_another_test_is_gone(self):
        self.assertEqual(self.redis.dbsize(), 0)
