"""From an order to its shipping: a process over two aggregates."""

from protean import handle
from protean.fields import Identifier, String
from protean.utils.globals import current_domain

from .domain import ordering
from .orders import OrderPlaced, OrderShipped, ShipOrder
from .wallets import PaymentConfirmed


@ordering.process_manager(stream_categories=["ordering::order", "ordering::wallet"])
class Fulfilment:
    order_id = Identifier()
    status = String(default="new")

    @handle(OrderPlaced, start=True, correlate="order_id")
    def placed(self, event: OrderPlaced) -> None:
        self.order_id = event.order_id
        self.status = "awaiting payment"

    @handle(PaymentConfirmed, correlate="order_id")
    def paid(self, event: PaymentConfirmed) -> None:
        self.status = "shipping"
        current_domain.process(ShipOrder(order_id=event.order_id))

    @handle(OrderShipped, correlate="order_id", end=True)
    def shipped(self, event: OrderShipped) -> None:
        self.status = "shipped"
