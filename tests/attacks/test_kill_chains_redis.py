"""Runs on a given Redis, killed twenty times at random moments: what was there before is there."""

from __future__ import annotations

from .attack import SUITE
from .test_redis import RedisAttacks

SOURCE = """
import ast, os, time
from protean_testing.stores.redis import RedisStore
from protean_testing import DatabaseTestCase

if os.environ.get("CHAIN"):
    print("imported", flush=True)

class ChainTests(DatabaseTestCase):
    stores = [RedisStore(os.environ["REDIS"], **ast.literal_eval(os.environ["OPTIONS"]))]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = cls.db.store("redis").client
        cls.client.set("shop:class", 1)

    def check(self):
        assert not self.client.exists("shop:left")
        assert self.client.get("shop:class") == b"1"
        self.client.set("shop:left", "x")
        self.client.xadd("shop:stream", {"a": 1})
        for name in self.client.keys("shop:*")[:3]:
            self.client.delete(name)
        self.client.incr("shop:number")
        time.sleep(0.02)

for _number in range(5):
    setattr(ChainTests, f"test_{_number}", ChainTests.check)
"""


class RedisChainTests(RedisAttacks):
    def chain(self, options: str, seed: int) -> None:
        self.write(f"{SUITE}.py", SOURCE)
        self.variables["OPTIONS"] = options
        before = self.content()
        killed = self.kill_often(20, 0.4, seed=seed)
        self.assertGreater(killed, 5)
        outcome = self.run_suite()
        if outcome.code:  # killed while it wrote: that is not to be told from what others wrote then
            self.assertRefused(outcome, "cannot be proven of ", "python -m protean_testing clean ")
            self.assertRegex(outcome.err, "touched since|since it is not known when it died")
            self.clean(self.server.url)
            outcome = self.run_suite()
        self.assertPassed(outcome, 5)
        self.assertEqual(self.content(), before)
        self.assertEqual([*(self.directory / "state").iterdir()], [])

    def test_an_empty_database(self) -> None:
        self.chain("{}", seed=1)

    def test_adopted_keys(self) -> None:
        self.fill()
        self.theirs.mset({"shop:a": "theirs", "shop:number": 7})
        self.theirs.xadd("shop:stream", {"theirs": 1}, id="1-0")
        self.chain("{'adopt': True}", seed=2)

    def test_a_prefix(self) -> None:
        self.fill()
        self.chain("{'prefix': 'shop:'}", seed=3)

    def test_an_adopted_prefix(self) -> None:
        self.fill()
        self.theirs.mset({"shop:a": "theirs", "shop:number": 7})
        self.chain("{'prefix': 'shop:', 'adopt': True}", seed=4)


class WorkerChainTests(RedisAttacks):
    def test_the_numbers_of_workers(self) -> None:
        self.write(f"{SUITE}.py", SOURCE)
        before = self.fill()
        self.variables |= {"OPTIONS": "{'adopt': True}", "PROTEAN_TESTING_WORKER": "w1"}
        self.kill_often(20, 0.4, seed=5)
        self.assertPassed(self.run_suite(), 5)
        self.assertEqual(self.content(), before)
        self.assertEqual(set(self.theirs.info("keyspace")), {"db0"})
