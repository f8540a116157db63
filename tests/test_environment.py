"""The environment moves one suite between in-memory and real infrastructure."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql
from protean_testing.servers.redis import PrivateRedis, start_redis

from .suite import MODELS, SuiteTestCase

SUITE = """
class OrderTests(DatabaseTestCase):
    metadata = Base.metadata
    def check(self):
        self.assertEqual(place(self.engine), 1)
        print(self.engine.dialect.name, self.engine.url.database)
    test_1 = test_2 = check
"""

WITH_REDIS = """
from protean_testing import RedisStore
class OrderTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata), RedisStore()]
    def check(self):
        self.assertEqual(place(self.engine), 1)
        redis = self.db.store("redis").client
        self.assertEqual(redis.incr("orders"), 1)
        number = redis.connection_pool.connection_kwargs.get("db")
        print(self.engine.dialect.name, self.engine.url.database, number)
    test_1 = test_2 = check
"""


class EnvironmentTests(SuiteTestCase):
    postgresql: PrivatePostgreSQL
    redis: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.postgresql, cls.redis = start_postgresql(), start_redis()
        cls.addClassCleanup(cls.postgresql.stop)
        cls.addClassCleanup(cls.redis.stop)

    def test_sqlite_in_memory_by_default(self) -> None:
        self.write("test_a.py", SUITE, before=MODELS)
        for variables in (
            {},
            {"TEST_DB": "memory"},
            {"DATABASE_URL": "postgresql://nobody@nowhere/development"},
        ):
            with self.subTest(variables):
                outcome = self.unittest("test_a", **variables)
                self.assertPassed(outcome, 2)
                self.assertRegex(outcome.out, r"^sqlite file:/protean_testing_")

    def test_a_sqlite_file(self) -> None:
        self.write("test_a.py", SUITE, before=MODELS)
        outcome = self.unittest("test_a", TEST_DB="sqlite")
        self.assertPassed(outcome, 2)
        self.assertRegex(outcome.out, r"^sqlite /.*\.db")
        given = self.directory / "shop_test.db"
        outcome = self.unittest("test_a", TEST_DB="sqlite", DATABASE_URL=f"sqlite:///{given}")
        self.assertPassed(outcome, 2)
        self.assertIn(f"sqlite {given}", outcome.out)
        self.assertFalse(given.exists(), "what the run made is gone")

    def test_a_private_postgresql(self) -> None:
        self.write("test_a.py", SUITE, before=MODELS)
        outcome = self.unittest("test_a", TEST_DB="postgresql", PROTEAN_TESTING_SUMMARY="1")
        self.assertPassed(outcome, 2)
        self.assertRegex(outcome.out, "^postgresql protean_testing_")
        self.assertRegex(outcome.err, r"PostgreSQL \d+\.\d+ \(private\) up in \d+\.\d\d s")

    def test_a_given_postgresql(self) -> None:
        self.write("test_a.py", SUITE, before=MODELS)
        url = self.postgresql.create_database("shop_test").replace("postgresql+psycopg:", "postgresql:")
        for _ in range(2):
            outcome = self.unittest("test_a", TEST_DB="postgresql", DATABASE_URL=url)
            self.assertPassed(outcome, 2)
            self.assertEqual(outcome.out, "postgresql shop_test\n" * 2)

    def test_full_infrastructure(self) -> None:
        self.write("test_a.py", WITH_REDIS, before=MODELS)
        outcome = self.unittest("test_a", TEST_INFRA="full")
        self.assertPassed(outcome, 2)
        self.assertRegex(outcome.out, "^postgresql protean_testing_1 0")
        url = self.postgresql.create_database("full_test")
        redis_url = self.redis.url(3)
        outcome = self.unittest("test_a", TEST_INFRA="full", DATABASE_URL=url, REDIS_URL=redis_url)
        self.assertPassed(outcome, 2)
        self.assertEqual(outcome.out, "postgresql full_test 3\n" * 2)

    def test_redis_is_private_unless_full_infrastructure_is_asked_for(self) -> None:
        self.write("test_a.py", WITH_REDIS, before=MODELS)
        outcome = self.unittest("test_a", REDIS_URL="redis://nowhere.invalid/0")
        self.assertPassed(outcome, 2)

    def test_a_store_with_a_url_or_an_engine_stays_where_it_is(self) -> None:
        self.write(
            "test_a.py",
            """
            from sqlalchemy import create_engine
            application = create_engine("sqlite:///application_test.db")
            class UrlTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, url="sqlite:///given_test.db")]
                def test_1(self): self.assertEqual(self.engine.url.database, "given_test.db")
            class EngineTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, engine=lambda: application)]
                def test_2(self): self.assertIs(self.engine, application)
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a", TEST_DB="postgresql"), 2)

    def test_contradictions_and_unknown_values_are_refused(self) -> None:
        self.write("test_a.py", SUITE, before=MODELS)
        secret = "postgresql://ann:s3cret@localhost/shop_test"
        for variables, message in (
            (
                {"TEST_DB": "postgres"},
                "TEST_DB='postgres' is none of memory, sqlite, postgresql. Did you mean 'postgresql'?",
            ),
            ({"TEST_INFRA": "ful"}, "TEST_INFRA='ful' is none of memory, full. Did you mean 'full'?"),
            (
                {"TEST_INFRA": "full", "TEST_DB": "sqlite"},
                "TEST_INFRA='full' means TEST_DB='postgresql', but TEST_DB is 'sqlite'",
            ),
            (
                {"TEST_DB": "sqlite", "DATABASE_URL": secret},
                "TEST_DB='sqlite', but DATABASE_URL is a postgresql database",
            ),
            (
                {"TEST_DB": "postgresql", "DATABASE_URL": "mysql://x/shop_test"},
                "but DATABASE_URL is a mysql database",
            ),
            ({"TEST_DB": "postgresql", "DATABASE_URL": "not a url s3cret"}, "DATABASE_URL"),
        ):
            with self.subTest(variables):
                outcome = self.unittest("test_a", **variables)
                self.assertFailed(outcome, message)
                self.assertEqual(outcome.ran, 0)
                self.assertNotIn("s3cret", outcome.err)


KINDS = """
from sqlalchemy import create_engine
from protean_testing import RedisStore
application = create_engine("sqlite:///shop_test.db")
class OpenTests(DatabaseTestCase):
    metadata = Base.metadata
    def test_1(self): pass
class GivenTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, engine=application)]
    def test_1(self): pass
class UrlTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, url="sqlite:///url_test.db")]
    def test_1(self): pass
class RedisTests(DatabaseTestCase):
    stores = [RedisStore()]
    def test_1(self): pass
"""

DOMAIN = """
import unittest
from protean import Domain
from protean.fields import String
from protean_testing.domain import DomainTestCase

shop = Domain(root_path=__file__, name="Shop", config={})

@shop.aggregate
class Order:
    customer = String()

class DomainTests(DomainTestCase):
    domain = shop
    def test_1(self): pass
"""

GIVEN = "postgresql://ann:s3cret@localhost/shop_test"


class NoEffectTests(SuiteTestCase):
    """A variable that decides nothing is named once, at the end of the run, and is no warning."""

    def setUp(self) -> None:
        super().setUp()
        self.write("test_a.py", KINDS, before=MODELS)
        self.write("test_domain.py", DOMAIN)

    def assertSaid(self, name: str, said: str, **variables: str) -> None:
        tests = [f"test_a.{one}" for one in name.split()] if "domain" not in name else [name]
        with self.subTest(name, **variables):
            outcome = self.python("-W", "error", "-m", "unittest", *tests, **variables)
            self.assertEqual(outcome.code, 0, outcome.err)
            lines = [line for line in outcome.err.splitlines() if line.startswith("protean_testing:")]
            self.assertEqual(len(lines), bool(said), outcome.err)
            self.assertIn(said, outcome.err)
            self.assertNotIn("s3cret", outcome.err)

    def test_what_is_said(self) -> None:
        self.assertSaid(
            "OpenTests",
            "DATABASE_URL is set and has no effect: TEST_DB is not set, which means SQLite in memory. "
            "To use it, set  TEST_DB=postgresql",
            DATABASE_URL=GIVEN,
        )
        self.assertSaid("OpenTests", "DATABASE_URL is set", DATABASE_URL=GIVEN, TEST_DB="memory")
        self.assertSaid("GivenTests UrlTests", "TEST_DB is set and has no effect", TEST_DB="postgresql")
        self.assertSaid("UrlTests", "TEST_INFRA is set and has no effect", TEST_INFRA="full")
        self.assertSaid("RedisTests", "REDIS_URL is set and has no effect", REDIS_URL="redis://:s3cret@h/1")
        self.assertSaid(
            "OpenTests", "PROTEAN_TESTING_KEEP is set and has no effect", PROTEAN_TESTING_KEEP="1"
        )

    def test_what_has_an_effect_or_is_for_others(self) -> None:
        self.assertSaid("OpenTests GivenTests", "", TEST_DB="postgresql")
        self.assertSaid("GivenTests", "", TEST_DB="sqlite")
        self.assertSaid("GivenTests RedisTests", "", DATABASE_URL=GIVEN)
        self.assertSaid("OpenTests", "", REDIS_URL="redis://h", MESSAGE_DB_URL=GIVEN, DATABASE_URL="")
        self.assertSaid("OpenTests UrlTests", "", PROTEAN_TESTING_KEEP="1")
        self.assertSaid("OpenTests UrlTests", "", PROTEAN_TESTING_KEEP="0")
        self.assertSaid("test_domain", "", TEST_DB="sqlite")

    def test_pytest_says_it_once_for_all_workers(self) -> None:
        plugins = ("-p", "protean_testing.runners.pytest", "-p", "xdist.plugin", "-p", "no:cacheprovider")
        for workers in ((), ("-n", "2")):
            outcome = self.python(
                *("-m", "pytest", *plugins, *workers, "test_a.py"),
                DATABASE_URL=GIVEN,
                PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
            )
            self.assertEqual(outcome.code, 0, outcome.out)
            self.assertEqual(outcome.out.count("DATABASE_URL is set and has no effect"), 1, outcome.out)
            self.assertNotIn("DATABASE_URL", outcome.err)


SLOW = """
import time
def make(engine):
    time.sleep(1.6)
    Base.metadata.create_all(engine)
class OrderTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=make, name="shop")]
    def test_1(self): pass
"""


SCHEMA_OF_EACH_TEST = """
from sqlalchemy import Column, Integer, MetaData, Table
class OrderTests(unittest.TestCase):
    def check(self):
        metadata = MetaData()
        Table("orders", metadata, Column("id", Integer, primary_key=True))
        with test_database(metadata):
            pass
    test_1 = test_2 = test_3 = check
"""


class SaidTests(SuiteTestCase):
    def test_the_summary_counts_schemas_of_one_name(self) -> None:
        self.write("test_a.py", SCHEMA_OF_EACH_TEST, before=MODELS)
        for test_db in ("memory", "postgresql"):
            outcome = self.unittest("test_a", TEST_DB=test_db, PROTEAN_TESTING_SUMMARY="1")
            self.assertPassed(outcome, tests=3)
            self.assertRegex(outcome.err, r" 3 schemas of 'database' created in [\d.]+ s \(")

    def test_the_summary_says_where_each_store_was(self) -> None:
        self.write("test_a.py", WITH_REDIS, before=MODELS)
        for test_db, database in (
            ("memory", "SQLite in memory"),
            ("sqlite", "private SQLite file"),
            ("postgresql", "private PostgreSQL"),
        ):
            outcome = self.unittest("test_a", TEST_DB=test_db, PROTEAN_TESTING_SUMMARY="1")
            self.assertRegex(outcome.err, rf"'database' created once in [\d.]+ s \({database}\);")
            self.assertRegex(outcome.err, r"'redis' created once in [\d.]+ s \(private Redis\);")
        self.write("test_a.py", SUITE, before=MODELS)
        given = f"sqlite:///{self.directory / 'shop_test.db'}"
        outcome = self.unittest("test_a", TEST_DB="sqlite", DATABASE_URL=given, PROTEAN_TESTING_SUMMARY="1")
        self.assertIn(f"({given});", outcome.err)

    def test_a_long_wait_is_told_of_on_a_terminal(self) -> None:
        self.write("test_a.py", SLOW, before=MODELS)
        said = "protean_testing: making the schema of store 'shop' ..."
        self.assertNotIn(said, self.unittest("test_a").err)
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        try:
            command = [sys.executable, "-m", "unittest", "test_a"]
            subprocess.run(command, cwd=self.directory, env=self.environment(), stderr=theirs, timeout=60)
        finally:
            os.close(theirs)
        text = ""
        with suppress(OSError):  # all is read, and nobody writes any more
            while more := os.read(ours, 4096):
                text += more.decode()
        self.assertIn("OK", text)
        self.assertEqual(text.count(said), 1, text)
