"""An order, and what is told of it."""

from protean import handle
from protean.fields import Float, HasMany, Identifier, Integer, String
from protean.utils.globals import current_domain

from .domain import ordering


@ordering.entity(part_of="Order")
class LineItem:
    product = String(required=True)
    quantity = Integer(min_value=1, required=True)
    price = Float(required=True)


@ordering.event(part_of="Order")
class OrderPlaced:
    order_id = Identifier(required=True)
    customer = String(required=True)
    total = Float(required=True)


@ordering.event(part_of="Order")
class OrderShipped:
    order_id = Identifier(required=True)


@ordering.event(part_of="Order")
class OrderDelivered:
    order_id = Identifier(required=True)


@ordering.aggregate
class Order:
    customer = String(required=True)
    status = String(default="placed")
    items = HasMany(LineItem)

    @property
    def total(self) -> float:
        return sum(item.quantity * item.price for item in self.items)

    def location(self) -> None:
        self.raise_(OrderPlaced(order_id=self.id, customer=self.customer, total=self.total))

    def ship(self) -> None:
        self.status = "shipped"
        self.raise_(OrderShipped(order_id=self.id))

    def deliver(self) -> None:
        self.status = "delivered"
        self.raise_(OrderDelivered(order_id=self.id))


@ordering.command(part_of=Order)
class PlaceOrder:
    customer = String(required=True)
    product = String(required=True)
    quantity = Integer(default=1)
    price = Float(default=10.0)


@ordering.command(part_of=Order)
class ShipOrder:
    order_id = Identifier(required=True)


@ordering.command_handler(part_of=Order)
class OrderCommands:
    @handle(PlaceOrder)
    def place(self, command: PlaceOrder) -> str:
        order = Order(customer=command.customer)
        order.add_items(LineItem(product=command.product, quantity=command.quantity, price=command.price))
        order.location()
        current_domain.repository_for(Order).add(order)
        return str(order.id)

    @handle(ShipOrder)
    def ship(self, command: ShipOrder) -> None:
        orders = current_domain.repository_for(Order)
        order = orders.get(command.order_id)
        order.ship()
        orders.add(order)


@ordering.subscriber(stream="carrier")
class CarrierMessages:
    """The carrier tells us, through the broker, that a parcel has arrived."""

    def __call__(self, payload: dict) -> None:
        orders = current_domain.repository_for(Order)
        order = orders.get(payload["order_id"])
        order.deliver()
        orders.add(order)
