"""The shop's tables. Money is kept in the smallest unit of its currency: 1250 is 12.50 EUR."""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC on every database; SQLite keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


def now() -> datetime:
    return datetime.now(UTC)


class OrderStatus(StrEnum):
    PLACED = "placed"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        OrderStatus: Enum(OrderStatus, values_callable=lambda kind: list(kind), native_enum=False, length=10),
    }


# Look-up tables: their rows come from the migrations.


class Currency(Base):
    __tablename__ = "currencies"

    code: Mapped[str] = mapped_column(String(3), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)


class Country(Base):
    __tablename__ = "countries"

    code: Mapped[str] = mapped_column(String(2), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    currency_code: Mapped[str] = mapped_column(ForeignKey("currencies.code"))
    vat_percent: Mapped[int] = mapped_column(server_default="0")


class Warehouse(Base):
    __tablename__ = "warehouses"

    code: Mapped[str] = mapped_column(String(10), primary_key=True)
    country_code: Mapped[str] = mapped_column(ForeignKey("countries.code"))
    priority: Mapped[int] = mapped_column(unique=True)  # stock is taken from the lowest first


# Customers.


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[int] = mapped_column()

    addresses: Mapped[list["Address"]] = relationship(
        back_populates="customer", cascade="all, delete-orphan", passive_deletes=True, order_by="Address.id"
    )

    __mapper_args__ = {"version_id_col": version}


class Address(Base):
    __tablename__ = "addresses"
    __table_args__ = (UniqueConstraint("customer_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))
    street: Mapped[str] = mapped_column(String(200))
    city: Mapped[str] = mapped_column(String(100))
    country_code: Mapped[str] = mapped_column(ForeignKey("countries.code"))

    customer: Mapped[Customer] = relationship(back_populates="addresses")


# The catalogue and what is in stock.

product_categories = Table(
    "product_categories",
    Base.metadata,
    Column("product_id", ForeignKey("products.id", ondelete="CASCADE"), primary_key=True),
    Column("category_id", ForeignKey("categories.id"), primary_key=True),
)


class Category(Base):
    __tablename__ = "categories"
    __table_args__ = (CheckConstraint("parent_id <> id", name="not_its_own_parent"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(60), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("categories.id"))

    parent: Mapped["Category | None"] = relationship(remote_side=[id], back_populates="children")
    children: Mapped[list["Category"]] = relationship(back_populates="parent")
    products: Mapped[list["Product"]] = relationship(
        secondary=product_categories, back_populates="categories"
    )


class Product(Base):
    __tablename__ = "products"
    __table_args__ = (CheckConstraint("price > 0", name="price"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(200), index=True)
    price: Mapped[int]
    currency_code: Mapped[str] = mapped_column(ForeignKey("currencies.code"))
    discontinued: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column()

    categories: Mapped[list[Category]] = relationship(secondary=product_categories, back_populates="products")

    __mapper_args__ = {"version_id_col": version}


class Stock(Base):
    __tablename__ = "stock"
    __table_args__ = (CheckConstraint("on_hand >= 0", name="on_hand"),)

    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), primary_key=True)
    warehouse_code: Mapped[str] = mapped_column(ForeignKey("warehouses.code"), primary_key=True)
    on_hand: Mapped[int] = mapped_column(default=0)


class StockMovement(Base):
    __tablename__ = "stock_movements"
    __table_args__ = (
        ForeignKeyConstraint(["product_id", "warehouse_code"], ["stock.product_id", "stock.warehouse_code"]),
        CheckConstraint("change <> 0", name="change"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int]
    warehouse_code: Mapped[str] = mapped_column(String(10))
    change: Mapped[int]
    reason: Mapped[str] = mapped_column(String(20))
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"), index=True)
    moved_at: Mapped[datetime] = mapped_column(default=now)


# Coupons: a part of the price in per cent, or a fixed amount.


class Coupon(Base):
    __tablename__ = "coupons"
    __table_args__ = (
        CheckConstraint("(percent IS NULL) <> (amount IS NULL)", name="percent_or_amount"),
        CheckConstraint("percent BETWEEN 1 AND 100", name="percent"),
        CheckConstraint("used BETWEEN 0 AND max_uses", name="used"),
    )

    code: Mapped[str] = mapped_column(String(20), primary_key=True)
    percent: Mapped[int | None]
    amount: Mapped[int | None]
    valid_until: Mapped[date | None]
    max_uses: Mapped[int] = mapped_column(default=1)
    used: Mapped[int] = mapped_column(default=0)


class CouponUse(Base):
    __tablename__ = "coupon_uses"

    coupon_code: Mapped[str] = mapped_column(ForeignKey("coupons.code"), primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), unique=True)


# Orders, and the money for them.


class Order(Base):
    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("status IN ('placed', 'paid', 'shipped', 'cancelled')", name="status"),
        CheckConstraint("discount BETWEEN 0 AND subtotal", name="discount"),
        CheckConstraint("total = subtotal - discount + vat", name="total"),
        {"sqlite_autoincrement": True},  # the number of a deleted order is never given again
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), index=True)
    country_code: Mapped[str] = mapped_column(ForeignKey("countries.code"))
    currency_code: Mapped[str] = mapped_column(ForeignKey("currencies.code"))
    status: Mapped[OrderStatus] = mapped_column(default=OrderStatus.PLACED)
    subtotal: Mapped[int]
    discount: Mapped[int]
    vat: Mapped[int]
    total: Mapped[int]
    placed_at: Mapped[datetime] = mapped_column(default=now)
    # An order knows its last payment, and a payment its order: one of the two keys is added afterwards.
    last_payment_id: Mapped[int | None] = mapped_column(ForeignKey("payments.id", use_alter=True))
    version: Mapped[int] = mapped_column()

    lines: Mapped[list["OrderLine"]] = relationship(
        order_by="OrderLine.line_no", cascade="all, delete-orphan"
    )
    payments: Mapped[list["Payment"]] = relationship(
        foreign_keys="Payment.order_id", back_populates="order", order_by="Payment.id"
    )
    last_payment: Mapped["Payment | None"] = relationship(foreign_keys=[last_payment_id], post_update=True)
    shipments: Mapped[list["Shipment"]] = relationship(order_by="Shipment.id")

    __mapper_args__ = {"version_id_col": version}


class OrderLine(Base):
    __tablename__ = "order_lines"
    __table_args__ = (
        UniqueConstraint("order_id", "product_id"),
        CheckConstraint("quantity > 0", name="quantity"),
    )

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True)
    line_no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    quantity: Mapped[int]
    unit_price: Mapped[int]
    amount: Mapped[int] = mapped_column(Computed("quantity * unit_price", persisted=True))

    product: Mapped[Product] = relationship()


class Payment(Base):
    __tablename__ = "payments"
    __table_args__ = (CheckConstraint("amount > 0", name="amount"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    amount: Mapped[int]
    method: Mapped[str] = mapped_column(String(20))
    paid_at: Mapped[datetime] = mapped_column(default=now)
    request: Mapped[str | None] = mapped_column(String(60), unique=True, index=True)  # as its sender calls it

    order: Mapped[Order] = relationship(foreign_keys=[order_id], back_populates="payments")
    refunds: Mapped[list["Refund"]] = relationship(back_populates="payment", order_by="Refund.id")


class Refund(Base):
    __tablename__ = "refunds"
    __table_args__ = (CheckConstraint("amount > 0", name="amount"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey("payments.id"), index=True)
    amount: Mapped[int]
    reason: Mapped[str] = mapped_column(String(200))
    refunded_at: Mapped[datetime] = mapped_column(default=now)

    payment: Mapped[Payment] = relationship(back_populates="refunds")


class Shipment(Base):
    __tablename__ = "shipments"
    __table_args__ = (UniqueConstraint("order_id", "warehouse_code"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    warehouse_code: Mapped[str] = mapped_column(ForeignKey("warehouses.code"))
    tracking: Mapped[str] = mapped_column(String(40), unique=True)
    shipped_at: Mapped[datetime] = mapped_column(default=now)


# What happened: for people (the audit) and for other programs (the outbox).


class AuditEntry(Base):
    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(60), index=True)
    details: Mapped[dict[str, Any]]


class OutboxEvent(Base):
    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    stream_id: Mapped[str | None] = mapped_column(String(40), unique=True)  # given when it is published
