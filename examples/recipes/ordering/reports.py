"""What is read: a row for each order, a total for each customer in the cache, and a word to the warehouse."""

from protean import handle
from protean.core.projector import on
from protean.fields import Float, Identifier, Integer, String
from protean.utils.globals import current_domain

from .domain import ordering
from .orders import Order, OrderDelivered, OrderPlaced, OrderShipped


@ordering.projection
class OrderSummary:
    order_id = Identifier(identifier=True)
    customer = String()
    total = Float()
    status = String()


@ordering.projection(cache="default")
class CustomerTotal:
    customer = String(identifier=True)
    orders = Integer(default=0)
    spent = Float(default=0.0)


@ordering.projector(projector_for=OrderSummary, aggregates=[Order])
class OrderSummaries:
    @on(OrderPlaced)
    def placed(self, event: OrderPlaced) -> None:
        current_domain.repository_for(OrderSummary).add(
            OrderSummary(order_id=event.order_id, customer=event.customer, total=event.total, status="placed")
        )

    @on(OrderShipped)
    def shipped(self, event: OrderShipped) -> None:
        self._set(event.order_id, "shipped")

    @on(OrderDelivered)
    def delivered(self, event: OrderDelivered) -> None:
        self._set(event.order_id, "delivered")

    def _set(self, order_id: str, status: str) -> None:
        summaries = current_domain.repository_for(OrderSummary)
        summary = summaries.get(order_id)
        summary.status = status
        summaries.add(summary)


@ordering.event_handler(part_of=Order)
class Bookkeeping:
    @handle(OrderPlaced)
    def count(self, event: OrderPlaced) -> None:
        totals = current_domain.cache_for(CustomerTotal)
        total = totals.get(f"customer_total:::{event.customer}") or CustomerTotal(customer=event.customer)
        totals.add(
            CustomerTotal(customer=total.customer, orders=total.orders + 1, spent=total.spent + event.total)
        )

    @handle(OrderPlaced)
    def tell_the_warehouse(self, event: OrderPlaced) -> None:
        current_domain.brokers.publish("warehouse", {"order_id": event.order_id, "customer": event.customer})
