"""The read model in Redis: what the shop's front page and its people look at all the time."""

from typing import TYPE_CHECKING, Any

from .database import redis

if TYPE_CHECKING:
    from redis.client import Pipeline

BESTSELLERS = "shop:bestsellers"
REVENUE = "shop:revenue"


def order_key(order_id: int) -> str:
    return f"shop:order:{order_id}"


def project(pipe: "Pipeline", kind: str, payload: dict[str, Any]) -> None:
    """Queue what an event changes. An unknown kind is an error: somebody forgot us."""
    order = order_key(payload["order"])
    match kind:
        case "order.placed":
            pipe.hset(order, mapping={"status": "placed", "total": payload["total"]})
            for sku, quantity in payload["items"].items():
                pipe.zincrby(BESTSELLERS, quantity, sku)
        case "order.cancelled":
            pipe.hset(order, "status", "cancelled")
            for sku, quantity in payload["items"].items():
                pipe.zincrby(BESTSELLERS, -quantity, sku)
            pipe.zremrangebyscore(BESTSELLERS, "-inf", 0)
        case "order.paid":
            pipe.hset(order, "status", "paid")
            pipe.hincrby(REVENUE, payload["currency"], payload["total"])
        case "order.refunded":
            pipe.hincrby(REVENUE, payload["currency"], -payload["amount"])
        case "order.shipped":
            pipe.hset(order, mapping={"status": "shipped", "parcels": " ".join(payload["parcels"])})
        case _:
            raise ValueError(f"the dashboard knows no event {kind!r}")


def bestsellers(count: int = 10) -> list[tuple[str, int]]:
    return [(sku, int(sold)) for sku, sold in redis().zrevrange(BESTSELLERS, 0, count - 1, withscores=True)]


def order(order_id: int) -> dict[str, str]:
    return dict(redis().hgetall(order_key(order_id)))


def revenue() -> dict[str, int]:
    return {currency: int(amount) for currency, amount in redis().hgetall(REVENUE).items()}
