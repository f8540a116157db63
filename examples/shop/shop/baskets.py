"""What customers are about to order, kept in Redis until they do or forget it."""

from typing import Any

from . import catalog, orders
from .database import redis
from .errors import OrderRefused
from .models import Order

BASKETS_LIVE = 24 * 60 * 60  # seconds since the last change
CHECKOUTS_LIVE = 30  # seconds until another may try, where one has died


def key(customer_id: int) -> str:
    return f"shop:basket:{customer_id}"


def lock(customer_id: int) -> dict[str, Any]:
    """The lock of a checkout: a basket is ordered once, however often the button is pressed."""
    return {"name": f"shop:checkout:{customer_id}", "timeout": CHECKOUTS_LIVE, "sleep": 0.01}


def put(customer_id: int, sku: str, quantity: int = 1) -> None:
    """Put so many more into the basket; a negative quantity takes them out."""
    catalog.get(sku)
    basket = key(customer_id)
    if redis().hincrby(basket, sku, quantity) <= 0:
        redis().hdel(basket, sku)
    redis().expire(basket, BASKETS_LIVE)


def contents(customer_id: int) -> dict[str, int]:
    return {sku: int(quantity) for sku, quantity in sorted(redis().hgetall(key(customer_id)).items())}


def checkout(customer_id: int, *, coupon: str | None = None) -> Order:
    """Order what is in the basket, and empty it; where the order is refused it stays full."""
    with redis().lock(**lock(customer_id)):
        items = contents(customer_id)
        if not items:
            raise OrderRefused("the basket is empty")
        order = orders.place(customer_id, items, coupon=coupon)
        redis().delete(key(customer_id))
        return order
