"""The store of a Django database: its schema and rows are those of Django's migrations."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Hashable
from dataclasses import replace
from functools import cache
from pathlib import PurePath
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.backends.base.creation import TEST_DATABASE_PREFIX
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.pool import NullPool, StaticPool

from ..errors import ConfigurationError, OpenTransactionError
from ..ownership.names import is_test_name, refusal
from ..store import Snapshot
from ..stores.sql.backend import Database
from ..stores.sql.handle import DatabaseHandle
from ..stores.sql.store import SQLAlchemyStore

DRIVERS = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite", "mysql": "mysql+mysqldb"}

_OF_URLS = {
    "sqlite": {"timeout"},
    "mysql": {"charset", "collation", "read_default_file", "read_default_group", "unix_socket"},
}
"""Which ``OPTIONS`` tell a driver where and how to connect; of PostgreSQL they are libpq's."""

declared_aliases: set[str] = set()
"""The alias of every store that was made in this process: a runner must make their test databases."""


class DjangoStore(SQLAlchemyStore):
    """One of Django's test databases, as its runner made it: adopted, and never dropped by the library.

    Parameters:
        alias: Its name in ``DATABASES``; of a mirror the database is meant that it mirrors.
        options: As for `SQLAlchemyStore`: ``reset_after``, ``wait``, ``on_leak``, ``reset``, ``unsafe``.

    Raises:
        UnsafeStoreError: On use, Django's test database was not made, so this is the developer's.
    """

    def __init__(self, alias: str = DEFAULT_DB_ALIAS, **options: Any) -> None:
        super().__init__(adopt=True, engine=_Engine.of(alias), name=options.pop("name", alias), **options)
        self.alias = alias
        declared_aliases.add(alias)

    def location(self) -> Hashable:
        plugin = _pytest_django()
        if plugin is not None:
            plugin.make_databases()
        self.alias = primary(self.alias)
        self._engine = _Engine.of(self.alias)
        if not self.unsafe:
            self._refuse_developers()
        if not self._live().acquired:  # here it is refused for this time only, and not for the run
            self._refuse_atomic()
        return super().location()

    def _database(self, handle: DatabaseHandle) -> Database:
        """Django made it for tests, also where ``TEST: {"NAME": ...}`` has no word of that."""
        database = super()._database(handle)
        return database if is_test_name(str(handle.url.database)) else replace(database, unsafe=True)

    def create_schema(self) -> None:
        _reset_sequences(connections[self.alias])
        super().create_schema()

    def drop_schema(self) -> None:
        if not self._is_gone():
            super().drop_schema()

    def _is_gone(self) -> bool:
        """Whether Django has destroyed its test database; the connection leads to the developer's again."""
        connection, url = connections[self.alias], self._live().url
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            return False
        return _url(connection) != url

    def _refuse_developers(self) -> None:
        """Refuse a database that Django did not make for tests.

        Raises:
            UnsafeStoreError: It is the one of the settings.
            ConfigurationError: The settings name none.
        """
        connection = connections[self.alias]
        if connection.vendor == "unknown":  # Django's dummy: the settings have no ENGINE
            raise ConfigurationError(
                f"DATABASES[{self.alias!r}] of the settings has no ENGINE, so there is no database. If the "
                "settings take it from the environment, set the variable, such as DATABASE_URL."
            )
        name = str(connection.settings_dict["NAME"])
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            if not _models(connection) or connection.introspection.table_names():
                return
            why = "it has no tables."
        elif _is_made(name, connection.settings_dict["TEST"]["NAME"]):
            return
        else:
            why = f"{name!r} is the database of the settings, where the developer's data is."
        raise refusal(
            self.name,
            f"DATABASES[{self.alias!r}]",
            f"Django's test database was not made: {why}",
            _how_to_make(self.alias),
        )

    def save_data(self) -> Snapshot:
        self._refuse_atomic()
        return super().save_data()

    def _refuse_atomic(self) -> None:
        if connections[self.alias].in_atomic_block:
            raise OpenTransactionError(
                f"a scope cannot begin on store {self.name!r}: Django's connection is inside of atomic(), "
                "as it always is in django.test.TestCase, under pytest.mark.django_db, and with "
                "pytest-django's fixture db, which admin_client and others ask for.\n"
                "Use protean_testing.django.DjangoTestCase, in which code may commit; or leave out "
                "the mark, or that fixture.",
                store=self.name,
            )

    def reset_data(self, snapshot: Snapshot) -> bool:
        try:
            changed = super().reset_data(snapshot)
        finally:
            _end_transaction(connections[self.alias])
        if changed and apps.is_installed("django.contrib.contenttypes"):
            from django.contrib.contenttypes.models import ContentType

            ContentType.objects.clear_cache()
        return changed


def django_database(alias: str = DEFAULT_DB_ALIAS, **options: Any) -> DjangoStore:
    """A store on Django's own database: ``stores = [django_database(), RedisStore()]``.

    Parameters:
        alias: Its name in ``DATABASES``.
        options: As for `SQLAlchemyStore`: ``reset_after``, ``wait``, ``on_leak``, ``reset``, ``unsafe``.
    """
    return DjangoStore(alias, **options)


def primary(alias: str) -> str:
    """The alias of the database that `alias` mirrors in tests, else `alias`."""
    known = connections.settings.get(alias)
    if known is None:
        raise ConfigurationError(
            f"Django has no database {alias!r}: DATABASES has {', '.join(map(repr, connections.settings))}."
        )
    return known["TEST"]["MIRROR"] or alias


def _pytest_django() -> Any:
    """What lets pytest-django make the test databases; None under every other runner."""
    return getattr(sys.modules.get("protean_testing.runners.pytest_django"), "plugin", None)


def _is_made(name: str, test_name: object) -> bool:
    """Whether a database's name is the one that Django gives to a test database, or to a worker's clone."""
    stem = PurePath(name).stem
    if test_name:
        return re.fullmatch(re.escape(PurePath(str(test_name)).stem) + r"(_\d+)?", stem) is not None
    return stem.startswith(TEST_DATABASE_PREFIX)


def _how_to_make(alias: str) -> str:
    if _pytest_django() is not None:
        how = (
            "pytest-django's fixture django_db_setup did not make it. Is that fixture overridden? Or is the "
            f"store made in the test itself? Make it at the top of the module:  django_database({alias!r})"
        )
    elif "_pytest" in sys.modules:
        how = "Let pytest-django make it:  pip install pytest-django"
    else:
        how = (
            "Run the tests with Django's runner:  python manage.py test\n"
            "or make it before:  made = django.test.utils.setup_databases(verbosity=0, interactive=False)\n"
            "                    atexit.register(django.test.utils.teardown_databases, made, verbosity=0)"
        )
    return f"{how}\nOr pass django_database({alias!r}, unsafe=True) if losing this data is fine."


class _Engine:
    """Gives an engine on one of Django's databases, anew where Django has moved it since."""

    of: Any

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._made: tuple[Any, Engine] | None = None

    def __call__(self) -> Engine:
        connection = connections[self._alias]
        if connection.vendor not in DRIVERS:
            raise ConfigurationError(
                f"Django's database {self._alias!r} is {connection.display_name}: "
                f"only {', '.join(DRIVERS)} can be given back."
            )
        url = _url(connection)
        in_memory = connection.vendor == "sqlite" and connection.is_in_memory_db()
        if in_memory:
            connection.ensure_connection()
        key = connection.connection if in_memory else url
        if self._made is None or (self._made[0] is not key and self._made[0] != key):
            self._made = key, _on_memory(connection.connection) if in_memory else _engine(url)
        return self._made[1]


_Engine.of = cache(_Engine)  # equal ones for one alias, since they stand for one place


def _engine(url: URL) -> Engine:
    return create_engine(url, poolclass=NullPool)  # nothing stays open when Django drops the database


def _on_memory(connection: Any) -> Engine:
    """An engine on Django's own connection: nobody else is sure to reach that memory."""
    from django.db.backends.sqlite3._functions import register

    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    engine.connect().close()
    register(connection)  # SQLAlchemy has put its own REGEXP there
    return engine


def _url(connection: Any) -> URL:
    """Where Django's connection leads, with what its ``OPTIONS`` tell the driver of that."""
    settings, query = connection.settings_dict, _query(connection)
    if connection.vendor == "sqlite":
        return URL.create("sqlite", database=str(settings["NAME"]), query=query)
    host = settings["HOST"]
    if connection.vendor == "mysql" and host.startswith("/"):
        host, query["unix_socket"] = "", host
    return URL.create(
        DRIVERS[connection.vendor],
        username=settings["USER"] or None,
        password=settings["PASSWORD"] or None,
        host=host or None,
        port=int(settings["PORT"]) if settings["PORT"] else None,
        database=settings["NAME"],
        query=query,
    )


def _query(connection: Any) -> dict[str, str]:
    options = connection.settings_dict["OPTIONS"]
    known = _OF_URLS.get(connection.vendor) or _of_libpq()
    query = {name: str(value) for name, value in options.items() if name in known}
    if "assume_role" in options:  # Django's own: SET ROLE, when it has connected
        role = re.sub(r"([\\ ])", r"\\\1", options["assume_role"])
        query["options"] = f"{query.get('options', '')} -c role={role}".strip()
    return query


def _of_libpq() -> Collection[str]:
    from psycopg.pq import Conninfo

    return {option.keyword.decode() for option in Conninfo.get_defaults()}


def _reset_sequences(connection: Any) -> None:
    """Undo what rolled back inserts of Django's own test cases have left, which have run before."""
    statements = connection.ops.sequence_reset_sql(no_style(), _models(connection))
    if connection.vendor == "mysql":  # Django has none for it; a counter that is too low becomes the next one
        tables = (connection.ops.quote_name(model._meta.db_table) for model in _models(connection))
        statements = [f"ALTER TABLE {table} AUTO_INCREMENT = 1" for table in tables]
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _models(connection: Any) -> list[Any]:
    """The models whose tables Django makes in this database."""
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and router.allow_migrate_model(connection.alias, model)
    ]


def _end_transaction(connection: Any) -> None:
    """After a reset Django's connection begins anew, if a test left a transaction open on it."""
    if not connection.in_atomic_block and connection.get_autocommit():
        return
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        connection.connection.rollback()
        connection.in_atomic_block = connection.needs_rollback = connection.closed_in_transaction = False
        connection.savepoint_ids, connection.atomic_blocks, connection.run_on_commit = [], [], []
        connection.autocommit = True
        return
    connection.in_atomic_block = False
    connection.close()
