"""What lies in which warehouse. Rows are locked before they are counted, always in the same order."""

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from .catalog import product_of
from .database import reading, transaction
from .errors import NotFound, OutOfStock
from .models import Product, Stock, StockMovement, Warehouse
from .records import audit


def receive(sku: str, quantity: int, *, warehouse: str = "VIENNA") -> None:
    """Goods came in."""
    _move(sku, quantity, warehouse, "received")


def write_off(sku: str, quantity: int, *, warehouse: str = "VIENNA") -> None:
    """Goods were broken or lost."""
    _move(sku, -quantity, warehouse, "written off")


def available(sku: str) -> int:
    """How many there are, in all warehouses together."""
    with reading() as session:
        on_hand = select(func.sum(Stock.on_hand)).join(Product).where(Product.sku == sku)
        return session.scalar(on_hand) or 0


def movements(sku: str) -> Sequence[StockMovement]:
    with reading() as session:
        return session.scalars(
            select(StockMovement)
            .join(Product, Product.id == StockMovement.product_id)
            .where(Product.sku == sku)
            .order_by(StockMovement.id)
        ).all()


def take(session: Session, order_id: int, wanted: Mapping[Product, int]) -> None:
    """Take the goods of an order: from the nearest warehouse first, from several where one has too few."""
    for product in sorted(wanted, key=lambda product: product.id):
        left = wanted[product]
        rows = session.scalars(
            select(Stock)
            .join(Warehouse)
            .where(Stock.product_id == product.id)
            .order_by(Warehouse.priority)
            .with_for_update(of=Stock)
            .execution_options(populate_existing=True)
        ).all()
        there = sum(row.on_hand for row in rows)
        if there < left:
            raise OutOfStock(product.sku, left, there)
        for row in rows:
            taken = min(left, row.on_hand)
            if taken:
                row.on_hand -= taken
                left -= taken
                _note(session, row, -taken, "sold", order_id)


def give_back(session: Session, order_id: int) -> None:
    """Put the goods of a cancelled order back where they were taken from."""
    sold = session.scalars(
        select(StockMovement)
        .where(StockMovement.order_id == order_id)
        .order_by(StockMovement.product_id, StockMovement.id)
    ).all()
    for movement in sold:
        row = session.get_one(Stock, (movement.product_id, movement.warehouse_code), with_for_update=True)
        row.on_hand -= movement.change
        _note(session, row, -movement.change, "returned", order_id)


def _move(sku: str, change: int, warehouse: str, reason: str) -> None:
    with transaction() as session:
        product = product_of(session, sku)
        row = session.get(Stock, (product.id, warehouse), with_for_update=True)
        if row is None:
            if session.get(Warehouse, warehouse) is None:
                raise NotFound(f"warehouse {warehouse}")
            row = Stock(product_id=product.id, warehouse_code=warehouse, on_hand=0)
            session.add(row)
        if row.on_hand + change < 0:
            raise OutOfStock(sku, -change, row.on_hand)
        row.on_hand += change
        session.flush()
        _note(session, row, change, reason, None)
        audit(session, reason, f"product {sku}", change=change, warehouse=warehouse)


def _note(session: Session, row: Stock, change: int, reason: str, order_id: int | None) -> None:
    session.add(
        StockMovement(
            product_id=row.product_id,
            warehouse_code=row.warehouse_code,
            change=change,
            reason=reason,
            order_id=order_id,
        )
    )
