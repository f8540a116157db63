"""One connection of the library's own, and what is done over it: look, copy, write, drop, make again."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ...errors import StoreError
from ...ownership.marker import RUN
from ..sql.backend import Database
from . import idle_locks, marker_table, mysql, mysql_changes, mysql_rows, mysql_schema, rows, schema
from .mysql_changes import Activity, Stamps
from .own_connection import OwnConnection
from .rows import Bag, Copy, Key, Table
from .schema import Thing, shown
from .transactions import Transactions

Result = TypeVar("Result")

TRIES = 3

_numbers = itertools.count(1)


class Session(OwnConnection):
    """Works in one database, over a connection of its own.

    Attributes:
        tables: Those that are there but the library's own, as they were seen last.
        definitions: Of everything that is there, as they were seen last.
        ended: The transactions of others that were in the way, in words.
        runs: Those whose tables are the library's own.
        more_schemas: In which an earlier run has made tables.
        activity: What the server counted, at the last look; None if it is not known.
        since: No transaction of others that ends now or later began before this second of the server's.
        is_blind: Our user may not see transactions.
    """

    def __init__(self, database: Database, regain: Callable[[sa.Connection], None]) -> None:
        super().__init__(database, regain)
        self.tables: list[Table] = []
        self.definitions: dict[Thing, str] = {}
        self.ended: list[str] = []
        self.runs = {RUN}
        self.more_schemas: set[str] = set()
        self._ddl: object = None
        self.activity: Activity | None = None
        self.since = 0
        self._definitions = mysql_schema.Definitions()
        self._tables: dict[Key, tuple[str, Table]] = {}
        self._settled: dict[str, tuple[object, object]] = {}
        self._is_locked = False
        self._began = 0.0
        self._prepared: frozenset[idle_locks.Prepared] = frozenset()
        self.is_blind = False
        self._transactions = Transactions()

    # Transactions of others

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
            if self.activity is not None:
                self.since = self.activity.at - self._transactions.oldest
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

    def _is_settled(self, what: str, counts: object) -> bool:
        """Whether two looks before this one saw these counts: what was counted has been done since."""
        last, before = self._settled.get(what, (None, None))
        self._settled[what] = counts, last
        return counts == last == before

    def prepared(self) -> frozenset[idle_locks.Prepared]:
        """The transactions that were prepared and not ended, of the whole server."""
        if self.activity is not None and not self._is_settled("prepared", self.activity.prepared):
            with self.transaction() as connection:
                self._prepared = idle_locks.prepared(connection)
        return self._prepared

    def end_holders(self, since: float, before: frozenset[idle_locks.Prepared]) -> None:
        """End what has locked tables, and sleeps since a moment after `since`, or was prepared since."""
        self._began = since
        if self.activity is None:
            return
        keys = [table.key for table in self.tables]
        if not self._is_settled("locks", self.activity.locks) or self._is_locked:
            with self.transaction() as connection:
                self._is_locked = idle_locks.writes_wait(connection, keys)
                if self._is_locked:
                    self.ended += idle_locks.end_holders(
                        connection, keys, self.first, since, self.database.wait
                    )
        if self.prepared() - before:
            with self.transaction() as connection:
                self.ended += idle_locks.end_prepared(connection, keys, before)

    def end_users(self) -> None:
        """End what sleeps and has a table open, which whoever alters or drops it would wait for (HANDLER)."""
        if self.is_mysql:
            keys, wait = [table.key for table in self.tables], self.database.wait
            with self.transaction() as connection:
                self.ended += idle_locks.end_holders(
                    connection, keys, self.first, self._began, wait, in_the_way=idle_locks.is_used
                )

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
                if not mysql.is_mariadb(connection):  # it counts what our questions write to temporary tables
                    self.own_writes.clear()
                self.activity = mysql_changes.activity(connection, self.own_writes)

    def see_schema(self, *, afresh: bool = False) -> None:
        """Look at the schema, if it may be another than at the last look."""
        if self.is_mysql:
            if self.activity is None or afresh:
                self.see_activity()
            count = self.activity and self.activity.schemas
            if count == self._ddl and not afresh:
                return
            self._ddl = count
        definitions = self.look()
        if definitions != self.definitions or afresh:
            self.definitions = definitions
            of_ours = set() if self.is_mysql else {(None, name) for name in self.own_tables(rescued=True)}
            with self.transaction() as connection:
                if self.is_mysql:
                    self._tables = mysql_rows.tables(connection, definitions, self._tables)
                    self.tables = [table for _, table in self._tables.values()]
                else:
                    self.tables = rows.reflected(connection, self.schemas, of_ours)

    def forget_schema(self) -> None:
        """Look again the next time, whatever says that nothing has changed."""
        self._ddl = None

    def look(self) -> dict[Thing, str]:
        """The definition of everything that is there but the library's own."""
        with self.transaction() as connection:
            if self.is_mysql:
                counts = self.activity.counts if self.activity is not None else {}
                found = self._definitions.read(connection, self.schemas, counts)
            else:
                found = schema.definitions(connection, self.schemas)
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
            mysql_schema.make(connection, again)
        self.see_schema(afresh=True)

    # The rows

    def bags(self, tables: Collection[Table]) -> dict[Key, Bag]:
        with self.at_length(), self.transaction() as connection:
            return rows.bags(connection, list(tables))

    def copied(self, known: Collection[Copy], tables: Collection[Table] | None = None) -> dict[Key, Copy]:
        """Copies of tables (all, unless some are named) that are not empty: known ones where these are the
        same, else new ones."""
        found: dict[Key, Copy] = {}
        chosen = self.tables if tables is None else tables
        bags = self.bags(chosen)
        for table in chosen:
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

    def stamps(self, only: Collection[Key] | None = None) -> Stamps:
        """What tables and sequences (all, unless some are named) say of themselves, on MySQL."""
        if not self.is_mysql:
            return Stamps()
        with self.transaction() as connection:
            return mysql_changes.stamps(connection, self.schemas, self.definitions, only)

    def empty_caches(self, stamps: Stamps, known: Mapping[str, int]) -> Stamps:
        """Let sequences that are not known to stand where they say do so; what all say then."""
        sequences = {(of, name) for kind, of, name in self.definitions if kind == "SEQUENCE"}
        moved = {stamps.keys[key] for key, value in stamps.counters.items() if known.get(key) != value}
        if not (moved & sequences):
            return stamps
        with self.transaction() as connection:
            mysql_changes.empty_caches(connection, moved & sequences)
        now = self.stamps(moved & sequences)
        return Stamps(stamps.counters | now.counters, stamps.keys, stamps.updated)

    def restore(
        self,
        tables: Collection[Table],
        wanted: Mapping[Key, Copy],
        counters: Mapping[str, int],
        stamps: Stamps | None = None,
    ) -> set[Key]:
        """Restore the rows of these tables, and the counters. Whatever was different is compared again.

        Parameters:
            stamps: What tables and sequences say now, if it is known.

        Returns:
            What was different.

        Raises:
            StoreError: It did not become the same.
        """
        touched: set[Key] = set()
        for _ in range(TRIES):  # triggers that cannot be switched off may write elsewhere
            now = stamps or self.stamps()
            wrong, moved = self.differing(tables, wanted), _moved(counters, now)
            if not wrong and not moved:
                return touched
            touched |= wrong | {now.keys[statement] for statement in moved}
            self.make_way(readers=bool(moved))
            unsure = self._write(tables, wrong, wanted)
            if self.is_mysql:  # neither triggers nor cascades act meanwhile
                tables = [table for table in tables if table.key in unsure]
                if wrong & wanted.keys():  # writing rows moves counters, too
                    moved = _moved(counters, self.stamps(touched))
            self._move(moved)
            stamps = self.stamps(touched)
        if wrong := self.differing(tables, wanted):
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
        return touched

    def _move(self, counters: Mapping[str, int]) -> None:
        """Set counters. That alters a table, which whoever only reads is in the way of (HANDLER)."""
        statements = [f"{statement} {value}" for statement, value in counters.items()]
        try:
            self.run(statements)
        except DBAPIError as error:
            if not mysql.was_locked(error) or error.connection_invalidated:
                raise
            self.end_users()
            self.run(statements)

    def differing(self, tables: Collection[Table], wanted: Mapping[Key, Copy]) -> set[Key]:
        """Those of the tables that have other rows than their copies."""
        with self.at_length(), self.transaction() as connection:
            held = {table.key for table in rows.filled(connection, list(tables))}
            return {
                table.key
                for table in tables
                if (table.key in held) != (table.key in wanted)
                or (table.key in held and not self._is_same(connection, table, wanted[table.key]))
            }

    def _is_same(self, connection: sa.Connection, table: Table, copy: Copy) -> bool:
        if self.is_mysql and table.primary:
            return mysql_rows.is_same(connection, table, copy)
        return rows.bag(connection, table) == copy.bag

    def _write(self, of: Collection[Table], wrong: set[Key], wanted: Mapping[Key, Copy]) -> set[Key]:
        """Write the rows of `wrong`. Returns the tables that have to be compared again."""
        if not wrong:
            return wrong
        chosen = wrong if self.is_mysql else rows.with_children(self.tables, wrong)
        if other := sorted((key for key in chosen if key not in {table.key for table in of}), key=str):
            raise StoreError(
                f"the rows of {', '.join(name for _, name in wrong)} in store {self.database.name!r} cannot "
                f"be restored: {', '.join(name for _, name in other)} refers to them, and is not known.",
                store=self.database.name,
            )
        tables = [table for table in self.tables if table.key in chosen]
        with self.at_length(), self.transaction() as connection:
            if self.is_mysql:
                with mysql_schema.without_triggers(connection, chosen, self.definitions):
                    return mysql_rows.write(connection, tables, wanted)
            rows.write(connection, tables, {key: copy.name for key, copy in wanted.items()})
        return wrong


def _moved(counters: Mapping[str, int], now: Stamps) -> dict[str, int]:
    return {key: value for key, value in counters.items() if now.counters.get(key, value) != value}


def _table_of(definition: str) -> object:
    return json.loads(definition).get("table")
