import subprocess
import sys
from pathlib import Path

from sqlalchemy import select

import shop
from shop.dashboard import BESTSELLERS
from shop.models import Shipment
from shop.outbox import STREAM
from shop.worker import GROUP, REFUSED, Worker

from .base import ShopTestCase, a_customer, a_paid_order, a_product

PROJECT = Path(__file__).parents[1]


class WorkerTests(ShopTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with shop.acting_as("the owner"):
            cls.ann = a_customer("Ann")
            cls.tea = a_product("TEA", 1000, stock=5)
            shop.stock.receive(cls.tea, 5, warehouse="LYON")
            cls.cup = a_product("CUP", 500, stock=50)

    def setUp(self):
        super().setUp()
        self.redis = shop.database.redis()

    def tracking_numbers(self) -> list[str]:
        with self.db.session() as session:
            return list(session.scalars(select(Shipment.tracking).order_by(Shipment.id)))

    def test_there_is_nothing_to_do(self):
        self.assertEqual(Worker().run_once(), 0)
        self.assertEqual(shop.dashboard.bestsellers(), [])

    def test_a_placed_order_is_on_the_dashboard(self):
        shop.orders.place(self.ann, {self.tea: 2})
        self.assertEqual(Worker().run_once(), 1)
        self.assertEqual(shop.dashboard.order(1), {"status": "placed", "total": "2400"})

    def test_a_paid_order_is_sent(self):
        a_paid_order(self.ann, {self.cup: 1})
        self.assertEqual(Worker().run_once(), 3)  # placed, paid, and its own: shipped
        self.assertEqual(self.tracking_numbers(), ["VIENNA-000001"])
        self.assertEqual(shop.orders.get(1).status, "shipped")
        self.assertEqual(shop.dashboard.order(1)["status"], "shipped")

    def test_every_warehouse_sends_a_parcel_of_its_own(self):
        a_paid_order(self.ann, {self.tea: 7})
        Worker().run_once()
        self.assertEqual(self.tracking_numbers(), ["LYON-000001", "VIENNA-000001"])
        self.assertEqual(shop.dashboard.order(1)["parcels"], "LYON-000001 VIENNA-000001")

    def test_what_sells_best(self):
        shop.orders.place(self.ann, {self.tea: 1, self.cup: 3})
        shop.orders.place(self.ann, {self.tea: 4})
        shop.orders.cancel(shop.orders.place(self.ann, {self.cup: 9}).id)
        Worker().run_once()
        self.assertEqual(shop.dashboard.bestsellers(), [("TEA", 5), ("CUP", 3)])
        self.assertEqual(shop.dashboard.bestsellers(1), [("TEA", 5)])

    def test_what_is_cancelled_altogether_sells_not_at_all(self):
        shop.orders.cancel(shop.orders.place(self.ann, {self.cup: 9}).id)
        Worker().run_once()
        self.assertEqual(self.redis.zcard(BESTSELLERS), 0)

    def test_revenue_agrees_with_the_books(self):
        a_paid_order(self.ann, {self.tea: 1})
        a_paid_order(self.ann, {self.cup: 2})
        shop.payments.refund(2, 200, "a chip in the cup")
        Worker().run_once()
        self.assertEqual(shop.dashboard.revenue(), {"EUR": 2200})
        self.assertEqual(shop.reports.revenue_by_country(), {"AT": 2200})

    def test_an_event_that_comes_twice_counts_once(self):
        a_paid_order(self.ann, {self.cup: 2})
        Worker().run_once()
        for _, fields in self.redis.xrange(STREAM):
            self.redis.xadd(STREAM, fields)
        self.assertEqual(Worker().run_once(), 0)
        self.assertEqual(shop.dashboard.bestsellers(), [("CUP", 2)])
        self.assertEqual(shop.dashboard.revenue(), {"EUR": 1200})
        self.assertEqual(len(self.tracking_numbers()), 1)

    def test_two_workers_share_the_events(self):
        for _ in range(4):
            shop.orders.place(self.ann, {self.cup: 1})
        first, second = Worker("worker-1"), Worker("worker-2")
        self.assertEqual(first.run_once(), 4)
        shop.orders.place(self.ann, {self.cup: 1})
        self.assertEqual((second.run_once(), first.run_once()), (1, 0))
        self.assertEqual(shop.dashboard.bestsellers(), [("CUP", 5)])

    def test_what_a_dead_worker_has_taken_is_done_by_another(self):
        shop.orders.place(self.ann, {self.cup: 1})
        shop.outbox.publish()
        self.redis.xgroup_create(STREAM, GROUP, id="0")
        self.redis.xreadgroup(GROUP, "dead", {STREAM: ">"})  # and never says that it is done
        self.assertEqual(Worker("patient", claim_after=60).run_once(), 0)
        self.assertEqual(Worker("quick", claim_after=0).run_once(), 1)
        self.assertEqual(self.redis.xpending(STREAM, GROUP)["pending"], 0)

    def test_what_a_worker_had_taken_before_it_fell_is_done_when_it_is_back(self):
        shop.orders.place(self.ann, {self.cup: 1})
        shop.outbox.publish()
        self.redis.xgroup_create(STREAM, GROUP, id="0")
        self.redis.xreadgroup(GROUP, "worker-1", {STREAM: ">"})
        self.assertEqual(Worker("worker-1").run_once(), 1)

    def test_what_nobody_can_handle_is_put_away(self):
        self.redis.xadd(STREAM, {"number": 7, "kind": "order.eaten", "payload": '{"order": 1}'})
        self.redis.xadd(STREAM, {"something": "else"})
        shop.orders.place(self.ann, {self.cup: 1})
        self.assertEqual(Worker().run_once(), 1)
        refused = [fields["error"] for _, fields in self.redis.xrange(REFUSED)]
        self.assertEqual(len(refused), 2)
        self.assertIn("order.eaten", refused[0])
        self.assertEqual(self.redis.xpending(STREAM, GROUP)["pending"], 0)


class WorkerProcessTests(ShopTestCase):
    """The worker as it runs in production: a process of its own, with connections of its own."""

    def setUp(self):
        super().setUp()
        if "vfs=memdb" in self.database_url:
            self.skipTest("a database in the memory of this process is seen by no other")

    def start(self, name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "shop.worker", self.database_url, self.db.store("redis").url),
                *("--once", "--name", name),
            ],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def test_two_processes_do_all_there_is_to_do(self):
        ann, tea = a_customer("Ann"), a_product("TEA", 1000, stock=6)
        orders = [a_paid_order(ann, {tea: 1}) for _ in range(6)]
        handled = 0
        for process in [self.start("worker-1"), self.start("worker-2")]:
            output, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, output)
            handled += int(output.split()[0])
        self.assertEqual(handled, 3 * 6)
        self.assertEqual({shop.orders.get(order).status for order in orders}, {"shipped"})
        self.assertEqual(shop.dashboard.revenue(), {"EUR": 6 * 1200})
        self.assertLessEqual(
            {shop.reports.history(f"order {order}")[-1][0] for order in orders}, {"worker-1", "worker-2"}
        )

    def test_what_processes_wrote_is_gone_as_well(self):
        self.assertEqual(shop.dashboard.revenue(), {})
        with self.db.session() as session:
            self.assertEqual(session.scalars(select(Shipment)).all(), [])
        self.assertEqual(a_customer("Ann"), 1)
