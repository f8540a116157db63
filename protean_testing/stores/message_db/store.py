"""The store of a Message DB: its messages, and the sequence of their global positions."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from ...changes import Written
from ...core.leaks import bullet_list, report_leak
from ...errors import ConfigurationError, Secret, StoreError, UnsafeStoreError
from ...ownership import Acquired, acquire, clean_line, marker, refusal, refuse_other_name
from ...store import LeftBy, LocatedStore, OnLeak, ResetAfter, Snapshot, validate
from ..driver_errors import lost, said, translated
from ..sql.definition import Definition
from ..sql.urls import parsed_url, readable
from ..sql.worker_url import worker_database_of, worker_url
from . import before
from .connecting import connected
from .install import find, install
from .position import MESSAGES, SEQUENCE, Position, read_position, read_versions
from .writers import lock_messages
from .written import written

_in_use: set[str] = set()  # databases that this process has taken
os.register_at_fork(after_in_child=_in_use.clear)

Result = TypeVar("Result")


class MessageDBStore(LocatedStore):
    """The messages of a Message DB. Those that were there before are as they were afterwards.

    What is newer than a snapshot came since: it is deleted, and the sequence is set back. Message DB only
    ever adds messages; what a test changes or deletes all the same is restored from copies. A given Message
    DB is used as it is, and copied for a worker process; a private one is installed first.

    Parameters:
        url: Where it is, for a role that may delete messages and set the sequence (the role
            ``message_store`` may not).
        name: What messages call it.
        private: True for an empty database of this run's own: Message DB is installed in it.
        decided_for: What that was made for.
        package: The directory of the npm package with its SQL; otherwise see `install.find`.
        unsafe: Allow a database that is no test database by its name. What is there is kept all the same.
        copy_limit: How many messages, of 1 kB each on average, are copied at most: those that are there.
        wait: Seconds to wait at a reset for a writer that is still at work.
        reset_after: ``"test"``, or ``"class"`` if the tests of a class build on each other.
        on_leak: ``"reset"``, ``"warn"`` or ``"fail"`` if a test left a transaction open, or a thread that
            writes.
        verify: Compare every message after each reset, and report what is not as it was.
    """

    kind = "message_db"

    def __init__(
        self,
        url: str,
        *,
        name: str = "event store",
        private: bool = False,
        decided_for: Hashable = None,
        package: Path | str | None = None,
        unsafe: bool = False,
        copy_limit: int = 1_000_000,
        wait: float = 2.0,
        reset_after: ResetAfter = "test",
        on_leak: OnLeak = "warn",
        verify: bool = False,
    ) -> None:
        validate(self, name=name, reset_after=reset_after, on_leak=on_leak, wait=wait)
        validate(self, unsafe=unsafe, verify=verify, copy_limit=copy_limit)
        scheme, _, rest = Secret(url).partition("://")
        self._url = Secret(f"{scheme.partition('+')[0]}://{rest}")
        if not private:
            url = readable(worker_url(parsed_url(self._url)))
            self._url = Secret(url.replace("+psycopg", "", 1))
        self.name = name
        self.reset_after, self.on_leak, self.verify = reset_after, on_leak, verify
        self._private, self._package, self._unsafe, self._wait = private, package, unsafe, wait
        self._decided_for = decided_for
        self._copy_limit = copy_limit
        self._own = None if private else worker_database_of(parsed_url(self._url))
        self._connection: Any = None
        self._acquired: Acquired | None = None
        self._first: Position | None = None
        self._last: tuple[str, Position] | None = None  # when it was counted last, and what came of it
        self._can_copy = False
        self._kept = 0  # the last message that is copied
        self._versions = 0  # of the messages that are copied
        self._restored: dict[int, int] = {}  # by the last message, the sum of versions since it was restored
        self._lasts: set[int] = set()  # of the snapshots
        self._ended: list[str] = []

    def location(self) -> Hashable:
        return self._handle()

    def identity(self) -> Hashable:
        return ("message_db", self._handle())

    @property
    def place(self) -> str:
        return "private PostgreSQL" if self._private else self._handle()

    def check(self) -> None:
        if self._private:
            find(self._package)
            return
        if self._own is not None and self._connection is None:
            self._own.check(self.name, unsafe=True)  # the given one is only copied
            return
        if self._own is None:
            self.refuse_name()
        self._again("check", self._check)

    def _check(self) -> None:
        with self.connect() as connection:
            if connection.execute(f"SELECT to_regclass('{MESSAGES}')").fetchone() == (None,):
                raise ConfigurationError(
                    f"store {self.name!r}: there is no Message DB in {self._handle()}.\n"
                    "Install it with the scripts of its npm package, or leave the URL out for a private one."
                )
            may = (
                f"SELECT has_table_privilege('{MESSAGES}', 'SELECT, DELETE'), "
                f"has_sequence_privilege('{SEQUENCE}', 'UPDATE'), current_user"
            )
            deletes, sets, role = connection.execute(may).fetchone()
            if not (deletes and sets):
                raise ConfigurationError(
                    f"store {self.name!r}: role {role!r} may not delete messages or set their sequence, "
                    f"so they could not be given back.\nGive a URL of a role that may, or let this one:\n"
                    f"  GRANT SELECT, DELETE ON {MESSAGES} TO {role};\n"
                    f"  GRANT SELECT, UPDATE ON SEQUENCE {SEQUENCE} TO {role};"
                )
            if before.identity(connection) not in _in_use:
                self._refuse_live_run(before.is_locked(connection), connection)
                self._refuse_doubtful(left := before.judge(connection))
                self._refuse_too_many(connection, left.ours if left is not None else 0)

    def refuse_name(self) -> None:
        """Refuse a database that is no test database by its name.

        Raises:
            UnsafeStoreError: It is none.
        """
        if not self._unsafe:
            database = unquote(urlsplit(self._url).path.lstrip("/"))
            refuse_other_name(self.name, self._handle(), database)

    def _refuse_live_run(self, is_locked: bool, connection: Any) -> None:
        if is_locked:
            who = before.read_marker(connection) or "another run"
            raise UnsafeStoreError(
                f"{self._handle()} is in use by {who}: two runs in one place would destroy "
                "each other's data. Wait for it to end, or give this run a database of its own."
            )

    def _refuse_doubtful(self, left: before.Leftover | None) -> None:
        """Refuse what cannot be proven to be of a killed run; `unsafe` keeps it."""
        if left is None or not (left.unknown or (left.why and left.changed)) or self._unsafe:
            return
        streams = ", ".join(map(repr, left.streams))
        raise refusal(
            self.name,
            self._handle(),
            f"a run that was killed ({left.marker}) left it, and it is not known of "
            f"{before.counted(left.unknown)} that came since it began whether they are of its making "
            f"({left.why or 'it was dead when they were written'}; streams {streams}).",
            f"If they may go:  {clean_line(self._handle())}",
        )

    def _refuse_too_many(self, connection: Any, going: int) -> None:
        """Refuse to copy more than was allowed; `going` messages will not be there any more."""
        limit = self._copy_limit
        few = f"SELECT FROM {MESSAGES} LIMIT {limit + going + 1}"
        query = f"SELECT (SELECT count(*) FROM ({few}) few), pg_table_size('{MESSAGES}') >> 10"
        there, kilobytes = connection.execute(query).fetchone()
        if there - going > limit or kilobytes > max(limit + going, 1024):
            large = f"more than {limit} messages" if there - going > limit else f"{kilobytes} kB of messages"
            raise refusal(
                self.name,
                self._handle(),
                f"every message that is there is copied once before the first test, and there are {large}.",
                "If that may take its time and space, say MessageDBStore(..., "
                f"copy_limit={max(2 * limit, kilobytes):_}). Else give it an empty Message DB.",
            )

    def create_schema(self) -> None:
        self._again("create", self._create)

    def _create(self) -> None:
        with self._own_database():
            self._open()
        if self._own is not None:
            marked = before.read_marker(self._open())
            if marked is not None:
                raise UnsafeStoreError(
                    f"store {self.name!r}: the Message DB that each worker copies has the marker of another "
                    f"run ({marked}), so it is not known what in it was there before.\nIf that run is dead:  "
                    f"{clean_line(self._handle())}"
                )
        elif self._private:
            if self._execute(f"SELECT to_regclass('{MESSAGES}')") == (None,):
                install(self._connection, self._package)
        else:
            self._take()
            return
        with self._alone() as connection:
            before.erase(connection)
            self._can_copy = before.prepare(connection)
        self._restored, self._kept, self._versions = {}, 0, 0
        self._first = self._save()

    def _take(self) -> None:
        """Settle what a killed run left, and copy what is there now."""
        connection = self._open()
        handle = before.identity(connection)
        self._refuse_live_run(not before.take_lock(connection), connection)
        with self._alone():
            left = before.judge(connection)
            self._refuse_doubtful(left)
            if left is not None:
                left.settle(connection)
        _in_use.add(handle)
        self._acquired = acquire(f"{before.KIND} {handle}", name=self._handle())
        self._acquired.remember(kind=before.KIND, location=handle, run=marker.RUN)
        self._acquired.watch()
        with self._alone():
            self._first = self._now()
            self._can_copy = before.write(connection, handle, self._first[:4])
        self._restored, self._kept, self._versions = {}, self._first.last, self._first.versions

    def drop_schema(self) -> None:
        """Nothing but what came since: a given Message DB stays, a private one ends with its server."""
        if self._first is not None:
            self.reset_data(self._first)
            if self._can_copy:
                self._again("drop", self._throw_away_copy)
            self._first = None
            if self._acquired is not None:
                _in_use.discard(before.identity(self._open()))
                self._acquired.release()
                self._acquired = None

    def _throw_away_copy(self) -> None:
        """Drop the copy, once the messages are seen to be as they were: a test may have changed one."""
        connection = self._open()
        with self._alone():
            if before.copies(connection):
                self._restore(connection)
                before.erase(connection)

    def _restore(self, connection: Any, last: int | None = None) -> None:
        """Make messages as they were, up to the last one of a snapshot."""
        from ..postgresql.connection import psycopg

        try:
            for copy in before.copies(connection):
                before.restore(connection, copy, last)
            for one in self._lasts:  # they are of another version since, for every snapshot
                self._restored[one] = read_versions(connection, one)
        except psycopg.Error as error:
            raise StoreError(
                f"store {self.name!r}: messages that were there before are gone or changed, and could not be "
                f"restored: {said(error, self._url)}\nA copy of them is in {before.SCHEMA}.before.",
                store=self.name,
            ) from None

    def save_data(self) -> Snapshot:
        return self._again("save", self._save)

    def _save(self) -> Position:
        now = self._known()
        if now is None or (now.last > self._kept and self._can_copy):
            with self._alone() as connection:
                now = self._now()
                if self._can_copy:
                    before.keep(connection, self._kept)
                    now = now._replace(is_copied=read_versions(connection, self._kept) == self._versions)
                    self._kept, self._versions = now.last, now.versions
                    self._last = (self._last[0], now) if self._last else None
        self._lasts.add(now.last)
        return now

    def reset_data(self, snapshot: Position) -> bool:
        self._ended = []
        changed = self._again("reset", lambda: self._reset(snapshot))
        if self._ended:
            report_leak(
                f"left a transaction open on store {self.name!r}.\n{bullet_list(self._ended)}"
                "It was closed and the data was reset. End it in the test.",
                self.name,
                self.on_leak,
            )
        return changed

    def written_since(self, snapshot: Position) -> list[Written]:
        return self._again("look at", lambda: list(written(self._open(), snapshot, self._restored)))

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        from ..postgresql.idle_locks import free

        return free(parsed_url(self._url), left_by)

    def dump_data(self) -> dict[str, list[Any]]:
        return self._again("look at", self._look)

    def _look(self) -> dict[str, list[Any]]:
        messages = self._open().execute(f"SELECT stream_name, m::text FROM {MESSAGES} m").fetchall()
        found: dict[str, list[Any]] = {"positions": [self._now()[:4]]}
        for stream, message in messages:
            found.setdefault(f"stream {stream!r}", []).append(message)
        return found

    def _reset(self, snapshot: Position) -> bool:
        if self._is_at(snapshot, self._known()):
            return False
        with self._alone(end=True) as connection:
            found = self._now()
            if self._is_at(snapshot, found):
                return False
            connection.execute(
                f"DELETE FROM {MESSAGES} WHERE global_position > {snapshot.last}; "
                f"SELECT setval('{SEQUENCE}', {snapshot.value}, {snapshot.called})"
            )
            found = self._now()
            if not self._is_at(snapshot, found) and self._can_copy and snapshot.is_copied:
                self._restore(connection, snapshot.last)
                found = self._now()
            if not self._is_at(snapshot, found):
                raise self._not_restored(snapshot, found)
            if self._can_copy:
                before.let_go(connection, snapshot.last)
            self._kept, self._versions = snapshot.last, found.versions
            self._lasts = {last for last in self._lasts if last <= snapshot.last}
            self._restored = {last: sum for last, sum in self._restored.items() if last <= snapshot.last}
        return True

    def _is_at(self, snapshot: Position, found: Position | None) -> bool:
        versions = self._restored.get(snapshot.last, snapshot.versions)
        return found is not None and found[:-1] == snapshot._replace(versions=versions)[:-1]

    def _not_restored(self, snapshot: Position, found: Position) -> StoreError:
        gone = snapshot.messages - found.messages
        why = (
            "since there are no copies of them: the role of the URL may not create a schema"
            if not self._can_copy
            else "since they had been changed outside of this scope, too"
        )
        return StoreError(
            f"store {self.name!r}: {f'{gone} messages' if gone else 'messages'} that were there before are "
            f"{'gone' if gone else 'changed'} and cannot be restored, {why}. Message DB keeps every "
            f"message: what {'deletes' if gone else 'changes'} them in the test?",
            store=self.name,
        )

    def rest(self) -> None:
        if self._private and self._connection is not None:
            self._connection.close()  # else it holds the lock of this run

    @property
    def decided_for(self) -> Hashable:
        return self._decided_for

    def discard(self) -> None:
        from ..postgresql.connection import drop_database

        drop_database(parsed_url(self._url))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._acquired is not None:
            self._acquired.abandon()
        if self._own is not None:
            self._own.drop()

    def _own_database(self) -> AbstractContextManager[None]:
        if self._own is None:
            return nullcontext()
        return self._own.making(Definition(self.name), adopt=True, keep=False, alone=nullcontext)

    # The connection

    def _handle(self) -> str:
        """Where it is, without a password."""
        url = urlsplit(self._url)
        query = dict(parse_qsl(url.query))
        host = url.hostname or query.get("host") or "localhost"
        return f"message_db://{host}:{url.port or query.get('port') or 5432}{url.path}"

    def _open(self) -> Any:
        """The connection; a new one if it was lost."""
        if self._connection is None or self._connection.closed:
            self._connection, self._last = self.connect(), None
            if self._acquired is not None and not before.take_lock(self._connection):
                raise StoreError(
                    f"store {self.name!r}: the connection was lost, and meanwhile another run has taken "
                    f"{self._handle()}. No message was touched.",
                    store=self.name,
                )
        return self._connection

    def connect(self) -> Any:
        """A new connection, that of a role that may delete messages."""
        try:
            return connected(self.name, self._url, self._wait, self._handle())
        except ConfigurationError as error:
            raise error if self._first is None else lost(self.name, self._handle(), str(error)) from None

    def _again(self, what: str, work: Callable[[], Result]) -> Result:
        """Do `work`, and once more if the connection had been lost."""
        from ..postgresql.connection import NoAnswer, psycopg

        def explained(error: Exception, text: str) -> Exception | str:
            gone = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)
            return lost(self.name, self._handle(), text, url=self._url) if isinstance(error, gone) else text

        hint = "End it in the test."
        with translated(what, self.name, psycopg.Error, self._url, explained=explained, hint=hint):
            try:
                return work()
            except psycopg.Error as error:
                if not self._connection.closed:
                    self._connection.rollback()
                    raise
                if isinstance(error, NoAnswer):
                    raise
            return work()

    @contextmanager
    def _alone(self, *, end: bool = False) -> Iterator[Any]:
        """A transaction beside which no other one that writes messages is open.

        Parameters:
            end: End sessions that are in the way, see `waiting.make_way`; they are reported.

        Raises:
            OpenTransactionError: One still is, after the time to wait.
        """
        connection = self._open()
        self._ended += lock_messages(connection, self._wait, end=end)
        try:
            yield connection
        except BaseException:
            if not connection.closed:
                connection.rollback()
            raise
        connection.execute("COMMIT")

    def _now(self) -> Position:
        transactions, now = read_position(self._open())
        self._last = (transactions, now)
        return now

    def _known(self) -> Position | None:
        """How far the store is written, in one round trip, if no transaction of the server wrote anything
        since that was counted: what it costs does not grow with the messages.

        Whoever changes a table has a number, which its end puts into every later snapshot. Our own writes
        do so too, and a writer that is still open holds its lock on the table.
        """
        from ..postgresql.connection import psycopg

        connection = self._open()
        if self._last is None:
            return None
        transactions, last = self._last
        try:
            cursor = connection.execute(
                f"BEGIN; LOCK TABLE {MESSAGES} IN SHARE ROW EXCLUSIVE MODE NOWAIT; "
                f"SELECT txid_current_snapshot()::text, last_value, is_called FROM {SEQUENCE}; COMMIT"
            )
        except psycopg.errors.LockNotAvailable:
            connection.execute("ROLLBACK")
            return None
        cursor.nextset()
        cursor.nextset()
        return last if cursor.fetchone() == (transactions, last.value, last.called) else None

    def _execute(self, statement: str) -> Any:
        return self._open().execute(statement).fetchone()
