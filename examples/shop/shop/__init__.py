"""A small shop: what its customers order is paid, taken from stock, packed and sent.

shop.configure("postgresql+psycopg://localhost/shop", "redis://localhost/0")
with shop.acting_as("anna"):
    order = shop.orders.place(customer_id=1, items={"TEA-GREEN": 2})
    shop.payments.pay(order.id, order.total)
"""

from . import (
    baskets,
    catalog,
    coupons,
    customers,
    dashboard,
    orders,
    outbox,
    payments,
    reports,
    shipping,
    stock,
)
from .context import acting_as
from .database import close, configure

__all__ = [
    "acting_as",
    "baskets",
    "catalog",
    "close",
    "configure",
    "coupons",
    "customers",
    "dashboard",
    "orders",
    "outbox",
    "payments",
    "reports",
    "shipping",
    "stock",
]
