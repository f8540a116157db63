"""Recipe 5, the integration part: the same domain object on PostgreSQL, Redis and Message DB.

No environment variable: each class says where it lives, and a configuration that several classes share has
one schema for the run.
"""

import unittest

from sqlalchemy import text

from ordering import ordering
from ordering.orders import Order, OrderPlaced, OrderShipped, PlaceOrder
from ordering.reports import CustomerTotal
from ordering.wallets import OpenWallet, Pay
from protean_testing.domain import DomainTestCase


class IntegrationTestCase(DomainTestCase):
    domain = ordering
    config = {
        "databases": {"default": {"provider": "postgresql"}},
        "brokers": {"default": {"provider": "redis"}},
        "caches": {"default": {"provider": "redis"}},
        "event_store": {"provider": "message_db"},
    }


class OrderPersistenceTests(IntegrationTestCase):
    def test_an_order_is_committed(self) -> None:
        self.process(PlaceOrder(customer="c1", product="tea"))
        with self.engine.connect() as connection:
            self.assertEqual(connection.scalar(text('SELECT count(*) FROM "order"')), 1)

    def test_nothing_is_there(self) -> None:
        self.assertEqual(ordering.repository_for(Order).query.all().total, 0)
        self.assertStream("$all", [])
        self.assertEqual(self.published("warehouse"), [])


class FulfilmentTests(IntegrationTestCase):
    def test_a_paid_order_is_shipped(self) -> None:
        self.process(OpenWallet(customer="c1"))
        order_id = self.process(PlaceOrder(customer="c1", product="tea")).result
        self.process(Pay(customer="c1", order_id=order_id, amount=10))
        self.assertStream("ordering::order", [OrderPlaced, OrderShipped])
        self.projection(CustomerTotal, "c1").has(orders=1)


if __name__ == "__main__":
    unittest.main()
