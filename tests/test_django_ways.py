# ruff: noqa: E501 -- lines of the suites that are written here
"""What a Django project has in its settings and test cases holds for a DjangoTestCase."""

from __future__ import annotations

import shutil

import psycopg

from protean_testing.servers.postgresql import start_postgresql

from .suite import ROOT, SuiteTestCase

SETTINGS = """
from bookshop.settings import *
DATABASES = {"default": %r}
"""

TESTS = """
from bookshop.models import Book, add
from django.db import connection, transaction
from protean_testing import CallableStore
from protean_testing.django import DjangoTestCase

cache = {"one": 1}

class BookTests(DjangoTestCase):
    stores = [CallableStore(cache, name="cache")]

    def test_assertions(self):
        with self.assertNumQueries(1):
            Book.objects.create(title="Mine")
        with self.assertRaisesMessage(AssertionError, "1 queries executed, 0 expected"):
            with self.assertNumQueries(0):
                list(Book.objects.all())
        self.assertQuerySetEqual(Book.objects.order_by("id"), ["The first", "Mine"], transform=lambda b: b.title)

    def test_callbacks_that_are_called(self):
        told = []
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            add("Another", then=told.append)
            self.assertEqual(len(told), 1)
        self.assertEqual([len(callbacks), len(told)], [1, 1])
        add("Later", then=told.append)
        self.assertEqual([len(callbacks), len(told)], [1, 2])

    def test_callbacks_that_are_only_captured(self):
        told = []
        with self.captureOnCommitCallbacks() as callbacks:
            add("Another", then=told.append)
        self.assertEqual([len(callbacks), told], [1, []])
        callbacks[0]()
        self.assertEqual(len(told), 1)

    def test_callbacks_inside_of_a_transaction(self):
        for execute in (False, True):
            told = []
            with transaction.atomic():
                with self.captureOnCommitCallbacks(execute=execute) as callbacks:
                    transaction.on_commit(lambda: (told.append(1), transaction.on_commit(lambda: told.append(2))))
                self.assertEqual([len(callbacks), told], [2, [1, 2]] if execute else [1, []])
            self.assertEqual(told, [1, 2] if execute else [])

    def test_nothing_of_what_was_rolled_back(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks, self.assertRaises(KeyError):
            with transaction.atomic():
                transaction.on_commit(lambda: None)
                raise KeyError
        self.assertEqual(callbacks, [])

    def check(self):
        self.assertEqual(Book.objects.create(title="x").id, 2)
        self.assertEqual(cache, {"one": 1})
        cache["two"] = 2
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor, self.db.store("default").engine.connect() as other:
                for setting in ("current_user", "current_setting('work_mem')", "current_database()"):
                    cursor.execute(f"SELECT {setting}")
                    self.assertEqual(other.exec_driver_sql(f"SELECT {setting}").scalar(), cursor.fetchone()[0])
    test_1 = test_2 = check
"""


class DjangoWaysTests(SuiteTestCase):
    def run_with(self, database: dict[str, object]) -> None:
        shutil.copytree(ROOT / "docs" / "project", self.directory, dirs_exist_ok=True)
        self.write("settings.py", SETTINGS % (database,))
        self.write("test_books.py", TESTS)
        self.assertPassed(
            self.python("-m", "django", "test", "--settings", "settings", "test_books"), tests=7
        )

    def test_sqlite(self) -> None:
        engine = "django.db.backends.sqlite3"
        self.run_with({"ENGINE": engine, "NAME": "books.db"})
        options = {"timeout": 3, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA synchronous=OFF"}
        file = {"ENGINE": engine, "NAME": "books.db", "OPTIONS": options, "TEST": {"NAME": "books_ci.db"}}
        self.run_with(file)

    def test_no_database_in_the_settings(self) -> None:
        shutil.copytree(ROOT / "docs" / "project", self.directory, dirs_exist_ok=True)
        self.write("settings.py", SETTINGS % ({},))
        self.write("test_books.py", TESTS)
        program = "import django, unittest; django.setup(); unittest.main('test_books')"
        outcome = self.python("-c", program, DJANGO_SETTINGS_MODULE="settings")
        self.assertFailed(outcome, "ConfigurationError: DATABASES['default'] of the settings has no ENGINE")

    def test_postgresql(self) -> None:
        server = start_postgresql()
        self.addCleanup(server.stop)
        libpq = server.url().replace("+psycopg", "")
        with psycopg.connect(libpq, autocommit=True) as connection:
            connection.execute("CREATE ROLE owner CREATEDB; GRANT owner TO CURRENT_USER")
            host = connection.info.host
        options = {"sslmode": "disable", "assume_role": "owner", "options": "-c work_mem=5MB", "pool": False}
        options |= {"isolation_level": 2, "server_side_binding": True, "passfile": "none"}
        engine = "django.db.backends.postgresql"
        database = {"ENGINE": engine, "NAME": "books", "HOST": host, "USER": "postgres", "OPTIONS": options}
        self.run_with({**database, "TEST": {"NAME": "books_ci"}})
