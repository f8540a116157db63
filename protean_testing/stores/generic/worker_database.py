"""A MySQL or MariaDB database of a worker's own, beside a given one. Each worker makes its schema itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ...errors import ConfigurationError
from ...ownership import refuse_other_name
from ...waiting import DEADLINE
from ..driver_errors import translated
from ..sql.backend import Database
from ..sql.definition import Definition
from ..sql.urls import shown, sync_url, with_secrets
from ..sql.worker_database import DERIVED, MARK, Alone
from . import marker_table, mysql, mysql_schema
from .ownership import Ownership

_FOUND = (
    "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata "
    "WHERE schema_name = :name"
)


class WorkerDatabase:
    """The database of one worker.

    A lock that a session of ours holds on the server tells that its worker lives, from whatever machine.

    Parameters:
        given: The URL that was given.
        url: That of the worker's own.
    """

    needs_backend = False  # all of it goes at once

    def __init__(self, given: URL, url: URL) -> None:
        self.given, self._beside, self._name = given, str(given.database), str(url.database)
        self._engine = mysql.own_engine(sync_url(given).set(database="information_schema"))
        self._session: Connection | None = None
        self._is_there = False
        self._store = ""

    def check(self, store: str, *, unsafe: bool) -> None:
        """See Own.check."""
        self._store = store
        if not unsafe:
            refuse_other_name(store, shown(self.given), self._beside)

    def examine(self, database: Database, tables: Collection[tuple[str | None, str]]) -> None:
        """See Own.examine. What a live run has there is its own affair."""
        with suppress(DBAPIError), self._connected() as connection:  # else it is said below
            is_there = mysql.rows(connection, _FOUND, name=self._beside)
            if not is_there or mysql.is_locked(connection, self._beside):
                return
        ownership = Ownership(database)
        try:
            ownership.check(tables)
        finally:
            ownership.session.close()

    def reserve(self, store: str, *, copy: bool = False) -> None:
        """See Own.reserve.

        Raises:
            ConfigurationError: The role may not create it, or it is to be a copy.
            StoreError: It cannot be created.
        """
        self._store = store
        if copy:
            raise ConfigurationError(
                f"store {store!r}: nothing copies a database of MySQL for each worker, so that adopt=True "
                f"works in one process alone. Let the store make the schema, run these tests in one "
                f"process, or adopt a database for each worker that has the worker's name in its own:  "
                f"{self._beside}_gw0"
            )
        if self._is_there:
            return
        with self._translated("create the database of a worker of"), self._connected() as connection:
            _sweep(connection)
            like = "".join(
                f" CHARACTER SET {charset} COLLATE {collation}"
                for charset, collation in mysql.rows(connection, _FOUND, name=self._beside)
            )
            connection.exec_driver_sql(f"CREATE DATABASE {_quoted(connection, self._name)}{like}")
        self._is_there = True

    @contextmanager
    def making(self, definition: Definition, *, adopt: bool, keep: bool, alone: Alone) -> Iterator[None]:
        """See Own.making."""
        self.reserve(self._store, copy=adopt)
        yield

    def share(self, alone: Alone) -> None:
        """See Own.share."""

    def drop(self) -> None:
        """See Own.drop."""
        if self._is_there:
            with self._translated("drop the database of a worker of"), self._connected() as connection:
                _drop(connection, self._name)
            self._is_there = False
        if self._session is not None:
            self._session.close()
            self._session = None

    def _translated(self, what: str) -> AbstractContextManager[None]:
        """Say which store could not do it, without the password."""
        url = with_secrets(self.given)
        return translated(what, self._store, SQLAlchemyError, url, explained=self._explained)

    def _explained(self, error: Exception, text: str) -> Exception | str:
        if not isinstance(error, SQLAlchemyError) or not mysql.is_forbidden(error):
            return text
        beside = self._name.rpartition(MARK)[0].replace("_", r"\_").replace("`", "``")
        with self._connected() as connection:
            user = mysql_schema.user(connection)
        return ConfigurationError(
            f"store {self._store!r}: each worker has a database of its own beside {self._beside!r}, and "
            f"{self._name!r} could not be created: {text}\nAllow it with:  "
            f"GRANT ALL ON `{beside}\\_protean\\_testing\\_%`.* TO {user}"
        )

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The session that holds the lock as long as this worker lives."""
        if self._session is not None and not _answers(self._session):
            self._session.close()  # the server was started anew, and nobody has the lock
            self._session = None
        if self._session is None:
            with mysql.connecting(self._engine, DEADLINE):
                self._session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            mysql.deadlines(self._session.connection.dbapi_connection, DEADLINE)
            self._session.exec_driver_sql("SET SESSION wait_timeout = 2147483")
            mysql.take_lock(self._session, _alive(self._name))
        yield self._session


def _answers(session: Connection) -> bool:
    try:
        session.exec_driver_sql("SELECT 1")
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        return False
    return True


def _sweep(connection: Connection) -> None:
    """Drop what dead workers left: by its name a worker's, locked by nobody, and empty or with our marker."""
    for (name,) in mysql.rows(connection, "SELECT schema_name FROM information_schema.schemata"):
        if not DERIVED.search(name) or mysql.is_locked(connection, name):
            continue
        if not mysql.take_lock(connection, _alive(name)):
            continue
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = :name"
        tables = {table for (table,) in mysql.rows(connection, query, name=name)}
        if not tables or marker_table.NAME in tables:
            with suppress(DBAPIError):  # another role's
                _drop(connection, name)
        mysql.free_lock(connection, _alive(name))


def _drop(connection: Connection, name: str) -> None:
    connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {_quoted(connection, name)}")


def _alive(name: str) -> str:
    """What the lock is on that tells that the worker of a database lives; its backend has one beside it."""
    return f"{name} worker"


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)
