"""What the sample suite tests: a shop in three stores, each of which writes down what is done to it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import psutil
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from protean_testing import RedisStore, SQLAlchemyStore, Store


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))


def log(*what: object) -> None:
    """One line for the tests of the runner to read, with the process that wrote it."""
    with open(os.environ["LOG"], "a") as file:
        file.write(" ".join(map(str, (os.getpid(), *what))) + "\n")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Ledger(Store):
    """A store of the shop's own: a directory for each process, with one line in it for each order."""

    name = "ledger"

    def identity(self) -> str:
        return "ledger"

    @property
    def file(self) -> Path:
        return Path(os.environ["LEDGERS"], str(os.getpid()), "orders")

    def create_schema(self) -> None:
        for left in self.file.parent.parent.glob("*"):
            if not alive(int(left.name)):
                shutil.rmtree(left, ignore_errors=True)
        log("create")
        self.file.parent.mkdir(parents=True)
        self.file.touch()

    def drop_schema(self) -> None:
        log("drop")
        shutil.rmtree(self.file.parent, ignore_errors=True)
        if os.environ.get("BROKEN_DROP"):
            raise RuntimeError("the ledger cannot be dropped")

    def save_data(self) -> str:
        return self.file.read_text()

    def reset_data(self, snapshot: str) -> bool:
        log("reset")
        changed = self.file.read_text() != snapshot
        self.file.write_text(snapshot)
        return changed


now = 0
ledger = Ledger()
redis = RedisStore(name="redis")
STORES = [SQLAlchemyStore(Base.metadata, name="sql"), redis, ledger]


def order(db: Any, customer: str = "Ann") -> int:
    """The code under test: it commits to every store, on connections of its own. Gives the order's number."""
    with Session(db.engine) as session:
        made = Order(customer=customer)
        session.add(made)
        session.commit()
        session.add(Item(order_id=made.id))
        session.commit()
        number = made.id
    redis.client.incr("orders")
    with ledger.file.open("a") as file:
        file.write(f"{number}\n")
    return number


def orders(db: Any) -> tuple[int, int, int]:
    """How many orders each store has."""
    with Session(db.engine) as session:
        rows = session.scalar(select(func.count(Order.id))) or 0
    return rows, int(redis.client.get("orders") or 0), len(ledger.file.read_text().split())


def repeated(times: int) -> Callable[[type], type]:
    """Make so many tests of the one method of a class that is called ``each``."""

    def decorate(cls: Any) -> type:
        for number in range(1, times + 1):
            name, each = f"test_{number:02}", cls.each
            test = FunctionType(each.__code__, each.__globals__, name, each.__defaults__, each.__closure__)
            test.__qualname__ = f"{cls.__qualname__}.{name}"
            setattr(cls, name, test)
        return cls

    return decorate


def meet() -> None:
    """Wait until another worker is there, or ``MEET`` seconds: a quick one would do it all alone."""
    until = time.monotonic() + float(os.environ.get("MEET", 0))
    while time.monotonic() < until:
        if len({line.split()[0] for line in Path(os.environ["LOG"]).read_text().splitlines()}) > 1:
            break
        time.sleep(0.02)


def began(test: Any) -> None:
    """A test begins. The one that is named in ``PAUSE_AT`` waits there to be killed."""
    log("test", test.id())
    meet()
    flag = os.environ.get("PAUSE")
    if flag and os.environ["PAUSE_AT"] in test.id():
        Path(flag).write_text(str(os.getpid()))
        while Path(flag).exists():
            time.sleep(0.02)
