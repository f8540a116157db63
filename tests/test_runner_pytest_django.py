"""Django's test cases and ours under pytest-django, and runners that make no test database for anybody.

Whatever the runner, the developer's own database stays as it was.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql

from .runners.running import SAMPLE
from .suite import Outcome, SuiteTestCase

PLUGINS = ("-p", "pytest_django.plugin", "-p", "protean_testing.runners.pytest", "-p", "xdist.plugin")
PYTEST = ("-m", "pytest", "-v", "-p", "no:cacheprovider")

SETTINGS = """
import os

SECRET_KEY = "of the tests"
INSTALLED_APPS = ["django.contrib.contenttypes", "store"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TEST_RUNNER = os.environ.get("TEST_RUNNER", "protean_testing.django.Runner")
if os.environ.get("PGHOST"):
    common = {"ENGINE": "django.db.backends.postgresql", "USER": "postgres", "HOST": os.environ["PGHOST"]}
    common["PORT"] = "5432"
    DATABASES = {"default": common | {"NAME": "shop"}, "other": common | {"NAME": "warehouse"}}
else:
    common = {"ENGINE": "django.db.backends.sqlite3"}
    DATABASES = {"default": common | {"NAME": "shop.db"}, "other": common | {"NAME": "warehouse.db"}}
    if os.environ.get("IN_FILES"):
        for alias, database in DATABASES.items():
            database["TEST"] = {"NAME": f"test_{alias}.db"}
"""

TESTS = """
import pytest
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase

from protean_testing import CallableStore, DatabaseTestCase, test_database, uses_database
from protean_testing.django import DjangoTestCase, django_database
from store.models import Kind, Order

other = django_database("other")
cleared = []


def kinds(alias="default"):
    return sorted(Kind.objects.using(alias).values_list("name", flat=True))


def place(customer="Ann", alias="default"):
    '''Commit an order, and give its number and whether something was done after the commit.'''
    done = []
    with transaction.atomic(alias):
        kind = Kind.objects.using(alias).get(name="book")
        order = Order.objects.using(alias).create(customer=customer, kind=kind)
        transaction.on_commit(lambda: done.append(True), using=alias)
    return order.id, done


class Test1Flushing(TransactionTestCase):
    '''Stands first, and runs last.'''

    def test_1(self):
        Kind.objects.get_or_create(name="book")
        place("Flushed")

    test_2 = test_1


class Test2RolledBack(TestCase):
    def test_1(self):
        assert (Order.objects.count(), kinds()) == (0, ["book", "game"])
        place("Rolled back")

    test_2 = test_1


class Test3Ours(DjangoTestCase):
    def test_1(self):
        assert (Order.objects.count(), kinds()) == (0, ["book", "game"])
        assert place() == (1, [True])
        Kind.objects.create(name="toy")

    test_2 = test_1


class Test4RolledBack(Test2RolledBack):
    '''Between two of ours.'''


class Test5Shared(DjangoTestCase):
    databases = "__all__"
    stores = [CallableStore(cleared.clear)]

    @classmethod
    def setUpTestData(cls):
        cls.order = Order.objects.get(id=place("Bob")[0])

    def test_1(self):
        assert (self.order.id, cleared, Order.objects.using("other").count()) == (1, [], 0)
        assert (place(), place(alias="other")) == ((2, [True]), (1, [True]))
        self.order.delete()
        cleared.append(1)

    test_2 = test_1


class Test6Base(DatabaseTestCase):
    stores = [django_database(), other]

    def test_1(self):
        assert (Order.objects.count(), Order.objects.using("other").count()) == (0, 0)
        assert (place(), place(alias="other")) == ((1, [True]), (1, [True]))

    test_2 = test_1


@uses_database(django_database())
def test_7_decorated():
    assert (Order.objects.count(), place()) == (0, (1, [True]))


def test_7_block():
    with test_database(other):
        assert place(alias="other") == (1, [True])
    assert Order.objects.using("other").count() == 0


def test_7_neither():
    with pytest.raises(RuntimeError, match="Database access not allowed"):
        connections["default"].ensure_connection()


@pytest.mark.django_db
def test_9_marked():
    place("Rolled back")
    with pytest.raises(Exception, match="leave out the mark"), test_database(django_database()):
        pass
"""

OF_A_MODULE = """
import pytest

from protean_testing import test_database
from protean_testing.django import django_database
from store.models import Order
from test_store import place


@pytest.fixture(scope="module")
def shared():
    with test_database(django_database()) as db:
        place("Shared")
        yield db


@pytest.mark.parametrize("number", [1, 2])
def test_8_of_a_module(shared, number):
    assert Order.objects.get().customer == "Shared"
    with shared.scope():
        assert place() == (2, [True])
"""

MAKE = """
import django
django.setup()
from django.core.management import call_command
from store.models import Order

for alias in "default", "other":
    call_command("migrate", verbosity=0, database=alias)
    Order.objects.using(alias).create(customer="the developer", kind_id=1)
"""

PLAIN = """
import atexit, os, unittest
import django
django.setup()

from django.test.utils import setup_databases, teardown_databases
from protean_testing import CallableStore, test_database
from protean_testing.django import DjangoTestCase, django_database
from store.models import Kind, Order

if os.environ.get("MAKE"):
    made = setup_databases(verbosity=0, interactive=False)
    atexit.register(teardown_databases, made, verbosity=0)

class KindTests(DjangoTestCase):
    databases = {"default", "other"}
    stores = [CallableStore([].clear)]

    def test_1(self):
        for alias in self.databases:
            self.assertEqual((Kind.objects.using(alias).count(), Order.objects.using(alias).count()), (2, 0))
            Kind.objects.using(alias).all().delete()

    test_2 = test_1

class BlockTests(unittest.TestCase):
    def test_1(self):
        with test_database(django_database("other")):
            Kind.objects.using("other").all().delete()
        self.assertEqual(Kind.objects.using("other").count(), 2)
"""

UNSAFE = """
import django
django.setup()

from protean_testing.django import DjangoTestCase, django_database
from store.models import Order

class OrderTests(DjangoTestCase):
    stores = [django_database(unsafe=True)]

    def test_1(self):
        self.assertEqual([order.customer for order in Order.objects.all()], ["the developer"])
        Order.objects.all().delete()

    test_2 = test_1
"""

OTHER_SETUP = """
import pytest

@pytest.fixture(scope="session")
def django_db_setup(): pass
"""

PASSED = 18


def lay_out(directory: Path) -> None:
    sample = SAMPLE.parent / "django_sample"
    shutil.copytree(
        sample, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("tests.py", "settings.py")
    )
    (directory / "settings.py").write_text(SETTINGS)
    (directory / "test_store.py").write_text(TESTS)
    (directory / "test_module.py").write_text(OF_A_MODULE)


class Developers(SuiteTestCase):
    """A project whose developer has databases with rows in them."""

    server: PrivatePostgreSQL

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_postgresql()
        cls.addClassCleanup(cls.server.stop)
        cls.url = cls.server.url().replace("+psycopg", "")
        match = re.search("host=([^&]*)", cls.url)
        assert match is not None
        cls.postgresql = {"PGHOST": match[1]}
        for name in ("shop", "warehouse"):
            cls.server.create_database(name)

        cls.made = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="made_")))
        lay_out(cls.made)
        (cls.made / "make.py").write_text(MAKE)
        for variables in ({}, cls.postgresql):
            environ = {**os.environ, **variables, "DJANGO_SETTINGS_MODULE": "settings"}
            subprocess.run([sys.executable, "make.py"], cwd=cls.made, env=environ, check=True, timeout=60)

    def setUp(self) -> None:
        super().setUp()
        lay_out(self.directory)
        for made in self.made.glob("*.db"):
            shutil.copy(made, self.directory)
        self.before = self.developers()
        self.assertEqual(str(self.before).count("the developer"), 4)

    def environment(self, **variables: str) -> dict[str, str]:
        return super().environment(
            **{
                "DJANGO_SETTINGS_MODULE": "settings",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PROTEAN_TESTING_STATE": str(self.directory / "state"),
                **variables,
            }
        )

    def pytest(self, *arguments: str, plugins: tuple[str, ...] = PLUGINS, **variables: str) -> Outcome:
        return self.python(*PYTEST, *plugins, *arguments, **variables)

    def developers(self) -> list[object]:
        """All that is in the developer's databases."""
        found: list[object] = []
        for name in ("shop", "warehouse"):
            with sqlite3.connect(self.directory / f"{name}.db") as connection:
                found.append(list(connection.iterdump()))
            connection.close()
            with psycopg.connect(self.server.url(name).replace("+psycopg", "")) as server:
                found += server.execute(
                    "SELECT c.oid, n.nspname, c.relname, c.relfilenode FROM pg_class c "
                    "JOIN pg_namespace n ON n.oid = relnamespace "
                    "WHERE nspname !~ '^(pg_|information)' ORDER BY 1"
                )
                found += server.execute("SELECT oid, tgname FROM pg_trigger WHERE NOT tgisinternal")
                found += server.execute("SELECT evtname FROM pg_event_trigger")
                for table in ("store_order", "store_kind", "django_migrations"):
                    found += server.execute(f"SELECT xmin::text, * FROM {table} ORDER BY id")  # type: ignore[arg-type]
                    found += server.execute(f"SELECT last_value FROM {table}_id_seq")  # type: ignore[arg-type]
        return found

    def databases(self) -> list[str]:
        with psycopg.connect(self.url) as connection:
            others = "SELECT datname FROM pg_database WHERE datname !~ '^(postgres|template|shop|warehouse)'"
            return sorted(name for (name,) in connection.execute(others))

    def drop(self, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name in names:
                connection.execute(f"DROP DATABASE {name}")  # type: ignore[arg-type]

    def assertRight(self, outcome: Outcome, passed: int = PASSED, left: list[str] | None = None) -> None:
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        self.assertIn(f"{passed} passed", outcome.out)
        self.assertNotIn("warning", outcome.out.lower())
        self.assertUntouched(left)

    def assertUntouched(self, left: list[str] | None = None) -> None:
        self.assertEqual(self.developers(), self.before)
        self.assertEqual(self.databases(), left or [])

    def assertRefused(self, outcome: Outcome, *texts: str) -> None:
        self.assertFailed(outcome, "UnsafeStoreError", "Django's test database was not made", *texts)
        self.assertUntouched()


class PytestDjangoTests(Developers):
    def test_in_memory(self) -> None:
        self.assertRight(self.pytest())

    def test_in_files(self) -> None:
        self.assertRight(self.pytest(IN_FILES="1"))
        self.assertEqual(list(self.directory.glob("test_*.db")), [])

    def test_postgresql(self) -> None:
        self.assertRight(self.pytest(**self.postgresql))

    def test_random_order(self) -> None:
        """Whichever plugin orders last: Django's test cases come between ours as well."""
        randomly = ("-p", "pytest_randomly")
        for seed, plugins in enumerate([(*PLUGINS, *randomly), (*randomly, *PLUGINS)] * 2):
            with self.subTest(seed):
                arguments = (f"--randomly-seed={seed}",)
                self.assertRight(self.pytest(*arguments, plugins=plugins, **self.postgresql))

    def test_workers(self) -> None:
        self.assertRight(self.pytest("-n", "2", **self.postgresql))
        self.assertRight(self.pytest("-n", "2", "--dist", "loadscope"))

    def test_without_migrations(self) -> None:
        """No rows of migrations are there then."""
        outcome = self.pytest("--no-migrations", "-k", "neither or (Ours and not Ours)", **self.postgresql)
        self.assertEqual(outcome.code, 0, outcome.out)
        self.assertUntouched()

    def test_a_kept_test_database(self) -> None:
        kept = ["test_shop", "test_warehouse"]
        self.addCleanup(self.drop, *kept)
        for _ in range(2):
            outcome = self.pytest("--reuse-db", "-k", "not Flushing", **self.postgresql)
            self.assertRight(outcome, PASSED - 2, kept)
        with psycopg.connect(self.server.url("test_shop").replace("+psycopg", "")) as connection:
            left = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'protean'").fetchall()
            self.assertEqual((left, connection.execute("SELECT * FROM store_order").fetchall()), ([], []))


class NobodyMadeTheDatabaseTests(Developers):
    def setUp(self) -> None:
        super().setUp()
        for name in ("test_store.py", "test_module.py"):
            (self.directory / name).unlink()
        self.write("test_plain.py", PLAIN)

    def test_unittest(self) -> None:
        for variables in ({}, {"IN_FILES": "1"}, self.postgresql):
            with self.subTest(variables):
                outcome = self.unittest("-v", "test_plain", **variables)
                self.assertRefused(outcome, "python manage.py test", "setup_databases(")
                self.assertEqual(outcome.err.count("Django's test database was not made"), 2, outcome.err)

    def test_unittest_with_databases_that_the_suite_makes(self) -> None:
        for variables in ({}, {"IN_FILES": "1"}, self.postgresql):
            with self.subTest(variables):
                self.assertPassed(self.unittest("test_plain", MAKE="1", **variables), 3)
                self.assertUntouched()

    def test_pytest_without_pytest_django(self) -> None:
        for variables in ({}, self.postgresql):
            outcome = self.pytest(plugins=("-p", "protean_testing.runners.pytest"), **variables)
            self.assertRefused(outcome, "pip install pytest-django")

    def test_a_setup_of_their_own_that_makes_nothing(self) -> None:
        self.write("conftest.py", OTHER_SETUP)
        for variables in ({}, self.postgresql):
            self.assertRefused(self.pytest(**variables), "Is that fixture overridden?")

    def test_runners_of_django(self) -> None:
        for runner in ("protean_testing.django.Runner", "django.test.runner.DiscoverRunner"):
            for variables in ({}, {"IN_FILES": "1"}, self.postgresql):
                with self.subTest(runner, **variables):
                    outcome = self.python("manage.py", "test", "--noinput", TEST_RUNNER=runner, **variables)
                    self.assertPassed(outcome, 3)
                    self.assertUntouched()

    def test_an_empty_database_in_memory(self) -> None:
        settings = (self.directory / "settings.py").read_text()
        self.write(
            "settings.py", settings.replace('"shop.db"', '":memory:"').replace('"warehouse.db"', '":memory:"')
        )
        self.assertRefused(self.unittest("test_plain"), "it has no tables")

    def test_the_developers_own_where_that_is_asked_for(self) -> None:
        self.write("test_plain.py", UNSAFE)
        for variables in ({}, self.postgresql):
            self.assertPassed(self.unittest("test_plain", **variables), 2)
            self.assertEqual(str(self.developers()).count("the developer"), 4)
