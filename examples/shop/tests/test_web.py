"""The API as its clients use it: over HTTP, from a server that runs while the tests do."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from unittest import mock
from urllib.parse import quote

from sqlalchemy import func, select

import shop
from shop.models import Address, Coupon, Customer, Order, OutboxEvent, Product, Stock
from shop.web import BODY, application
from shop.worker import Worker

from .base import ShopTestCase, a_customer, a_product


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class WebTestCase(ShopTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.db.serve(application)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send a request as it stands; in names of headers, _ means -."""
        with closing(HTTPConnection(self.server.host, self.server.port, timeout=60)) as connection:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers), response.read())

    def get(self, path: str) -> Any:
        """What is at the path, which must be there."""
        reply = self.ask("GET", path)
        self.assertEqual(reply.status, 200, reply.content)
        return reply.json

    def send(self, method: str, path: str, user: str = "ann", /, *, headers: Any = None, **fields) -> Reply:
        """Send these fields as JSON."""
        return self.ask(
            *(method, path, json.dumps(fields).encode()),
            **{"Content_Type": "application/json", "X_User": user, **(headers or {})},
        )

    def at_once(self, *requests) -> list[Reply]:
        """What requests get that begin together, each from a client of its own."""
        barrier = threading.Barrier(len(requests))

        def run(request) -> Reply:
            barrier.wait(timeout=60)
            return request()

        with ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(run, requests))

    def count(self, model: type) -> int:
        with self.db.session() as session:
            return session.scalar(select(func.count()).select_from(model))

    def assertRefused(self, reply: Reply, status: int, message: str) -> None:
        self.assertEqual(reply.status, status, reply.content)
        self.assertEqual(reply.headers["Content-Type"], "application/json")
        self.assertIn(message, reply.json["message"])


class HttpTests(WebTestCase):
    """What is refused before the shop itself is asked."""

    def test_there_is_nothing_at_a_wrong_address(self):
        for path in (
            "/",
            "/product",
            "/products/",
            "/orders/one",
            "/orders/1/payments/1",
            "/orders/12345678901",
        ):
            with self.subTest(path):
                self.assertRefused(self.ask("GET", path), 404, path)

    def test_a_method_that_is_not_for_this(self):
        reply = self.send("PUT", "/products/TEA")
        self.assertRefused(reply, 405, "PUT")
        self.assertEqual(reply.headers["Allow"], "DELETE, GET, PATCH")

    def test_who_only_asks_for_the_head_gets_no_body(self):
        head, full = self.ask("HEAD", "/products"), self.ask("GET", "/products")
        self.assertEqual((head.status, head.content), (200, b""))
        self.assertEqual(head.headers["Content-Length"], str(len(full.content)))

    def test_a_body_that_cannot_be_read(self):
        for body, content_type, status, message in (
            (b'{"sku": "TEA"', "application/json", 400, "no JSON"),
            (b'["TEA"]', "application/json; charset=utf-8", 400, "no object"),
            (b"sku=TEA", "application/x-www-form-urlencoded", 415, "application/json"),
        ):
            with self.subTest(body):
                reply = self.ask("POST", "/products", body, X_User="ann", Content_Type=content_type)
                self.assertRefused(reply, status, message)

    def test_a_body_that_is_too_large_is_not_even_read(self):
        reply = self.ask("POST", "/products", X_User="ann", Content_Length=str(BODY + 1))
        self.assertRefused(reply, 413, str(BODY))

    def test_fields_that_make_no_sense_are_named(self):
        tea = {"sku": "TEA", "name": "Tea", "price": 1000}
        for name, value, message in (
            ("sku", None, "sku is missing"),
            ("name", 7, "name is no text"),
            ("price", "10", "price is no whole number"),
            ("price", True, "price is no whole number"),
            ("price", 2**31, "price is too large"),
        ):
            with self.subTest(name, value=value):
                self.assertRefused(self.send("POST", "/products", **{**tea, name: value}), 422, message)
        self.assertEqual(self.count(Product), 0)

    def test_nobody_changes_anything_without_a_name(self):
        reply = self.send("POST", "/products", "", sku="TEA", name="Tea", price=1000)
        self.assertRefused(reply, 401, "X-User")
        self.assertEqual(self.count(Product), 0)


class ProductTests(WebTestCase):
    """A shelf of teas, and a cup."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            for number, name in enumerate(("Assam", "Čaj & co", "100% mint", "Sencha", "Earl Grey", "Chai")):
                shop.catalog.add_product(f"TEA-{number}", f"{name} tea", 500 + number)
            a_product("CUP", 795, stock=3)

    def test_the_pages_show_everything_once_and_in_order(self):
        path, names = "/products?search=TEA&limit=4", []
        while path:
            page = self.get(path)
            self.assertEqual(page["total"], 6)
            names += [product["name"] for product in page["products"]]
            path = page["next"]
        self.assertEqual(len(names), 6)
        with self.db.session() as session:  # who sorts, the database, says what comes first
            named = select(Product.name).where(Product.sku != "CUP").order_by(Product.name)
            self.assertEqual(names, list(session.scalars(named)))
        self.assertEqual(self.get("/products?offset=7"), {"products": [], "total": 7, "next": None})

    def test_any_text_can_be_searched_for(self):
        for text, skus in {"Čaj & co": ["TEA-1"], "100%": ["TEA-2"], "%": ["TEA-2"], "a=b": []}.items():
            with self.subTest(text):
                found = self.get(f"/products?search={quote(text)}")
                self.assertEqual([product["sku"] for product in found["products"]], skus)

    def test_a_page_that_cannot_be(self):
        for query in ("limit=0", "limit=101", "limit=ten", "offset=-1", f"offset={2**31}"):
            with self.subTest(query):
                self.assertRefused(self.ask("GET", f"/products?{query}"), 400, query.split("=")[0])

    def test_a_new_product_is_where_the_answer_says(self):
        reply = self.send("POST", "/products", sku="POT", name="Pot", price=2900, currency="CHF")
        self.assertEqual(reply.status, 201)
        pot = self.get(reply.headers["Location"])
        self.assertEqual(
            (pot["name"], pot["price"], pot["currency"], pot["available"]), ("Pot", 2900, "CHF", 0)
        )
        self.assertEqual(shop.reports.history("product POT"), [("ann", "listed")])

    def test_a_product_that_the_shop_does_not_take(self):
        for fields, status, message in (
            ({"sku": "CUP"}, 409, "CUP is there already"),
            ({"categories": "cups"}, 422, "no category cups"),
            ({"price": 0}, 422, "database"),
            ({"currency": "XXX"}, 422, "database"),
        ):
            with self.subTest(fields):
                reply = self.send("POST", "/products", **{"sku": "MUG", "name": "Mug", "price": 1, **fields})
                self.assertRefused(reply, status, message)
        self.assertEqual(self.get("/products/CUP")["name"], "The CUP")
        self.assertEqual(self.ask("GET", "/products/MUG").status, 404)

    def test_a_delivery_is_seen_by_all(self):
        reply = self.send("POST", "/products/CUP/deliveries", quantity=4, warehouse="LYON")
        self.assertEqual((reply.status, reply.json["available"]), (201, 7))
        self.assertEqual(self.get("/products/CUP")["available"], 7)
        with self.db.session() as session:
            self.assertEqual(session.scalar(select(Stock.on_hand).where(Stock.warehouse_code == "LYON")), 4)
        self.assertEqual(self.get("/reports/low?below=8")["CUP"], 7)

    def test_a_delivery_that_cannot_be(self):
        for path, fields, status, message in (
            ("CUP", {"quantity": -1}, 422, "one thing at least"),
            ("CUP", {"quantity": 1, "warehouse": "MARS"}, 422, "no warehouse MARS"),
            ("MUG", {"quantity": 1}, 404, "MUG"),
        ):
            with self.subTest(path, **fields):
                self.assertRefused(
                    self.send("POST", f"/products/{path}/deliveries", **fields), status, message
                )
        self.assertEqual(self.get("/products/CUP")["available"], 3)

    def test_deliveries_at_once_are_all_counted(self):
        def deliver() -> Reply:
            return self.send("POST", "/products/CUP/deliveries", quantity=2)

        self.assertEqual([reply.status for reply in self.at_once(*[deliver] * 4)], [201] * 4)
        self.assertEqual(self.get("/products/CUP")["available"], 11)

    def test_what_is_discontinued_is_found_by_nobody(self):
        reply = self.send("DELETE", "/products/CUP")
        self.assertEqual((reply.status, reply.content), (204, b""))
        self.assertEqual(self.get("/products?search=cup")["total"], 0)
        self.assertTrue(self.get("/products/CUP")["discontinued"])


class CustomerTests(WebTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            cls.path = f"/customers/{a_customer('Ann')}"

    def rename(self, name: str, tag: str) -> Reply:
        return self.send("PATCH", self.path, name=name, headers={"If-Match": tag})

    def tag(self) -> str:
        return self.ask("GET", self.path).headers["ETag"]

    def test_a_new_customer_is_where_the_answer_says(self):
        reply = self.send("POST", "/customers", email="Bob@Example.com", name="Bob")
        self.assertEqual((reply.status, reply.headers["Location"]), (201, "/customers/2"))
        self.assertEqual(self.get("/customers/2"), reply.json)
        self.assertEqual(reply.json["email"], "bob@example.com")

    def test_of_two_who_register_at_once_one_gets_the_address(self):
        def register() -> Reply:
            return self.send("POST", "/customers", email="bob@example.com", name="Bob")

        replies = self.at_once(register, register)
        self.assertEqual(sorted(reply.status for reply in replies), [201, 409])
        self.assertEqual(self.count(Customer), 2)

    def test_a_new_name_is_a_new_version(self):
        before = self.tag()
        reply = self.rename("Anna", before)
        self.assertEqual((reply.status, reply.json["name"]), (200, "Anna"))
        self.assertNotEqual(reply.headers["ETag"], before)
        self.assertEqual(reply.headers["ETag"], self.tag())

    def test_who_has_read_an_old_version_changes_nothing(self):
        tag = self.tag()
        shop.customers.rename(shop.customers.get(1), "Anna")
        self.assertRefused(self.rename("Annie", tag), 412, "read it again")
        self.assertRefused(self.send("PATCH", self.path, name="Annie"), 428, "If-Match")
        self.assertEqual(self.get(self.path)["name"], "Anna")

    def test_of_two_new_names_at_once_one_counts(self):
        tag = self.tag()
        replies = self.at_once(lambda: self.rename("Anna", tag), lambda: self.rename("Annie", tag))
        self.assertEqual(sorted(reply.status for reply in replies), [200, 412])
        [changed] = [reply for reply in replies if reply.status == 200]
        self.assertEqual(self.get(self.path)["name"], changed.json["name"])

    def test_an_address_in_a_country_that_we_do_not_know(self):
        address = {"street": "Quai 2", "city": "Lyon"}
        for kind, country, status in (("billing", "XX", 422), ("secret", "FR", 404), ("billing", "FR", 200)):
            with self.subTest(kind, country=country), self.db.scope():
                reply = self.send("PUT", f"{self.path}/addresses/{kind}", country=country, **address)
                self.assertEqual(reply.status, status, reply.content)
                self.assertEqual(self.count(Address), 2 if status == 200 else 1)


class CheckoutTests(WebTestCase):
    """Ann and Bob, three teas and ten cups."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            cls.ann, cls.bob = a_customer("Ann"), a_customer("Bob")
            a_product("TEA", 1250, stock=3)
            a_product("CUP", 795)
            shop.coupons.issue("TENTH", percent=10)

    def put(self, customer: int, **items: int) -> None:
        for sku, quantity in items.items():
            reply = self.send("POST", f"/customers/{customer}/basket", sku=sku, quantity=quantity)
            self.assertEqual(reply.status, 200, reply.content)

    def checkout(self, customer: int, **fields: str) -> Reply:
        return self.send("POST", f"/customers/{customer}/orders", f"customer {customer}", **fields)

    def basket(self, customer: int) -> dict[str, int]:
        return self.get(f"/customers/{customer}/basket")

    def state(self) -> dict[str, int]:
        """All that an order leaves behind."""
        counts = {model.__tablename__: self.count(model) for model in (Order, OutboxEvent)}
        with self.db.session() as session:
            used = session.get_one(Coupon, "TENTH").used
        return {**counts, "used": used, **{sku: shop.stock.available(sku) for sku in ("CUP", "TEA")}}

    def test_a_basket_becomes_an_order(self):
        self.put(self.ann, TEA=2, CUP=1)
        self.put(self.ann, CUP=-1)
        reply = self.checkout(self.ann)
        self.assertEqual((reply.status, reply.headers["Location"]), (201, "/orders/1"))
        self.assertEqual(self.get("/orders/1"), reply.json)
        self.assertEqual(reply.json["lines"], [{"sku": "TEA", "quantity": 2, "amount": 2500}])
        self.assertEqual(self.basket(self.ann), {})
        self.assertEqual(self.get("/products/TEA")["available"], 1)
        with self.db.session() as session:
            self.assertEqual(session.get_one(Order, 1).total, reply.json["total"])
        self.assertEqual(shop.reports.history("order 1"), [(f"customer {self.ann}", "placed")])

    def test_a_checkout_that_fails_leaves_everything_as_it_was(self):
        self.put(self.ann, CUP=2, TEA=4)
        before = self.state()
        reply = self.checkout(self.ann, coupon="TENTH")
        self.assertEqual(reply.status, 409)
        self.assertEqual(
            {name: reply.json[name] for name in ("error", "sku", "wanted", "available")},
            {"error": "out_of_stock", "sku": "TEA", "wanted": 4, "available": 3},
        )
        self.assertEqual(self.state(), before)
        self.assertEqual(self.basket(self.ann), {"CUP": 2, "TEA": 4})

    def test_and_succeeds_once_the_goods_are_there(self):
        self.put(self.ann, TEA=4)
        self.assertEqual(self.checkout(self.ann).status, 409)
        self.send("POST", "/products/TEA/deliveries", quantity=1)
        self.assertEqual(self.checkout(self.ann).status, 201)
        self.assertEqual(self.get("/products/TEA")["available"], 0)

    def test_two_customers_want_the_last_ones_at_once(self):
        for customer in (self.ann, self.bob):
            self.put(customer, TEA=2)
        customers = (self.ann, self.bob)
        replies = self.at_once(*(lambda who=who: self.checkout(who) for who in customers))
        self.assertEqual(sorted(reply.status for reply in replies), [201, 409])
        self.assertEqual(self.get("/products/TEA")["available"], 1)
        baskets = [self.basket(who) for who in customers]
        self.assertEqual(baskets, [{} if reply.status == 201 else {"TEA": 2} for reply in replies])

    def test_a_basket_is_ordered_once_however_often_the_button_is_pressed(self):
        self.put(self.ann, CUP=2)
        replies = self.at_once(*[lambda: self.checkout(self.ann)] * 3)
        self.assertEqual(sorted(reply.status for reply in replies), [201, 422, 422])
        self.assertEqual((self.count(Order), self.get("/products/CUP")["available"]), (1, 8))

    def test_a_refused_coupon_stops_the_checkout(self):
        self.put(self.ann, TEA=1)
        self.put(self.bob, TEA=1)
        self.assertEqual(self.checkout(self.bob, coupon="TENTH").json["discount"], 125)
        before = self.state()
        self.assertRefused(self.checkout(self.ann, coupon="TENTH"), 422, "used up")
        self.assertRefused(self.checkout(self.ann, coupon="NONE"), 422, "no coupon NONE")
        self.assertEqual(self.state(), before)
        self.assertEqual(self.basket(self.ann), {"TEA": 1})
        self.assertEqual(self.checkout(self.ann).json["discount"], 0)

    def test_a_basket_and_an_order_need_a_customer_and_goods(self):
        self.assertRefused(self.ask("GET", "/customers/99/basket"), 404, "customer 99")
        self.assertRefused(self.checkout(99), 404, "customer 99")
        self.assertRefused(self.checkout(self.ann), 422, "basket is empty")
        reply = self.send("POST", f"/customers/{self.ann}/basket", sku="COFFEE")
        self.assertRefused(reply, 422, "no product COFFEE")
        self.assertEqual(self.basket(self.ann), {})

    def test_what_the_test_has_done_itself_is_what_the_server_shows(self):
        order = shop.orders.place(self.ann, {"TEA": 3})
        self.assertEqual(self.get(f"/orders/{order.id}")["total"], order.total)
        self.put(self.bob, TEA=1)
        self.assertEqual(self.checkout(self.bob).status, 409)
        reply = self.send("POST", f"/orders/{order.id}/cancellation", "the owner")
        self.assertEqual(reply.json["status"], "cancelled")
        self.assertEqual(self.checkout(self.bob).status, 201)


class PaymentTests(WebTestCase):
    """An order over 24.00 waits to be paid."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            cls.order = shop.orders.place(a_customer("Ann"), {a_product("TEA", 1000): 2}).id

    def pay(self, amount: int, key: str | None = None, **fields: Any) -> Reply:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.send("POST", f"/orders/{self.order}/payments", amount=amount, headers=headers, **fields)

    def paid(self) -> list[int]:
        return [payment["amount"] for payment in self.get(f"/orders/{self.order}")["payments"]]

    def test_a_request_that_is_repeated_counts_once(self):
        first, again = self.pay(1000, "a-1"), self.pay(1000, "a-1")
        self.assertEqual((first.status, again.status), (201, 201))
        self.assertEqual(again.json, first.json)
        self.assertEqual(self.paid(), [1000])

    def test_even_where_the_order_is_paid_by_then(self):
        first, again = self.pay(2400, "a-1"), self.pay(2400, "a-1")
        self.assertEqual((again.status, again.json), (201, first.json))
        self.assertRefused(self.pay(2400, "a-2"), 409, "is paid")
        with self.db.session() as session:
            kinds = select(OutboxEvent.kind).order_by(OutboxEvent.id)
            self.assertEqual(list(session.scalars(kinds)), ["order.placed", "order.paid"])

    def test_the_same_request_three_times_at_once_counts_once(self):
        replies = self.at_once(*[lambda: self.pay(700, "a-1")] * 3)
        self.assertEqual([reply.status for reply in replies], [201] * 3)
        self.assertEqual({reply.json["id"] for reply in replies}, {1})
        self.assertEqual(self.paid(), [700])

    def test_requests_of_their_own_count_each(self):
        for key in ("a-1", "a-2", None, None):
            self.assertEqual(self.pay(600, key).status, 201)
        self.assertEqual(self.paid(), [600] * 4)
        self.assertEqual(self.get(f"/orders/{self.order}")["status"], "paid")

    def test_a_request_cannot_ask_for_something_else_the_second_time(self):
        self.pay(1000, "a-1")
        self.assertRefused(self.pay(1400, "a-1"), 422, "a payment of 1000")
        self.assertRefused(self.pay(1000, "a-1", method="voucher"), 422, "a-1")
        self.assertRefused(self.pay(1000, "a" * 61), 400, "60 characters")
        self.assertEqual(self.paid(), [1000])

    def test_an_order_is_paid_or_cancelled_but_not_both(self):
        paid, cancelled = self.at_once(
            lambda: self.pay(2400), lambda: self.send("POST", f"/orders/{self.order}/cancellation")
        )
        self.assertEqual(sorted([paid.status // 100, cancelled.status // 100]), [2, 4])
        order, left = self.get(f"/orders/{self.order}"), self.get("/products/TEA")["available"]
        self.assertEqual(
            (order["status"], len(order["payments"]), left),
            ("paid", 1, 8) if paid.status == 201 else ("cancelled", 0, 10),
        )

    def test_an_order_that_is_paid_in_part_is_cancelled_after_a_refund(self):
        payment = self.pay(1000).json["id"]
        path = f"/orders/{self.order}/cancellation"
        self.assertRefused(self.send("POST", path), 409, "refund them first")
        refund = self.send("POST", f"/payments/{payment}/refunds", amount=1000, reason="came late")
        self.assertEqual(refund.status, 201)
        self.assertEqual(self.send("POST", path).json["status"], "cancelled")

    def test_refunds_are_taken_off_the_revenue(self):
        payment = self.pay(2400).json["id"]
        path = f"/payments/{payment}/refunds"
        replies = self.at_once(*[lambda: self.send("POST", path, amount=1500, reason="broken")] * 2)
        self.assertEqual(sorted(reply.status for reply in replies), [201, 422])
        self.assertEqual(self.get("/reports/revenue"), {"AT": 900})

    def test_the_next_request_knows_what_the_worker_has_done(self):
        self.pay(2400)
        self.assertEqual(self.get("/bestsellers"), [])
        Worker().run_once()
        self.assertEqual(self.get("/bestsellers"), [{"sku": "TEA", "sold": 2}])
        order = self.get(f"/orders/{self.order}")
        self.assertEqual((order["status"], order["parcels"]), ("shipped", ["VIENNA-000001"]))

    def test_a_fault_of_ours_takes_no_money_and_tells_no_details(self):
        broken = mock.patch("shop.payments.paid", side_effect=RuntimeError("a secret"))
        with broken, self.assertLogs("shop.web", "ERROR") as logged:
            reply = self.pay(2400)
        self.assertRefused(reply, 500, "something went wrong")
        self.assertNotIn(b"secret", reply.content)
        self.assertIn("a secret", logged.output[0])
        self.assertEqual(self.paid(), [])  # it was written when the fault came
        self.assertEqual(self.pay(2400).status, 201)
