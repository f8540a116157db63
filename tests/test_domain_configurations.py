"""One domain in several configurations in one process, what the environment makes of them, and what stays."""

from __future__ import annotations

import gc
import os
import random
import sys
import unittest
import warnings
from typing import Any
from unittest import mock

import redis
from protean import Domain
from protean.adapters.repository.memory import MemoryProvider
from protean.fields import String
from sqlalchemy import create_engine, inspect, text

from protean_testing import ConfigurationError, LateWriteWarning, ScopeError, UnsafeStoreError
from protean_testing.core.run import run
from protean_testing.domain import events, test_domain, uses_domain
from protean_testing.domain.config import own_config, wanted
from protean_testing.servers.postgresql import private_postgresql
from protean_testing.servers.redis import private_redis

from .library import Author, held, library, write
from .suite import ROOT, SuiteTestCase

POSTGRESQL = {"databases": {"default": {"provider": "postgresql"}}}
REDIS = {"brokers": {"default": {"provider": "redis"}}, "caches": {"default": {"provider": "redis"}}}
BOTH = {**POSTGRESQL, **REDIS}
LIVE = "postgresql://live/shop"
STREAM = {"server": {"default_subscription_type": "stream"}}


def new_domain(config: dict[str, Any] | None = None) -> Any:
    domain = Domain(root_path=str(ROOT / "tests"), name="Shop", config=config or {})

    @domain.aggregate
    class Item:
        name = String(max_length=50)

    domain.Item = Item
    return domain


class SwitchTests(unittest.TestCase):
    def test_in_any_order_each_made_once(self) -> None:
        domain = new_domain()
        configs = [None, POSTGRESQL, REDIS, BOTH, {**POSTGRESQL, **STREAM}]
        rng = random.Random(7)
        schemas = len(run.figures.created)
        seen: dict[int, Any] = {}
        for number in [rng.randrange(len(configs)) for _ in range(30)]:
            with test_domain(domain, config=configs[number], traverse=False):
                items = domain.repository_for(domain.Item)
                self.assertEqual(items.query.all().total, 0)
                items.add(domain.Item(name="a"))
                if number == 4:
                    outbox = domain._get_outbox_repo("default")
                    self.assertEqual(outbox.query.all().total, 0)
                self.assertIs(seen.setdefault(number, domain.providers), domain.providers)
            self.assertIsNone(domain.providers._providers)
        made = [name for name, *_ in run.figures.created[schemas:] if name == "default"]
        self.assertEqual(set(seen), set(range(5)))
        self.assertEqual(len(made), 2)  # the two without an outbox are one database

    def test_a_domain_in_use_gets_its_own_back(self) -> None:
        domain = new_domain({"custom": {"a": 1}, **STREAM})
        domain.init(traverse=False)
        domain.clock = "mine"
        with domain.domain_context():
            domain.repository_for(domain.Item).add(domain.Item(name="own"))
            before = self.state(domain)
            with test_domain(domain, config={**BOTH, **STREAM}, traverse=False):
                self.assertNotEqual(self.state(domain), before)
                self.assertEqual(domain.repository_for(domain.Item).query.all().total, 0)
                domain.clock = "changed"
            self.assertEqual(self.state(domain), before)
            self.assertEqual(domain.repository_for(domain.Item).query.all().total, 1)

    def test_events_that_every_initialization_generates_are_no_write(self) -> None:
        domain = new_domain()

        @domain.aggregate(fact_events=True)
        class Order:
            customer = String(max_length=50)

        sqlite = {"databases": {"default": {"provider": "sqlite"}}}
        with warnings.catch_warnings():
            warnings.simplefilter("error", LateWriteWarning)
            for config in (None, sqlite, None, sqlite, REDIS, None):
                with test_domain(domain, config=config, traverse=False):
                    domain.repository_for(Order).add(Order(customer="Ann"))
                    self.assertEqual(len(events("$all")), 1)

    def state(self, domain: Any) -> list[Any]:
        aggregates = domain.registry._elements["AGGREGATE"]
        return [
            *(domain.providers._providers, domain.brokers._brokers, domain.config, domain.clock),
            dict(domain._outbox_repos),
            {name: record.cls for name, record in aggregates.items()},
        ]

    def test_what_is_registered_later_has_a_table_too(self) -> None:
        domain = new_domain()
        with test_domain(domain, config=POSTGRESQL, traverse=False):
            domain.repository_for(domain.Item).add(domain.Item(name="a"))

        @domain.aggregate
        class Later:
            name = String(max_length=50)

        with test_domain(domain, config=POSTGRESQL, traverse=False):
            domain.repository_for(Later).add(Later(name="a"))
            self.assertEqual(domain.repository_for(domain.Item).query.all().total, 0)

    def test_200_times_grows_neither_providers_nor_connections(self) -> None:
        domain = new_domain()

        def connections() -> int:
            server = private_postgresql()
            with server._connect() as connection:
                found: int = connection.execute("SELECT count(*) FROM pg_stat_activity").fetchone()[0]
            return found

        def clients() -> int:
            with redis.Redis.from_url(private_redis().url()) as client:
                return len(client.client_list())

        def once(number: int) -> None:
            with test_domain(domain, config=POSTGRESQL if number % 10 == 0 else REDIS, traverse=False):
                domain.init(traverse=False)
                domain.repository_for(domain.Item).add(domain.Item(name="a"))
                domain.brokers["default"].publish("s", {"a": 1})

        def providers() -> int:
            gc.collect()
            return sum(isinstance(thing, MemoryProvider) for thing in gc.get_objects())

        for number in range(10):
            once(number)
        before = providers(), connections(), clients()
        for number in range(200):
            once(number)
        self.assertLessEqual(providers(), before[0])
        self.assertLessEqual(connections(), before[1])
        self.assertLessEqual(clients(), before[2])


class OwnConfigurationTests(SuiteTestCase):
    DOMAIN = """
        from protean import Domain
        from protean.fields import String
        shop = Domain(root_path=__file__, name="Shop")
        @shop.aggregate
        class Item:
            name = String(max_length=50)
    """
    SUITE = """
        import os, unittest
        from shop.domain import shop, Item
        from protean_testing.domain import DomainTestCase
        class ItemTests(DomainTestCase):
            domain = shop
            def check(self):
                self.assertEqual(shop.repository_for(Item).query.all().total, 0)
                shop.repository_for(Item).add(Item(name="a"))
            test_1 = test_2 = check
    """

    def setUp(self) -> None:
        super().setUp()
        self.write("shop/__init__.py", "")
        self.write("shop/domain.py", self.DOMAIN)
        self.write("test_shop.py", self.SUITE)

    def test_the_overlay_for_tests_is_laid_over(self) -> None:
        self.write(
            "shop/domain.toml",
            f"""
            [databases.default]
            provider = "postgresql"
            database_uri = "postgresql://prod:s3cret@127.0.0.1:1/shop"
            [test.databases.default]
            provider = "sqlite"
            database_uri = "sqlite:///{self.directory}/shop_test.db"
            """,
        )
        self.assertPassed(self.unittest("test_shop"), 2)

    def test_what_lies_beneath_its_root_is_imported_once(self) -> None:
        self.write("shop/domain.toml", "")
        self.write(
            "shop/handlers.py",
            """
            from .domain import shop, Item
            print("imported handlers")
            @shop.event(part_of=Item)
            class ItemSold: pass
            """,
        )
        outcome = self.unittest("test_shop")
        self.assertPassed(outcome, 2)
        self.assertEqual(outcome.out, "imported handlers\n")

    def test_a_database_that_is_no_test_database_is_refused(self) -> None:
        server = private_postgresql()
        url = server.create_database("shop_live").replace("+psycopg", "")
        self.write(
            "shop/domain.toml", f'[databases.default]\nprovider = "postgresql"\ndatabase_uri = "{url}"'
        )
        outcome = self.unittest("test_shop")
        self.assertFailed(outcome, "UnsafeStoreError: refusing", "'default'")
        self.assertEqual(inspect(create_engine(server.url("shop_live"))).get_table_names(), [])

    def test_a_given_database_has_one_schema_a_run_and_none_after_it(self) -> None:
        server = private_postgresql()
        url = server.create_database("shop_given_test")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE others (a int)"))
        self.write("shop/domain.toml", "")
        variables = {"TEST_DB": "postgresql", "DATABASE_URL": url, "PROTEAN_TESTING_SUMMARY": "1"}
        outcome = self.unittest("test_shop", **variables)
        self.assertPassed(outcome, 2)
        self.assertEqual(outcome.err.count("schema of 'default' created once"), 1)
        self.assertEqual(inspect(engine).get_table_names(), ["others"])
        engine.dispose()

    def test_a_stale_table_is_not_used(self) -> None:
        server = private_postgresql()
        url = server.create_database("shop_stale_test")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE item (id varchar primary key)"))  # no name, as of last year
        self.write("shop/domain.toml", "")
        outcome = self.unittest("test_shop", TEST_DB="postgresql", DATABASE_URL=url)
        self.assertFailed(outcome, "refusing", "table public.item (empty)")
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO item VALUES ('of somebody')"))
        outcome = self.unittest("test_shop", TEST_DB="postgresql", DATABASE_URL=url)
        self.assertFailed(outcome, "refusing", "table public.item")
        with engine.connect() as connection:
            self.assertEqual(connection.scalar(text("SELECT count(*) FROM item")), 1)
        engine.dispose()

    def test_switching_by_the_environment(self) -> None:
        self.write("shop/domain.toml", "")
        for test_db in ("memory", "sqlite", "postgresql"):
            with self.subTest(test_db):
                self.assertPassed(self.unittest("test_shop", TEST_DB=test_db), 2)


class WantedTests(unittest.TestCase):
    def wanted(self, own: Any = None, overlay: Any = None, **environment: str) -> Any:
        variables = ("TEST_DB", "TEST_INFRA", "DATABASE_URL", "REDIS_URL", "MESSAGE_DB_URL", "PROTEAN_ENV")
        kept = {name: value for name, value in os.environ.items() if name not in variables}
        with mock.patch.dict(os.environ, {**kept, **environment}, clear=True):
            return wanted(new_domain(own).config, overlay)

    def test_the_domains_own_where_nothing_is_said(self) -> None:
        own = {"databases": {"default": {"provider": "sqlite", "database_uri": "sqlite:///a_test.db"}}}
        config = self.wanted(own)
        self.assertEqual(config["databases"]["default"], own["databases"]["default"])
        self.assertEqual((config["event_processing"], config["command_processing"]), ("sync", "sync"))

    def test_asked_otherwise(self) -> None:
        config = self.wanted(overlay={"event_processing": "async"})
        self.assertEqual((config["event_processing"], config["command_processing"]), ("async", "sync"))

    def test_test_db(self) -> None:
        own = {
            "databases": {
                "default": {
                    "provider": "postgresql",
                    "database_uri": "postgresql://live/shop",
                    "pool_size": 3,
                },
                "search": {"provider": "elasticsearch", "database_uri": {"hosts": ["a"]}},
                "others": {
                    "provider": "postgresql",
                    "database_uri": "postgresql://live/erp",
                    "managed": False,
                },
            }
        }
        databases = self.wanted(own, TEST_DB="postgresql")["databases"]
        self.assertEqual(databases["default"], {"provider": "postgresql", "pool_size": 3})
        self.assertEqual(databases["search"], own["databases"]["search"])
        self.assertEqual(databases["others"], own["databases"]["others"])
        databases = self.wanted(own, TEST_DB="sqlite")["databases"]
        self.assertEqual(databases["default"], {"provider": "sqlite", "managed": True})
        databases = self.wanted(own, TEST_DB="memory")["databases"]
        self.assertEqual({entry["provider"] for entry in databases.values()}, {"memory"})

    def test_what_the_class_says_stands_over_the_environment(self) -> None:
        config = self.wanted(overlay=POSTGRESQL, TEST_DB="memory")
        self.assertEqual(config["databases"]["default"]["provider"], "postgresql")

    def test_test_infra(self) -> None:
        own = {
            "caches": {"default": {"provider": "memory", "TTL": 7}},
            "idempotency": {"redis_url": "redis://live"},
        }
        config = self.wanted(own, TEST_INFRA="full")
        self.assertEqual(config["databases"]["default"]["provider"], "postgresql")
        self.assertEqual(config["brokers"]["default"], {"provider": "redis"})
        self.assertEqual(config["caches"]["default"], {"provider": "redis", "TTL": 7})
        self.assertEqual(config["event_store"], {"provider": "message_db"})
        self.assertIsNone(config["idempotency"]["redis_url"])
        config = self.wanted(
            {"brokers": {"default": {"provider": "redis_pubsub", "URI": "redis://live"}}}, TEST_INFRA="full"
        )
        self.assertEqual(config["brokers"]["default"], {"provider": "redis_pubsub"})
        config = self.wanted({**BOTH, "event_store": {"provider": "message_db"}}, TEST_INFRA="memory")
        self.assertEqual(config["brokers"]["default"], {"provider": "inline"})
        self.assertEqual(config["event_store"], {"provider": "memory"})

    def test_contradictions(self) -> None:
        with self.assertRaisesRegex(ConfigurationError, "TEST_DB='postgres' .*Did you mean 'postgresql'?"):
            self.wanted(TEST_DB="postgres")
        with self.assertRaisesRegex(ConfigurationError, "TEST_INFRA='full' means"):
            self.wanted(TEST_INFRA="full", TEST_DB="sqlite")

    def test_a_dictionary_is_taken_as_it_is(self) -> None:
        domain = new_domain({"custom": {"a": 1}})
        self.assertIs(own_config(domain), domain.config)


class OptionsTests(unittest.TestCase):
    def test_what_a_store_may_do_is_said_beside_its_adapter(self) -> None:
        url = private_postgresql().create_database("shop_contest")
        entry = {"provider": "postgresql", "database_uri": url}
        block = test_domain(new_domain(), traverse=False, config={"databases": {"default": entry}})
        with self.assertRaises(UnsafeStoreError), block:
            self.fail("it was entered")
        options = {"unsafe": True, "on_leak": "fail"}
        config = {"databases": {"default": {**entry, "testing": options}}}
        domain = new_domain()
        with test_domain(domain, traverse=False, config=config):
            domain.repository_for(domain.Item).add(domain.Item(name="a"))


class KilledServerTests(SuiteTestCase):
    def test_redis_gone_in_the_middle_of_a_run(self) -> None:
        """Its store's error is clear; PostgreSQL is given back all the same, and dropped at the end."""
        server = private_postgresql()
        url = server.create_database("library_killed_test")
        self.write(
            "test_killed.py",
            """
            import os, unittest
            import psutil
            from protean_testing.domain import DomainTestCase
            from protean_testing.servers.redis import start_redis
            from sqlalchemy import create_engine, text
            from tests.library import library, Author, write
            redis = start_redis()
            class KilledTests(DomainTestCase):
                domain = library
                traverse = False
                config = {
                    "databases": {"default": {"provider": "postgresql", "database_uri": os.environ["URL"]}},
                    "caches": {
                        "default": {"provider": "redis", "URI": redis.url(), "testing": {"wait": 0.5}},
                    },
                }
                def test_1(self):
                    write("a")
                    psutil.Process(library.caches["default"].get_connection().info()["process_id"]).kill()
                def test_2(self): self.fail("must not run")
            class RowsTests(unittest.TestCase):
                def test_no_rows_are_left(self):
                    engine = create_engine(os.environ["URL"])
                    with engine.connect() as connection:
                        self.assertEqual(connection.scalar(text('SELECT count(*) FROM "author"')), 0)
                    engine.dispose()
            """,
        )
        outcome = self.unittest("-v", "test_killed", URL=url)
        self.assertFailed(outcome, "redis of cache default", "test_no_rows_are_left (test_killed.RowsTests")
        self.assertRegex(outcome.err, r"test_no_rows_are_left .*\.\.\. ok")
        self.assertNotIn("must not run", outcome.err)
        engine = create_engine(url)
        self.assertEqual(inspect(engine).get_table_names(), [])
        engine.dispose()


class DriverTests(SuiteTestCase):
    def test_a_url_without_a_driver_is_psycopg_3_where_psycopg_2_is_not_installed(self) -> None:
        self.write(
            "test_driver.py",
            """
            import os, sys
            class NotInstalled:
                def find_spec(self, name, path=None, target=None):
                    if name.partition(".")[0] == "psycopg2":
                        raise ModuleNotFoundError("No module named 'psycopg2'")
            sys.meta_path.insert(0, NotInstalled())
            from protean_testing.domain import DomainTestCase
            from tests.library import library, Author, write
            class DriverTests(DomainTestCase):
                domain = library
                traverse = False
                config = {
                    "databases": {"default": {"provider": "postgresql", "database_uri": os.environ["URL"]}}
                }
                def check(self):
                    write("a")
                    self.assertEqual(library.repository_for(Author).query.all().total, 1)
                    self.assertEqual(library.providers["default"]._engine.dialect.driver, "psycopg")
                test_1 = test_2 = check
            """,
        )
        url = private_postgresql().create_database("library_driver_test").replace("+psycopg", "")
        self.assertPassed(self.unittest("test_driver", URL=url), 2)


class NestedConfigurationTests(unittest.TestCase):
    def test_the_domains_own_is_what_was_outside(self) -> None:
        with test_domain(library, config=REDIS, traverse=False):
            write("outer")
            with test_domain(library, traverse=False):
                self.assertEqual(library.config["brokers"]["default"]["provider"], "inline")
                write("inner")
            self.assertEqual(held()["authors"], ["outer"])
            self.assertEqual(library.repository_for(Author).query.all().total, 1)


SQLITE = {"databases": {"default": {"provider": "sqlite"}}}


class HiddenConfigurationTests(SuiteTestCase):
    """A handle whose configuration another one hides: the code under test writes into other stores."""

    def setUp(self) -> None:
        super().setUp()
        self.domain = new_domain()

    def add(self, name: str) -> None:
        self.domain.repository_for(self.domain.Item).add(self.domain.Item(name=name))

    def names(self) -> list[str]:
        found = self.domain.repository_for(self.domain.Item).query.all().items
        return sorted(item.name for item in found)

    def test_scope_and_reset_are_refused(self) -> None:
        with test_domain(self.domain, traverse=False) as outer:
            self.add("outer")
            with test_domain(self.domain, config=SQLITE, traverse=False) as inner:
                self.add("inner")
                with (
                    self.assertRaisesRegex(ScopeError, "cannot begin: a block or class inside"),
                    outer.scope(),
                ):
                    pass
                with self.assertRaisesRegex(ScopeError, "cannot be reset: a block or class inside"):
                    outer.reset()
                with inner.scope():
                    self.add("inmost")
                    self.assertEqual(self.names(), ["inmost", "inner"])
                self.assertEqual(self.names(), ["inner"])
                self.assertTrue(inner.reset())
                self.assertEqual(self.names(), [])
            self.assertEqual(self.names(), ["outer"])
            with outer.scope():
                self.add("scoped")
            self.assertEqual(self.names(), ["outer"])
            self.assertTrue(outer.reset())
            self.assertEqual(self.names(), [])

    def test_the_same_configuration_hides_nothing(self) -> None:
        with test_domain(self.domain, traverse=False) as outer:
            with test_domain(self.domain, traverse=False), outer.scope():
                self.add("scoped")
            self.assertEqual(self.names(), [])

    def test_decorators_one_in_the_other(self) -> None:
        @uses_domain(self.domain, traverse=False)
        def in_memory(db: Any) -> None:
            self.add("outer")

            @uses_domain(self.domain, config=SQLITE, traverse=False)
            def on_sqlite(db: Any) -> None:
                with self.assertRaisesRegex(ScopeError, "the innermost"), outer.scope():
                    pass
                with db.scope():
                    self.add("inner")
                self.assertEqual(self.names(), [])

            outer = db
            on_sqlite()
            self.assertEqual(self.names(), ["outer"])

        in_memory()

    def test_the_outer_one_is_left_first(self) -> None:
        """The inner one goes on, its end puts the domain back to what it was, and all data is restored."""
        before = (self.domain.config, self.domain.providers, self.domain.event_store)
        outer, inner = (
            test_domain(self.domain, traverse=False),
            test_domain(self.domain, config=SQLITE, traverse=False),
        )
        outer.__enter__()
        self.add("outer")
        inner.__enter__()
        self.add("inner")
        with self.assertRaisesRegex(ScopeError, "End the inner one first"):
            outer.__exit__(None, None, None)
        with self.domain.domain_context():
            self.assertEqual(self.names(), ["inner"])
        inner.__exit__(None, None, None)
        after = (self.domain.config, self.domain.providers, self.domain.event_store)
        self.assertTrue(all(one is two for one, two in zip(before, after, strict=True)))
        for config in (None, SQLITE):
            with test_domain(self.domain, config=config, traverse=False):
                self.assertEqual(self.names(), [])

    def test_the_order_of_fixtures(self) -> None:
        """An inner directory's fixture of the session outlives its tests: those outside are told."""
        self.write(
            "shop.py",
            """
            from protean import Domain
            from protean.fields import String

            shop = Domain(root_path=__file__, name="Shop", config={})

            @shop.aggregate
            class Item:
                name = String(max_length=50)
            """,
        )
        self.write(
            "conftest.py",
            """
            import pytest
            from protean_testing.domain import test_domain
            from shop import shop

            @pytest.fixture(scope="session")
            def database():
                with test_domain(shop, traverse=False) as db:
                    yield db

            @pytest.fixture
            def db(database):
                with database.scope():
                    yield database
            """,
        )
        self.write(
            "a/conftest.py",
            """
            import pytest
            from protean_testing.domain import test_domain
            from shop import shop

            @pytest.fixture(scope="session")
            def integration(database):
                with test_domain(shop, config={"databases": {"default": {"provider": "sqlite"}}}) as db:
                    yield db
            """,
        )
        test = """
            from shop import Item, shop

            def test_1(%s):
                shop.repository_for(Item).add(Item(name="a"))
            """
        self.write("a/test_inner.py", test % "integration")
        self.write("test_outer.py", test % "db")
        plugin = ("-p", "protean_testing.runners.pytest", "-p", "no:cacheprovider", "--import-mode=importlib")
        tests = ("a/test_inner.py", "test_outer.py")
        outcome = self.python("-m", "pytest", *plugin, *tests, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
        self.assertFailed(outcome, "1 passed, 1 error", "another configuration of domain 'Shop'")
        outcome = self.python("-m", "pytest", *plugin, *tests[::-1], PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
        self.assertEqual(outcome.code, 0, outcome.out)


class AdviceTests(SuiteTestCase):
    """What cannot work says what to write."""

    def assertRefused(self, config: dict[str, Any], *lines: str) -> None:
        with self.subTest(config), self.assertRaises(ConfigurationError) as raised:
            with test_domain(new_domain(), config=config, traverse=False):
                self.fail("it was taken")
        for line in lines:
            self.assertIn(line, str(raised.exception))

    def test_what_a_configuration_lacks(self) -> None:
        for provider, url in (("mysql", "mysql+pymysql://"), ("mssql", "mssql+pyodbc://")):
            self.assertRefused({"databases": {"default": {"provider": provider}}}, f'database_uri = "{url}')
        for provider, meant in (
            ("postgres", "postgresql"),
            ("protean.adapters.repository.memory.MemoryProvider", "memory"),
            ("protean.adapters.repository.sqlalchemy.PostgresqlProvider", "postgresql"),
        ):
            self.assertRefused(
                {"databases": {"default": {"provider": provider}}}, f'Write  provider = "{meant}"'
            )
        self.assertRefused(
            {"brokers": {"default": {"provider": "redispubsub"}}}, 'Write  provider = "redis_pubsub"'
        )

    def test_a_package_that_is_not_installed(self) -> None:
        url = "postgresql://message_store@localhost/message_store_test"
        there = {name: module for name, module in sys.modules.items() if name.startswith("message_db")}
        self.addCleanup(sys.modules.update, there)
        self.addCleanup(sys.modules.pop, "message_db")
        for name in there:
            del sys.modules[name]
        sys.modules["message_db"] = None  # type: ignore[assignment]
        self.assertRefused(
            {"event_store": {"provider": "message_db", "database_uri": url}},
            'pip install "protean[message-db]"',
        )

    def test_a_protean_that_is_not_known(self) -> None:
        for found, said in (("None", "needs Protean."), ("'0.17.1'", "0.17.1 is installed")):
            self.write(
                "test_a.py",
                f"""
                import importlib.metadata as metadata
                found, original = {found}, metadata.version
                def version(name):
                    if name == "protean" and found is None:
                        raise metadata.PackageNotFoundError
                    return found if name == "protean" else original(name)
                metadata.version = version
                from protean_testing.domain import DomainTestCase
                """,
            )
            outcome = self.unittest("test_a")
            self.assertFailed(outcome, said, 'pip install "protean-testing[protean]"')
