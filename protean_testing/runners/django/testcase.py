"""Django's conveniences on our reset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS
from django.test import SimpleTestCase
from django.test.testcases import TestData

from ...testcase import DatabaseTestCase
from .store import DjangoStore, django_database


class DjangoTestCase(DatabaseTestCase, SimpleTestCase):  # type: ignore[misc]
    """As ``django.test.TransactionTestCase``: code under test really commits, ``on_commit`` really comes.

    But the reset costs by what was written, rows of migrations stay, and ids begin at 1 again.
    ``self.client``, Django's assertions, ``setUpTestData`` and ``fixtures`` are there as ever.

    Attributes:
        stores: Django's default database, unless the class says otherwise.
        databases: The aliases that tests may use.
    """

    stores = [django_database()]
    databases = {DEFAULT_DB_ALIAS}
    fixtures: ClassVar[Sequence[str]] = ()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for store in cls.stores or ():
            if cls.fixtures and isinstance(store, DjangoStore):
                call_command("loaddata", *cls.fixtures, verbosity=0, database=store.alias)
        before: dict[str, Any] = dict(vars(cls))
        cls.setUpTestData()
        for name, value in list(vars(cls).items()):
            if value is not before.get(name):
                setattr(cls, name, TestData(name, value))  # each test has its own copy

    @classmethod
    def setUpTestData(cls) -> None:
        """Make rows that every test of the class finds."""
