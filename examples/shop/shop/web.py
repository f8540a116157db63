"""The shop's HTTP API: JSON in, JSON out, as a WSGI application.

shop.configure("postgresql+psycopg://localhost/shop", "redis://localhost/0")
wsgiref.simple_server.make_server("", 8000, shop.web.application).serve_forever()

The header X-User says who acts; the proxy in front sets it, once it has logged somebody in.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from sqlalchemy.exc import DataError, IntegrityError

from . import baskets, catalog, customers, dashboard, orders, payments, reports, stock
from .context import acting_as
from .errors import (
    ChangedMeanwhile,
    CouponRefused,
    EmailTaken,
    NotFound,
    OrderRefused,
    OutOfStock,
    RequestReused,
    ShopError,
    SkuTaken,
    WrongAmount,
    WrongStatus,
)
from .models import Customer, Order, Payment, Product

MOST = 2**31 - 1  # of what a column of whole numbers holds
BODY = 64 * 1024  # bytes
PAGE = 100  # products

STATUSES: dict[type[ShopError], int] = {
    NotFound: 404,
    ChangedMeanwhile: 409,
    EmailTaken: 409,
    OutOfStock: 409,
    SkuTaken: 409,
    WrongStatus: 409,
    CouponRefused: 422,
    OrderRefused: 422,
    RequestReused: 422,
    WrongAmount: 422,
}

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Response:
    payload: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that does not even come to the shop."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class Request:
    """What was asked for. Its body is read at once, so that a client never writes to a closed connection."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        self.query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal():
            raise Refused(400, "Content-Length is no number")
        if int(length) > BODY:
            raise Refused(413, f"a request has {BODY} bytes at most")
        self._body: bytes = environ["wsgi.input"].read(int(length))

    def header(self, name: str) -> str | None:
        return self._environ.get("HTTP_" + name.upper().replace("-", "_"))

    @cached_property
    def body(self) -> dict[str, Any]:
        if self._environ.get("CONTENT_TYPE", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "send application/json")
        try:
            body = json.loads(self._body)
        except ValueError as error:
            raise Refused(400, f"the body is no JSON: {error}") from error
        if not isinstance(body, dict):
            raise Refused(400, "the body is no object")
        return body

    def field(self, name: str, kind: type[T], default: T | None = None) -> T:
        """A value of the body; without a default it must be there."""
        value = self.body.get(name, default)
        if value is None:
            raise Refused(422, f"{name} is missing")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise Refused(422, f"{name} is no {'whole number' if kind is int else 'text'}")
        if isinstance(value, int) and abs(value) > MOST:
            raise Refused(422, f"{name} is too large")
        return value

    def number(self, name: str, default: int, *, least: int = 0, most: int = MOST) -> int:
        """A number of the query."""
        text = self.query.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
            raise Refused(400, f"{name} is no number from {least} to {most}")
        return int(text)


Handler = Callable[..., Response]
routes: dict[str, tuple[re.Pattern[str], dict[str, Handler]]] = {}
"""By path: what it matches, and what is done for each method."""


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    """Have requests for the path handled: {id} in it stands for a number, any other {name} for text."""
    pattern = path.replace("{id}", "(?P<id>[0-9]{1,9})")
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

    def add(handler: Handler) -> Handler:
        _, handlers = routes.setdefault(path, (re.compile(pattern), {}))
        handlers[method] = handler
        return handler

    return add


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    response = _answer(environ)
    body, headers = b"", dict(response.headers)
    if response.status != 204:
        body = json.dumps(response.payload).encode()
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(headers.items()))
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _answer(environ: Mapping[str, Any]) -> Response:
    try:
        request = Request(environ)
        handler, arguments = _handler(request)
        if request.method in ("GET", "HEAD"):
            return handler(request, **arguments)
        user = request.header("X-User")
        if not user:
            raise Refused(401, "say who acts, in X-User")
        with acting_as(user):
            return handler(request, **arguments)
    except Refused as error:
        return _error(error.status, "bad_request", error, headers=error.headers)
    except OutOfStock as error:
        left: dict[str, Any] = {"sku": error.sku, "wanted": error.wanted, "available": error.available}
        return _error(409, "out_of_stock", error, **left)
    except tuple(STATUSES) as error:
        kind = re.sub(r"\B[A-Z]", r"_\g<0>", type(error).__name__).lower()
        return _error(STATUSES[type(error)], kind, error)
    except (DataError, IntegrityError):
        log.info("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"], exc_info=True)
        return _error(422, "unacceptable", "the database does not take this")
    except Exception:
        log.exception("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
        return _error(500, "failed", "something went wrong here")


def _error(
    status: int, kind: str, message: object, *, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    return Response({"error": kind, "message": str(message), **more}, status, headers or {})


def _handler(request: Request) -> tuple[Handler, dict[str, Any]]:
    for pattern, handlers in routes.values():
        if found := pattern.fullmatch(request.path):
            method = "GET" if request.method == "HEAD" else request.method
            if method not in handlers:
                raise Refused(405, f"{request.method} is not for this", Allow=", ".join(sorted(handlers)))
            arguments: dict[str, Any] = found.groupdict()
            if "id" in arguments:
                arguments["id"] = int(arguments["id"])
            return handlers[method], arguments
    raise Refused(404, f"there is nothing at {request.path}")


@contextmanager
def in_the_body() -> Iterator[None]:
    """What the body names and we do not have is a mistake in the body, not in the address."""
    try:
        yield
    except NotFound as error:
        raise Refused(422, f"there is no {error}") from error


# The catalogue.


@route("GET", "/products")
def list_products(request: Request) -> Response:
    text = request.query.get("search", "")
    limit = request.number("limit", 20, least=1, most=PAGE)
    offset = request.number("offset", 0)
    found, total = catalog.page(text, limit=limit, offset=offset)
    following = None
    if offset + limit < total:
        following = "/products?" + urlencode({"search": text, "limit": limit, "offset": offset + limit})
    return Response({"products": [_product(product) for product in found], "total": total, "next": following})


@route("POST", "/products")
def add_product(request: Request) -> Response:
    with in_the_body():
        product = catalog.add_product(
            request.field("sku", str),
            request.field("name", str),
            request.field("price", int),
            currency=request.field("currency", str, "EUR"),
            categories=request.field("categories", str, "").split(),
        )
    return Response(_product(product), 201, {"Location": f"/products/{product.sku}"})


@route("GET", "/products/{sku}")
def show_product(request: Request, sku: str) -> Response:
    return Response({**_product(catalog.get(sku)), "available": stock.available(sku)})


@route("PATCH", "/products/{sku}")
def change_price(request: Request, sku: str) -> Response:
    catalog.change_price(sku, request.field("price", int))
    return Response(_product(catalog.get(sku)))


@route("DELETE", "/products/{sku}")
def discontinue(request: Request, sku: str) -> Response:
    catalog.discontinue(sku)
    return Response(status=204)


@route("POST", "/products/{sku}/deliveries")
def receive(request: Request, sku: str) -> Response:
    catalog.get(sku)
    quantity = request.field("quantity", int)
    if quantity < 1:
        raise Refused(422, "a delivery has one thing at least")
    with in_the_body():
        stock.receive(sku, quantity, warehouse=request.field("warehouse", str, "VIENNA"))
    return Response({"sku": sku, "available": stock.available(sku)}, 201)


@route("GET", "/bestsellers")
def bestsellers(request: Request) -> Response:
    return Response([{"sku": sku, "sold": sold} for sku, sold in dashboard.bestsellers()])


# Customers, and their baskets.


@route("POST", "/customers")
def register(request: Request) -> Response:
    customer = customers.register(request.field("email", str), request.field("name", str))
    return _customer(customer, 201)


@route("GET", "/customers/{id}")
def show_customer(request: Request, id: int) -> Response:
    return _customer(customers.get(id))


@route("PATCH", "/customers/{id}")
def rename(request: Request, id: int) -> Response:
    customer = customers.get(id)
    read = request.header("If-Match")
    if read is None:
        raise Refused(428, "say in If-Match which version you have read")
    if read != _tag(customer):
        raise Refused(412, f"customer {id} was changed since; read it again")
    try:
        customers.rename(customer, request.field("name", str))
    except ChangedMeanwhile as error:
        raise Refused(412, str(error)) from error
    return _customer(customers.get(id))


@route("PUT", "/customers/{id}/addresses/{kind}")
def add_address(request: Request, id: int, kind: str) -> Response:
    if kind not in ("shipping", "billing"):
        raise NotFound(f"kind of address {kind}")
    place = {name: request.field(name, str) for name in ("street", "city", "country")}
    customers.add_address(id, kind, **place)
    return _customer(customers.get(id))


@route("GET", "/customers/{id}/basket")
def show_basket(request: Request, id: int) -> Response:
    customers.get(id)
    return Response(baskets.contents(id))


@route("POST", "/customers/{id}/basket")
def put(request: Request, id: int) -> Response:
    customers.get(id)
    with in_the_body():
        baskets.put(id, request.field("sku", str), request.field("quantity", int, 1))
    return Response(baskets.contents(id))


# Orders, and the money for them.


@route("POST", "/customers/{id}/orders")
def checkout(request: Request, id: int) -> Response:
    customers.get(id)
    coupon = request.field("coupon", str, "")
    with in_the_body():
        order = baskets.checkout(id, coupon=coupon or None)
    return Response(_order(orders.get(order.id)), 201, {"Location": f"/orders/{order.id}"})


@route("GET", "/orders/{id}")
def show_order(request: Request, id: int) -> Response:
    return Response(_order(orders.get(id)))


@route("POST", "/orders/{id}/cancellation")
def cancel(request: Request, id: int) -> Response:
    orders.cancel(id)
    return Response(_order(orders.get(id)))


@route("POST", "/orders/{id}/payments")
def pay(request: Request, id: int) -> Response:
    key = request.header("Idempotency-Key")
    if key is not None and not 0 < len(key) <= 60:
        raise Refused(400, "an Idempotency-Key has 1 to 60 characters")
    amount, method = request.field("amount", int), request.field("method", str, "card")
    return Response(_payment(payments.pay(id, amount, method, request=key)), 201)


@route("POST", "/payments/{id}/refunds")
def refund(request: Request, id: int) -> Response:
    given = payments.refund(id, request.field("amount", int), request.field("reason", str))
    return Response({"id": given.id, "payment": id, "amount": given.amount}, 201)


# For the people who run the shop.


@route("GET", "/reports/revenue")
def revenue(request: Request) -> Response:
    return Response(reports.revenue_by_country())


@route("GET", "/reports/low")
def running_low(request: Request) -> Response:
    return Response(reports.running_low(request.number("below", 5)))


@route("GET", "/reports/unpaid")
def unpaid(request: Request) -> Response:
    return Response(list(reports.unpaid_orders(timedelta(days=request.number("days", 14, most=10_000)))))


def _product(product: Product) -> dict[str, Any]:
    return {
        "sku": product.sku,
        "name": product.name,
        "price": product.price,
        "currency": product.currency_code,
        "discontinued": product.discontinued,
    }


def _customer(customer: Customer, status: int = 200) -> Response:
    payload = {
        "id": customer.id,
        "email": customer.email,
        "name": customer.name,
        "addresses": {
            address.kind: {"street": address.street, "city": address.city, "country": address.country_code}
            for address in customer.addresses
        },
    }
    headers = {"ETag": _tag(customer)}
    if status == 201:
        headers["Location"] = f"/customers/{customer.id}"
    return Response(payload, status, headers)


def _tag(customer: Customer) -> str:
    return f'"{customer.version}"'


def _order(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "customer": order.customer_id,
        "status": order.status,
        "currency": order.currency_code,
        "subtotal": order.subtotal,
        "discount": order.discount,
        "vat": order.vat,
        "total": order.total,
        "placed_at": order.placed_at.isoformat(),
        "lines": [
            {"sku": line.product.sku, "quantity": line.quantity, "amount": line.amount}
            for line in order.lines
        ],
        "payments": [_payment(payment) for payment in order.payments],
        "parcels": [shipment.tracking for shipment in order.shipments],
    }


def _payment(payment: Payment) -> dict[str, Any]:
    return {
        "id": payment.id,
        "order": payment.order_id,
        "amount": payment.amount,
        "method": payment.method,
    }
