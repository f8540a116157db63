"""Recipe 3: one suite, three databases. ``TEST_DB`` says which: memory, sqlite or postgresql.

python -m unittest discover 3_switch                        # in memory, as the domain is configured
TEST_DB=sqlite python -m unittest discover 3_switch         # a file
TEST_DB=postgresql python -m unittest discover 3_switch     # DATABASE_URL, or else a private server
"""

import unittest

from ordering import ordering
from ordering.orders import Order, OrderPlaced, OrderShipped, PlaceOrder
from ordering.reports import CustomerTotal, OrderSummary
from ordering.wallets import OpenWallet, Pay
from protean_testing.domain import DomainTestCase


class OrderTests(DomainTestCase):
    domain = ordering

    def test_an_order_has_its_items(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea", quantity=2)).result
        order = ordering.repository_for(Order).get(order_id)
        self.assertEqual([(item.product, item.quantity) for item in order.items], [("tea", 2)])

    def test_nothing_is_there(self) -> None:
        self.assertEqual(ordering.repository_for(Order).query.all().total, 0)
        self.assertEqual(ordering.view_for(OrderSummary).query.all().total, 0)
        self.assertStream("$all", [])

    def test_orders_are_found_by_customer(self) -> None:
        for customer in ("c1", "c2", "c1"):
            self.process(PlaceOrder(customer=customer, product="tea"))
        self.assertEqual(ordering.repository_for(Order).query.filter(customer="c1").all().total, 2)
        self.projection(CustomerTotal, "c1").has(orders=2)

    def test_a_paid_order_is_shipped(self) -> None:
        self.process(OpenWallet(customer="c1"))
        order_id = self.process(PlaceOrder(customer="c1", product="tea")).result
        self.process(Pay(customer="c1", order_id=order_id, amount=10))
        self.assertStream("ordering::order", [OrderPlaced, OrderShipped])
        self.projection(OrderSummary, order_id).has(status="shipped")


if __name__ == "__main__":
    unittest.main()
