"""The command line as staff and cron run it: a process of its own, told where the shop is."""

import csv
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select, update

import shop
from shop.models import AuditEntry, Order, OutboxEvent, Product, now
from shop.outbox import STREAM, unpack

from .base import ShopTestCase, a_customer, a_paid_order, a_product
from .commands import ENDS_WITHIN, PROJECT, Command, Commands

Outcome = tuple[int, list[str], str]


class CommandTests(ShopTestCase):
    """Two products; of five orders, 1 to 4 are three weeks old, 3 is paid in part, 4 altogether."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.in_memory = "vfs=memdb" in cls.database_url
        if not cls.in_memory:
            cls.commands = cls.enterClassContext(Commands())
        with shop.acting_as("the owner"):
            shop.catalog.add_category("tea", "Tea")
            shop.catalog.add_category("green", "Green tea", parent="tea")
            cls.ann, cls.tea = a_customer("Ann"), a_product("TEA", 1005, stock=10)
            shop.stock.receive(cls.tea, 5, warehouse="LYON")
            shop.catalog.add_product("CUP", 'Cup, "white"', 500)
            shop.stock.receive("CUP", 3)
            for _ in range(3):
                shop.orders.place(cls.ann, {cls.tea: 1})
            shop.payments.pay(3, 500)
            a_paid_order(a_customer("Bob", "DE"), {cls.tea: 2})
            shop.orders.place(cls.ann, {cls.tea: 1})
            shop.coupons.issue("FIVER", amount=500)
        with shop.database.transaction() as session:
            session.execute(update(Order).where(Order.id < 5).values(placed_at=now() - timedelta(days=21)))

    def setUp(self):
        super().setUp()
        if self.in_memory:
            self.skipTest("a database in the memory of this process is seen by no other")

    def start(self, *arguments: str, given: str = "") -> Command:
        stores = {"DATABASE_URL": self.database_url, "REDIS_URL": self.db.store("redis").url}
        return self.commands.start(*arguments, given=given, **stores)

    def command(self, *arguments: str, given: str = "") -> Outcome:
        """The exit code of a command, the lines of its output, and what it complained of."""
        return self.start(*arguments, given=given).outcome()

    def at_once(self, *arguments: str) -> list[Outcome]:
        """What becomes of two of them that run at the same time."""
        return sorted(command.outcome() for command in [self.start(*arguments) for _ in range(2)])

    def assertDone(self, outcome: Outcome, *lines: str) -> None:
        self.assertEqual(outcome, (0, list(lines), ""))

    def file(self, text: str, encoding: str = "utf-8") -> str:
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "products.csv"
        path.write_text("sku,name,price,currency,categories\n" + text, encoding=encoding)
        return str(path)

    def statuses(self) -> list[str]:
        return [shop.orders.get(number).status.value for number in range(1, 6)]

    def published(self) -> list[int]:
        return [unpack(fields)[0] for _, fields in shop.database.redis().xrange(STREAM)]

    # Products from a file.

    def test_products_come_from_a_file(self):
        path = self.file('SENCHA,Sencha,12.90,EUR,tea green\nČAJ,"Čaj, ""the"" tea",7,CHF,\n', "utf-8-sig")
        self.assertDone(self.command("--as", "the buyer", "import-products", path), "2 products imported")
        with self.db.session() as session:
            rows = session.execute(
                select(Product.sku, Product.name, Product.price, Product.currency_code)
                .where(Product.id > 2)
                .order_by(Product.id)
            )
            self.assertEqual(
                [tuple(row) for row in rows],
                [("SENCHA", "Sencha", 1290, "EUR"), ("ČAJ", 'Čaj, "the" tea', 700, "CHF")],
            )
        self.assertEqual([product.sku for product in shop.catalog.products_in("green")], ["SENCHA"])
        self.assertEqual(shop.reports.history("product SENCHA"), [("the buyer", "listed")])

    def test_every_bad_line_is_told_and_no_good_one_imported(self):
        path = self.file(
            "SENCHA,Sencha,12.90,EUR,tea\n"
            "MATCHA,Matcha,cheap,EUR,tea\n"
            "TEA,Another tea,1,EUR,tea\n"
            "SENCHA,Another Sencha,1,EUR,tea\n"
            "CHIPS,Chips,1.999,EUR,snacks\n"
            "CHAI,Chai,1,ZAR,\n"
            "POT,Pot,1,EUR,pots\n"
            "CHAI,Chai,1,EUR,tea,and more\n"
            ",Nothing,1,EUR,\n"
            "CHAI,Chai,7.50,EUR,tea\n"
        )
        with self.db.session() as session:
            before = session.scalar(select(func.count(AuditEntry.id)))
        code, output, complaints = self.command("import-products", path)
        self.assertEqual((code, output), (1, []))
        self.assertEqual(
            complaints.splitlines(),
            [
                "line 3: 'cheap' is no price",
                "line 4: product TEA is there already",
                "line 5: product SENCHA is there already",
                "line 6: '1.999' is no price",
                "line 7: currency ZAR",
                "line 8: category pots",
                "line 9: more values than columns",
                "line 10: a SKU has 1 to 40 characters",
            ],
        )
        with self.db.session() as session:
            self.assertEqual(set(session.scalars(select(Product.sku))), {"CUP", "TEA"})
            self.assertEqual(session.scalar(select(func.count(AuditEntry.id))), before)

    def test_what_is_no_list_of_products(self):
        piped = self.command("import-products", "-", given="sku,name,price\nPOT,Pot,1\n")
        self.assertEqual(piped, (1, [], "line 1: no column currency, categories\n"))
        latin = self.command("import-products", self.file("ČAJ,Čaj,1,EUR,\n", "cp1250"))
        self.assertEqual(latin, (1, [], "the file is not UTF-8\n"))
        code, _, complaints = self.command("import-products", "nowhere.csv")
        self.assertEqual(code, 1)
        self.assertIn("nowhere.csv", complaints)

    # What is in stock.

    def test_the_stock_report_is_a_csv_file(self):
        code, output, complaints = self.command("stock-report")
        self.assertEqual((code, complaints), (0, ""))
        self.assertEqual(
            [tuple(row.values()) for row in csv.DictReader(output)],
            [
                ("CUP", 'Cup, "white"', "VIENNA", "3"),
                ("TEA", "The TEA", "LYON", "5"),
                ("TEA", "The TEA", "VIENNA", "4"),
            ],
        )

    def test_what_is_broken_is_written_off(self):
        outcome = self.command("--as", "the storekeeper", "write-off", "TEA", "2", "--warehouse", "LYON")
        self.assertDone(outcome, "2 TEA written off, 7 left")
        self.assertEqual(shop.reports.history("product TEA")[-1], ("the storekeeper", "written off"))
        last = shop.stock.movements("TEA")[-1]
        self.assertEqual((last.warehouse_code, last.change), ("LYON", -2))

    def test_no_more_is_written_off_than_there_is(self):
        outcome = self.command("write-off", "TEA", "6", "--warehouse", "LYON")
        self.assertEqual(outcome, (1, [], "TEA: 6 wanted, 5 available\n"))
        self.assertEqual(shop.stock.available("TEA"), 9)

    def test_of_two_who_write_off_the_last_ones_at_once_one_is_told(self):
        done, refused = self.at_once("write-off", "CUP", "2")
        self.assertDone(done, "2 CUP written off, 1 left")
        self.assertEqual(refused, (1, [], "CUP: 2 wanted, 1 available\n"))
        self.assertEqual([move.change for move in shop.stock.movements("CUP")], [3, -2])

    # Orders that nobody pays.

    def test_a_dry_run_tells_the_same_and_cancels_nothing(self):
        code, output, complaints = self.command("cancel-unpaid", "--days", "20", "--dry-run")
        self.assertEqual((code, output), (1, ["order 1", "order 2", "2 orders would be cancelled"]))
        self.assertEqual(complaints, "500 were paid for order 3: refund them first\n")
        self.assertEqual(self.statuses(), ["placed", "placed", "placed", "paid", "placed"])

    def test_old_orders_are_cancelled_but_not_where_money_was_paid(self):
        code, output, complaints = self.command("--as", "cron", "cancel-unpaid", "--days", "20")
        self.assertEqual((code, output), (1, ["order 1", "order 2", "2 orders cancelled"]))
        self.assertEqual(complaints, "500 were paid for order 3: refund them first\n")
        self.assertEqual(self.statuses(), ["cancelled", "cancelled", "placed", "paid", "placed"])
        self.assertEqual(shop.stock.available("TEA"), 11)
        self.assertEqual(shop.reports.history("order 2"), [("the owner", "placed"), ("cron", "cancelled")])

    def test_without_old_orders_there_is_nothing_to_complain_of(self):
        self.assertDone(self.command("cancel-unpaid", "--days", "22"), "0 orders cancelled")

    def test_two_that_cancel_at_once_put_the_goods_back_once(self):
        outcomes = self.at_once("cancel-unpaid", "--days", "20")
        told = [line for _, output, _ in outcomes for line in output if line in ("order 1", "order 2")]
        self.assertEqual(sorted(told), ["order 1", "order 2"], outcomes)
        self.assertEqual(shop.stock.available("TEA"), 11)

    # Events.

    def test_events_are_published_once(self):
        self.assertDone(self.command("publish"), "6 events published")
        self.assertEqual(self.published(), [1, 2, 3, 4, 5, 6])
        self.assertEqual(shop.outbox.publish(), 0)

    def test_two_at_once_publish_different_events(self):
        outcomes = self.at_once("publish")
        counts = [int(output[0].split()[0]) for _, output, _ in outcomes]
        self.assertEqual(sum(counts), 6, outcomes)
        self.assertEqual(sorted(self.published()), [1, 2, 3, 4, 5, 6])
        with self.db.session() as session:
            self.assertEqual(session.scalar(select(func.count(OutboxEvent.stream_id.distinct()))), 6)

    def test_what_they_have_published_is_gone_as_well(self):
        self.assertEqual(self.published(), [])
        self.assertEqual(shop.outbox.publish(), 6)

    # Sales.

    def test_the_revenue_of_each_country(self):
        shop.payments.pay(1, 1206)
        self.assertDone(self.command("revenue"), "AT 12.06", "DE 23.92")

    def test_a_new_coupon_is_used_by_the_next_order(self):
        day = str(now().date() + timedelta(days=1))
        outcome = self.command("add-coupon", "TENTH", "--percent", "10", "--valid-until", day)
        self.assertDone(outcome, "coupon TENTH issued")
        self.assertEqual(shop.orders.place(self.ann, {self.tea: 2}, coupon="TENTH").discount, 201)

    def test_a_coupon_keeps_its_terms(self):
        outcome = self.command("add-coupon", "FIVER", "--percent", "100")
        self.assertEqual(outcome, (1, [], "coupon FIVER is there already\n"))
        self.assertEqual(shop.orders.place(self.ann, {self.tea: 2}, coupon="FIVER").discount, 500)

    # How it is asked.

    def test_what_is_not_asked_for_as_it_must_be(self):
        for arguments, message in {
            ("add-coupon", "TENTH", "--percent", "101"): "not between 1 and 100",
            ("add-coupon", "TENTH", "--percent", "10", "--amount", "5"): "not allowed with",
            ("add-coupon", "TENTH"): "--percent --amount is required",
            ("cancel-unpaid", "--days", "0"): "not between 1 and",
            ("--database", "", "revenue"): "say which database",
            ("--redis", "", "publish"): "say which Redis",
            (): "COMMAND",
        }.items():
            with self.subTest(arguments):
                code, output, complaints = self.command(*arguments)
                self.assertEqual((code, output), (2, []))
                self.assertIn("usage: python -m shop.cli", complaints)
                self.assertIn(message, complaints)

    def test_a_database_that_is_not_there(self):
        outcome = self.command("--database", "sqlite:////nowhere/shop.db", "revenue")
        self.assertEqual(outcome, (1, [], "the database cannot be used: unable to open database file\n"))


class StartTests(ShopTestCase):
    """Started from nothing, as a shell does it."""

    def test_a_command_from_nothing(self):
        if "vfs=memdb" in self.database_url:
            self.skipTest("a database in the memory of this process is seen by no other")
        a_product("TEA", stock=3)
        done = subprocess.run(
            [sys.executable, "-m", "shop.cli", "--database", self.database_url, "write-off", "TEA", "1"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=ENDS_WITHIN,
        )
        self.assertEqual((done.returncode, done.stdout), (0, "1 TEA written off, 2 left\n"), done.stderr)
        self.assertEqual(shop.stock.available("TEA"), 2)
