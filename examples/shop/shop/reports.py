"""Figures for the people who run the shop, straight from the database."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select

from .database import reading
from .models import AuditEntry, Order, OrderStatus, Payment, Product, Refund, Stock, now

EARNED = (OrderStatus.PAID, OrderStatus.SHIPPED)


def revenue_by_country() -> dict[str, int]:
    """What was paid, less what was refunded, by the country that it was sent to."""
    refunded = (
        select(func.coalesce(func.sum(Refund.amount), 0))
        .join(Payment)
        .where(Payment.order_id == Order.id)
        .correlate(Order)
        .scalar_subquery()
    )
    with reading() as session:
        rows = session.execute(
            select(Order.country_code, func.sum(Order.total - refunded))
            .where(Order.status.in_(EARNED))
            .group_by(Order.country_code)
            .order_by(Order.country_code)
        )
        return {country: int(total) for country, total in rows}


def unpaid_orders(older_than: timedelta) -> Sequence[int]:
    """Orders to remind customers of."""
    with reading() as session:
        return session.scalars(
            select(Order.id)
            .where(Order.status == OrderStatus.PLACED, Order.placed_at < now() - older_than)
            .order_by(Order.id)
        ).all()


def running_low(below: int) -> dict[str, int]:
    """SKUs of which there are fewer than that, all warehouses together."""
    on_hand = func.coalesce(func.sum(Stock.on_hand), 0)
    with reading() as session:
        rows = session.execute(
            select(Product.sku, on_hand)
            .outerjoin(Stock)
            .where(~Product.discontinued)
            .group_by(Product.sku)
            .having(on_hand < below)
            .order_by(Product.sku)
        )
        return {sku: int(left) for sku, left in rows}


def stock_by_warehouse() -> list[tuple[str, str, str, int]]:
    """The SKU and name of every product that lies somewhere, the warehouse, and how many there are."""
    with reading() as session:
        rows = session.execute(
            select(Product.sku, Product.name, Stock.warehouse_code, Stock.on_hand)
            .join(Stock)
            .order_by(Product.sku, Stock.warehouse_code)
        )
        return [(sku, name, warehouse, on_hand) for sku, name, warehouse, on_hand in rows]


def history(subject: str) -> list[tuple[str, str]]:
    """Who did what to "order 1", in order."""
    with reading() as session:
        rows = session.execute(
            select(AuditEntry.actor, AuditEntry.action)
            .where(AuditEntry.subject == subject)
            .order_by(AuditEntry.id)
        )
        return [(actor, action) for actor, action in rows]
