"""Categories, products, prices, and the tax on them."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .database import reading, transaction
from .errors import NotFound, SkuTaken
from .models import Category, Country, Product, product_categories
from .records import audit

rates: dict[str, int] = {}
"""The rates of tax that were looked up so far."""


def add_category(slug: str, name: str, *, parent: str | None = None) -> Category:
    with transaction() as session:
        above = _category(session, parent) if parent is not None else None
        category = Category(slug=slug, name=name, parent=above)
        session.add(category)
        return category


def add_product(
    sku: str, name: str, price: int, *, currency: str = "EUR", categories: Iterable[str] = ()
) -> Product:
    try:
        with transaction() as session:
            return add_product_in(session, sku, name, price, currency=currency, categories=categories)
    except IntegrityError as error:
        with reading() as session:
            taken = session.scalar(select(Product.id).where(Product.sku == sku)) is not None
        if taken:
            raise SkuTaken(f"product {sku} is there already") from error
        raise


def add_product_in(
    session: Session,
    sku: str,
    name: str,
    price: int,
    *,
    currency: str,
    categories: Iterable[str],
) -> Product:
    """As `add_product`, in a transaction that the caller commits."""
    product = Product(sku=sku, name=name, price=price, currency_code=currency)
    product.categories = [_category(session, slug) for slug in categories]
    session.add(product)
    audit(session, "listed", f"product {sku}", price=price)
    return product


def change_price(sku: str, price: int) -> None:
    with transaction() as session:
        product = product_of(session, sku)
        audit(session, "repriced", f"product {sku}", old=product.price, new=price)
        product.price = price


def discontinue(sku: str) -> None:
    with transaction() as session:
        product_of(session, sku).discontinued = True
        audit(session, "discontinued", f"product {sku}")


def product_of(session: Session, sku: str) -> Product:
    product = session.scalar(select(Product).where(Product.sku == sku))
    if product is None:
        raise NotFound(f"product {sku}")
    return product


def get(sku: str) -> Product:
    with reading() as session:
        return product_of(session, sku)


def named(text: str) -> Select[Any]:
    """What is sold with this in its name, in order."""
    return (
        select(Product)
        .where(Product.name.icontains(text, autoescape=True), ~Product.discontinued)
        .order_by(Product.name, Product.sku)
    )


def page(text: str, *, limit: int, offset: int = 0) -> tuple[Sequence[Product], int]:
    """A page of what is sold with this in its name, and how many there are on all pages."""
    found = named(text)
    with reading() as session:
        total = session.scalar(select(func.count()).select_from(found.order_by(None).subquery())) or 0
        return session.scalars(found.limit(limit).offset(offset)).all(), total


def products_in(slug: str) -> Sequence[Product]:
    """What is sold in a category and in all categories below it."""
    below = select(Category.id).where(Category.slug == slug).cte("below", recursive=True)
    below = below.union_all(select(Category.id).join(below, Category.parent_id == below.c.id))
    with reading() as session:
        return session.scalars(
            select(Product)
            .where(~Product.discontinued)
            .where(
                Product.id.in_(
                    select(product_categories.c.product_id).join(
                        below, below.c.id == product_categories.c.category_id
                    )
                )
            )
            .order_by(Product.sku)
        ).all()


def path_to(slug: str) -> list[str]:
    """The names of a category and of those above it, topmost first."""
    with reading() as session:
        category: Category | None = _category(session, slug)
        names: list[str] = []
        while category is not None:
            names.insert(0, category.name)
            category = category.parent
        return names


def vat_percent(session: Session, country: str) -> int:
    """A country's rate of value-added tax. It is looked up once per process: rates hardly ever change."""
    if country not in rates:
        rates[country] = session.get_one(Country, country).vat_percent
    return rates[country]


def _category(session: Session, slug: str) -> Category:
    category = session.scalar(select(Category).where(Category.slug == slug))
    if category is None:
        raise NotFound(f"category {slug}")
    return category
