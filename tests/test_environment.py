"""The environment moves one suite between in-memory and real infrastructure."""

from __future__ import annotations

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
