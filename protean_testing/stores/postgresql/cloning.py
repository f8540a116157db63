"""A database of a worker's own: cloned from a template that one worker of the run has built.

All workers meet in the database ``postgres`` of the server: the locks that their sessions hold there tell
which runs and which workers live. What dead ones left is dropped by the next worker that comes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from sqlalchemy import URL

from ...errors import ConfigurationError, StoreError, UnsafeStoreError, redacted
from ...safeguard import is_test_name
from ...workers import Worker
from ..own import derived_name
from .connection import OURS, libpq_parameters, literal, psycopg, quoted

NEEDED = 4
"""Connections that a worker needs at least: this one, its keeper's, and two of the code under test."""

_MEETING = "postgres"
_OURS = re.compile(r"_protean_testing_([0-9a-f]{10})_(t_)?\w+$")

# Advisory locks have two numbers: these, and one of what is locked.
_MAKING, _BUILDING, _RUN, _OWN = range(0x70726F74, 0x70726F78)

_FULL = "too many|remaining connection slots"
_LISTS = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "temp_tablespaces",
)


class Clone:
    """The database of one worker.

    Parameters:
        given: The URL that was given, which tells the server, the role and the name.
        name: What the worker's own is called.
        me: The worker.
    """

    needs_keeper = False  # all of it goes at once

    def __init__(self, given: URL, name: str, me: Worker) -> None:
        self._given, self._name, self._me = given, name, me
        self._session: Any = None
        self._store = "database"
        self._template = ""

    def check(self, store: str, *, unsafe: bool) -> None:
        """See Own.check.

        Raises:
            UnsafeStoreError: The given database is none for tests by its name.
            ConfigurationError: The role may not create databases, or the server has no room for a worker.
        """
        self._store = store
        name = str(self._given.database)
        if not unsafe and not is_test_name(name):
            raise UnsafeStoreError(
                f"refusing to use store {store!r} ({self._given.render_as_string()}):\n"
                f'the database name {name!r} does not contain "test".\n'
                f"Point it at {name}_test, or pass unsafe=True if losing this data is fine."
            )
        with self._told("look at"):
            may, role = self._row(
                "SELECT rolsuper OR rolcreatedb, rolname FROM pg_roles WHERE rolname = current_user"
            )
            if not may:
                raise ConfigurationError(
                    f"store {store!r}: each worker has a database of its own beside {name!r}, and "
                    f"role {role!r} may not create databases. Allow it with:  "
                    f"ALTER ROLE {quoted(role)} CREATEDB"
                )
            if self._row("SELECT count(*) FROM pg_database WHERE datname = %s", name) == (0,):
                raise ConfigurationError(
                    f"store {store!r}: there is no database {name!r} on the server of its URL. "
                    "Create it: the workers' own take after it."
                )
            self._refuse_full_server()

    def _refuse_full_server(self) -> None:
        most, used = self._row(
            "SELECT current_setting('max_connections')::int "
            "- current_setting('superuser_reserved_connections')::int "
            "- coalesce(current_setting('reserved_connections', true), '0')::int, "
            "(SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL)"
        )
        if most - used < NEEDED - 1:
            raise ConfigurationError(
                f"store {self._store!r}: the server allows {most} connections, and {used} are in use. "
                f"A worker needs {NEEDED}: run fewer workers, or raise max_connections."
            )

    @contextmanager
    def making(
        self, definition: str, *, adopt: bool, alone: Callable[[], AbstractContextManager[None]]
    ) -> Iterator[None]:
        """See Own.making. The first to come builds the template, and the others wait for it.

        Raises:
            StoreError: It could not be created, or what made the schema is still connected.
        """
        try:
            with self._told("create"):
                is_made = self._begin(definition, adopt=adopt)
            yield
            if not is_made:
                with alone(), self._told("clone"):
                    self._create(self._template, template=self._name)
        finally:
            with suppress(psycopg.Error):
                self._lock("pg_advisory_unlock", _BUILDING, self._template)

    def _begin(self, definition: str, *, adopt: bool) -> bool:
        """Returns whether it was copied."""
        self._lock("pg_advisory_lock_shared", _RUN, self._me.run)
        self._lock("pg_advisory_lock", _OWN, self._name)
        self._sweep()
        given = str(self._given.database)
        digest = hashlib.sha256(f"{given} {definition}".encode()).hexdigest()[:10]
        self._template = derived_name(given, self._me.run, f"t_{digest}")
        self._lock("pg_advisory_lock", _BUILDING, self._template)
        if adopt and not self._is_there(self._template):
            self._create(self._template, template=given)
        if self._is_there(self._template):
            self._create(self._name, template=self._template)
            return True
        self._create(self._name, like=given)
        return False

    def drop(self) -> None:
        """See Own.drop. The last worker of the run drops its templates too."""
        if self._session is None:
            return
        try:
            with self._told("drop"):
                self._drop(self._name)
                self._lock("pg_advisory_unlock_shared", _RUN, self._me.run)
                if self._lock("pg_try_advisory_lock", _RUN, self._me.run):
                    for name, run, is_template in self._found():
                        if is_template and run == self._me.run:
                            self._drop(name)
        finally:
            self._session.close()
            self._session = None

    # Databases

    def _sweep(self) -> None:
        """Drop what dead runs, and dead workers of live ones, have left."""
        for name, run, is_template in self._found():
            for kind, what in ((_RUN, run), (_OWN, name)):
                if what == self._me.run or (kind == _OWN and is_template):
                    continue
                if self._lock("pg_try_advisory_lock", kind, what):  # once more where it is ours already
                    if self._is_there(name):
                        self._drop(name)
                    self._lock("pg_advisory_unlock", kind, what)
                    break

    def _found(self) -> Iterator[tuple[str, str, bool]]:
        """Name and run of every database of ours that this role may drop, and whether it is a template."""
        for (name,) in self._rows(
            "SELECT datname FROM pg_database WHERE pg_has_role(datdba, 'MEMBER') ORDER BY datname"
        ):
            match = _OURS.search(name)
            if match is not None:
                yield name, match[1], bool(match[2])

    def _is_there(self, name: str) -> bool:
        return bool(self._row("SELECT count(*) FROM pg_database WHERE datname = %s", name) == (1,))

    def _create(self, name: str, *, template: str = "", like: str = "") -> None:
        options = f" TEMPLATE {quoted(template)}" if template else self._locale(like)
        with self._making():
            self._run(f"CREATE DATABASE {quoted(name)}{options}")
        given = str(self._given.database)
        for setting in self._rows(
            "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
            "WHERE d.datname = %s AND s.setrole = 0",
            given,
        ):
            option, _, value = setting[0].partition("=")
            value = value if option in _LISTS else literal(value)
            with suppress(psycopg.errors.InsufficientPrivilege):
                self._run(f"ALTER DATABASE {quoted(name)} SET {quoted(option)} TO {value}")
        if like:
            self._create_extensions(name, like)
        if name == self._template:
            self._run(f"ALTER DATABASE {quoted(name)} ALLOW_CONNECTIONS false")  # who is in it is in the way

    def _locale(self, like: str) -> str:
        """Encoding and collation as the given database has them, where a new one would have others."""
        facts = (
            "SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text, "
            "coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') "
            "FROM pg_database d WHERE datname = %s"
        )
        found = self._row(facts, like)
        if found == self._row(facts, "template1"):
            return ""
        encoding, collate, ctype, provider, locale = found
        options = f"ENCODING {literal(encoding)} LC_COLLATE {literal(collate)} LC_CTYPE {literal(ctype)}"
        kind = {"i": "icu", "b": "builtin"}.get(provider)
        if kind is not None:
            options += f" LOCALE_PROVIDER {kind} {kind.upper()}_LOCALE {literal(locale)}"
        return f" TEMPLATE template0 {options}"

    def _create_extensions(self, name: str, like: str) -> None:
        """Those that the given database has, which often only its administrator could create."""
        query = (
            "SELECT extname::text, nspname::text FROM pg_extension e JOIN pg_namespace n "
            "ON n.oid = extnamespace WHERE e.oid >= 16384"
        )
        with self._connected(like) as connection:
            found = connection.execute(query).fetchall()
        if not found:
            return
        with self._connected(name) as connection:
            for extension, schema in found:
                if schema != "pg_catalog":
                    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}".encode())
                try:
                    connection.execute(
                        f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)} "
                        f"SCHEMA {quoted(schema)} CASCADE".encode()
                    )
                except psycopg.errors.InsufficientPrivilege:
                    raise ConfigurationError(
                        f"store {self._store!r}: {like!r} has the extension {extension!r}, which the role of "
                        "its URL may not create in the database of a worker. Let a superuser create it in "
                        "template1, from which new databases are made."
                    ) from None

    def _drop(self, name: str) -> None:
        with self._making():
            self._run(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")

    @contextmanager
    def _making(self) -> Iterator[None]:
        """One database at a time is made or dropped on the server: several at once may deadlock."""
        self._lock("pg_advisory_lock", _MAKING, "")
        try:
            yield
        finally:
            with suppress(psycopg.Error):
                self._lock("pg_advisory_unlock", _MAKING, "")

    # The session

    def _lock(self, how: str, kind: int, name: str) -> Any:
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], signed=True)
        return self._row(f"SELECT {how}({kind}, {number})")[0]

    def _run(self, statement: str) -> None:
        self._meeting().execute(statement.encode())

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._meeting().execute(query.encode(), values or None).fetchall()
        return found

    def _row(self, query: str, *values: object) -> Any:
        return self._rows(query, *values)[0]

    def _meeting(self) -> Any:
        if self._session is None or self._session.closed:
            try:
                self._session = self._connected(_MEETING)
            except psycopg.OperationalError as error:
                if re.search(_FULL, str(error)):
                    raise
                self._session = self._connected(str(self._given.database))
        return self._session

    def _connected(self, database: str) -> Any:
        parameters = {**libpq_parameters(self._given), "dbname": database, "application_name": OURS}
        connection = psycopg.connect(**parameters, autocommit=True)
        connection.execute(
            "SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)"
        )
        return connection

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say which store could not do it, without the password."""
        try:
            yield
            return
        except psycopg.Error as error:
            kind, text = type(error), redacted(str(error), self._given.password).strip()
        if re.search(_FULL, text):
            raise ConfigurationError(
                f"store {self._store!r}: the server has no connection left for this worker, which needs "
                f"{NEEDED}: run fewer workers, or raise max_connections.\n{text}"
            )
        if issubclass(kind, psycopg.errors.ObjectInUse):
            text += "\nEnd those sessions: a database is copied while nobody is connected to it."
        raise StoreError(
            f"could not {what} the database of worker {self._me.name} for store {self._store!r}: {text}",
            store=self._store,
        )
