"""A database of its own for every test, on servers that a module shares, and a backend of it."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import psycopg
from sqlalchemy import Engine, create_engine, make_url

from protean_testing.stores.postgresql import PostgreSQLBackend
from protean_testing.stores.sql.backend import Database

from .oracle.postgresql import VERSIONS, server

_numbers = count(1)


class PostgreSQLTestCase(unittest.TestCase):
    """Attributes: `owner_url` for the application that makes the schema, `engine` on it."""

    version: ClassVar[str] = "18"
    role: ClassVar[str] = "postgres"
    reset: ClassVar[str] = "fast"
    maxDiff = None

    def setUp(self) -> None:
        super().setUp()
        self.server = server(self.version)
        self.name = f"keeper_{next(_numbers)}_test"
        self.server.create_database(self.name)
        with self.superuser() as connection:
            connection.execute(
                f"ALTER DATABASE {self.name} OWNER TO {self.role}; ALTER SCHEMA public OWNER TO {self.role}"
            )
        self.url = self.server.url(self.name, user=self.role)
        self.engine: Engine = create_engine(self.url)
        self.addCleanup(self.server.drop_database, self.name)
        self.addCleanup(self.engine.dispose)

    def superuser(self) -> psycopg.Connection[Any]:
        return self.connect("postgres")

    def connect(self, role: str | None = None, **options: Any) -> psycopg.Connection[Any]:
        """A connection of the code under test, in autocommit mode."""
        url = libpq(self.server.url(self.name, user=role or self.role))
        connection = psycopg.connect(url, autocommit=True, **options)
        self.addCleanup(connection.close)
        return connection

    def backend(
        self, *, schema: str | Callable[[], None] = "", acquire: bool = True, **options: Any
    ) -> PostgreSQLBackend:
        """A backend of the database, and in it the schema that `schema` makes, as if metadata did."""
        make = schema if callable(schema) else lambda: self.run_sql(schema)
        arguments: dict[str, Any] = {"rebuild": make, "wait": 1.0, "reset": self.reset, **options}
        backend = PostgreSQLBackend(
            Database(name="shop", url=make_url(self.url), engine=lambda: self.engine, **arguments)
        )
        self.addCleanup(backend.close)
        if acquire:
            backend.check([("public", "none of this name")])
            backend.acquire()
            make()
            backend.created()
        return backend

    def run_sql(self, *statements: str, role: str | None = None) -> None:
        """Each statement in a transaction of its own."""
        with self.connect(role) as connection:
            for statement in filter(None, statements):
                connection.execute(statement.encode())

    def fails(self, *statements: str) -> None:
        """As `run_sql`, for statements of the code under test that fail."""
        for statement in statements:
            with self.assertRaises(psycopg.Error):
                self.run_sql(statement)

    def rows(self, query: str) -> list[Any]:
        with self.superuser() as connection:
            return connection.execute(query.encode()).fetchall()

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]


def owned_database(test: unittest.TestCase, version: str, role: str, name: str) -> str:
    """The URL of a database of that role's, for suites that run beside; dropped when `test` ends."""
    private = server(version)
    private.create_database(name)
    test.addCleanup(private.drop_database, name)
    with psycopg.connect(libpq(private.url(name)), autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {name} OWNER TO {role}; ALTER SCHEMA public OWNER TO {role}".encode()
        )
    return private.url(name, user=role)


def libpq(url: str) -> str:
    """The URL without SQLAlchemy's driver."""
    return url.replace("+psycopg", "")


CONFIGURATIONS = (
    ("15", "postgres", "fast"),
    ("15", "owner", "generic"),
    ("18", "postgres", "generic"),
    ("18", "granted", "fast"),
    ("18", "owner", "fast"),
)

Mixin = PostgreSQLTestCase if TYPE_CHECKING else object
"""What tests for every configuration inherit from."""

Class = TypeVar("Class", bound=type)


def everywhere(mixin: Class) -> Class:
    """Make a TestCase of `mixin` for each version, role and kind of reset, in the mixin's module."""
    module = sys.modules[mixin.__module__]
    for version, role, reset in CONFIGURATIONS:
        if version in VERSIONS:
            name = f"{mixin.__name__}_{version}_{role}_{reset}"
            settings = {"version": version, "role": role, "reset": reset, "__module__": mixin.__module__}
            setattr(module, name, type(name, (mixin, PostgreSQLTestCase), settings))
    return mixin
