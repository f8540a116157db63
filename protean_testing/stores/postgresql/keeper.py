"""The keeper of one PostgreSQL database: checks it, owns it, and has its rows and its schema given back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ...errors import (
    LeakError,
    LeakWarning,
    OpenTransactionError,
    ProteanTestingError,
    StoreError,
    UnsafeStoreError,
    redacted,
)
from ...safeguard import is_test_name
from ...store import ended_scope
from ..keeper import Database
from . import baseline, data, fingerprint, noting, ownership, transactions
from .catalog import Catalog, read_catalog
from .connection import OURS, Connection, literal, psycopg, quoted
from .data import Data
from .fast import Fast, Look
from .fingerprint import Fingerprint, Object
from .transactions import OpenTransaction

Result = TypeVar("Result")
Tables = Collection[tuple[str | None, str]]

EVERYTHING = Look(frozenset(), schema=True, views=True, everything=True)
"""Nothing is known of what was written."""

LOCK_TRIES = 10
"""How often a lock may be in the way of one reset, each time of another transaction."""


@dataclass(eq=False)
class Schema:
    """A schema that one or several marks stand in, by its looks, which are others once it was built again."""

    looks: Fingerprint


@dataclass(frozen=True, eq=False)
class Mark:
    """What `PostgreSQLKeeper.save` returns: the data of a moment, and the schema it stood in."""

    data: data.Mark
    schema: Schema


class PostgreSQLKeeper:
    """Keeps the data of a PostgreSQL database (15 and later) on a connection of its own.

    Parameters:
        database: Where it is, and what may be done to it.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._open: Connection | None = None
        self._tables: Tables = ()
        self._before: frozenset[str] = frozenset()
        self._claimed = False
        self._numbers: dict[tuple[str, str], int] = {}
        self._data: Data | None = None
        self._fast: Fast | None = None
        self._schema = self._created = Schema({})
        self._made: dict[str, str] = {}  # the shapes of what creating the schema made
        self._glance: object = None
        self._names: dict[fingerprint.Address, Object] = {}

    # Whose it is

    def check(self, tables: Tables) -> None:
        self._tables = tables
        with self._told("check"):
            connection = self._connection()
            marker = ownership.read_marker(connection)
            if marker is None and ownership.schema_is_there(connection):
                raise self._refusal(f"it has a schema {OURS}, which is not ours.", "Rename that schema.")
            if marker is not None and marker.alive and not self._claimed:
                raise self._refusal(
                    f"it is in use by another run ({marker}), and two runs in one database would destroy "
                    "each other's data.",
                    "Wait for it to end, or give this run a database of its own.",
                )
            if self.database.private or self.database.unsafe:
                return
            name = self.database.url.database or connection.raw.info.dbname
            if marker is None and not is_test_name(name):
                raise self._refusal(
                    f'the database name {name!r} does not contain "test".',
                    f"Point it at {name}_test, or pass unsafe=True if losing this data is fine.",
                )
            self._refuse_rows_of_others(marker)

    def _refuse_rows_of_others(self, marker: ownership.Marker | None) -> None:
        connection = self._connection()
        for schema, name in sorted(self._tables, key=str) if not self._claimed else ():
            found = connection.rows(
                "SELECT c.oid::int8, i.identity, c.oid::regclass::text FROM pg_class c JOIN pg_namespace n "
                "ON n.oid = c.relnamespace, pg_identify_object('pg_class'::regclass, c.oid, 0) i "
                f"WHERE c.relkind IN ('r', 'p') AND c.relname = {literal(name)} "
                f"AND n.nspname = {self._schema_name(schema)}"
            )
            for _, identity, table in found:
                if marker is not None and not marker.adopted and f"table {identity}" not in marker.before:
                    continue
                if connection.value(f"SELECT EXISTS (SELECT FROM {table})"):
                    raise self._refusal(
                        f"table {table} is about to be created, but is there already and holds rows.",
                        "Give it an empty database, pass adopt=True to keep what is there, or pass "
                        "unsafe=True if losing these rows is fine.",
                    )

    def _schema_name(self, schema: str | None) -> str:
        """Where a table without a schema goes is decided by the application's search_path."""
        if schema is not None:
            return literal(schema)
        return f"COALESCE((SELECT {literal(self._default_schema())}), 'public')"

    def _default_schema(self) -> str:
        with self.database.engine().connect() as connection:
            return connection.dialect.default_schema_name or "public"

    def claim(self) -> None:
        with self._told("claim"):
            connection = self._connection()
            if not ownership.take_lock(connection):
                raise self._refusal(
                    "another run has just begun to use it.", "Give each run a database of its own."
                )
            marker = ownership.read_marker(connection)
            if marker is not None:
                self._clear_after(marker)
            self._drop_stale_tables()
            self._before = frozenset(map(str, fingerprint.objects(connection)))
            with connection.raw.transaction():
                ownership.write_marker(connection, self._before, self.database.adopt)
                for statement in (baseline.INSTALL,):
                    connection.run(statement)
            self._claimed = True

    def _clear_after(self, marker: ownership.Marker) -> None:
        """Drop what a dead run left."""
        connection = self._connection()
        self._make_way(transactions.READERS)
        if not marker.adopted:
            fingerprint.drop(
                connection, (one for one in fingerprint.objects(connection) if str(one) not in marker.before)
            )
        ownership.erase_marker(connection)

    def _drop_stale_tables(self) -> None:
        if self.database.adopt:
            return
        connection = self._connection()
        for schema, name in self._tables:
            where = quoted(schema) if schema else quoted(self._default_schema())
            connection.run(f"DROP TABLE IF EXISTS {where}.{quoted(name)} CASCADE")

    def drop(self) -> None:
        if not self._claimed:
            return
        with self._told("drop"):
            self._make_way(transactions.READERS)
            with self._fresh_connection() as connection:
                noting.uninstall(connection)
                if not self.database.adopt:
                    self._drop_all_since_claim(connection)
                ownership.erase_marker(connection)
            self._claimed = False
            self._data = self._fast = None

    def _drop_all_since_claim(self, connection: Connection) -> None:
        fingerprint.drop(
            connection, (one for one in fingerprint.objects(connection) if str(one) not in self._before)
        )

    @contextmanager
    def _fresh_connection(self) -> Iterator[Connection]:
        """For dropping: a server is slow to drop what a session has many plans for."""
        connection = Connection(self.database)
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    # The data

    def created(self) -> None:
        with self._told("look at"):
            connection = self._connection()
            self._take_schema()
            self._data = self._data or Data(connection, self._catalog())
            self._data.catalog = self._catalog()
            self._made = self._shapes(self._data.catalog)
            with connection.raw.transaction():
                if self.database.reset == "fast":
                    self._fast = self._fast or Fast(connection, self._data)
                    self._fast.install()
                self._data.begin()
                if self._fast is not None:
                    self._fast.begin()
            self._look_at_ours()

    def save(self) -> Mark:
        return self._again("save", self._save)

    def _save(self) -> Mark:
        if self._fast is not None:
            try:
                saved = self._fast.save(self._accept_schema)
            except psycopg.errors.LockNotAvailable:
                self._refuse_writers()
                saved = self._fast.save(self._accept_schema)
        else:
            self._refuse_writers()
            self._accept_schema()
            saved = self._kept.save()
        if self._fast is not None and self._fast.altered:
            self._look_at_ours()
        return Mark(saved, self._schema)

    def _refuse_writers(self) -> None:
        try:
            self._make_way(transactions.WRITERS, end=False)
        except OpenTransactionError as error:
            raise OpenTransactionError(
                f"a scope cannot begin on store {self.database.name!r}: a transaction that writes is open.\n"
                f"{error}\nCommit or close it before the scope begins, e.g.  session.commit()",
                store=self.database.name,
            ) from None

    def _accept_schema(self) -> bool:
        """What an outer scope changed in the schema is there for its inner scopes."""
        if not self._schema_changed():
            return False
        self._schema = Schema(fingerprint.take(self._connection()))
        self._glance = fingerprint.glance(self._connection())
        self._kept.catalog = self._catalog()
        return True

    def _schema_changed(self, mark: Mark | None = None) -> bool:
        """Whether the schema is another one than at `mark`, or than when it was last looked at."""
        schema = self._schema if mark is None else mark.schema
        connection = self._connection()
        now = fingerprint.glance(connection)
        if now == self._glance and schema is self._schema:
            return False
        if fingerprint.take(connection) != schema.looks:
            return True
        self._schema, self._glance = schema, now
        if self._fast is not None:
            self._fast.know_newest()
        return False

    def reset(self, mark: Mark) -> bool:
        changed, ended = self._again("reset", lambda: self._reset(mark))
        if ended:
            self._tell_of_leak(ended)
        return changed

    def _reset(self, mark: Mark) -> tuple[bool, list[OpenTransaction]]:
        if self._fast is None:
            ended = self._make_way(transactions.LOCKERS)
            mended, more = self._mend_schema(mark)
            ended += more
            changed = self._past_locks(ended, lambda: self._kept.reset(mark.data))
            return changed or mended, ended
        return self._reset_fast(self._fast, mark)

    def _reset_fast(self, fast: Fast, mark: Mark) -> tuple[bool, list[OpenTransaction]]:
        ended: list[OpenTransaction] = []
        look: bool | Look = EVERYTHING
        single = mark.data is fast.innermost and mark.schema is self._schema
        if single or not (self._schema_changed(mark) or fast.damaged()):
            look = self._past_locks(ended, lambda: self._try_fast(fast, mark))
        if isinstance(look, Look) and look.again and not self._schema_changed(mark):
            look = self._past_locks(ended, lambda: self._try_fast(fast, mark, same_schema=True))
        if isinstance(look, bool):
            return look, ended
        mended = False
        if look.schema:
            mended, more = self._mend_schema(mark)
            ended += more
        everything = mended or look.everything
        changed = self._past_locks(ended, lambda: fast.reset_by_looking(mark.data, everything=everything))
        return changed or mended, ended

    def _try_fast(self, fast: Fast, mark: Mark, *, same_schema: bool = False) -> bool | Look:
        try:
            return fast.reset(mark.data, same_schema=same_schema)
        except psycopg.errors.LockNotAvailable:
            raise
        except psycopg.Error:  # a table is missing, or another one
            if not self._connection().alive:
                raise
            return EVERYTHING

    def _past_locks(self, ended: list[OpenTransaction], work: Callable[[], Result]) -> Result:
        """Do `work`; where a transaction is in the way, wait until it is over, or end it."""
        for _ in range(LOCK_TRIES):
            try:
                return work()
            except psycopg.errors.LockNotAvailable:
                more = self._make_way(transactions.LOCKERS)
                ended += more or self._make_way(transactions.READERS)
        return work()

    def forget(self, mark: Mark) -> None:
        with self._told("forget"):
            if self._kept.knows(mark.data):
                (self._fast or self._kept).forget(mark.data)

    @property
    def _kept(self) -> Data:
        assert self._data is not None, "created() comes first"
        return self._data

    # The schema

    def _catalog(self) -> Catalog:
        return read_catalog(self._connection(), self._numbers)

    def _take_schema(self) -> None:
        connection = self._connection()
        self._created.looks = fingerprint.take(connection)
        self._schema = self._created
        self._names = {one.address: one for one in fingerprint.objects(connection)}

    def _mend_schema(self, mark: Mark) -> tuple[bool, list[OpenTransaction]]:
        """Drop what was made since `mark`, and make again what was altered or dropped."""
        connection = self._connection()
        if not self._schema_changed(mark):
            self._install_again()
            return False, []
        now = fingerprint.take(connection)
        ended = self._make_way(transactions.READERS)
        fingerprint.drop(connection, fingerprint.objects(connection, now.keys() - mark.schema.looks.keys()))
        now = fingerprint.take(connection)
        if now != mark.schema.looks:
            self._rebuild(
                mark, [address for address, looks in mark.schema.looks.items() if now.get(address) != looks]
            )
        self._schema = mark.schema
        self._kept.catalog = self._catalog()
        if self._fast is not None:
            with connection.raw.transaction():
                self._fast.install()
                self._fast.write_functions()
        self._look_at_ours()
        return True, ended

    def _install_again(self) -> None:
        if self._fast is not None and self._fast.damaged():
            with self._connection().raw.transaction():
                self._fast.install()
                self._fast.write_functions()
        self._look_at_ours()

    def _look_at_ours(self) -> None:
        """What we have installed is no change of the schema."""
        if self._fast is None or self._fast.altered:
            self._glance = fingerprint.glance(self._connection())
        if self._fast is not None:
            self._fast.altered = False

    def _rebuild(self, mark: Mark, altered: list[fingerprint.Address]) -> None:
        names = [str(self._names[address]) if address in self._names else "an object" for address in altered]
        why = ""
        if self.database.rebuild is None:
            why = "it is adopted"
        elif mark.schema is not self._created:
            why = "an outer scope had changed it too"
        elif not self._before.isdisjoint(names):
            why = "it was there before the run began"
        if why:
            raise self._lost(names, f"and cannot be made again, since {why}.")
        assert self.database.rebuild is not None
        with self._fresh_connection() as connection:
            self._drop_all_since_claim(connection)
        self.database.rebuild()
        self._take_schema()
        wrong = [name for name, _ in self._made.items() ^ self._shapes(self._catalog()).items()]
        if wrong:
            raise self._lost(names, f"and making it again gave another {min(wrong)}.")

    @staticmethod
    def _shapes(catalog: Catalog) -> dict[str, str]:
        tables = {f"table {table.sql}": table.shape for table in catalog.tables.values()}
        return tables | {f"sequence {sequence.sql}": "" for sequence in catalog.sequences.values()}

    def _lost(self, names: list[str], why: str) -> StoreError:
        what = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return StoreError(
            f"a test changed the schema of store {self.database.name!r} ({what}), {why}\n"
            "Give tests that change the schema an empty database:  SQLAlchemyStore(empty=True)",
            store=self.database.name,
        )

    # What all of it needs

    def _connection(self) -> Connection:
        if self._open is None:
            self._open = Connection(self.database)
        return self._open

    def _make_way(self, modes: tuple[str, ...], *, end: bool = True) -> list[OpenTransaction]:
        connection = self._connection()
        return transactions.wait_until_closed(
            lambda: transactions.open_transactions(connection, modes), connection, self.database.wait, end=end
        )

    def _again(self, what: str, work: Callable[[], Result]) -> Result:
        """Do `work`, and once more where a lock was in the way or the connection had been lost."""
        with self._told(what):
            try:
                return work()
            except psycopg.OperationalError:
                connection = self._connection()
                if not connection.alive:
                    connection.renew()
                    ownership.take_lock(connection)
                return work()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say which store could not do it, without the password."""
        try:
            yield
        except ProteanTestingError:
            raise
        except psycopg.Error as error:
            text = redacted(str(error), self.database.url.password).strip()
        else:
            return
        raise StoreError(f"could not {what} store {self.database.name!r}: {text}", store=self.database.name)

    def _refusal(self, why: str, instead: str) -> UnsafeStoreError:
        where = self.database.url.render_as_string(hide_password=True)
        return UnsafeStoreError(f"refusing to use store {self.database.name!r} ({where}):\n{why}\n{instead}")

    def _tell_of_leak(self, ended: list[OpenTransaction]) -> None:
        text = (
            f"{ended_scope.get()} left a transaction open on store {self.database.name!r}.\n"
            + "\n".join(f"  {one}" for one in ended)
            + "\nIt was closed and the data was reset. Close it in the test:  "
            "with self.db.session() as session: ..."
        )
        if self.database.on_leak == "fail":
            raise LeakError(text, store=self.database.name)
        if self.database.on_leak == "warn":
            warnings.warn(text, LeakWarning, stacklevel=2)
