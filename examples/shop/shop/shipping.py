"""Paid orders leave the house: one parcel from every warehouse that holds a part of it."""

from sqlalchemy import select

from .database import transaction
from .models import OrderStatus, Shipment, StockMovement
from .orders import locked
from .records import audit, event


def ship(order_id: int) -> list[str]:
    """Send a paid order, once; return the tracking numbers of its new parcels."""
    with transaction() as session:
        order = locked(session, order_id)
        if order.status != OrderStatus.PAID:
            return []
        warehouses = session.scalars(
            select(StockMovement.warehouse_code)
            .where(StockMovement.order_id == order_id)
            .distinct()
            .order_by(StockMovement.warehouse_code)
        ).all()
        parcels = [f"{warehouse}-{order_id:06}" for warehouse in warehouses]
        for warehouse, tracking in zip(warehouses, parcels, strict=True):
            session.add(Shipment(order_id=order_id, warehouse_code=warehouse, tracking=tracking))
        order.status = OrderStatus.SHIPPED
        audit(session, "shipped", f"order {order_id}", parcels=parcels)
        event(session, "order.shipped", order=order_id, parcels=parcels)
        return parcels
