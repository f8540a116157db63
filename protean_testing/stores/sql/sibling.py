"""A database of this run's own beside a given one, for a store with ``empty=True``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ...errors import ConfigurationError
from ...ownership import refusal, refuse_other_name
from ...waiting import DEADLINE
from ..generic import mysql


class Sibling:
    """A database beside a given one, which is there from `create` to `drop`.

    Parameters:
        given: The URL that was given.
        beside: The same with the other name.
    """

    def __init__(self, given: URL, beside: URL) -> None:
        self._given, self._beside = given, beside
        self._engine = create_engine(given, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        self._name = self._engine.dialect.identifier_preparer.quote_identifier(str(beside.database))
        self._is_ours = False

    def check(self, store: str, *, unsafe: bool) -> bool:
        """Refuse, before anything is created. Returns whether it is there: an earlier run was killed.

        Raises:
            UnsafeStoreError: The given database is none for tests by its name, or the other one not ours.
        """
        if not unsafe:
            refuse_other_name(store, self._given.render_as_string(), str(self._given.database))
        there = create_engine(self._beside, poolclass=NullPool)
        try:
            with _connected(there) as connection:
                is_known = self._is_ours or unsafe or inspect(connection).has_table("protean_testing")
        except DBAPIError:
            return False
        if not is_known:
            raise refusal(
                store,
                self._beside.render_as_string(),
                "a store with empty=True has a database of its own there, and no run of these tests made it.",
                "Drop it if nobody needs it, or give that store its own url=.",
            )
        return True

    def is_missing(self) -> bool:
        """Whether the server answers, and has no such database."""
        try:
            with _connected(self._engine) as connection:
                return str(self._beside.database) not in inspect(connection).get_schema_names()
        except DBAPIError:
            return False

    def create(self, store: str) -> None:
        """Create it, unless an earlier run has left it.

        Raises:
            ConfigurationError: The role may not create databases.
        """
        if self.check(store, unsafe=True):
            self._is_ours = True
            return
        try:
            with _connected(self._engine) as connection:
                connection.execute(text(f"CREATE DATABASE {self._name}"))
        except DBAPIError as error:
            raise ConfigurationError(
                f"store {store!r}: its database {self._name} is not there, and could not be created: "
                f"{type(error.orig).__name__}.\n"
                "Let the role create databases, or give that store its own url=."
            ) from None
        self._is_ours = True

    def drop(self) -> None:
        """Drop it. Harmless if this run has not created it."""
        if self._is_ours:
            with _connected(self._engine) as connection:
                connection.execute(text(f"DROP DATABASE IF EXISTS {self._name}"))
            self._is_ours = False


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """Connect; each call has an end, if the driver knows such a thing."""
    with mysql.connecting(engine, DEADLINE):
        connection = engine.connect()
    with connection:
        mysql.deadlines(connection.connection.dbapi_connection, DEADLINE)
        yield connection
