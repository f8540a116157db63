"""One connection of the library's own to a database: every call has an end, a lost one is made again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ...clock import monotonic
from ...errors import OpenTransactionError, StoreError
from ...store import LeftBy
from ...waiting import LONGEST, Patience
from ..driver_errors import lost, said, translated
from ..sql.backend import Database
from ..sql.urls import server_of, with_secrets
from . import idle_locks, mysql

Result = TypeVar("Result")

_READS = re.compile(r"(SELECT(?! NEXTVAL)|SHOW|XA RECOVER|SET(?! STATEMENT))\b")


class OwnConnection:
    """One connection to a database.

    Parameters:
        database: Where it is.
        regain: Called with a connection that replaces a lost one, before it is used.

    Attributes:
        is_mysql: Whether it is MySQL or MariaDB.
        number, first: On these, the server's numbers of this session and of the first one.
        own_writes: How often this session has done something, see `mysql_changes.activity`.
    """

    def __init__(self, database: Database, regain: Callable[[sa.Connection], None]) -> None:
        self.database = database
        self.is_mysql = database.url.get_backend_name() in mysql.NAMES
        self.number = self.first = 0
        self.own_writes: dict[str, int] = {}
        self._patience = Patience(server_of(database.url), database.wait)
        self._regain = regain
        self._open: sa.Connection | None = None
        self._was_open = False
        self._is_separate = False

    def connection(self) -> sa.Connection:
        if self._open is not None and (self._open.invalidated or self._patience.is_gone):
            self.close()  # the first would connect again by itself, and without an end
        if self._open is None:
            connection = self._connected()
            self._open = connection
            if self._patience.is_gone:
                self._patience.answered()
                mysql.deadlines(connection.connection.dbapi_connection, self._patience.seconds)
            if self._was_open:
                self._regain(connection)
            self._was_open = True
        return self._open

    def _connected(self) -> sa.Connection:
        """On MySQL over an engine of our own, unless that reaches another place or none."""
        if self._patience.is_spent:
            raise StoreError(
                f"store {self.database.name!r}: {self.database.shown} did not answer, and is not asked again "
                "yet. Is the server stopped?",
                store=self.database.name,
            )
        given = self._given()
        if not self.is_mysql:
            given.detach()  # the application's pool keeps its size
            with suppress(NotImplementedError, SQLAlchemyError):  # dialects that have no such thing
                if given.get_isolation_level() == "AUTOCOMMIT":
                    _isolate(given, given.default_isolation_level)
            given.rollback()
            return given
        own: sa.Connection | None = None
        with suppress(DBAPIError, TypeError):  # a password that only the application's engine knows
            own = self._connect(mysql.own_engine(self.database.url))
        locations = [mysql.server(one) for one in (given, own) if one is not None]
        for one in (given, own):
            if one is not None:
                one.rollback()
        self._is_separate = own is not None and len(set(locations)) == 1
        if own is not None and self._is_separate:
            given.close()
            connection = own
        else:
            if own is not None:
                own.close()
            given.detach()
            connection = given
            _isolate(connection, "REPEATABLE READ")
        sa.event.listen(connection, "before_cursor_execute", self._see_own_write)
        self.own_writes.clear()
        with connection.begin():
            mysql.settle(connection, self.database.wait)
            idle_locks.ours.discard(self.number)
            ((self.number,),) = mysql.rows(connection, "SELECT CONNECTION_ID()")
            idle_locks.ours.add(self.number)
        self.first = self.first or self.number
        return connection

    def _given(self) -> sa.Connection:
        """One of the store's engine."""
        began = monotonic()
        try:
            given = self._connect(self.database.engine())
        except DBAPIError as error:
            if self._was_silent(began) or not self._was_open:
                raise
            raise self._lost(str(error.orig)) from None
        if not self._was_open or not self.is_mysql:
            return given
        try:
            given.exec_driver_sql("SELECT 1")
        except DBAPIError as error:
            if not error.connection_invalidated or self._was_silent(began):
                raise
            given.close()  # it was in the pool as the server was started anew; now that drops them all
            return self._connect(self.database.engine())
        return given

    def _see_own_write(self, _: sa.Connection, __: object, statement: str, *___: object) -> None:
        """What this session does is not counted as a write of the code under test's."""
        if not _READS.match(statement):
            self.own_writes.clear()

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        """See `Store.free`. On a connection of its own, which is closed again."""
        if not self.is_mysql or not self.first:
            return []
        engine = mysql.own_engine(self.database.url) if self._is_separate else self.database.engine()
        connection = self._connect(engine)
        try:
            connection.detach()
            _isolate(connection, "READ COMMITTED")
            return idle_locks.free(connection, self.first, left_by)
        finally:
            connection.close()

    def _connect(self, engine: sa.Engine) -> sa.Connection:
        seconds = self._patience.seconds
        with mysql.connecting(engine, seconds):
            connection = engine.connect()
        mysql.deadlines(connection.connection.dbapi_connection, seconds)
        return connection

    @contextmanager
    def at_length(self) -> Iterator[None]:
        """Inside, one statement may take as long as a large table needs."""
        raw = self.connection().connection.dbapi_connection
        mysql.deadlines(raw, LONGEST)
        try:
            yield
        finally:
            mysql.deadlines(raw, self._patience.seconds)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        connection = self.connection()
        with connection.begin():
            yield connection

    def run(self, statements: Iterable[str]) -> None:
        for statement in statements:
            with self.transaction() as connection:
                connection.exec_driver_sql(statement)

    def close(self) -> None:
        if self._open is not None:
            idle_locks.ours.discard(self.number)
            if self._patience.is_gone:
                self._open.invalidate()  # else a ROLLBACK is waited for
            self._open.close()
            self._open = None

    def retrying(self, what: str, work: Callable[[], Result]) -> Result:
        """Do `work`, and once more if the connection had been lost."""
        with self.translating(what):
            began = monotonic()
            try:
                return work()
            except DBAPIError as error:
                if not error.connection_invalidated or self._was_silent(began):
                    raise
                self.close()
                return work()

    def _was_silent(self, began: float) -> bool:
        """Whether a call that failed had waited in vain: then it is not tried again, and neither soon."""
        if monotonic() - began < self._patience.seconds * 0.9:
            return False
        self._patience.gone(began)
        self.close()
        return True

    @contextmanager
    def translating(self, what: str) -> Iterator[None]:
        """Say which store could not do it, without the password."""
        url, began = with_secrets(self.database.url), monotonic()
        explained = partial(self._explained, began)
        try:
            with translated(what, self.database.name, SQLAlchemyError, url, explained=explained):
                yield
        except KeyboardInterrupt:
            self._patience.gone(began)
            raise

    def _explained(self, began: float, error: Exception, text: str) -> Exception | str:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            self._was_silent(began)
        if self.is_mysql and isinstance(error, DBAPIError) and mysql.is_without_database(error):
            return self._lost(text)
        if self.is_mysql and isinstance(error, SQLAlchemyError) and mysql.was_locked(error):
            name = self.database.name
            return OpenTransactionError(f"could not reset store {name!r}: {text}", store=name)
        return text

    def _lost(self, why: str) -> StoreError:
        url = with_secrets(self.database.url)
        return lost(self.database.name, self.database.shown, why, url=url)

    def said(self, error: SQLAlchemyError) -> str:
        """The driver's own words, without passwords."""
        return said(error, with_secrets(self.database.url))


def _isolate(connection: sa.Connection, level: str | None) -> None:
    """Leave the application's AUTOCOMMIT: what is written is written whole."""
    raw = connection.connection.dbapi_connection
    if level is not None and raw is not None:
        connection.dialect.set_isolation_level(raw, level)  # type: ignore[arg-type]
