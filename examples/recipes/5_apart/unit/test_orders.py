"""Recipe 5, the unit part: in memory, whatever runs beside it. It starts no server and pays for none."""

import unittest

from ordering import ordering
from ordering.orders import Order, OrderPlaced, PlaceOrder
from protean_testing.domain import DomainTestCase


class UnitTestCase(DomainTestCase):
    domain = ordering


class OrderTests(UnitTestCase):
    def test_an_order_is_placed(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea", quantity=3)).result
        self.assertEventRaised(OrderPlaced, order_id=order_id, total=30)

    def test_nothing_is_there(self) -> None:
        self.assertEqual(ordering.repository_for(Order).query.all().total, 0)
        self.assertEqual(ordering.providers["default"].conn_info["provider"], "memory")


class LaterOrderTests(UnitTestCase):
    def test_an_order_is_placed_here_too(self) -> None:
        self.process(PlaceOrder(customer="c1", product="tea"))
        self.assertEqual(ordering.repository_for(Order).query.all().total, 1)


if __name__ == "__main__":
    unittest.main()
