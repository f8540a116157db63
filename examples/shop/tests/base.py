"""What all tests of the shop stand on: its stores, an open shop, and a few things to begin with."""

from collections.abc import Iterator
from contextlib import contextmanager

import shop
from protean_testing import (
    AsyncDatabaseTestCase,
    CallableStore,
    Database,
    DatabaseTestCase,
    Hook,
    RedisStore,
    SQLAlchemyStore,
)
from shop.migrations import migrate


def as_tests():
    """Every test acts under this name, as a request to the shop acts under its user's."""
    return shop.acting_as("tests")


STORES = [
    Hook(as_tests),
    SQLAlchemyStore(schema=migrate, name="shop"),  # the schema, and the rows that the migrations seed
    RedisStore(),
    CallableStore(shop.catalog.rates, name="rates"),  # a cache in this process
]

# The same stores for a class whose tests tell one story: each goes on where the last one ended.
STORY = [
    Hook(as_tests),
    SQLAlchemyStore(schema=migrate, name="shop", reset_after="class"),
    RedisStore(reset_after="class"),
    CallableStore(shop.catalog.rates, name="rates", reset_after="class"),
]


@contextmanager
def open_shop(db: Database) -> Iterator[None]:
    """The shop has an engine and a Redis client of its own; all it needs from the tests are the URLs."""
    shop.configure(db.url, db.store("redis").url)
    try:
        yield
    finally:
        shop.close()


class ShopTestCase(DatabaseTestCase):
    stores = STORES

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.enterClassContext(open_shop(cls.db))


class AsyncShopTestCase(AsyncDatabaseTestCase):
    stores = STORES

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.enterClassContext(open_shop(cls.db))


def a_customer(name: str = "Ann", country: str = "AT") -> int:
    """The id of a new customer, with an address in that country."""
    customer = shop.customers.register(f"{name}@example.com", name)
    shop.customers.add_address(customer.id, "shipping", street="Ring 1", city="Wien", country=country)
    return customer.id


def a_product(sku: str, price: int = 1000, *, stock: int = 10, currency: str = "EUR") -> str:
    """The SKU of a new product, of which so many lie in the first warehouse."""
    shop.catalog.add_product(sku, f"The {sku}", price, currency=currency)
    if stock:
        shop.stock.receive(sku, stock)
    return sku


def a_paid_order(customer_id: int, items: dict[str, int]) -> int:
    """The id of an order that was placed and paid."""
    order = shop.orders.place(customer_id, items)
    shop.payments.pay(order.id, order.total)
    return order.id
