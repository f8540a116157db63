"""Money in and money back."""

from sqlalchemy import func, select

from .database import transaction
from .errors import NotFound, RequestReused, WrongAmount, WrongStatus
from .models import Order, OrderStatus, Payment, Refund
from .orders import locked, paid
from .records import audit, event


def pay(order_id: int, amount: int, method: str = "card", *, request: str | None = None) -> Payment:
    """Take a payment; an order may be paid in parts, and is paid when nothing is owed any more.

    A request that is repeated under the same key takes no money again: it gets the same payment.
    """
    with transaction() as session:
        order = locked(session, order_id)
        if request is not None:
            before = session.scalar(select(Payment).where(Payment.request == request))
            if before is not None:
                if (before.order_id, before.amount, before.method) != (order_id, amount, method):
                    raise RequestReused(f"{request} was a payment of {before.amount}")
                return before
        if order.status != OrderStatus.PLACED:
            raise WrongStatus(f"order {order_id} is {order.status}")
        owed = order.total - sum(payment.amount for payment in order.payments)
        if not 0 < amount <= owed:
            raise WrongAmount(f"{amount} paid, {owed} owed")
        payment = Payment(order=order, amount=amount, method=method, request=request)
        order.last_payment = payment
        session.flush()
        audit(session, "paid", f"order {order_id}", amount=amount, method=method)
        if amount == owed:
            paid(session, order)
        return payment


def refund(payment_id: int, amount: int, reason: str) -> Refund:
    """Give a part of a payment back, or all of it."""
    with transaction() as session:
        payment = session.get(Payment, payment_id, with_for_update=True)
        if payment is None:
            raise NotFound(f"payment {payment_id}")
        refunded = select(func.sum(Refund.amount)).where(Refund.payment_id == payment_id)
        left = payment.amount - (session.scalar(refunded) or 0)
        if not 0 < amount <= left:
            raise WrongAmount(f"{amount} to refund, {left} of payment {payment_id} left")
        refund = Refund(payment=payment, amount=amount, reason=reason)
        session.add(refund)
        order = session.get_one(Order, payment.order_id)
        audit(session, "refunded", f"order {order.id}", amount=amount, reason=reason)
        event(session, "order.refunded", order=order.id, amount=amount, currency=order.currency_code)
        return refund
