"""Recipe 4: database, broker, cache and event store, all of them real, where ``TEST_INFRA=full`` asks for it.

    python -m unittest discover 4_full_infrastructure                     # in memory
    TEST_INFRA=full python -m unittest discover 4_full_infrastructure     # PostgreSQL, Redis, Message DB

``DATABASE_URL``, ``REDIS_URL`` and ``MESSAGE_DB_URL`` say where they are; what is not given is started for
this run. Message DB's SQL comes with ``npm install @eventide/message-db``.
"""

import unittest

from ordering import ordering
from ordering.orders import Order, OrderDelivered, OrderPlaced, OrderShipped, PlaceOrder
from ordering.reports import CustomerTotal, OrderSummary
from ordering.wallets import OpenWallet, Pay, PaymentConfirmed, Wallet, WalletOpened
from protean_testing.domain import DomainTestCase


class FlowTests(DomainTestCase):
    """Commands, events, projections and the process, as they follow each other."""

    domain = ordering

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        ordering.process(OpenWallet(customer="c1"))  # there for every test of this class

    def test_only_the_wallet_is_there(self) -> None:
        self.assertStream("$all", [WalletOpened])
        self.assertEqual(ordering.repository_for(Order).query.all().total, 0)
        self.assertEqual(self.published("warehouse"), [])
        self.assertTrue(self.projection(CustomerTotal, "c1").not_found)

    def test_an_order_reaches_every_system(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea", quantity=2)).result
        self.assertEqual(ordering.repository_for(Order).get(order_id).total, 20)  # the database
        self.assertEventRaised(OrderPlaced, order_id=order_id)  # the event store
        self.assertPublished("warehouse", order_id=order_id)  # the broker
        self.projection(CustomerTotal, "c1").has(orders=1, spent=20)  # the cache
        self.projection(OrderSummary, order_id).has(status="placed")

    def test_a_paid_order_is_shipped(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea")).result
        self.process(Pay(customer="c1", order_id=order_id, amount=10))
        self.assertStream("ordering::wallet-c1", [WalletOpened, PaymentConfirmed])
        self.assertStream("ordering::order", [OrderPlaced, OrderShipped])
        self.assertEqual(ordering.repository_for(Wallet).get("c1").balance, 90)

    def test_who_has_too_little_is_not_served(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea", price=1000.0)).result
        outcome = self.process(Pay(customer="c1", order_id=order_id, amount=1000))
        self.assertIsInstance(outcome.error, ValueError)
        self.assertStream("ordering::wallet-c1", [WalletOpened])

    def test_a_scope_inside_a_test(self) -> None:
        for customer in ("c1", "c2"):
            with self.subTest(customer), self.db.scope():
                self.process(PlaceOrder(customer=customer, product="tea"))
                self.projection(CustomerTotal, customer).has(orders=1)
        self.assertEqual(ordering.repository_for(Order).query.all().total, 0)


class EngineTests(DomainTestCase):
    """The same through the engine, as it runs in production: nothing follows until it does."""

    domain = ordering
    config = {"event_processing": "async"}

    def test_projections_and_messages_follow_in_the_engine(self) -> None:
        order_id = ordering.process(PlaceOrder(customer="c1", product="tea"))
        self.assertTrue(self.projection(OrderSummary, order_id).not_found)
        self.drain(until=lambda: self.projection(OrderSummary, order_id).found)
        self.assertPublished("warehouse", order_id=order_id)

    def test_the_carrier_reports(self) -> None:
        order_id = ordering.process(PlaceOrder(customer="c1", product="tea"))
        ordering.brokers["default"].publish("carrier", {"order_id": order_id})
        self.drain(until=lambda: OrderDelivered in self.events())
        self.assertEqual(ordering.repository_for(Order).get(order_id).status, "delivered")


if __name__ == "__main__":
    unittest.main()
