"""The keeper for databases without one of their own: through SQLAlchemy alone, correct rather than fast."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ...errors import ConfigurationError, OpenTransactionError, StoreError
from ...leaks import tell_of_leak
from ...store import LeftBy
from ...waiting import Patience
from ..driver_errors import said, translated
from ..keeper import Database
from ..urls import server_of, with_secrets
from . import mysql, ownership, rows, schema, transactions
from .rows import Key, Rows, Table
from .schema import Thing, named

Result = TypeVar("Result")

TRIES = 3


@dataclass(eq=False)
class Mark:
    """What `save` returns: copies, so that each mark stands by itself.

    Attributes:
        rows: Of the tables that were not empty.
        counters: See `mysql.counters`.
        looks: The schema, by its definitions.
    """

    rows: dict[Key, Rows]
    counters: dict[str, int]
    looks: dict[Thing, str]


class GenericKeeper:
    """Keeps the data of any SQL database on a connection of its own, by looking at every table.

    Parameters:
        database: Where it is, and what may be done to it.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._open: sa.Connection | None = None
        self._patience = Patience(server_of(database.url), database.wait)
        self._is_mysql = database.url.get_backend_name() in mysql.NAMES
        self._earlier: frozenset[str] = frozenset()
        self._claimed = False
        self._marks: list[Mark] = []
        self._tables: list[Table] = []
        self._looks: dict[Thing, str] = {}
        self._created: dict[Thing, str] = {}
        self._ddl: object = None
        self._is_blind = False

    # Whose it is

    def check(self, tables: Collection[Key]) -> None:
        try:
            self._connection()
        except DBAPIError as error:
            raise ConfigurationError(
                f"store {self.database.name!r} cannot be reached: "
                f"{said(error, with_secrets(self.database.url))}"
            ) from None
        with self._told("check"), self._transaction() as connection:
            if not self._claimed:
                ownership.refuse(connection, self.database, tables)

    def claim(self) -> None:
        with self._told("claim"):
            self._take_lock(self._connection())
            with self._transaction() as connection:
                marker = ownership.read(connection)
            if marker is not None:
                self._make_way(readers=True)
                if not marker.adopted:
                    self._drop_all_but(marker.earlier)
                with self._transaction() as connection:
                    ownership.erase(connection)
            if not self.database.adopt:
                self._drop(thing for thing in self._look() if thing[1:] in self.database.tables)
            self._earlier = frozenset(map(named, self._look()))
            with self._transaction() as connection:
                ownership.write(connection, self._earlier, self.database.adopt)
            self._claimed = True

    def _take_lock(self, connection: sa.Connection) -> None:
        with connection.begin():
            if self._is_mysql and not mysql.take_lock(connection, self.database.url.database or ""):
                raise self.database.refusal(
                    "another run has just begun to use it.", "Give each a database of its own."
                )

    def drop(self) -> None:
        if not self._claimed:
            return
        with self._told("drop"):
            self._make_way(readers=True)
            if not self.database.adopt:
                self._drop_all_but(self._earlier)
            with self._transaction() as connection:
                ownership.erase(connection)
            self._claimed = False

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody copies it behind its back."""
        yield

    def keep(self) -> bool:
        """See Keeper.keep."""
        return False

    def rest(self) -> None:
        """See Keeper.rest. The lock of a live run hangs on the connection."""

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        """See Keeper.free."""
        return []

    def close(self) -> None:
        if self._open is not None:
            if self._patience.is_gone:
                self._open.invalidate()  # else a ROLLBACK is waited for
            self._open.close()
            self._open = None

    # The data

    def created(self) -> None:
        with self._told("look at"):
            known = {table.key for table in self._tables}
            self._see_schema()
            self._created = self._looks
            if not self._marks:
                return
            counters = self._counters()
            with self._transaction() as connection:
                now = rows.read(connection, [table for table in self._tables if table.key not in known])
            for mark in self._marks:
                mark.rows |= now
                mark.counters = counters | mark.counters
                mark.looks = self._looks

    def save(self) -> Mark:
        return self._again("save", self._save)

    def _save(self) -> Mark:
        try:
            self._make_way(end=False)
        except OpenTransactionError as error:
            raise OpenTransactionError(
                f"a scope cannot begin on store {self.database.name!r}: a transaction that writes is open.\n"
                f"{error}\nCommit or close it before the scope begins, e.g.  session.commit()",
                store=self.database.name,
            ) from None
        self._see_schema()
        with self._transaction() as connection:
            held = rows.read(connection, self._tables)
        self._marks.append(Mark(held, self._counters(), self._looks))
        return self._marks[-1]

    def reset(self, mark: Mark) -> bool:
        changed, ended = self._again("reset", lambda: self._reset(mark))
        self._end_after(mark)
        if ended:
            self._tell_of_leak(ended)
        return changed

    def _reset(self, mark: Mark) -> tuple[bool, list[str]]:
        ended = self._make_way()
        changed = self._mend_schema(mark, ended)
        for _ in range(TRIES):  # triggers that cannot be switched off may write elsewhere
            wrong, moved = self._wrong(mark), self._moved(mark)
            if not wrong and not moved:
                return changed, ended
            changed = True
            ended += self._make_way(readers=bool(moved))
            self._write(wrong, mark)
            self._run(f"{statement} {value}" for statement, value in self._moved(mark).items())
        if wrong := self._wrong(mark):
            what = ", ".join(repr(table) for _, table in wrong)
            raise StoreError(
                f"store {self.database.name!r} could not be reset: the rows of {what} did not come back as "
                "they were. Does a trigger change them?",
                store=self.database.name,
            )
        return changed, ended

    def mend(self, mark: Mark) -> bool:
        self._ddl = None
        return self.reset(mark)

    def look_at_all(self) -> dict[str, Counter[Any]]:
        with self._told("look at"):
            self._ddl = None
            self._see_schema()
            with self._transaction() as connection:
                held = rows.read(connection, self._tables)
            tables = {
                f"table {table.key[1]}": Counter(map(repr, held.get(table.key, []))) for table in self._tables
            }
            counters = {f"counter {name}": Counter([value]) for name, value in self._counters().items()}
            return (
                tables
                | counters
                | {f"definition of {named(thing)}": Counter([looks]) for thing, looks in self._looks.items()}
            )

    def forget(self, mark: Mark) -> None:
        self._end_after(mark)
        self._marks = [one for one in self._marks if one is not mark]

    def _end_after(self, mark: Mark) -> None:
        if mark in self._marks:
            del self._marks[self._marks.index(mark) + 1 :]

    def _wrong(self, mark: Mark) -> dict[Key, Rows]:
        with self._transaction() as connection:
            now = rows.read(connection, self._tables)
        return rows.different(self._tables, mark.rows, now)

    def _write(self, wrong: dict[Key, Rows], mark: Mark) -> None:
        chosen = set(wrong) if self._is_mysql else rows.with_children(self._tables, wrong)
        tables = [table for table in self._tables if table.key in chosen]
        with self._transaction() as connection:
            with mysql.without_triggers(connection, chosen) if self._is_mysql else nullcontext():
                rows.write(connection, tables, mark.rows)

    def _counters(self) -> dict[str, int]:
        if not self._is_mysql:
            return {}
        with self._transaction() as connection:
            return mysql.counters(connection, self._schemas, self._looks)

    def _moved(self, mark: Mark) -> dict[str, int]:
        now = self._counters()
        return {key: value for key, value in mark.counters.items() if now.get(key, value) != value}

    # The schema

    @property
    def _schemas(self) -> list[str | None]:
        return sorted({None, *(of for of, _ in self.database.tables)}, key=str)

    def _look(self) -> dict[Thing, str]:
        """The definition of everything that is there."""
        looks = mysql.looks if self._is_mysql else schema.looks
        with self._transaction() as connection:
            found = looks(connection, self._schemas)
        return {thing: definition for thing, definition in found.items() if thing[2] != ownership.MARKER.name}

    def _see_schema(self) -> None:
        """Look at the schema, where it may be another than at the last look."""
        if self._is_mysql:
            with self._transaction() as connection:
                count = mysql.ddl_count(connection)
            if count == self._ddl:
                return
            self._ddl = count
        looks = self._look()
        if looks != self._looks:
            self._looks = looks
            with self._transaction() as connection:
                self._tables = rows.reflected(connection, self._schemas, ownership.MARKER.name)

    def _mend_schema(self, mark: Mark, ended: list[str]) -> bool:
        """Drop what was made since `mark`, and make again what was altered or dropped."""
        self._see_schema()
        if self._looks == mark.looks:
            return False
        ended += self._make_way(readers=True)
        self._drop(self._looks.keys() - mark.looks.keys())
        self._see_schema()
        if self._looks != mark.looks:
            wrong = [thing for thing, looks in mark.looks.items() if self._looks.get(thing) != looks]
            self._rebuild(mark, wrong)
        return True

    def _rebuild(self, mark: Mark, wrong: list[Thing]) -> None:
        what = ", ".join(f"{kind.lower()} {name!r}" for kind, _, name in wrong[:5])
        why = ""
        if self.database.rebuild is None:
            why = "and cannot be made again, since it is adopted."
        elif mark.looks != self._created or not self._earlier.isdisjoint(map(named, wrong)):
            why = "and cannot be made again, since it was not as the run had made it."
        else:
            self._drop_all_but(self._earlier)
            self.database.rebuild()
            self._see_schema()
            if self._looks != mark.looks:
                why = "and making it again gave another one."
        if why:
            raise StoreError(
                f"a test changed the schema of store {self.database.name!r} ({what}), {why}\n"
                "Give tests that change the schema an empty database:  SQLAlchemyStore(empty=True)",
                store=self.database.name,
            )

    def _drop_all_but(self, earlier: frozenset[str]) -> None:
        self._drop(thing for thing in self._look() if named(thing) not in earlier)

    def _drop(self, doomed: Iterable[Thing]) -> None:
        things = set(doomed)
        if not things:
            return
        preparer = self._connection().dialect.identifier_preparer
        others = sorted(thing for thing in things if thing[0] != "TABLE")
        for kind, of, name in sorted(others, key=lambda thing: thing[0] == "SEQUENCE"):
            where = f"{preparer.quote_schema(of)}." if of else ""
            self._run([f"DROP {kind} {where}{preparer.quote_identifier(name)}"])
        tables = {(of, name) for kind, of, name in things if kind == "TABLE"}
        with self._transaction() as connection:
            rows.drop(connection, self._schemas, tables)

    # What all of it needs

    def _connection(self) -> sa.Connection:
        if self._open is not None and (self._open.invalidated or self._patience.is_gone):
            self.close()  # the first would connect again by itself, and without an end
        if self._open is None:
            connection = self._connected()
            self._open = connection
            if self._is_mysql:
                with connection.begin():
                    mysql.settle(connection, self.database.wait)
            if self._patience.is_gone:
                self._patience.answered()
                mysql.deadlines(connection.connection.dbapi_connection, self._patience.seconds)
            if self._claimed:
                self._take_lock(connection)
        return self._open

    def _connected(self) -> sa.Connection:
        if self._patience.is_spent:
            raise StoreError(
                f"store {self.database.name!r}: {self.database.shown} did not answer, and is not asked again "
                "yet. Is the server stopped?",
                store=self.database.name,
            )
        seconds, began = self._patience.seconds, monotonic()
        engine = self.database.engine()
        try:
            with mysql.connecting(engine, seconds):
                connection = engine.connect()
        except DBAPIError:
            self._was_silent(began)
            raise
        connection.detach()  # the application's pool keeps its size
        mysql.deadlines(connection.connection.dbapi_connection, seconds)
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        connection = self._connection()
        with connection.begin():
            yield connection

    def _run(self, statements: Iterable[str]) -> None:
        for statement in statements:
            with self._transaction() as connection:
                connection.exec_driver_sql(statement)

    def _make_way(self, *, end: bool = True, readers: bool = False) -> list[str]:
        if not self._is_mysql or self._is_blind:
            return []
        try:
            with self._transaction() as connection:
                return transactions.make_way(connection, self.database.wait, end=end, readers=readers)
        except DBAPIError as error:
            if not mysql.was_denied(error):
                raise
            self._is_blind = True
            warnings.warn(
                f"the user of store {self.database.name!r} may not see transactions: one that a test leaves "
                "open is met only where it holds a lock that a reset needs. Allow it with: GRANT PROCESS ON "
                "*.* TO the user of the URL",
                stacklevel=2,
            )
            return []

    def _again(self, what: str, work: Callable[[], Result]) -> Result:
        """Do `work`, and once more where the connection had been lost."""
        with self._told(what):
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
    def _told(self, what: str) -> Iterator[None]:
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
        if self._is_mysql and isinstance(error, SQLAlchemyError) and mysql.was_locked(error):
            name = self.database.name
            return OpenTransactionError(f"could not reset store {name!r}: {text}", store=name)
        return text

    def _tell_of_leak(self, ended: list[str]) -> None:
        text = (
            f"left a transaction open on store {self.database.name!r}.\n"
            + "\n".join(f"  {one}" for one in ended)
            + "\nIt was closed and the data was reset. Close it in the test:  "
            "with self.db.session() as session: ..."
        )
        tell_of_leak(text, self.database.name, self.database.on_leak)
