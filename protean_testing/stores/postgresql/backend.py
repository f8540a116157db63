"""The backend of one PostgreSQL database: checks it, owns it, and has its rows and its schema restored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from logging import getLogger
from typing import Any

from ...changes import Written
from ...errors import OpenTransactionError
from ...store import LeftBy
from ..driver_errors import said
from ..sql.backend import Database, writer_is_open
from . import (
    acquire,
    baseline,
    before,
    change_log,
    differences,
    dump,
    fingerprint,
    idle_locks,
    ownership,
    schema_cache,
    transactions,
    views,
)
from .catalogs import Address
from .cluster import Cluster
from .connection import DURABLE, NoAnswer, psycopg
from .data import Data
from .fast import EVERYTHING, Fast, Findings
from .made import Made, moved
from .owned_database import OwnedDatabase
from .schema import Schemas
from .snapshot import Snapshot

logger = getLogger("protean_testing")


class PostgreSQLBackend(OwnedDatabase):
    """Keeps the data of a PostgreSQL database (15 and later) on a connection of its own.

    Parameters:
        database: Where it is, and what may be done to it.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._tables = set(database.tables)  # a worker checks the given database in place of this one
        self._made: Made | None = None
        self._staying: schema_cache.State | None = None
        self._schemas: Schemas | None = None
        self._data: Data | None = None
        self._fast: Fast | None = None
        self._cluster = Cluster(database)

    # Whose it is

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        more, marker = set(tables) - self._tables, self._marker
        if marker is None:
            every = self._tables | more
            self._again("check", lambda: acquire.refuse_unsafe(self.database, self._connection, every))
        elif more:
            with self._translated("check"):
                acquire.refuse_planned(self.database, self._connection, more, marker)
                self._made = Made(self._connection)
        self._tables |= more

    def acquire(self) -> bool:
        with self._translated("acquire"):
            connection = self._connection
            acquire.acquire(self.database, connection)
            self._make_way(transactions.READERS)
            self._marker, self._staying = acquire.prepare(self.database, connection, self._tables)
            if self._staying is None:
                connection.run(baseline.INSTALL + schema_cache.INSTALL)
            self._made = Made(connection)
        return self._staying is not None

    def _record_made(self) -> None:
        """Write down what making the schema made, before tests can touch it."""
        assert self._marker is not None and self._made is not None, "acquire() comes first"
        adopted = self.database.rebuild is None
        self._marker = self._made.added_to(self._marker, self._connection, adopted=adopted)
        ownership.write_marker(self._connection, self._marker)

    def drop(self) -> None:
        if self._marker is not None and not self._is_lost:
            self._again("drop", self._drop)

    def _drop(self) -> None:
        """Restore what was there before us, and remove what is ours: the copies go last."""
        assert self._marker is not None
        self._make_way(transactions.READERS)
        if self._data is None:  # making it failed half-way
            self._record_made()
        restored = before.restore(self._connection, killed=False)
        try:
            with acquire.fresh_connection(self.database, self._connection) as connection:
                change_log.uninstall(connection)
                acquire.remove(self.database, connection, fingerprint.addresses(self._marker.made))
                ownership.erase(connection)
            self._forget_all()
        finally:
            acquire.report(self.database, restored, "this run")

    def _forget_all(self) -> None:
        self._marker = self._schemas = self._data = self._fast = None

    def keep(self) -> bool:
        if self._marker is not None and not self._is_lost:
            self._again("keep", self._keep)
        return True

    def _keep(self) -> None:
        """All as it was when the schema was made, and written down for the next run."""
        self._make_way(transactions.READERS)
        stack = self._kept[0].stack
        if len(stack) > 1:
            first = stack[1]
            first.hidden = True
            self._reset(first)
            self.forget(first)
        assert self._marker is not None
        restored = before.restore(self._connection, killed=False)
        self._write_down()
        ownership.write_marker(self._connection, replace(self._marker, ended=True))
        self._forget_all()
        acquire.report(self.database, restored, "this run")

    def _write_down(self) -> None:
        data, schemas = self._kept
        state = {"schema": schemas.state(), "data": data.state()}
        if self._fast is not None:
            state["fast"] = self._fast.installed.state()
        schema_cache.write(self._connection, acquire.definition_of(self.database), state)

    @contextmanager
    def away(self) -> Iterator[None]:
        if self._open is None:
            yield
            return
        is_made = self._data is not None
        if is_made:
            self._write_down()
        self._open.close()
        try:
            yield
        finally:
            self._reconnect()
            if is_made:
                schema_cache.erase(self._open)

    def rest(self) -> None:
        """See Backend.rest. Nobody else can come to a private database meanwhile: its lock is not needed."""
        if self._open is not None and self.database.private and self._staying is None:
            self._open.close()
            self._rests = True

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        return idle_locks.free(self.database.url, left_by)

    # The data

    def created(self) -> None:
        with self._translated("look at"):
            connection = self._connection
            assert self._marker is not None, "acquire() comes first"
            if self._schemas is None:
                self._schemas = Schemas(self.database, connection, self)
            if self._staying is not None:
                self._resume(self._schemas, self._staying)
                with connection.raw.transaction():
                    connection.run(DURABLE)
                    before.write_rows(connection, self._kept[0], self._marker)
                return
            is_first = self._data is None
            self._record_made()
            catalog = self._schemas.created()
            self._data = self._data or Data(connection, catalog)
            self._data.catalog = catalog
            if self.database.reset == "fast":
                self._fast = self._fast or Fast(connection, self._data)
            with connection.raw.transaction() if self._fast is None else self._fast.installed.transaction():
                connection.run(DURABLE)
                self._data.begin()
                if is_first:
                    before.write_rows(connection, self._data, self._marker)
                if self._fast is not None:
                    self._fast.begin()
                    self._fast.installed.altered = False
            self._schemas.accept_current()
            if is_first:
                self._cluster.look(connection)

    def _resume(self, schemas: Schemas, state: schema_cache.State) -> None:
        self._staying = None
        self._data = Data(self._connection, schemas.resume(state["schema"]))
        self._data.resume(state["data"])
        if self.database.reset == "fast":
            self._fast = Fast(self._connection, self._data)
            self._fast.resume(state["fast"])
        schemas.accept_current()
        self._cluster.look(self._connection)

    def save(self) -> Snapshot:
        snapshot = self._again("save", self._save)
        _, schemas = self._kept
        schemas.may_be_stale = False  # what an outer scope made is there for its inner ones
        return snapshot

    def written_since(self, snapshot: Snapshot) -> list[Written]:
        """See Backend.written_since."""
        return self._again("look at", lambda: self._written_since(snapshot))

    def _written_since(self, snapshot: Snapshot) -> list[Written]:
        """Compare what the change log names, or every table; no lock is waited for, and nobody is ended."""
        (kept, _), fast, connection = self._kept, self._fast, self._connection
        numbers: set[int] | None = None
        is_altered = True
        if fast is not None:
            logged = change_log.written(connection)
            is_altered = change_log.SCHEMA in logged or not connection.superuser
            if change_log.SENTINEL in logged and not (is_altered and fast.installed.damaged()):
                numbers = kept.catalog.rows_of(logged | kept.rows.dirty_since(snapshot.rows))
                numbers |= {table.number for table in fast.installed.watched}
        pairs = [
            (table, kept.rows.state(table.number, snapshot.rows))
            for table in kept.tables(lambda one: one.kind == "r" and one.number in kept.rows.base)
            if numbers is None or table.number in numbers
        ]
        by_key: set[int] = set()
        if fast is not None and numbers is not None and snapshot is fast.innermost:
            is_logged = fast.installed.all_keys_logged
            by_key = {one.number for one, _ in pairs if one.key and is_logged(one.number, snapshot.known)}
        found = differences.differences(connection, pairs, kept.catalog, by_key, snapshot.number)
        return [*found, *(differences.made(connection, kept.catalog) if is_altered else ())]

    def sessions_are_stale(self) -> bool:
        """See Backend.sessions_are_stale."""
        _, schemas = self._kept
        is_stale, schemas.may_be_stale = schemas.may_be_stale, False
        return is_stale

    def _save(self) -> Snapshot:
        kept, schemas = self._kept
        if self._fast is None:
            self._refuse_writers()
            self._accept_schema()
            snapshot = kept.save()
            snapshot.schema = schemas.current
            return snapshot
        try:
            snapshot = self._fast.save(self._accept_schema)
        except psycopg.errors.LockNotAvailable:
            self._refuse_writers()
            snapshot = self._fast.save(self._accept_schema)
        if self._fast.installed.altered:
            self._fast.installed.altered = False
            schemas.accept_current()
        snapshot.schema = schemas.current
        return snapshot

    def _accept_schema(self) -> bool:
        kept, schemas = self._kept
        if schemas.is_quickly_the_same(schemas.current, told=self._connection.superuser):
            return False
        changed = schemas.accept()
        kept.catalog = schemas.catalog
        return changed or (self._fast is not None and self._fast.installed.damaged())

    def _refuse_writers(self) -> None:
        try:
            self._make_way(transactions.WRITERS, end=False)
        except OpenTransactionError as error:
            raise writer_is_open(self.database.name, error) from None

    def reset(self, snapshot: Snapshot) -> bool:
        self._ended = []
        changed: bool | None = None
        if self._fast is not None and self._schemas is not None and snapshot.schema is self._schemas.current:
            try:
                changed = self._fast.reset_quickly(snapshot)
            except NoAnswer:
                with self._translated("reset"):
                    raise
            except psycopg.Error:
                pass  # it comes again, and is dealt with
        if changed is None:
            changed = self._again("reset", lambda: self._reset(snapshot))
            transactions.report(self._ended, self.database)
            self._cluster.report(self._connection)
        if self._data is not None and self._data.refreshed:
            views.warn_of_refreshed(self.database.name, self._data.refreshed)
        return changed

    def _reset(self, snapshot: Snapshot) -> bool:
        """Give all back. At the end of a scope around tests, see what single tests may have hidden."""
        kept, schemas = self._kept
        inner = kept.stack[kept.stack.index(snapshot) + 1 :]
        hidden = snapshot.hidden or any(one.may_hide for one in inner)
        everywhere = False
        if self._fast is not None:
            hidden |= any(one.is_dirty for one in (snapshot, *inner))
            everywhere = any(one.unexplained for one in (snapshot, *inner))
            changed = self._reset_fast(self._fast, snapshot, hidden, everywhere)
        else:
            self._make_way(transactions.LOCKERS)
            restored, _ = self._restore_schema(snapshot)
            changed = kept.reset(snapshot) or restored
        if self._connection.replaced:
            schemas.take_replaced(one.schema for one in kept.stack)
        if hidden or inner:
            self._end_idle_readers()
            if self._fast is None or any(one.unexplained for one in (snapshot, *inner)):
                self._cluster.look(self._connection)
        if hidden:
            snapshot.hidden = snapshot.quick = snapshot.unexplained = False
        if self._fast is not None and not (hidden and everywhere):
            snapshot.unexplained |= self._fast.pending or self._fast.unexplained
        snapshot.quick |= snapshot.unexplained or (changed and not hidden)
        return changed

    def _reset_fast(self, fast: Fast, snapshot: Snapshot, hidden: bool, everywhere: bool) -> bool:
        _, schemas = self._kept
        findings = EVERYTHING
        is_told = self._connection.superuser and not everywhere  # of alterations, by event triggers
        if (
            schemas.is_quickly_the_same(snapshot.schema)
            if hidden and not is_told
            else snapshot.schema is schemas.current
        ) or not self._altered(fast, snapshot):
            findings = self._try_fast(fast, snapshot, hidden, everywhere)
        if findings.again:
            if schemas.is_quickly_the_same(snapshot.schema) or not self._altered(fast, snapshot):
                fast.installed.know_newest()
                findings = self._try_fast(fast, snapshot, hidden, everywhere, same_schema=True)
            else:
                findings = EVERYTHING
        if findings.done:
            return findings.changed
        restored, altered = self._restore_schema(snapshot) if findings.schema else (False, None)
        if fast.installed.renew:
            with fast.installed.transaction():
                fast.installed.install()
        everything = (restored or findings.everything) and altered is None
        return fast.reset_by_comparing(snapshot, everything=everything, altered=altered) or restored

    def _altered(self, fast: Fast, snapshot: Snapshot) -> bool:
        """Whether the schema is another one than at `snapshot`, or our triggers in it are."""
        _, schemas = self._kept
        return schemas.changed(snapshot.schema) or fast.installed.damaged()

    def _try_fast(
        self, fast: Fast, snapshot: Snapshot, hidden: bool, everywhere: bool, *, same_schema: bool = False
    ) -> Findings:
        try:
            return fast.reset(snapshot, thorough=hidden, everywhere=everywhere, same_schema=same_schema)
        except psycopg.Error as error:  # a table is missing, or another one
            if not self._connection.refuses(error):
                raise
            why = said(error, self._secrets)
            if isinstance(error, psycopg.errors.UniqueViolation):
                # A plain owner's rows are updated in place: those that changed places meet.
                logger.info("store %r: what was written is compared, not put: %s", self.database.name, why)
                return Findings(schema=True)
            fast.report_slow_way(self.database.name, why)
            return EVERYTHING

    def restore_fully(self, snapshot: Snapshot) -> bool:
        self._ended = []
        changed = self._again("fully restore", lambda: self._restore_fully(snapshot))
        transactions.report(self._ended, self.database)
        return changed

    def _restore_fully(self, snapshot: Snapshot) -> bool:
        """Look at all there is, and end what holds a lock and sleeps."""
        kept, _ = self._kept
        for pid, sleeps in dump.holders(self._connection).items():
            if sleeps and pid not in (snapshot.holders or ()):
                self._connection.run(f"SELECT pg_terminate_backend({pid}, 1000)")
        self._make_way(transactions.LOCKERS)
        restored, _ = self._restore_schema(snapshot)
        if self._fast is not None:
            return self._fast.reset_by_comparing(snapshot, everything=True) or restored
        return kept.reset(snapshot) or restored

    def dump_data(self) -> dict[str, Counter[Any]]:
        if self._data is not None and self._data.stack[-1].holders is None:
            self._data.stack[-1].holders = frozenset(dump.holders(self._connection))
        return self._again("look at", lambda: dump.look(self._connection))

    def forget(self, snapshot: Snapshot) -> None:
        kept, _ = self._kept
        if snapshot not in kept.stack:
            return
        location = kept.stack.index(snapshot)
        outer, inner = kept.stack[location - 1], kept.stack[location:]
        self._again("forget", lambda: (self._fast or kept).forget(snapshot))
        outer.hidden |= any(one.may_hide for one in inner)
        outer.unexplained |= any(one.unexplained for one in inner)

    @property
    def _kept(self) -> tuple[Data, Schemas]:
        assert self._data is not None and self._schemas is not None, "created() comes first"
        return self._data, self._schemas

    # The schema

    def _restore_schema(self, snapshot: Snapshot) -> tuple[bool, set[int] | None]:
        """Give the schema back, and our own triggers in it.

        Returns:
            Whether either was another one; the oids of what was altered, if whatever was written besides is
            logged all the same.
        """
        kept, schemas = self._kept
        altered: set[int] | None = None
        changed = schemas.changed(snapshot.schema, told=self._connection.superuser)
        if changed:
            self._make_way(transactions.READERS)
            altered = schemas.restore(snapshot.schema)
            kept.catalog = schemas.catalog
        if self._fast is not None and (changed or self._fast.installed.damaged()):
            if altered is None or self._fast.installed.damaged(since=schemas.newest):
                altered = None
                with self._fast.installed.transaction():
                    self._fast.installed.install()
            else:
                self._fast.installed.know_sequences(altered)
            changed = True
        schemas.accept_current()
        return changed, altered

    # What `Schemas` needs to know

    def is_made(self, address: Address) -> bool:
        """Whether making the schema has made it."""
        assert self._marker is not None
        return f"{address[0]}:{address[1]}" in self._marker.made

    def remake(self) -> None:
        """Make the schema again, in place of what is left of it."""
        assert self._marker is not None and self.database.rebuild is not None
        with acquire.fresh_connection(self.database) as connection:
            acquire.remove(self.database, connection, fingerprint.addresses(self._marker.made))
        self._made = Made(self._connection)
        self.database.rebuild()
        self._record_made()

    def replaced(self, pairs: Mapping[Address, Address]) -> None:
        """What was at the first address was made again, and is at the second one."""
        assert self._marker is not None
        self._marker = moved(self._marker, pairs)
        before.replace(self._connection, pairs)
        ownership.write_marker(self._connection, self._marker)

    def rescue(self, addresses: Collection[Address]) -> list[str]:
        """Copy the rows of tables of the user's that cannot be restored to where they stay."""
        return before.rescue_all(self._connection, addresses)
