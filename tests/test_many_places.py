"""Connections and memory do not grow with the number of schemas and domains, and the end needs no new one."""

from __future__ import annotations

import re
import unittest

import psycopg
from sqlalchemy import create_engine, make_url

from protean_testing.servers.postgresql import start_postgresql
from protean_testing.stores.postgresql import PostgreSQLBackend
from protean_testing.stores.sql.backend import Database

from .depth import DEEP
from .suite import SuiteTestCase

CLASSES = """
import gc, os, psutil, psycopg, sys, unittest
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select
from protean_testing import *

def measure(number):
    gc.collect()
    connections = 0
    if os.environ.get("TEST_DB") == "postgresql":
        from protean_testing.servers.postgresql import private_postgresql
        with psycopg.connect(private_postgresql().url().replace("+psycopg", "")) as connection:
            query = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
            connections = connection.execute(query).fetchone()[0]
    memory = psutil.Process().memory_info().rss
    print(f"{number}: {connections} connections, {memory} bytes", flush=True)

def tests_of(number):
    own = MetaData()
    table = Table(f"orders_{number}", own, Column("id", Integer, primary_key=True), Column("name", String(9)))

    class Tests(DatabaseTestCase):
        metadata = own

        def test_write(self):
            with self.db.session() as session:
                session.execute(insert(table).values(name="x"))
                session.commit()
            if number % 10 == 9:
                measure(number)

        def test_wrote_nothing(self):
            with self.db.session() as session:
                self.assertEqual(session.scalar(select(func.count()).select_from(table)), 0)

    Tests.__name__ = Tests.__qualname__ = f"Tests{number:03}"
    return Tests

for number in range(int(os.environ["COUNT"])):
    globals()[f"Tests{number:03}"] = tests_of(number)

class TestsAgain(Tests000):
    '''Its schema was discarded meanwhile, and is made again.'''
"""

DOMAINS = """
import os, unittest
from protean import Domain
from protean.fields import String
from protean_testing.domain import test_domain
from classes import measure

class DomainTests(unittest.TestCase):
    def test_domains(self):
        for number in range(int(os.environ["COUNT"])):
            domain = Domain(name=f"Shop{number}")

            @domain.aggregate
            class Order:
                name = String()

            config = {"databases": {"default": {"provider": "postgresql"}}}
            with test_domain(domain, config=config, traverse=False):
                domain.repository_for(Order).add(Order(name="x"))
                if number % 10 == 9:
                    measure(number)

class AgainTests(unittest.TestCase):
    def test_a_domain_that_was_discarded_begins_anew(self):
        from protean_testing.core.run import run

        def make(number):
            domain = Domain(name=f"Shop{number}")

            @domain.aggregate
            class Order:
                name = String()

            return domain, Order

        config = {"databases": {"default": {"provider": os.environ.get("TEST_DB", "sqlite")}}}
        domains = [make(number) for number in range(18)]
        for domain, Order in domains * 2:
            with test_domain(domain, config=config, traverse=False):
                repository = domain.repository_for(Order)
                self.assertEqual(repository._dao.query.all().total, 0)
                repository.add(Order(name="x"))
                self.assertEqual(repository._dao.query.all().total, 1)
        self.assertLessEqual(len({resource.store.unit for resource in run.resources.values()}), 16)
"""


class ManyTests(SuiteTestCase):
    def measured(self, module: str, count: int, **variables: str) -> tuple[list[int], list[int]]:
        """What a suite measured on its way: connections, and bytes."""
        self.write("classes.py", CLASSES)
        self.write("domains.py", DOMAINS)
        outcome = self.unittest(module, COUNT=str(count), timeout=900, **variables)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        found = re.findall(r"(\d+) connections, (\d+) bytes", outcome.out)
        self.assertEqual(len(found), count // 10, outcome.out)
        return [int(number) for number, _ in found], [int(size) for _, size in found]

    def test_classes_with_schemas_of_their_own_on_postgresql(self) -> None:
        connections, memory = self.measured("classes", 300, TEST_DB="postgresql")
        self.assertLessEqual(max(connections), 20)
        self.assertLess(memory[-1], memory[4] * 1.1)

    def test_classes_with_schemas_of_their_own_in_memory(self) -> None:
        _, memory = self.measured("classes", 300)
        self.assertLess(memory[-1], memory[1] * 1.1)

    def test_domains(self) -> None:
        """Protean's own caches keep the last 128 domains themselves: some 50 KB for each of these."""
        connections, memory = self.measured("domains.DomainTests", 300 if DEEP else 120, TEST_DB="postgresql")
        self.assertLessEqual(max(connections), 20)
        self.assertLess(memory[-1], memory[4] * 1.1)

    def test_domains_that_were_discarded_begin_anew(self) -> None:
        self.write("classes.py", CLASSES)
        self.write("domains.py", DOMAINS)
        for dialect in ("sqlite", "postgresql"):
            outcome = self.unittest("domains.AgainTests", COUNT="1", TEST_DB=dialect, timeout=600)
            self.assertPassed(outcome, 1)


class FullServerTests(unittest.TestCase):
    def test_the_drop_needs_no_free_connection(self) -> None:
        server = start_postgresql(
            settings={"max_connections": "10", "superuser_reserved_connections": "0", "autovacuum": "off"}
        )
        self.addCleanup(server.stop)
        url = server.create_database("shop_test")
        engine = create_engine(url)
        self.addCleanup(engine.dispose)
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            backend = PostgreSQLBackend(Database(name="shop", url=make_url(url), engine=lambda: engine))
            backend.check(())
            backend.acquire()
            connection.execute("CREATE TABLE orders (id int)")
            backend.created()
            backend.save()
        leaked = []
        try:
            while True:
                leaked.append(psycopg.connect(url.replace("+psycopg", "")))
        except psycopg.OperationalError:
            pass
        self.addCleanup(lambda: [one.close() for one in leaked])
        looking = leaked.pop()
        backend.drop()
        backend.close()
        query = "SELECT count(*) FROM pg_class WHERE relname = 'orders'"
        self.assertEqual(looking.execute(query).fetchone(), (0,))
        looking.close()


if __name__ == "__main__":
    unittest.main()
