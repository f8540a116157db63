"""Any SQL database that SQLAlchemy reaches: its schema is made here, its data is kept by a backend."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from logging import getLogger
from typing import Any, Literal

from sqlalchemy import URL, Connection, MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from ...changes import Written
from ...config import environ
from ...errors import ConfigurationError, NotKeptWarning, StoreError
from ...store import LeftBy, OnLeak, ResetAfter, Store, validate
from ..driver_errors import said
from . import hints
from .access import SQLAccess, checked_factory
from .backend import Backend, Database
from .backends import backend_for
from .definition import Definition, all_metadata, define, schema_key, unchanged
from .handle import AnEngine, DatabaseHandle, empty_handle, engine_of
from .inputs import Inputs
from .inputs import key as key_of_inputs
from .made import explain_location, in_its_place, report_test_db
from .missing import dropping, missing_database
from .roles import declared, make_roles
from .snapshot import SQLSnapshot
from .sources import Schema, inputs_of, run_source, source_of
from .stagger import stagger
from .urls import parsed_url, sync_url, with_secrets
from .worker_url import worker_url

Reset = Literal["fast", "generic"]
Dialect = Literal["sqlite", "postgresql"]

logger = getLogger("protean_testing")
_told: set[str] = set()  # why schemas are not kept, each once


class SQLAlchemyStore(SQLAccess):
    """A SQL database. Say what makes its schema, and where it is if that is not left to the environment.

    Parameters:
        metadata: Its tables are the schema; several may be given.
        schema: Makes the schema: a callable, paths of ``.sql`` files in their order, or `alembic`. A callable
            is given an engine (an async one if it is ``async def``) if its first argument has no default, or
            "engine" in its name. With metadata beside it, what that has otherwise is warned of.
        inputs: What `schema` depends on beside its own source, or what listens to the creation of tables:
            files, directories, plain values. A schema that is kept is made anew if one of them changes.
        adopt: The schema exists already: its rows are the baseline, and it is never dropped. With metadata
            beside it, tables that have other columns are warned of.
        empty: There is no schema: an empty database, for tests of migrations.
        url: Where it is, or a callable that returns that on first use. Left out, the environment decides;
            SQLite in memory by default.
        dialect: ``"sqlite"`` or ``"postgresql"``, if no URL is given: a private database, or ``DATABASE_URL``
            if ``TEST_DB`` asks for the same.
        engine: The application's own engine, or a callable that returns the current one.
        session_factory: Makes what `db.session()` and `db.async_session()` return: a ``sessionmaker``, a
            class, or a ``scoped_session``, whose session is removed at each test's end.
        name: What messages call the store; the name in `db.store(name)`.
        reset_after: ``"test"``, or ``"class"`` where the tests of a class build on each other.
        unsafe: Allow a database that is not plainly a test database, or that holds rows of others.
        reset: ``"fast"``, or ``"generic"`` to install nothing and look at every table.
        wait: Seconds to wait at a reset for a transaction that is still at work.
        on_leak: ``"reset"``, ``"warn"`` or ``"fail"`` where a test left a transaction open, a connection
            checked out, or a thread that writes.
        verify: Compare everything after each reset, and report what is not as it was.
        keep: The schema stays at the end of the run, and the next one uses it if nothing that makes it has
            changed. Left out, ``PROTEAN_TESTING_KEEP`` decides. Only in a given PostgreSQL database or SQLite
            file; a callable `schema` needs `inputs`.

        stagger: The ids of each table begin elsewhere, the same in every run: 1001, 2001, ... in the order of
            their names. So an id of another table is never right by chance.
        role: What tests connect as, on a private PostgreSQL server: a role that is no superuser, and owns
            nothing. The schema is made without it, and grants to it what it may.

    Raises:
        ConfigurationError: The arguments contradict each other.
    """

    kind = "database"

    def __init__(
        self,
        metadata: MetaData | Sequence[MetaData] | None = None,
        *,
        schema: Schema | None = None,
        inputs: Inputs = None,
        adopt: bool = False,
        empty: bool = False,
        url: str | URL | Callable[[], str | URL] | None = None,
        dialect: Dialect | None = None,
        engine: AnEngine | None = None,
        session_factory: Any = None,
        name: str = "",
        reset_after: ResetAfter = "test",
        unsafe: bool = False,
        reset: Reset = "fast",
        wait: float = 2.0,
        on_leak: OnLeak = "warn",
        verify: bool = False,
        keep: bool | None = None,
        stagger: bool = False,
        role: str = "",
    ) -> None:
        validate(self, name=name, reset_after=reset_after, on_leak=on_leak, reset=reset, wait=wait)
        validate(self, adopt=adopt, empty=empty, unsafe=unsafe, verify=verify, keep=keep, dialect=dialect)
        validate(self, stagger=stagger, role=role)
        others = [schema is not None, adopt, empty].count(True)
        if others > 1 or (metadata is None and not others) or (metadata is not None and empty):
            raise ConfigurationError(
                "SQLAlchemyStore takes one of metadata, schema=, adopt=True and empty=True: it must know "
                "what makes the schema."
            )
        if [url is not None, engine is not None, dialect is not None].count(True) > 1:
            raise ConfigurationError(
                "SQLAlchemyStore takes one of url=, engine= and dialect=: an engine has its URL, and a URL "
                "its dialect."
            )
        if inputs is not None and (adopt or empty):
            raise ConfigurationError(
                "SQLAlchemyStore takes inputs= beside metadata or schema=: it says what they depend on."
            )
        given, is_made = all_metadata(metadata), not others
        self.metadata: tuple[MetaData, ...] = given if is_made else ()
        self._models = () if is_made else given
        self.name = name or "database"
        self.reset_after, self.on_leak, self.verify = reset_after, on_leak, verify
        self.adopt, self.empty, self.unsafe = adopt, empty, unsafe
        self._keep = keep
        self._schema = source_of(schema)
        self._inputs = inputs_of(self._schema, inputs)
        key = schema_key(self._schema), key_of_inputs(self._inputs)
        self._schema_key = (self.metadata, *key, adopt, empty, stagger)
        self._stagger, self.role = stagger, role
        declared.update({role} - {""})
        self._definition: tuple[DatabaseHandle, Definition] | None = None
        self._url = url if url is None or callable(url) else parsed_url(url)
        self.dialect, self.session_factory = dialect, checked_factory(session_factory)
        self._engine = engine
        self._options: dict[str, Any] = {"reset": reset, "wait": wait, "on_leak": on_leak}
        self._handle: DatabaseHandle | None = None
        self._is_advised = False

    # Where it is

    @property
    def needs_url(self) -> bool:
        """True if nobody has said yet where the database is."""
        return self._url is None and self._engine is None and (self._handle is None or self._handle.closed)

    @property
    def place(self) -> str:
        return self._handle.place if self._handle is not None else ""

    def bind(self, url: str, *, private: bool = False) -> None:
        """Say where the database is. `private` means that it was made for this run alone.

        A store that wants an empty database gets one of its own beside a given one.
        """
        at = parsed_url(url)
        if self.empty and not private:
            self._handle = empty_handle(at)
        else:
            self._handle = DatabaseHandle(
                at if private else worker_url(at), engine=self._engine, private=private
            )

    def _live(self) -> DatabaseHandle:
        if self._handle is None or self._handle.closed:
            if self._engine is not None:
                self._handle = DatabaseHandle(sync_url(engine_of(self._engine).url), engine=self._engine)
            elif self._url is not None:
                # In one expression: a name in this frame would show the password.
                given = self._url if isinstance(self._url, URL) else parsed_url(self._url())
                self._handle = DatabaseHandle(worker_url(given))
            else:
                raise ConfigurationError(f"store {self.name!r} is not in use: it has no database yet.")
        return self._handle

    def schema_key(self) -> Hashable:
        """Equal for two stores with the same schema."""
        return self._schema_key

    def identity(self) -> Hashable:
        return (self.location(), self.schema_key())

    def location(self) -> Hashable:
        return self._live().key

    def share(self, first: Store) -> None:
        assert isinstance(first, SQLAlchemyStore)
        handle = first._live()
        handle.has_sessions_of(self.session_factory)
        for other in handle.makers:
            if other.schema_key() == self.schema_key():
                continue
            both = other.tables() & self.tables()
            if both or not (other.metadata and self.metadata):
                table = ".".join(filter(None, min(both, key=str))) if both else ""
                what = f'both have table "{table}"' if both else "cannot be told apart"
                raise ConfigurationError(
                    f"stores {other.name!r} and {self.name!r} are one database, {handle.shown}, but have "
                    f"different schemas, which {what}.\nGive each a database of its own, or both the same "
                    "schema, or drop each with its block:  test_database(..., drop=True)"
                )
        self._handle = handle

    @contextmanager
    def _working(self, what: str) -> Iterator[Connection]:
        """A transaction of the engine's, each of whose statements has an end."""
        handle = self._live()
        lost = ""
        try:
            with handle.engine().connect() as connection, handle.limited(connection), connection.begin():
                yield connection
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            lost = said(error, with_secrets(handle.url))
        if lost:
            raise StoreError(
                f"could not {what} store {self.name!r} ({handle.shown}): {lost}", store=self.name
            ) from None

    # The lifecycle

    def check(self) -> None:
        if not self._schema and not self.adopt and not self.empty and not self.tables():
            raise ConfigurationError(
                f"store {self.name!r}: its metadata has no tables. Are the modules with the models imported?"
            )
        handle = self._live()
        if self.adopt and handle.private:
            raise ConfigurationError(
                f"store {self.name!r}: adopt=True takes what is there already, and nobody has said where: "
                "this would be a new and empty database.\n"
                "Pass url= or engine=, or set TEST_DB and DATABASE_URL."
            )
        if handle.own is not None:
            if not handle.acquired:
                handle.own.check(self.name, unsafe=self.unsafe)
            self._examine_given(handle)
        elif handle.sibling is None or handle.sibling.check(self.name, unsafe=self.unsafe):
            self._check_given(handle)

    def _check_given(self, handle: DatabaseHandle) -> None:
        """Refuse what may not be used; one that is not there is created when its schema is."""
        if handle.missing is not None and not handle.acquired:
            return
        try:
            self._backend().check(self.tables())
        except ConfigurationError:
            if not handle.private and not self.adopt:
                handle.missing = missing_database(sync_url(handle.url), self.name)
            if handle.missing is None:
                raise

    def create_schema(self) -> None:
        handle, backend = self._live(), self._backend()
        if self._url is not None or self._engine is not None:
            report_test_db(self.name, handle)
        if not (self.adopt or self.empty):
            hints.watch_schema(handle)
            hints.warn_if_made_again(self.name, handle, *self._made_for())
        handle.has_sessions_of(self.session_factory)
        make_roles(self.role, self.name, handle)
        is_first = not handle.acquired
        if is_first and handle.sibling is not None:
            handle.sibling.create(self.name)
        if is_first and handle.missing is not None:
            handle.missing.create()
            backend.check(self.tables())
        with self._own_database(handle) if is_first else nullcontext():
            if self.adopt:
                hints.warn_of_stale_tables(self.name, handle.engine, self._models)
            is_made = self._acquire(handle, backend) if is_first else self._drop_tables()
            handle.makers.append(self)
            if not is_made:
                with self._made_here(handle):
                    self.make()
            if self._schema is not None:
                hints.warn_of_stale_tables(self.name, handle.engine, self._models, self._schema)
            backend.created()
            handle.made.append(self)
            if is_first and handle.own is not None and not is_made and not self.adopt:
                handle.own.share(handle.alone)

    def _acquire(self, handle: DatabaseHandle, backend: Backend) -> bool:
        """Take the database for this run. Returns whether the schema is there already."""
        is_made = bool(backend.acquire())
        handle.acquired = True
        whose = "private to this run" if handle.private else "acquired for this run"
        again = ", and the schema of an earlier run is used again" if is_made else ""
        logger.info("store %r: %s is %s%s", self.name, handle.shown, whose, again)
        return is_made

    def _drop_tables(self) -> bool:
        """Drop what stands in the way in a database of another store: `check` allowed it."""
        with unchanged(self.metadata):
            for metadata in self.metadata:
                with self._working("drop") as connection:
                    metadata.drop_all(connection)
        return False

    def drop_schema(self) -> None:
        handle = self._live()
        if self._keep is None and not self.adopt and environ.wants_keep():
            where = "ends with the run, as it was given no URL" if handle.private else "could not be kept"
            environ.unused(environ.KEEP_VARIABLE, f"the database of store {self.name!r} {where}.")
        if not (self._is_advised or self.adopt or self._engine):
            hints.remark_on_unwritten(self.name, handle)
        if not handle.acquired or handle.ends_by_itself:
            return
        backend = self._backend()
        is_whole = handle.made == handle.makers == [self]
        if is_whole and handle.own is None and self._keeps(handle) and backend.keep():
            handle.acquired = False
            environ.used(environ.KEEP_VARIABLE)
            logger.info("store %r: the schema stays in %s for the next run", self.name, handle.shown)
        else:
            backend.drop()
            if not handle.private and handle.own is None and handle.sibling is None and not self.adopt:
                handle.at_end = dropping(handle.url, self.name, handle.missing) or handle.at_end
            logger.info("store %r: %s is as it was before the run", self.name, handle.shown)

    def save_data(self) -> SQLSnapshot:
        handle, backend = self._live(), self._backend()
        return SQLSnapshot(backend.save(), handle.watch().taken(), handle, backend)

    def reset_data(self, snapshot: SQLSnapshot) -> bool:
        handle = snapshot.handle
        if handle.scoped:
            handle.remove_sessions()
        if handle.may_change_engines:
            handle.watch()
        changed = snapshot.backend.reset(snapshot.kept)
        handle.renew_own_pool(is_stale=snapshot.backend.sessions_are_stale())
        if changed:
            handle.was_written = True
            if not self._is_advised:
                self._is_advised = True
                hints.warn_of_what_is_never_reset(handle)
        else:
            handle.idle_resets += 1
        return changed

    def written_since(self, snapshot: SQLSnapshot) -> Iterable[Written]:
        return snapshot.backend.written_since(snapshot.kept)

    def restore_fully(self, snapshot: SQLSnapshot) -> bool:
        changed = snapshot.backend.restore_fully(snapshot.kept)
        snapshot.handle.renew_pools()
        return changed

    def forget_data(self, snapshot: SQLSnapshot) -> None:
        snapshot.backend.forget(snapshot.kept)

    def dump_data(self) -> Mapping[str, Counter[Any]]:
        return self._backend().dump_data()

    def left_open(self, snapshot: SQLSnapshot) -> list[str]:
        return snapshot.handle.checkouts.left(snapshot.taken)

    def rest(self) -> None:
        if self._handle is not None and not self._handle.closed:
            self._handle.rest()

    @property
    def decided_for(self) -> Hashable:
        private = self._handle is not None and self._handle.private and self._engine is None
        return ("database", self.schema_key(), self._live().url.get_backend_name()) if private else None

    def discard(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None and handle.url.get_backend_name() == "postgresql":
            from ..postgresql.connection import drop_database

            drop_database(handle.url)

    @property
    def can_free(self) -> bool:
        return self._live().url.get_backend_name() != "sqlite"  # which gives up by itself after some seconds

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        return self._backend().free(left_by)

    async def leave_loop(self) -> None:
        await self._live().leave_loop()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()

    def _backend(self) -> Backend:
        handle = self._live()
        if handle.backend is None:
            handle.backend = backend_for(self._database(handle))
        return handle.backend

    def _database(self, handle: DatabaseHandle) -> Database:
        """What its backend knows of a place."""
        return Database(
            name=self.name,
            url=sync_url(handle.url),
            engine=handle.engine,
            private=handle.private or handle.own is not None,
            adopt=self.adopt,
            unsafe=self.unsafe,
            tables=self.tables(),
            rebuild=None if self.adopt else handle.make_all,
            definition=self._described().digest if handle.own or self._keeps(handle) else "",
            **self._options,
        )

    def _examine_given(self, handle: DatabaseHandle) -> None:
        """Refuse in a worker what one process would refuse: what stands in its own database is a copy."""
        if handle.own is None or self.empty:
            return
        given = DatabaseHandle(handle.own.given)
        try:
            handle.own.examine(self._database(given), self.tables())
        finally:
            given.close()

    def _own_database(self, handle: DatabaseHandle) -> AbstractContextManager[None]:
        """Make a worker's own database round this; nothing for one that is used as it was given."""
        if handle.own is None:
            return nullcontext()
        return handle.own.making(
            self._described(), adopt=self.adopt, keep=self._keeps(handle), alone=handle.alone
        )

    def _keeps(self, handle: DatabaseHandle) -> bool:
        """Whether the schema is to stay. What is private is gone with this run anyway."""
        keep = environ.wants_keep() if self._keep is None else self._keep
        if not keep or handle.private or self.adopt or self.empty:
            return False
        why = self._described().undeclared
        text = f"the schema of store {self.name!r} is not kept for the next run: {why}."
        if why and text not in _told:
            _told.add(text)
            logger.info(text)
            warnings.warn(text, NotKeptWarning, stacklevel=2)
        return not why

    @contextmanager
    def _made_here(self, handle: DatabaseHandle) -> Iterator[None]:
        """Make the schema inside of this, and see that it was made here."""
        with ExitStack() as stack:
            is_given = self._url is not None or self._engine is not None or self.dialect is not None
            stack.enter_context(explain_location(self.name, handle, is_given=is_given))
            if self._schema is not None:
                stack.enter_context(in_its_place(self._schema, self.name, handle))
            yield

    def _described(self) -> Definition:
        """What makes the schema, as it was when this place was first asked for it."""
        handle = self._live()
        if self._definition is None or self._definition[0] is not handle:
            engine = handle.engine()
            more = (
                self.adopt,
                self.empty,
                self._stagger,
                engine.get_execution_options().get("schema_translate_map"),
            )
            found = define(self.metadata, self._schema, engine.dialect, *more, inputs=self._inputs)
            self._definition = handle, found
        return self._definition[1]

    def _made_for(self) -> tuple[set[tuple[str | None, str]], object, str]:
        return self.tables(), next(iter(self.metadata), self), "MetaData"

    def tables(self) -> set[tuple[str | None, str]]:
        """(schema or None, name) of every table of its metadata."""
        return {
            (table.schema, table.name) for metadata in self.metadata for table in metadata.tables.values()
        }

    def make(self) -> None:
        """Make the schema; again, if a test has broken it."""
        handle = self._live()
        for metadata in self.metadata:
            with self._working("create") as connection:
                if connection.dialect.name == "postgresql":
                    for schema in sorted({schema for schema, _ in self.tables() if schema}):
                        connection.execute(CreateSchema(schema, if_not_exists=True))
                with unchanged([metadata]):
                    metadata.create_all(connection)
        if self._schema is not None:
            run_source(self._schema, self.name, handle)
        if self._stagger:
            with self._working("stagger") as connection:
                stagger(connection, self.name)
