"""One connection of the library's own, and what is done over it: look, copy, write, drop, make again."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from time import monotonic
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ...errors import OpenTransactionError, StoreError
from ...ownership.marker import RUN
from ...store import LeftBy
from ...waiting import LONGEST, Patience
from ..driver_errors import said, translated
from ..sql.backend import Database
from ..sql.urls import server_of, with_secrets
from . import idle_locks, marker_table, mysql, rows, schema
from .rows import Bag, Copy, Key, Table
from .schema import Thing, shown
from .transactions import Transactions

Result = TypeVar("Result")

TRIES = 3

_numbers = itertools.count(1)


class Session:
    """Works in one database, over a connection that is made again if it was lost.

    Parameters:
        database: Where it is.
        regain: Called with a connection that replaces a lost one, before it is used.

    Attributes:
        tables: Those that are there but the library's own, as they were seen last.
        definitions: Of everything that is there, as they were seen last.
        ended: The transactions of others that were in the way, in words.
        runs: Those whose tables are the library's own.
        more_schemas: In which an earlier run has made tables.
        activity: See `mysql.activity`; None if it is not known.
        is_blind: Our user may not see transactions.
    """

    def __init__(self, database: Database, regain: Callable[[sa.Connection], None]) -> None:
        self.database = database
        self.is_mysql = database.url.get_backend_name() in mysql.NAMES
        self.tables: list[Table] = []
        self.definitions: dict[Thing, str] = {}
        self.ended: list[str] = []
        self.runs = {RUN}
        self.more_schemas: set[str] = set()
        self._patience = Patience(server_of(database.url), database.wait)
        self._regain = regain
        self._open: sa.Connection | None = None
        self._was_open = False
        self._ddl: object = None
        self.activity: dict[str, int] | None = None
        self.is_blind = False
        self._is_separate = False
        self._transactions = Transactions()
        self._number = self._first = 0

    # The connection

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
        began = monotonic()
        try:
            given = self._connect(self.database.engine())
        except DBAPIError:
            self._was_silent(began)
            raise
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
        with connection.begin():
            mysql.settle(connection, self.database.wait)
            idle_locks.ours.discard(self._number)
            ((self._number,),) = mysql.rows(connection, "SELECT CONNECTION_ID()")
            idle_locks.ours.add(self._number)
        self._first = self._first or self._number
        return connection

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        """See `Store.free`. On a connection of its own, which is closed again."""
        if not self.is_mysql or not self._first:
            return []
        engine = mysql.own_engine(self.database.url) if self._is_separate else self.database.engine()
        connection = self._connect(engine)
        try:
            connection.detach()
            _isolate(connection, "READ COMMITTED")
            return idle_locks.free(connection, self._first, left_by)
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
            idle_locks.ours.discard(self._number)
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
        if self.is_mysql and isinstance(error, SQLAlchemyError) and mysql.was_locked(error):
            name = self.database.name
            return OpenTransactionError(f"could not reset store {name!r}: {text}", store=name)
        return text

    def said(self, error: SQLAlchemyError) -> str:
        """The driver's own words, without passwords."""
        return said(error, with_secrets(self.database.url))

    def make_way(self, *, end: bool = True, readers: bool = False) -> None:
        """Wait until no other session is in a transaction, or end it; see `Transactions.make_way`."""
        if not self.is_mysql or self.is_blind:
            return
        try:
            with self.transaction() as connection:
                keys = [table.key for table in self.tables]
                self.ended += self._transactions.make_way(
                    connection, self.database.wait, keys, end=end, readers=readers
                )
        except DBAPIError as error:
            if not mysql.was_denied(error):
                raise
            self.is_blind = True
            warnings.warn(
                f"the user of store {self.database.name!r} may not see transactions: one that a test leaves "
                "open is met only where it holds a lock that a reset needs. Allow it with: GRANT PROCESS ON "
                "*.* TO the user of the URL",
                stacklevel=2,
            )

    def prepared(self) -> frozenset[idle_locks.Prepared]:
        """The transactions that were prepared and not ended, of the whole server."""
        if not self.is_mysql:
            return frozenset()
        with self.transaction() as connection:
            return idle_locks.prepared(connection)

    def end_holders(self, since: float, before: frozenset[idle_locks.Prepared]) -> None:
        """End what has locked tables, and sleeps since a moment after `since`, or was prepared since."""
        if not self.is_mysql:
            return
        keys = [table.key for table in self.tables]
        with self.transaction() as connection:
            self.ended += idle_locks.end_holders(connection, keys, self._first, since, self.database.wait)
            self.ended += idle_locks.end_prepared(connection, keys, before)

    # The schema

    @property
    def schemas(self) -> list[str | None]:
        return sorted({None, *(of for of, _ in self.database.tables), *self.more_schemas}, key=str)

    def see_activity(self) -> None:
        """Ask the server how much was written, if it counts that.

        Called before `make_way`, behind which all that was counted is committed or rolled back. What is
        written later could be committed after the rows were compared, and would not be counted again.
        """
        if self.is_mysql:
            with self.transaction() as connection:
                self.activity = mysql.activity(connection)

    def see_schema(self, *, afresh: bool = False) -> None:
        """Look at the schema, if it may be another than at the last look."""
        if self.is_mysql:
            if self.activity is None or afresh:
                self.see_activity()
            count = mysql.of_schemas(self.activity or {})
            if count == self._ddl and not afresh:
                return
            self._ddl = count
        definitions = self.look()
        if definitions != self.definitions or afresh:
            self.definitions = definitions
            of_ours = {(None, name) for name in self.own_tables(rescued=True)}
            read = mysql.tables if self.is_mysql else rows.reflected
            with self.transaction() as connection:
                self.tables = read(connection, self.schemas, of_ours)

    def forget_schema(self) -> None:
        """Look again the next time, whatever says that nothing has changed."""
        self._ddl = None

    def look(self) -> dict[Thing, str]:
        """The definition of everything that is there but the library's own."""
        read = mysql.definitions if self.is_mysql else schema.definitions
        with self.transaction() as connection:
            found = read(connection, self.schemas)
        return {
            thing: definition
            for thing, definition in found.items()
            if thing[1] or not self._is_own(thing[2], rescued=True)
        }

    def own_tables(self, *, rescued: bool = False) -> list[str]:
        """Those of the library, of the runs that are known here; also those with `rescued` rows."""
        with self.transaction() as connection:
            names = sa.inspect(connection).get_table_names()
        return [name for name in names if self._is_own(name, rescued=rescued)]

    def _is_own(self, name: str, *, rescued: bool) -> bool:
        if rescued and name.startswith(marker_table.RESCUED):
            return True
        return name == marker_table.NAME or any(
            name.startswith(marker_table.prefix(run)) for run in self.runs
        )

    def drop(self, doomed: Iterable[Thing]) -> None:
        things = set(doomed)
        if not things:
            return
        preparer = self.connection().dialect.identifier_preparer
        others = sorted((thing for thing in things if thing[0] != "TABLE"), key=str)
        for kind, of, name in sorted(others, key=lambda thing: thing[0] == "SEQUENCE"):
            where = f"{preparer.quote_schema(of)}." if of else ""
            self.run([f"DROP {kind} {where}{preparer.quote_identifier(name)}"])
        tables = {(of, name) for kind, of, name in things if kind == "TABLE"}
        with self.transaction() as connection:
            rows.drop(connection, self.schemas, tables)
        self.forget_schema()

    def make_again(self, wanted: Mapping[Thing, str], *, only_missing: bool = False) -> None:
        """On MySQL: make what is missing or another one by its definition. Tables are empty then.

        Parameters:
            only_missing: What is another one stays that.

        Raises:
            StoreError: Something cannot be made.
        """
        now = self.look()
        if not only_missing:
            self.drop(
                thing for thing, definition in wanted.items() if now.get(thing, definition) != definition
            )
            now = self.look()
        missing = {thing: definition for thing, definition in wanted.items() if thing not in now}
        tables = {
            (thing[1], _table_of(definition))
            for thing, definition in missing.items()
            if thing[0] == "TRIGGER"
        }
        again = {  # triggers of one table act in the order in which they were made
            thing: definition
            for thing, definition in wanted.items()
            if thing in missing
            or (
                thing[0] == "TRIGGER"
                and now[thing] == definition
                and (thing[1], _table_of(definition)) in tables
            )
        }
        self.drop(again.keys() - missing.keys())
        blind = [thing for thing, definition in again.items() if json.loads(definition)["statement"] is None]
        if blind:
            raise StoreError(
                f"{', '.join(map(shown, blind))} in store {self.database.name!r} cannot be made again: the "
                "user of the URL may not see how it is defined.",
                store=self.database.name,
            )
        with self.transaction() as connection:
            mysql.make(connection, again)
        self.see_schema(afresh=True)

    # The rows

    def bags(self, tables: Collection[Table]) -> dict[Key, Bag]:
        with self.at_length(), self.transaction() as connection:
            return rows.bags(connection, list(tables))

    def copied(self, known: Collection[Copy]) -> dict[Key, Copy]:
        """Copies of all tables that are not empty: known ones where these are the same, else new ones."""
        found: dict[Key, Copy] = {}
        bags = self.bags(self.tables)
        for table in self.tables:
            if (bag := bags.get(table.key)) is None:
                continue
            definition = self.definitions["TABLE", *table.key]
            same = [one for one in known if one.key == table.key and one.definition == definition]
            copy = next((one for one in same if one.bag == bag), None)
            if copy is None:
                with self.at_length(), self.transaction() as connection:
                    name = f"{marker_table.prefix(RUN)}{next(_numbers)}"
                    copy = rows.copy(connection, table, name, definition)
            found[table.key] = copy
        return found

    def counters(self) -> dict[str, int]:
        if not self.is_mysql:
            return {}
        with self.transaction() as connection:
            return mysql.counters(connection, self.schemas, self.definitions)

    def restore(
        self, tables: Collection[Table], wanted: Mapping[Key, Copy], counters: Mapping[str, int]
    ) -> bool:
        """Restore the rows of these tables, and the counters. Whatever was different is compared again.

        Returns:
            Whether something was different.

        Raises:
            StoreError: It did not become the same.
        """
        changed = False
        for _ in range(TRIES):  # triggers that cannot be switched off may write elsewhere
            wrong, moved = self._wrong(tables, wanted), self._moved(counters)
            if not wrong and not moved:
                return changed
            changed = True
            self.make_way(readers=bool(moved))
            self._write(tables, wrong, wanted)
            if self.is_mysql:  # neither triggers nor cascades act meanwhile
                tables = [table for table in tables if table.key in wrong]
            self.run(f"{statement} {value}" for statement, value in self._moved(counters).items())
        if wrong := self._wrong(tables, wanted):
            what = ", ".join(
                f"{name!r} (in table {wanted[key].name})" if key in wanted else repr(name)
                for key in sorted(wrong, key=str)
                for name in [key[1]]
            )
            raise StoreError(
                f"store {self.database.name!r} could not be reset: the rows of {what} are not as "
                "they were. Does a trigger change them?",
                store=self.database.name,
            )
        return changed

    def _wrong(self, tables: Collection[Table], wanted: Mapping[Key, Copy]) -> set[Key]:
        now = self.bags(tables)
        nothing: Bag = Bag()
        return {
            table.key
            for table in tables
            if now.get(table.key, nothing) != (wanted[table.key].bag if table.key in wanted else nothing)
        }

    def _moved(self, counters: Mapping[str, int]) -> dict[str, int]:
        now = self.counters()
        return {key: value for key, value in counters.items() if now.get(key, value) != value}

    def _write(self, of: Collection[Table], wrong: set[Key], wanted: Mapping[Key, Copy]) -> None:
        if not wrong:
            return
        chosen = wrong if self.is_mysql else rows.with_children(self.tables, wrong)
        if other := sorted((key for key in chosen if key not in {table.key for table in of}), key=str):
            raise StoreError(
                f"the rows of {', '.join(name for _, name in wrong)} in store {self.database.name!r} cannot "
                f"be restored: {', '.join(name for _, name in other)} refers to them, and is not known.",
                store=self.database.name,
            )
        tables = [table for table in self.tables if table.key in chosen]
        names = {key: copy.name for key, copy in wanted.items()}
        with self.at_length(), self.transaction() as connection:
            with (
                mysql.without_triggers(connection, chosen, self.definitions)
                if self.is_mysql
                else nullcontext()
            ):
                rows.write(connection, tables, names)


def _isolate(connection: sa.Connection, level: str | None) -> None:
    """Leave the application's AUTOCOMMIT: what is written is written whole."""
    raw = connection.connection.dbapi_connection
    if level is not None and raw is not None:
        connection.dialect.set_isolation_level(raw, level)  # type: ignore[arg-type]


def _table_of(definition: str) -> object:
    return json.loads(definition).get("table")
