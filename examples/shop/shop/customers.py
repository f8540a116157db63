"""Customers and their addresses."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import selectinload

from .database import reading, transaction
from .errors import ChangedMeanwhile, EmailTaken, NotFound
from .models import Address, Customer, Order
from .records import audit


def register(email: str, name: str) -> Customer:
    """A new customer; e-mail addresses differ in more than upper and lower case."""
    try:
        with transaction() as session:
            customer = Customer(email=email.strip().lower(), name=name, addresses=[])
            session.add(customer)
            session.flush()
            audit(session, "registered", f"customer {customer.id}", email=customer.email)
            return customer
    except IntegrityError as error:
        raise EmailTaken(email) from error


def get(customer_id: int) -> Customer:
    with reading() as session:
        customer = session.get(Customer, customer_id, options=[selectinload(Customer.addresses)])
    if customer is None:
        raise NotFound(f"customer {customer_id}")
    return customer


def add_address(customer_id: int, kind: str, *, street: str, city: str, country: str) -> None:
    """Set where to send things (kind "shipping") or bills ("billing"), in place of what was there."""
    with transaction() as session:
        customer = session.get(Customer, customer_id)
        if customer is None:
            raise NotFound(f"customer {customer_id}")
        old = next((address for address in customer.addresses if address.kind == kind), None)
        if old is not None:
            old.street, old.city, old.country_code = street, city, country
        else:
            customer.addresses.append(Address(kind=kind, street=street, city=city, country_code=country))
        audit(session, "moved", f"customer {customer_id}", kind=kind, city=city)


def rename(customer: Customer, name: str) -> Customer:
    """Change the name of a customer as it was read: refused where it was changed since."""
    with transaction() as session:
        current = session.get(Customer, customer.id, with_for_update=True)
        if current is None:
            raise NotFound(f"customer {customer.id}")
        if current.version != customer.version:
            raise ChangedMeanwhile(f"customer {customer.id} is now called {current.name!r}")
        audit(session, "renamed", f"customer {customer.id}", old=current.name, new=name)
        current.name = name
    return current


def forget(customer_id: int) -> None:
    """Delete a customer; one with orders stays for the books, without name, address and e-mail."""
    with transaction() as session:
        customer = session.get(Customer, customer_id)
        if customer is None:
            raise NotFound(f"customer {customer_id}")
        if session.scalar(select(Order.id).where(Order.customer_id == customer_id).limit(1)) is None:
            session.delete(customer)
        else:
            customer.name, customer.email = "", f"forgotten-{customer_id}@example.invalid"
            customer.addresses.clear()
        audit(session, "forgotten", f"customer {customer_id}")


def find(text: str) -> Sequence[Customer]:
    with reading() as session:
        return session.scalars(
            select(Customer).where(Customer.name.icontains(text, autoescape=True)).order_by(Customer.id)
        ).all()
