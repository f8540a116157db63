"""Recipe 2: one real database. The schema is made once per run, the data is given back after every test."""

import unittest

from sqlalchemy import text

from ordering import ordering
from ordering.orders import Order, PlaceOrder
from ordering.reports import OrderSummary
from protean_testing.domain import DomainTestCase

POSTGRESQL = {"databases": {"default": {"provider": "postgresql"}}}  # no URL: a private server for this run


class PersistenceTests(DomainTestCase):
    domain = ordering
    config = POSTGRESQL

    def rows(self, table: str) -> int:
        with self.engine.connect() as connection:  # another connection than the domain's
            return connection.execute(text(f'SELECT count(*) FROM "{table}"')).scalar_one()

    def test_an_order_is_committed_with_its_items(self) -> None:
        self.process(PlaceOrder(customer="c1", product="tea"))
        self.assertEqual((self.rows("order"), self.rows("line_item"), self.rows("order_summary")), (1, 1, 1))

    def test_nothing_is_left_of_it(self) -> None:
        self.assertEqual((self.rows("order"), self.rows("line_item"), self.rows("order_summary")), (0, 0, 0))

    def test_an_order_is_read_with_four_queries(self) -> None:
        order_id = self.process(PlaceOrder(customer="c1", product="tea")).result
        with self.assertQueryCount(4):  # itself and its items, and Protean counts both
            ordering.repository_for(Order).get(order_id)

    def test_summaries_are_found_by_customer(self) -> None:
        for customer in ("c1", "c2", "c1"):
            self.process(PlaceOrder(customer=customer, product="tea"))
        found = ordering.view_for(OrderSummary).query.filter(customer="c1").all()
        self.assertEqual(found.total, 2)


class RegularCustomerTests(DomainTestCase):
    """Orders that a whole class shares: what `setUpClass` commits is there again for every test."""

    domain = ordering
    config = POSTGRESQL

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for _ in range(3):
            ordering.process(PlaceOrder(customer="regular", product="tea"))

    def test_one_more(self) -> None:
        self.process(PlaceOrder(customer="regular", product="cups"))
        self.assertEqual(ordering.repository_for(Order).query.all().total, 4)

    def test_all_are_gone(self) -> None:
        with self.db.scope():
            with self.engine.begin() as connection:
                connection.execute(text('DELETE FROM "line_item"'))
                connection.execute(text('DELETE FROM "order"'))
            self.assertEqual(ordering.repository_for(Order).query.all().total, 0)
        self.assertEqual(ordering.repository_for(Order).query.all().total, 3)


if __name__ == "__main__":
    unittest.main()
