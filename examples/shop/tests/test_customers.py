from contextvars import Context

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

import shop
from shop.errors import ChangedMeanwhile, EmailTaken, NobodyActing, NotFound
from shop.models import Address, AuditEntry, Customer

from .base import ShopTestCase, a_customer, a_product


class RegistrationTests(ShopTestCase):
    def count(self, model: type) -> int:
        with self.db.session() as session:
            return session.scalar(select(func.count()).select_from(model))

    def test_the_first_customer_is_number_1(self):
        self.assertEqual(shop.customers.register("ann@example.com", "Ann").id, 1)

    def test_an_email_address_is_kept_in_lower_case(self):
        customer = shop.customers.register(" Ann@Example.COM ", "Ann")
        self.assertEqual(shop.customers.get(customer.id).email, "ann@example.com")

    def test_an_email_address_can_be_taken_once(self):
        shop.customers.register("ann@example.com", "Ann")
        with self.assertRaises(EmailTaken):
            shop.customers.register("ANN@example.com", "Another Ann")
        self.assertEqual(self.count(Customer), 1)

    def test_a_refused_registration_leaves_no_trace_in_the_audit(self):
        shop.customers.register("ann@example.com", "Ann")
        with self.assertRaises(EmailTaken):
            shop.customers.register("ann@example.com", "Another Ann")
        self.assertEqual(shop.reports.history("customer 1"), [("tests", "registered")])
        self.assertEqual(self.count(AuditEntry), 1)

    def test_nobody_can_register_without_saying_who_acts(self):
        with self.assertRaises(NobodyActing):
            Context().run(shop.customers.register, "ann@example.com", "Ann")
        self.assertEqual(self.count(Customer), 0)


class CustomerTests(ShopTestCase):
    def setUp(self):
        super().setUp()
        self.ann = a_customer("Ann")

    def test_an_address_takes_the_place_of_the_last_one_of_its_kind(self):
        shop.customers.add_address(self.ann, "shipping", street="Quai 2", city="Lyon", country="FR")
        shop.customers.add_address(self.ann, "billing", street="Ring 1", city="Wien", country="AT")
        cities = {address.kind: address.city for address in shop.customers.get(self.ann).addresses}
        self.assertEqual(cities, {"shipping": "Lyon", "billing": "Wien"})

    def test_an_address_needs_a_country_that_we_know(self):
        with self.assertRaises(IntegrityError):
            shop.customers.add_address(self.ann, "billing", street="?", city="?", country="XX")
        self.assertEqual([a.kind for a in shop.customers.get(self.ann).addresses], ["shipping"])

    def test_a_name_can_be_changed(self):
        shop.customers.rename(shop.customers.get(self.ann), "Anna")
        self.assertEqual(shop.customers.get(self.ann).name, "Anna")

    def test_a_change_is_refused_where_somebody_else_was_faster(self):
        first, second = shop.customers.get(self.ann), shop.customers.get(self.ann)
        shop.customers.rename(first, "Anna")
        with self.assertRaisesRegex(ChangedMeanwhile, "'Anna'"):
            shop.customers.rename(second, "Annie")
        self.assertEqual(shop.customers.get(self.ann).name, "Anna")

    def test_who_has_ordered_nothing_is_deleted_with_all_addresses(self):
        shop.customers.forget(self.ann)
        with self.assertRaises(NotFound):
            shop.customers.get(self.ann)
        with self.db.session() as session:
            self.assertEqual(session.scalars(select(Address)).all(), [])

    def test_who_has_ordered_stays_in_the_books_without_a_name(self):
        shop.orders.place(self.ann, {a_product("TEA"): 1})
        shop.customers.forget(self.ann)
        customer = shop.customers.get(self.ann)
        self.assertEqual((customer.name, customer.addresses), ("", []))
        self.assertNotIn("ann", customer.email)

    def test_customers_are_found_by_a_part_of_their_name(self):
        a_customer("Hanna")
        a_customer("100% Tea")
        for text, found in {"ann": ["Ann", "Hanna"], "HAN": ["Hanna"], "%": ["100% Tea"], "x": []}.items():
            with self.subTest(text):
                self.assertEqual([customer.name for customer in shop.customers.find(text)], found)
