"""What other projects do for every test, by their own code."""

from __future__ import annotations

from typing import Any

from protean_testing.servers.postgresql import PrivatePostgreSQL

from .measuring import Way
from .places import connected, write
from .ways import Ground

APP = "postgresql"
"""What Django calls the package that this file is in, which it takes for an application."""


def django_ways(ground: Ground) -> list[Way]:
    """Django's ``TestCase`` and ``TransactionTestCase`` for models with the same tables.

    Raises:
        ImportError: Django is not installed.
    """
    from django.test import TestCase, TransactionTestCase

    connection = django_on(ground.server, "postgres")
    _make_models(ground.case.tables)

    def way(case: type[TransactionTestCase], name: str) -> Way:
        database, test = ground.copy(name.partition(" ")[2].lower()), case()

        def begin() -> None:
            django_on(ground.server, database)
            case.setUpClass()
            case._pre_setup()

        def reset() -> None:
            test._post_teardown()
            case._pre_setup()
            connection.ensure_connection()

        def end() -> None:
            test._post_teardown()
            case.tearDownClass()

        def session() -> Any:
            connection.ensure_connection()
            return connection.connection

        def work() -> None:
            write(session(), ground.case)

        return Way(name, work, reset, session, lambda: connection.close(), begin=begin, end=end)

    ways = [way(type("Tests", (TestCase,), {}), "Django TestCase")]
    if not ground.case.rows:  # whose flush cannot bring rows of a class back
        ways.append(way(type("Tests", (TransactionTestCase,), {}), "Django TransactionTestCase"))
    return ways


def django_on(server: PrivatePostgreSQL, database: str) -> Any:
    """Django's connection, which is to this database from now on.

    Raises:
        ImportError: Django is not installed.
    """
    import django
    from django.conf import settings
    from django.db import connections

    host = server.url().partition("host=")[2].partition("&")[0]
    place = {"ENGINE": "django.db.backends.postgresql", "HOST": host, "PORT": "5432", "USER": "postgres"}
    if not settings.configured:
        databases = {"default": {**place, "NAME": database}}
        settings.configure(DATABASES=databases, INSTALLED_APPS=[__package__], USE_TZ=True)
        django.setup()
    connection = connections["default"]
    if (connection.settings_dict["NAME"], connection.settings_dict["HOST"]) != (database, host):
        connection.close()
        connection.settings_dict.update(place, NAME=database)
    return connection


def _make_models(tables: int) -> None:
    """Models of an application for the tables there are, and no others."""
    from django.apps import apps
    from django.db import models

    apps.all_models[APP].clear()
    apps.clear_cache()
    keep: dict[str, Any] = {"on_delete": models.CASCADE, "null": True, "related_name": "+"}
    clear_cache, apps.clear_cache = apps.clear_cache, lambda: None  # once is enough
    try:
        for number in range(tables):
            options = type("Meta", (), {"app_label": APP, "db_table": f"t{number}"})
            fields = {
                "note": models.TextField(null=True),
                "one": models.ForeignKey(f"{APP}.T{max(number - 1, 0)}", **keep),
                "other": models.ForeignKey(f"{APP}.T{number // 2}", **keep),
            }
            type(f"T{number}", (models.Model,), {"Meta": options, "__module__": __package__, **fields})
    finally:
        apps.clear_cache = clear_cache
        apps.clear_cache()


def pytest_postgresql_way(ground: Ground) -> Way:
    """pytest-postgresql's janitor, as its fixture ``postgresql`` uses it: a clone of a template.

    Raises:
        ImportError: pytest-postgresql is not installed.
    """
    from pytest_postgresql.janitor import DatabaseJanitor

    host = ground.server.url().partition("host=")[2].partition("&")[0]
    name = "pytest_postgresql_test"
    janitor = DatabaseJanitor(
        user="postgres", host=host, port=5432, dbname=name, template_dbname=ground.template
    )
    janitor.init()
    sessions = [connected(ground.server, name)]

    def reset() -> None:
        sessions.pop().close()
        janitor.drop()
        janitor.init()
        sessions.append(connected(ground.server, name))

    def close() -> None:
        sessions.pop().close()
        janitor.drop()

    return Way("pytest-postgresql", lambda: ground.write(sessions[0]), reset, lambda: sessions[0], close)
