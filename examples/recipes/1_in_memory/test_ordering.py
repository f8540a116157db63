"""Recipe 1: everything in memory. No schema, no server; each test finds the domain as new."""

import unittest

from ordering import ordering
from ordering.orders import Order, OrderDelivered, OrderPlaced, OrderShipped, PlaceOrder
from ordering.reports import CustomerTotal, OrderSummary
from ordering.wallets import OpenWallet, Pay, PaymentConfirmed, WalletOpened
from protean_testing.domain import DomainTestCase


class OrderTests(DomainTestCase):
    domain = ordering

    def test_an_order_is_placed(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea", quantity=3)).result
        self.assertEqual(ordering.repository_for(Order).get(order_id).total, 30)
        self.assertEventRaised(OrderPlaced, order_id=order_id, total=30)

    def test_nothing_is_left_of_it(self) -> None:
        self.assertEqual(len(ordering.repository_for(Order).query.all().items), 0)
        self.assertStream("$all", [])
        self.assertEqual(self.published("warehouse"), [])
        self.assertTrue(self.projection(CustomerTotal, "c1").not_found)

    def test_projections_follow(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea")).result
        self.process(PlaceOrder(customer="c1", product="cups", price=5.0))
        self.projection(OrderSummary, order_id).has(customer="c1", total=10, status="placed")
        self.projection(CustomerTotal, "c1").has(orders=2, spent=15)

    def test_the_warehouse_is_told(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea")).result
        self.assertPublished("warehouse", order_id=order_id)


class FulfilmentTests(DomainTestCase):
    domain = ordering
    config = {"message_processing": "sync"}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        ordering.process(OpenWallet(customer="c1"))  # there for every test of this class

    def test_a_paid_order_is_shipped(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea")).result
        self.process(Pay(customer="c1", order_id=order_id, amount=10))
        self.assertStream("ordering::order", [OrderPlaced, OrderShipped])
        self.projection(OrderSummary, order_id).has(status="shipped")

    def test_who_has_too_little_is_not(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea", price=1000.0)).result
        self.assertIsInstance(
            self.process(Pay(customer="c1", order_id=order_id, amount=1000)).error, ValueError
        )
        self.assertStream("ordering::wallet-c1", [WalletOpened])
        self.assertNotIn(PaymentConfirmed, self.events())

    def test_the_carrier_reports(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea")).result
        ordering.brokers.publish("carrier", {"order_id": order_id})
        self.assertEventRaised(OrderDelivered, order_id=order_id)
        self.projection(OrderSummary, order_id).has(status="delivered")


if __name__ == "__main__":
    unittest.main()
