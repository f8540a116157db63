"""Coupons: a percentage or a fixed amount off, so many times, once for each customer."""

from datetime import UTC, date, datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .database import reading, transaction
from .errors import CouponRefused, CouponTaken, NotFound
from .models import Coupon, CouponUse


def issue(
    code: str,
    *,
    percent: int | None = None,
    amount: int | None = None,
    max_uses: int = 1,
    valid_until: date | None = None,
) -> None:
    try:
        with transaction() as session:
            session.add(
                Coupon(code=code, percent=percent, amount=amount, max_uses=max_uses, valid_until=valid_until)
            )
    except IntegrityError as error:
        with reading() as session:
            taken = session.get(Coupon, code) is not None
        if taken:
            raise CouponTaken(f"coupon {code} is there already") from error
        raise


def discount(session: Session, code: str, customer_id: int, subtotal: int) -> int:
    """What the coupon takes off; it stays locked until the order is there, so that no other takes it."""
    coupon = session.get(Coupon, code, with_for_update=True)
    if coupon is None:
        raise NotFound(f"coupon {code}")
    if coupon.valid_until is not None and coupon.valid_until < datetime.now(UTC).date():
        raise CouponRefused(f"{code} was valid until {coupon.valid_until}")
    if coupon.used >= coupon.max_uses:
        raise CouponRefused(f"{code} is used up")
    if session.get(CouponUse, (code, customer_id)) is not None:
        raise CouponRefused(f"customer {customer_id} has used {code} before")
    if coupon.percent is not None:
        return subtotal * coupon.percent // 100
    return min(subtotal, coupon.amount or 0)


def redeem(session: Session, code: str, customer_id: int, order_id: int) -> None:
    session.get_one(Coupon, code).used += 1
    session.add(CouponUse(coupon_code=code, customer_id=customer_id, order_id=order_id))
