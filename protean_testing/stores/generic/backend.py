"""The backend for databases without one of their own: through SQLAlchemy alone, correct rather than fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...changes import Written
from ...clock import monotonic
from ...core.leaks import report_leak
from ...errors import OpenTransactionError, StoreError
from ...store import LeftBy
from ..sql.backend import Database, writer_is_open
from . import rows
from .idle_locks import Prepared
from .mysql_changes import Activity, Stamps
from .ownership import Ownership
from .rows import Copy, Key, Table
from .schema import Thing, named, shown


@dataclass(eq=False)
class Snapshot:
    """What `save` returns.

    Attributes:
        rows: Copies of the tables that were not empty.
        counters: See `Stamps.counters`.
        definitions: Those of the schema.
        prepared: The transactions that were prepared on the server.
        began: When it was made.
    """

    rows: dict[Key, Copy]
    counters: dict[str, int]
    definitions: dict[Thing, str]
    prepared: frozenset[Prepared]
    began: float = field(default_factory=monotonic)


@dataclass(frozen=True)
class Known:
    """What the rows were at a moment, so that only what was written since must be compared.

    Attributes:
        rows, counters: See `Snapshot`.
        activity: What the server had counted.
        updated: See `Stamps.updated`; of tables that were written then, nothing is known.
        since: See `Session.since`.
        number: See `Session.number`.
    """

    rows: dict[Key, Copy]
    counters: dict[str, int]
    activity: Activity
    updated: dict[Key, str]
    since: int
    number: int

    def is_same(self, activity: Activity | None) -> bool:
        """Whether no other session has written since, as the server counts."""
        return activity is not None and self.activity.writes == activity.writes

    def written(
        self, stamps: Stamps, activity: Activity | None, snapshot: dict[Key, Copy]
    ) -> set[Key] | None:
        """The tables that may not be as in `snapshot`; None: any."""
        if activity is None or self.activity.forgets != activity.forgets:
            return None
        other = {
            key for key in self.rows.keys() | snapshot.keys() if self.rows.get(key) is not snapshot.get(key)
        }
        return other | stamps.written_since(self.updated, self.since)


class GenericBackend:
    """Keeps the data of any SQL database on a connection of its own, by looking at every table.

    Parameters:
        database: Where it is, and what may be done to it.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._ownership = Ownership(database)
        self._session = self._ownership.session
        self._snapshots: list[Snapshot] = []
        self._copies: list[Copy] = []
        self._created: dict[Thing, str] = {}
        self._known: Known | None = None

    # Whose it is

    def check(self, tables: Collection[Key]) -> None:
        self._ownership.check(tables)

    def acquire(self) -> None:
        with self._session.translating("acquire"):
            self._ownership.begin()
            self._copies = list(self._ownership.copies.values())

    def drop(self) -> None:
        if self._ownership.marker is None:
            return
        self._session.retrying("drop", lambda: self._ownership.end(is_made=bool(self._created)))
        self._snapshots, self._copies, self._created = [], [], {}

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody copies it behind its back."""
        yield

    def keep(self) -> bool:
        """See Backend.keep."""
        return False

    def rest(self) -> None:
        """See Backend.rest. The lock of a live run hangs on the connection."""

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        """See Backend.free."""
        return self._session.free(left_by)

    def close(self) -> None:
        self._session.close()

    # The data

    def created(self) -> None:
        with self._session.translating("look at"):
            known = {table.key for table in self._session.tables}
            self._session.see_schema(afresh=True)
            self._refuse_unwritable(known if self._created else set())
            self._created = dict(self._session.definitions)
            self._ownership.made()
            if not self._snapshots:
                return
            counters = self._session.stamps().counters
            now = self._copied()
            for snapshot in self._snapshots:
                snapshot.rows |= {key: copy for key, copy in now.items() if key not in known}
                snapshot.counters = counters | snapshot.counters
                snapshot.definitions = self._created
            self._known = None

    def _refuse_unwritable(self, known: Collection[Key]) -> None:
        new = [table for table in self._session.tables if table.key not in known]
        if (
            wrong := self._ownership.unrestorable(new)
            if self._session.is_mysql
            else self._ownership.unwritable(new)
        ):
            raise StoreError(
                f"what was created in store {self.database.name!r} cannot be reset:\n" + "\n".join(wrong),
                store=self.database.name,
            )

    def save(self) -> Snapshot:
        return self._session.retrying("save", self._save)

    def _save(self) -> Snapshot:
        self._session.see_activity()
        try:
            self._session.make_way(end=False)
        except OpenTransactionError as error:
            raise writer_is_open(self.database.name, error) from None
        session, since = self._session, self._session.since
        session.see_schema()
        definitions, prepared = dict(session.definitions), session.prepared()
        known, self._known = self._usable(), None
        if known is not None and known.is_same(session.activity):
            rows, counters, updated = known.rows, known.counters, known.updated
        else:
            stamps = session.empty_caches(session.stamps(), known.counters if known else {})
            written = known.written(stamps, session.activity, known.rows) if known else None
            counters, updated = stamps.counters, stamps.updated
            if known is None or written is None:
                rows = self._copied()
            else:
                rows = {key: copy for key, copy in known.rows.items() if key not in written}
                rows |= self._copied([table for table in session.tables if table.key in written])
        self._snapshots.append(Snapshot(dict(rows), dict(counters), definitions, prepared))
        self._know(rows, counters, updated, since)
        return self._snapshots[-1]

    def _usable(self) -> Known | None:
        """What is known of the rows, if it is of this very session: another server may have come since."""
        known = self._known
        return known if known is not None and known.number == self._session.number else None

    def _know(
        self, rows: dict[Key, Copy], counters: dict[str, int], updated: dict[Key, str], since: int
    ) -> None:
        """Remember that these are the rows now."""
        session = self._session
        if session.activity is not None and not session.is_blind:
            self._known = Known(rows, counters, session.activity, updated, since, session.number)

    def _copied(self, tables: Collection[Table] | None = None) -> dict[Key, Copy]:
        found = self._session.copied(self._copies, tables)
        self._copies += [copy for copy in found.values() if copy not in self._copies]
        return found

    def reset(self, snapshot: Snapshot) -> bool:
        self._session.ended = []
        changed = self._session.retrying("reset", lambda: self._reset(snapshot))
        self._end_after(snapshot)
        if self._session.ended:
            self._report_leak(self._session.ended)
        return changed

    def _reset(self, snapshot: Snapshot) -> bool:
        session = self._session
        session.see_activity()
        known, self._known = self._usable(), None  # until it is restored
        is_same = known is not None and known.is_same(session.activity)
        session.make_way()
        since = session.since
        session.see_schema()
        session.end_holders(snapshot.began, snapshot.prepared)
        changed = self._restore_schema(snapshot)
        if known is not None and is_same and not changed and not session.ended:
            if known.rows == snapshot.rows and known.counters == snapshot.counters:
                self._know(known.rows, known.counters, known.updated, since)
                return False
        stamps = session.stamps()
        written = known.written(stamps, session.activity, snapshot.rows) if known and not changed else None
        tables = [table for table in session.tables if written is None or table.key in written]
        touched = session.restore(tables, snapshot.rows, snapshot.counters, stamps)
        updated = {key: value for key, value in stamps.updated.items() if key not in touched}
        self._know(snapshot.rows, snapshot.counters, updated, since)
        return changed or bool(touched)

    def written_since(self, snapshot: Snapshot) -> list[Written]:
        """See Backend.written_since."""
        with self._session.translating("look at"):
            return list(self._differences(snapshot))

    def _differences(self, snapshot: Snapshot) -> Iterator[Written]:
        session = self._session
        session.see_schema()
        for kind, of, name in snapshot.definitions.keys() - session.definitions.keys():
            if kind == "TABLE":
                yield Written(rows.full_name((of, name)), remark="the test has dropped it")
        wrong = session.differing(session.tables, snapshot.rows)
        for table in session.tables:
            copy, definition = snapshot.rows.get(table.key), ("TABLE", *table.key)
            name = rows.full_name(table.key)
            then = snapshot.definitions.get(definition)
            if then is not None and then != session.definitions[definition]:
                yield Written(name, remark="the test has altered it, so its rows cannot be compared")
            elif table.key in wrong and table.has_history:
                yield Written(name, remark="it is system-versioned, and its rows are not listed")
            elif table.key in wrong:
                with session.at_length(), session.transaction() as connection:
                    yield rows.difference(connection, table, copy.name if copy else None)

    def sessions_are_stale(self) -> bool:
        """See Backend.sessions_are_stale. What sessions hold is not known."""
        return False

    def restore_fully(self, snapshot: Snapshot) -> bool:
        self._known = None
        self._session.forget_schema()
        return self.reset(snapshot)

    def dump_data(self) -> dict[str, Counter[Any]]:
        session = self._session
        with session.translating("look at"):
            session.see_schema(afresh=True)
            with session.transaction() as connection:
                tables = {f"table {table.key[1]}": rows.shown(connection, table) for table in session.tables}
            counters = {
                f"counter {name}": Counter([value]) for name, value in session.stamps().counters.items()
            }
            return (
                tables
                | counters
                | {
                    f"definition of {named(thing)}": Counter([definition])
                    for thing, definition in session.definitions.items()
                }
            )

    def forget(self, snapshot: Snapshot) -> None:
        self._end_after(snapshot)
        self._snapshots = [one for one in self._snapshots if one is not snapshot]
        self._session.retrying("forget", self._drop_unused)

    def _end_after(self, snapshot: Snapshot) -> None:
        if snapshot in self._snapshots:
            del self._snapshots[self._snapshots.index(snapshot) + 1 :]

    def _drop_unused(self) -> None:
        """Copies that no snapshot needs, and that are not of what was there before the run."""
        known = [self._known.rows] if self._known else []  # the next snapshot is made of these
        needed = {
            copy.name
            for kept in (*(snapshot.rows for snapshot in self._snapshots), *known)
            for copy in kept.values()
        }
        needed |= {copy.name for copy in self._ownership.copies.values()}
        unused = [copy for copy in self._copies if copy.name not in needed]
        for copy in unused:
            self._copies.remove(copy)
            with self._session.transaction() as connection:
                rows.drop(connection, [None], {(None, copy.name)})

    # The schema

    def _restore_schema(self, snapshot: Snapshot) -> bool:
        """Drop what was made since `snapshot`, and make again what was altered or dropped."""
        session = self._session
        if session.definitions == snapshot.definitions:
            return False
        session.make_way(readers=True)
        session.end_users()
        wrong = [
            thing
            for thing, definition in snapshot.definitions.items()
            if session.definitions.get(thing) != definition
        ]
        if wrong and not session.is_mysql:
            self._refuse_rebuild(snapshot, wrong)
        session.drop(session.definitions.keys() - snapshot.definitions.keys())
        if wrong and session.is_mysql:
            session.make_again(snapshot.definitions)
        elif wrong and self.database.rebuild is not None:
            session.see_schema(afresh=True)
            before = self._ownership.before
            session.drop(thing for thing in session.definitions if named(thing) not in before)
            self.database.rebuild()
        session.see_schema(afresh=True)
        if session.definitions != snapshot.definitions:
            raise self._not_restored(snapshot, wrong, "and making it again gave another one.")
        return True

    def _refuse_rebuild(self, snapshot: Snapshot, wrong: list[Thing]) -> None:
        if self.database.rebuild is None:
            raise self._not_restored(snapshot, wrong, "and cannot be made again, since it is adopted.")
        if snapshot.definitions != self._created or not self._ownership.before.isdisjoint(map(named, wrong)):
            raise self._not_restored(
                snapshot, wrong, "and cannot be made again, since it was not as the run had made it."
            )

    def _not_restored(self, snapshot: Snapshot, wrong: list[Thing], why: str) -> StoreError:
        what = ", ".join(f"{thing[0].lower()} {thing[2]!r}" for thing in wrong[:5])
        copies = [
            f"The rows of {shown(thing)} are in table {snapshot.rows[thing[1:]].name}.\n"
            for thing in wrong
            if thing[0] == "TABLE" and thing[1:] in snapshot.rows and named(thing) in self._ownership.before
        ]
        return StoreError(
            f"a test changed the schema of store {self.database.name!r} ({what}), {why}\n{''.join(copies)}"
            "Give tests that change the schema an empty database:  SQLAlchemyStore(empty=True)",
            store=self.database.name,
        )

    def _report_leak(self, ended: list[str]) -> None:
        text = (
            f"left a transaction open on store {self.database.name!r}.\n"
            + "\n".join(f"  {one}" for one in ended)
            + "\nIt was closed and the data was reset. Close it in the test:  "
            "with self.db.session() as session: ..."
        )
        report_leak(text, self.database.name, self.database.on_leak)
