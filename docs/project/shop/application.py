"""A small application, of the kind that owns its engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from .models import Order

_current: ContextVar[Application] = ContextVar("current application")


class Application:
    """Opens sessions of its own, and commits."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        self.cache: dict[str, int] = {}

    def place(self, customer: str, total: int = 0) -> int:
        with Session(self.engine) as session:
            order = Order(customer=customer, total=total)
            session.add(order)
            session.commit()
            return order.id

    def customers(self) -> list[str]:
        with Session(self.engine) as session:
            return list(session.scalars(select(Order.customer).order_by(Order.id)))

    @contextmanager
    def app_context(self) -> Iterator[None]:
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


def create_app(url: str) -> Application:
    return Application(url)


def current_app() -> Application:
    return _current.get()
