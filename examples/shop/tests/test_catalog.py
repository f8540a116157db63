from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

import shop
from shop.errors import NotFound, SkuTaken
from shop.models import Category, Country, Currency, Product, product_categories

from .base import ShopTestCase, a_customer, a_product


class CatalogTests(ShopTestCase):
    """All tests share what is made here once, and each may do with it what it likes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the buyer"):
            shop.catalog.add_category("drinks", "Drinks")
            shop.catalog.add_category("tea", "Tea", parent="drinks")
            shop.catalog.add_category("green", "Green tea", parent="tea")
            shop.catalog.add_category("books", "Books")
            shop.catalog.add_product("SENCHA", "Sencha", 1290, categories=["green"])
            shop.catalog.add_product("ASSAM", "Assam", 890, categories=["tea"])
            shop.catalog.add_product("JUICE", "Juice", 350, categories=["drinks"])
            shop.catalog.add_product("TEABOOK", "The Book of Tea", 1500, categories=["books", "tea"])

    def skus(self, category: str) -> list[str]:
        return [product.sku for product in shop.catalog.products_in(category)]

    def test_a_category_holds_what_is_in_those_below_it(self):
        for category, skus in {
            "drinks": ["ASSAM", "JUICE", "SENCHA", "TEABOOK"],
            "tea": ["ASSAM", "SENCHA", "TEABOOK"],
            "green": ["SENCHA"],
            "books": ["TEABOOK"],
        }.items():
            with self.subTest(category):
                self.assertEqual(self.skus(category), skus)

    def test_the_path_to_a_category(self):
        self.assertEqual(shop.catalog.path_to("green"), ["Drinks", "Tea", "Green tea"])

    def test_a_category_cannot_be_below_itself(self):
        with self.assertRaises(IntegrityError), self.db.session() as session:
            session.execute(update(Category).where(Category.slug == "tea").values(parent_id=Category.id))
        self.assertEqual(shop.catalog.path_to("tea"), ["Drinks", "Tea"])

    def test_the_fifth_product_is_number_5_in_this_test(self):
        self.assertEqual(shop.catalog.add_product("MATCHA", "Matcha", 2500).id, 5)

    def test_and_in_this_one_too(self):
        self.assertEqual(shop.catalog.add_product("CHAI", "Chai", 700).id, 5)

    def test_a_sku_is_taken_once(self):
        with self.assertRaises(SkuTaken):
            shop.catalog.add_product("ASSAM", "Another Assam", 100)

    def test_a_product_in_an_unknown_currency_is_refused(self):
        with self.assertRaises(IntegrityError):
            shop.catalog.add_product("ROOIBOS", "Rooibos", 100, currency="ZAR")

    def test_a_product_in_an_unknown_category_is_refused(self):
        with self.assertRaises(NotFound):
            shop.catalog.add_product("CHIPS", "Chips", 100, categories=["snacks"])
        with self.db.session() as session:
            self.assertIsNone(session.scalar(select(Product).where(Product.sku == "CHIPS")))

    def test_what_is_discontinued_is_shown_no_more(self):
        for sku in self.skus("tea"):
            with self.subTest(sku), self.db.scope():  # each with the whole catalogue again
                shop.catalog.discontinue(sku)
                self.assertEqual(set(self.skus("tea")), {"ASSAM", "SENCHA", "TEABOOK"} - {sku})

    def test_a_new_price_is_written_into_the_audit(self):
        shop.catalog.change_price("ASSAM", 990)
        self.assertEqual(
            shop.reports.history("product ASSAM"), [("the buyer", "listed"), ("tests", "repriced")]
        )

    def test_everything_can_go(self):
        with self.db.session() as session, session.begin():
            session.execute(delete(product_categories))
            session.execute(delete(Product))
        self.assertEqual(self.skus("drinks"), [])


class LookUpTests(ShopTestCase):
    """The migrations have put rows into some tables: every test finds them as they were."""

    def test_the_migrations_have_filled_the_look_up_tables(self):
        with self.db.session() as session:
            currencies = session.scalars(select(Currency.code).order_by(Currency.code)).all()
            rates = dict(session.execute(select(Country.code, Country.vat_percent)).all())
        self.assertEqual(currencies, ["CHF", "EUR", "GBP", "SEK"])
        self.assertEqual(rates, {"AT": 20, "CH": 8, "DE": 19, "FR": 20, "GB": 20, "SE": 25})

    def test_a_new_rate_of_tax_counts_once_the_process_has_forgotten_the_old_one(self):
        ann = a_customer("Ann", country="DE")
        tea = a_product("TEA", 1000)
        self.assertEqual(shop.orders.place(ann, {tea: 1}).vat, 190)
        with self.db.session() as session, session.begin():
            session.execute(update(Country).where(Country.code == "DE").values(vat_percent=7))
        self.assertEqual(shop.orders.place(ann, {tea: 1}).vat, 190)  # looked up before
        shop.catalog.rates.clear()
        self.assertEqual(shop.orders.place(ann, {tea: 1}).vat, 70)

    def test_no_other_test_sees_that_rate(self):
        order = shop.orders.place(a_customer("Ann", country="DE"), {a_product("TEA", 1000): 1})
        self.assertEqual(order.vat, 190)

    def test_a_country_that_is_lived_in_cannot_be_removed(self):
        a_customer("Ann", country="SE")
        with self.assertRaises(IntegrityError), shop.database.transaction() as session:
            session.execute(delete(Country).where(Country.code == "SE"))

    def test_countries_without_customers_can_be_removed(self):
        with shop.database.transaction() as session:
            session.execute(delete(Country).where(Country.code.in_(["CH", "GB", "SE"])))
        with self.db.session() as session:
            codes = session.scalars(select(Country.code).order_by(Country.code)).all()
        self.assertEqual(codes, ["AT", "DE", "FR"])
