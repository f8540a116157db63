"""A Protean domain in worker processes, with every URL given: each has adapters in places of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql
from protean_testing.servers.redis import PrivateRedis, start_redis
from protean_testing.stores.message_db.install import install

from .message_db import bring
from .suite import SuiteTestCase

SUITE = """
import os
from protean import Domain
from protean.fields import String
from protean_testing.domain import DomainTestCase

shop = Domain(name="shop")

@shop.aggregate
class Order:
    customer: String(max_length=50)

class OrderTests(DomainTestCase):
    domain = shop

    def test_1(self):
        repository = shop.repository_for(Order)
        self.assertEqual(len(repository._dao.query.all().items), 0)
        repository.add(Order(customer="Ann"))
        self.assertEqual(len(repository._dao.query.all().items), 1)
        config = shop.config
        urls = (config["databases"]["default"]["database_uri"], config["brokers"]["default"]["URI"],
                config["event_store"]["database_uri"])
        with open(os.environ["LOG"], "a") as log:
            print(*urls, file=log)
    test_2 = test_1

class LaterTests(OrderTests):
    domain = shop
"""


class DomainWorkerTests(SuiteTestCase):
    server: PrivatePostgreSQL
    redis: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server, cls.redis = start_postgresql(tcp=True), start_redis()
        cls.addClassCleanup(cls.server.stop)
        cls.addClassCleanup(cls.redis.stop)

    def test_full_infrastructure(self) -> None:
        brought = bring()
        database = self.server.create_database("shop_test")
        events = self.server.create_database("message_store").replace("+psycopg", "")
        with psycopg.connect(events, autocommit=True) as connection:
            install(connection, None)
            connection.execute("ALTER DATABASE message_store SET search_path TO message_store, public")
        self.write("test_shop.py", SUITE)
        environment = self.environment(
            TEST_INFRA="full",
            DATABASE_URL=database,
            REDIS_URL=self.redis.url(1),
            MESSAGE_DB_URL=events,
            PROTEAN_TESTING_STATE=str(self.directory / "state"),
        )
        path = os.pathsep.join([environment["PYTHONPATH"], brought["PYTHONPATH"]])
        environment |= {**brought, "PYTHONPATH": path}
        workers = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "unittest", "test_shop"],
                cwd=self.directory,
                env={**environment, "PROTEAN_TESTING_WORKER": name},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name in ("one", "two")
        ]
        for worker in workers:
            said, _ = worker.communicate(timeout=120)
            self.assertEqual(worker.returncode, 0, said)
        lines = [line.split() for line in (self.directory / "log").read_text().splitlines()]
        self.assertEqual(len(lines), 8)
        for urls in zip(*lines, strict=True):
            self.assertEqual(len(set(urls)), 2, "one for each worker")
            self.assertNotIn(urls[0], (database, events, self.redis.url(1)))
        with psycopg.connect(self.server.url().replace("+psycopg", "")) as connection:
            found = connection.execute("SELECT datname FROM pg_database WHERE datname ~ 'protean_testing'")
            self.assertEqual(found.fetchall(), [])
        self.assertEqual(list((self.directory / "state").iterdir()), [])
