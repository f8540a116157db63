"""Sessions that sleep on MySQL or MariaDB and hold a lock which is no transaction of InnoDB's, or in another
database: LOCK TABLES, FLUSH TABLES WITH READ LOCK, GET_LOCK, XA PREPARE."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from ... import waiting
from ...clock import monotonic
from ...errors import OpenTransactionError
from ...store import LeftBy
from . import mysql
from .mysql import is_mariadb, rows
from .rows import Key

_DRIVERS = {"pymysql", "MySQLdb", "mysql", "mariadb", "asyncmy", "aiomysql"}

_WAITS = re.compile(r"User lock|Waiting for .* lock", re.IGNORECASE)
"""What the list of processes says of a session that waits for something but a row."""

_GET_LOCK = re.compile(r"""GET_LOCK\s*\(\s*('(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*")""", re.IGNORECASE)

_FREED_WITHIN = 1.0
"""Seconds until one that waited goes on after a holder was ended; else it was the wrong one."""

_GONE_WITHIN = 3.0
"""Seconds until a session that was ended has let go of what it had prepared."""

ours: set[int] = set()
"""Numbers of this process's sessions that belong to the library."""


@dataclass(frozen=True)
class Process:
    """One session, as the server lists it.

    Attributes:
        number: The server's number of the connection.
        database: The one in which it stands.
        seconds: For which it has been doing what it does.
        is_here: It stands in our database.
        is_ours: It is of our account as well.
    """

    number: int
    user: str
    host: str
    database: str | None
    command: str
    seconds: float
    state: str
    statement: str
    is_here: bool
    is_ours: bool

    @property
    def sleeps(self) -> bool:
        return self.command == "Sleep"

    @property
    def waits(self) -> bool:
        return not self.sleeps and _WAITS.match(self.state) is not None

    def __str__(self) -> str:
        location = f" in database {self.database}" if self.database and not self.is_here else ""
        does = f"asleep for {self.seconds:.1f} s" if self.sleeps else f"at work: {self.statement}"
        return f"connection {self.number} of {self.user} at {self.host}{location}, {does}"


def processes(connection: Connection) -> list[Process]:
    """All sessions that our user may see but the library's own."""
    milliseconds = "time_ms" if is_mariadb(connection) else "time * 1000"
    run = rows(connection, f"SELECT IS_USED_LOCK('{mysql.lock_of(connection)}')")[0][0]
    return [
        Process(
            number,
            user,
            host,
            database,
            command,
            float(time or 0) / 1000,
            state or "",
            info or "",
            here,
            here and own,
        )
        for number, user, host, database, command, time, state, info, here, own in rows(
            connection,
            f"SELECT id, user, host, db, command, {milliseconds}, state, left(info, 200), "
            "COALESCE(db = DATABASE(), 0), user = SUBSTRING_INDEX(USER(), '@', 1) "
            "FROM information_schema.processlist WHERE id <> CONNECTION_ID()",
        )
        if number not in ours and number != run
    ]


@dataclass(frozen=True)
class Clients:
    """The connections of this very process, by their numbers.

    Attributes:
        numbers: Of all of them.
        pooled: Those that wait in a pool until somebody takes them.
    """

    numbers: frozenset[int]
    pooled: dict[int, ConnectionPoolEntry]

    @classmethod
    def found(cls) -> Clients:
        """By a look at every object: rare, since it takes some hundredths of a second."""
        numbers, records = {}, []
        for thing in gc.get_objects():
            kind = type(thing)
            if str(kind.__module__).partition(".")[0] in _DRIVERS:
                if (number := _number_of(thing)) is not None:
                    numbers[id(thing)] = number
            elif issubclass(kind, ConnectionPoolEntry):
                records.append(thing)
        pooled = {}
        for record in records:
            number = numbers.get(id(record.driver_connection))
            if number is not None and not record.in_use:
                pooled[number] = record
        return cls(frozenset(numbers.values()), pooled)

    def end(self, connection: Connection, number: int) -> None:
        """End a session; a pool in which its connection waits makes a new one when it is needed."""
        connection.exec_driver_sql(f"KILL {number}")
        if number in self.pooled:
            self.pooled[number].invalidate(soft=True)


def _number_of(thing: object) -> int | None:
    with suppress(Exception):  # closed, or it refuses other threads than its own
        for name in ("thread_id", "connection_id"):
            found = getattr(thing, name, None)
            number = found() if callable(found) else found
            if isinstance(number, int):
                return number
    return None


def suspects(
    connection: Connection, all_of_them: Collection[Process], first: int
) -> tuple[list[Process], Clients, bool]:
    """Who may hold a lock on our tables.

    Parameters:
        first: The number of a session at the beginning of the run: nobody else's is ended that was older.

    Returns:
        Sessions, the likeliest first; this process's; and whether the server itself names them.
    """
    clients = Clients.found()
    holders = _holders(connection)
    if holders is not None:
        return [one for one in all_of_them if one.number in holders], clients, True
    found = [
        one for one in all_of_them if one.number in clients.numbers or (one.is_ours and one.number > first)
    ]
    # What was opened late, and by no pool, is likelier a test's own than its class's or the application's.
    return sorted(found, key=lambda one: (one.number in clients.pooled, -one.number)), clients, False


def _holders(connection: Connection) -> set[int] | None:
    """Who holds a lock on our tables or on all; None if the server does not tell."""
    queries = [
        "SELECT thread_id FROM information_schema.metadata_lock_info "
        "WHERE table_schema = DATABASE() OR table_schema = ''",
        "SELECT processlist_id FROM performance_schema.metadata_locks JOIN performance_schema.threads "
        "ON owner_thread_id = thread_id WHERE lock_status = 'GRANTED' AND (object_schema = DATABASE() "
        "OR object_type IN ('GLOBAL', 'COMMIT', 'BACKUP LOCK')) "
        "AND @@performance_schema AND (SELECT MAX(enabled = 'YES') FROM performance_schema.setup_instruments "
        "WHERE name = 'wait/lock/metadata/sql/mdl')",
    ]
    for query in queries[not is_mariadb(connection) :]:
        with suppress(DBAPIError):
            if found := {int(number) for (number,) in rows(connection, query) if number is not None}:
                return found
    return None


# Who waits


_TOGETHER = 50
"""Tables in one statement: a join has at most 61."""


def writes_wait(connection: Connection, tables: Collection[Key]) -> bool:
    """Whether a writer would have to wait for somebody's lock on tables. Those who only read have none."""
    names = _names(connection, tables)
    return any(
        _waits(connection, f"DELETE {', '.join(some)} FROM {' JOIN '.join(some)} WHERE 1 = 0")
        for some in (names[n : n + _TOGETHER] for n in range(0, len(names), _TOGETHER))
    )


def is_used(connection: Connection, tables: Collection[Key]) -> bool:
    """Whether anybody has read or written some of these tables in a transaction that is open."""
    names = _names(connection, tables)
    try:
        return bool(names) and _waits(connection, f"LOCK TABLES {' WRITE, '.join(names)} WRITE")
    finally:
        connection.exec_driver_sql("UNLOCK TABLES")


def _names(connection: Connection, tables: Collection[Key]) -> list[str]:
    quoted = connection.dialect.identifier_preparer.quote_identifier
    return sorted({f"{quoted(mysql.schema_of(connection, of))}.{quoted(name)}" for of, name in tables})


def _waits(connection: Connection, statement: str) -> bool:
    at_once = "SET STATEMENT lock_wait_timeout = 0, innodb_lock_wait_timeout = 0 FOR "
    if not is_mariadb(connection):
        at_once = ""  # waits as long as the session does
    elif statement.startswith("LOCK"):
        at_once, statement = "", f"{statement} NOWAIT"
    try:
        connection.exec_driver_sql(mysql.literally(connection, at_once + statement))
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return mysql.was_locked(error)
    return False


# At the end of a test


@dataclass(frozen=True)
class Holder:
    """Who keeps others from writing, as `waiting.make_way` asks for it."""

    version: Hashable
    sleeps: bool
    words: str
    number: int = 0

    def __str__(self) -> str:
        return self.words


_LOCKS = "it holds a lock on tables (LOCK TABLES, HANDLER, or FLUSH TABLES WITH READ LOCK)"


def end_holders(
    connection: Connection,
    tables: Collection[Key],
    first: int,
    since: float,
    wait: float,
    *,
    in_the_way: Callable[[Connection, Collection[Key]], bool] = writes_wait,
) -> list[str]:
    """End the sessions that keep everybody from writing, and sleep since a moment after `since`.

    Parameters:
        tables: All that may be locked.
        first: See `suspects`.
        since: As `monotonic` gave it.
        wait: Seconds for those at work.
        in_the_way: Whether somebody is: of writers, or, with `is_used`, of who alters a table.

    Returns:
        What was ended, in words.

    Raises:
        OpenTransactionError: Somebody keeps us from it all the same.
    """
    if not in_the_way(connection, tables):
        return []
    known: list[Clients] = []
    old: list[bool] = []

    def look() -> list[Holder]:
        if not in_the_way(connection, tables):
            return []
        now = monotonic()
        found, clients, is_told = suspects(connection, processes(connection), first)
        known[:] = [clients]
        working = [one for one in found if not (one.sleeps or one.waits)]
        young = [one for one in found if one.sleeps and now - one.seconds >= since]
        old[:] = [] if young or working else [True]
        chosen = working[:1] if working and not is_told else young[:1]
        return [
            Holder((one.number, one.sleeps), one.sleeps, f"{one}; {_LOCKS}", one.number) for one in chosen
        ] or [Holder("unknown", False, "somebody holds a lock on tables, and the server does not say who")]

    def end(one: Holder) -> None:
        _end(connection, known[0], one)

    try:
        return list(map(str, waiting.make_way(look, wait, end, are_known=False)))
    except OpenTransactionError:
        if old:  # whoever holds it did so before the scope began: the reset may go without, or says so
            return []
        raise


def _end(connection: Connection, clients: Clients, one: Holder) -> None:
    try:
        clients.end(connection, one.number)
    except DBAPIError as error:
        if mysql.is_gone(error):
            return
        raise OpenTransactionError(
            f"  {one}\nOur user may not end it: {error.orig}. As one who may:  KILL {one.number}"
        ) from None


# Prepared transactions


@dataclass(frozen=True)
class Prepared:
    """A transaction after XA PREPARE, of whatever database: the server does not say of which."""

    format: int
    transaction: bytes
    branch: bytes

    def __str__(self) -> str:
        named = f"X'{self.transaction.hex()}', X'{self.branch.hex()}', {self.format}"
        return f"prepared transaction {self.transaction.decode('ascii', 'replace')!r} (XA ROLLBACK {named})"

    @property
    def rollback(self) -> str:
        return f"XA ROLLBACK X'{self.transaction.hex()}', X'{self.branch.hex()}', {self.format}"


def prepared(connection: Connection) -> frozenset[Prepared]:
    """All that are there; none if our user may not see them."""
    try:
        found = rows(connection, "XA RECOVER")
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return frozenset()
    all_of_them = []
    for number, length, _, data in found:
        data = data if isinstance(data, bytes) else str(data).encode("latin-1", "replace")
        all_of_them.append(Prepared(number, data[:length], data[length:]))
    return frozenset(all_of_them)


def end_prepared(connection: Connection, tables: Collection[Key], before: frozenset[Prepared]) -> list[str]:
    """Roll back what was prepared in our tables and is not one of `before`.

    Returns:
        What was ended, in words.

    Raises:
        OpenTransactionError: It is not known which one is ours, or it cannot be ended.
    """
    new = sorted(prepared(connection) - before, key=str)
    if not new or not is_used(connection, tables):
        return []
    if len(new) > 1:
        named = "\n".join(f"  {one}" for one in new)
        raise OpenTransactionError(
            f"{named}\nOne of them is in the way. The server does not say which, and the others may be of "
            "another database: end them in the test, or run here what is in brackets."
        )
    (one,) = new
    ((autocommit,),) = rows(connection, "SELECT @@autocommit")
    connection.exec_driver_sql("SET autocommit = 1")  # it is refused inside another transaction
    try:
        for turn in waiting.turns(_GONE_WITHIN):
            try:
                connection.exec_driver_sql(one.rollback)
                break
            except DBAPIError as error:  # its session still has it
                if turn.is_last or error.connection_invalidated:
                    raise OpenTransactionError(f"  {one}\nIt cannot be ended here: {error.orig}") from None
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql(f"SET autocommit = {autocommit}")
    return [str(one)]


# While a test hangs


def free(connection: Connection, first: int, left_by: LeftBy) -> list[tuple[str, str]]:
    """See `Store.free`."""
    before = monotonic()
    all_of_them = processes(connection)
    after = monotonic()
    by_number = {one.number: one for one in all_of_them}
    ended: list[tuple[str, str]] = []

    def test_of(one: Process | None) -> str | None:
        return left_by(before - one.seconds, after - one.seconds) if one is not None and one.sleeps else None

    for number, what in _named(connection, all_of_them):
        if (test := test_of(by_number.get(number))) is not None:
            told = f"{by_number[number]}; it holds {what} (KILL {number})"
            ended.append((test, _ended(connection, number, told)))
    waiting_ones = [
        one for one in all_of_them if one.is_here and one.waits and not _GET_LOCK.search(one.statement)
    ]
    if ended or not waiting_ones:
        return ended
    found, clients, is_told = suspects(connection, all_of_them, first)
    waiter = waiting_ones[0]
    what = f"what connection {waiter.number} waited for ({waiter.state.lower()})"
    in_vain: list[str] = []
    for one in found:
        if (test := test_of(one)) is None:
            continue
        told = f"{one}; it held {what} (KILL {one.number})"
        told = _ended(connection, one.number, told, clients)
        if is_told or _goes_on(connection, waiter):
            more = f"\n  Ended in vain before: {', '.join(in_vain)}" if in_vain else ""
            return [(test, told + more)]
        in_vain.append(str(one))
    return []


def _ended(connection: Connection, number: int, told: str, clients: Clients | None = None) -> str:
    try:
        (clients or Clients.found()).end(connection, number)
    except DBAPIError as error:
        if not mysql.is_gone(error):
            return f"{told}\n  Our user may not end it: {error.orig}"
    return told


def _goes_on(connection: Connection, waiter: Process) -> bool:
    for _ in waiting.turns(_FREED_WITHIN, first=0.02):
        now = next((one for one in processes(connection) if one.number == waiter.number), None)
        if now is None or not now.waits or now.statement != waiter.statement:
            return True
    return False


def _named(connection: Connection, all_of_them: Collection[Process]) -> Iterator[tuple[int, str]]:
    """Whom the server itself names as in the way of a session in our database."""
    inside = {one.number for one in all_of_them if one.is_here}
    query = (
        "SELECT w.trx_mysql_thread_id, b.trx_mysql_thread_id FROM information_schema.innodb_lock_waits "
        "JOIN information_schema.innodb_trx w ON w.trx_id = requesting_trx_id "
        "JOIN information_schema.innodb_trx b ON b.trx_id = blocking_trx_id"
        if is_mariadb(connection)
        else "SELECT w.processlist_id, b.processlist_id FROM performance_schema.data_lock_waits "
        "JOIN performance_schema.threads w ON w.thread_id = requesting_thread_id "
        "JOIN performance_schema.threads b ON b.thread_id = blocking_thread_id"
    )
    found: dict[int, str] = {}
    with suppress(DBAPIError):  # our user may not see transactions: the others are found all the same
        for waiter, blocker in rows(connection, query):
            if waiter in inside:
                found[blocker] = "row locks in a transaction"
    for one in all_of_them:
        if one.is_here and one.waits and (name := _GET_LOCK.search(one.statement)):
            ((holder,),) = rows(connection, f"SELECT IS_USED_LOCK({mysql.literally(connection, name[1])})")
            if holder is not None:
                found[holder] = f"GET_LOCK({name[1]})"
    yield from found.items()
