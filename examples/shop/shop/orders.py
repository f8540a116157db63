"""Orders, from placing them to cancelling them."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from . import catalog, coupons, stock
from .database import reading, transaction
from .errors import NotFound, OrderRefused, WrongStatus
from .models import Customer, Order, OrderLine, OrderStatus, Product
from .records import audit, event


def place(customer_id: int, items: Mapping[str, int], *, coupon: str | None = None) -> Order:
    """Order so many of each SKU: the goods are taken from stock, or nothing is done at all.

    Raises:
        OrderRefused: It is empty, or mixes currencies, or the customer has no shipping address.
        OutOfStock: There are too few of something.
        CouponRefused: The coupon does not count, or no longer.
    """
    with transaction() as session:
        return place_in(session, customer_id, items, coupon=coupon)


def place_in(
    session: Session, customer_id: int, items: Mapping[str, int], *, coupon: str | None = None
) -> Order:
    """As `place`, in a transaction that the caller commits."""
    if not items or min(items.values()) < 1:
        raise OrderRefused("an order has one thing at least")
    country = _shipping_country(session, customer_id)
    wanted = {_sold(session, sku): quantity for sku, quantity in sorted(items.items())}
    currencies = {product.currency_code for product in wanted}
    if len(currencies) > 1:
        raise OrderRefused(f"an order is paid in one currency, not in {', '.join(sorted(currencies))}")
    subtotal = sum(product.price * quantity for product, quantity in wanted.items())
    discount = coupons.discount(session, coupon, customer_id, subtotal) if coupon else 0
    vat = ((subtotal - discount) * catalog.vat_percent(session, country) + 50) // 100
    order = Order(
        customer_id=customer_id,
        country_code=country,
        currency_code=currencies.pop(),
        subtotal=subtotal,
        discount=discount,
        vat=vat,
        total=subtotal - discount + vat,
        payments=[],
        shipments=[],
        lines=[
            OrderLine(line_no=number, product=product, quantity=quantity, unit_price=product.price)
            for number, (product, quantity) in enumerate(wanted.items(), start=1)
        ],
    )
    session.add(order)
    session.flush()
    stock.take(session, order.id, wanted)
    if coupon:
        coupons.redeem(session, coupon, customer_id, order.id)
    audit(session, "placed", f"order {order.id}", total=order.total)
    event(
        session,
        "order.placed",
        order=order.id,
        customer=customer_id,
        total=order.total,
        currency=order.currency_code,
        items=dict(items),
    )
    if order.total == 0:
        paid(session, order)
    return order


def get(order_id: int) -> Order:
    """An order with its lines, products, payments and shipments."""
    with reading() as session:
        order = session.scalar(
            select(Order)
            .where(Order.id == order_id)
            .options(
                selectinload(Order.lines).joinedload(OrderLine.product),
                selectinload(Order.payments),
                selectinload(Order.shipments),
                joinedload(Order.last_payment),
            )
        )
    if order is None:
        raise NotFound(f"order {order_id}")
    return order


def cancel(order_id: int) -> None:
    """Put everything back. What was paid is refunded before, not here."""
    with transaction() as session:
        order = cancellable(session, order_id)
        order.status = OrderStatus.CANCELLED
        stock.give_back(session, order_id)
        audit(session, "cancelled", f"order {order_id}")
        event(
            session,
            "order.cancelled",
            order=order_id,
            items={line.product.sku: line.quantity for line in order.lines},
        )


def cancellable(session: Session, order_id: int) -> Order:
    """The order, locked, where nothing forbids to cancel it."""
    order = locked(session, order_id)
    if order.status != OrderStatus.PLACED:
        raise WrongStatus(f"order {order_id} is {order.status}, it cannot be cancelled any more")
    kept = sum(
        payment.amount - sum(refund.amount for refund in payment.refunds) for payment in order.payments
    )
    if kept:
        raise WrongStatus(f"{kept} were paid for order {order_id}: refund them first")
    return order


def paid(session: Session, order: Order) -> None:
    """Nothing is owed any more."""
    order.status = OrderStatus.PAID
    event(session, "order.paid", order=order.id, total=order.total, currency=order.currency_code)


def locked(session: Session, order_id: int) -> Order:
    """The order, for the transaction that is going to change it alone."""
    order = session.get(Order, order_id, with_for_update=True)
    if order is None:
        raise NotFound(f"order {order_id}")
    return order


def _shipping_country(session: Session, customer_id: int) -> str:
    customer = session.get(Customer, customer_id)
    if customer is None:
        raise NotFound(f"customer {customer_id}")
    for address in customer.addresses:
        if address.kind == "shipping":
            return address.country_code
    raise OrderRefused(f"customer {customer_id} has no shipping address")


def _sold(session: Session, sku: str) -> Product:
    product = catalog.product_of(session, sku)
    if product.discontinued:
        raise OrderRefused(f"{sku} is not sold any more")
    return product
