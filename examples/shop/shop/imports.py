"""Products from a CSV file, all of them or none."""

import csv
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from sqlalchemy import select
from sqlalchemy.orm import Session

from . import catalog
from .database import transaction
from .errors import ImportRefused, NotFound, ShopError, SkuTaken
from .models import Currency, Product

COLUMNS = ("sku", "name", "price", "currency", "categories")


class BadValue(ShopError):
    """A value that no product can have."""


def products(lines: Iterable[str]) -> int:
    """Add the products of a CSV file; return how many.

    Its columns are those of `COLUMNS`: a price is written as 12.90, categories are separated by spaces.

    Raises:
        ImportRefused: Some lines have errors; every one of them is told.
    """
    reader = csv.DictReader(lines)
    added, errors = 0, []
    with transaction() as session:
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise ImportRefused([f"line 1: no column {', '.join(missing)}"])
        for row in reader:
            try:
                _add(session, row)
                added += 1
            except ShopError as error:
                errors.append(f"line {reader.line_num}: {error}")
        if errors:
            raise ImportRefused(errors)
    return added


def _add(session: Session, row: Mapping[str | None, str | None]) -> None:
    if None in row:
        raise BadValue("more values than columns")
    sku, name, price, currency, categories = ((row[column] or "").strip() for column in COLUMNS)
    if not 0 < len(sku) <= 40:
        raise BadValue("a SKU has 1 to 40 characters")
    if not 0 < len(name) <= 200:
        raise BadValue("a name has 1 to 200 characters")
    amount = _cents(price)
    if session.get(Currency, currency) is None:
        raise NotFound(f"currency {currency}")
    if session.scalar(select(Product.id).where(Product.sku == sku)) is not None:
        raise SkuTaken(f"product {sku} is there already")
    catalog.add_product_in(session, sku, name, amount, currency=currency, categories=categories.split())


def _cents(price: str) -> int:
    try:
        cents = Decimal(price) * 100
        if 0 < cents < 2**31 and cents == cents.to_integral_value():
            return int(cents)
    except InvalidOperation:
        pass
    raise BadValue(f"{price!r} is no price")
