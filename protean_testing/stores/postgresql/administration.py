"""Where all workers of a server meet: databases are made and dropped, and whoever is dead is found there.

The locks that a session holds in the database ``postgres`` tell which runs and which workers live, from
whatever machine. What dead ones left is dropped by the next that comes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL

from ...errors import ConfigurationError
from ...waiting import LONGEST, turns
from ..driver_errors import translated
from ..sql.urls import with_secrets
from ..sql.worker_database import DERIVED, KEPT
from . import likeness
from .connection import OURS, Connection, connect, literal, patience_for, psycopg, quoted

NEEDED = 4
"""Connections that a worker needs at least: this one, its backend's, and two of the code under test."""

MAKING, BUILDING, RUN, OWN = range(0x70726F74, 0x70726F78)
"""The first number of an advisory lock; the second is one of the name that is locked."""

_WHERE = "postgres"
_FULL = "too many|remaining connection slots"


@dataclass(frozen=True)
class Found:
    """A database of ours.

    Attributes:
        name: Its name.
        run: The run that has made it, or `KEPT`.
        is_template: Whether workers' own are copied from it.
    """

    name: str
    run: str
    is_template: bool


class Administration:
    """A session there.

    Parameters:
        given: Tells the server and the role.
        store: What messages call the store.
    """

    def __init__(self, given: URL, store: str) -> None:
        self._given, self.store = given, store
        self._session: Any = None

    # Whose is what

    def lock(self, kind: int, name: str, *, shared: bool = False) -> None:
        """Wait until nobody else has the lock, and hold it as long as this session lives.

        Raises:
            psycopg.errors.LockNotAvailable: Somebody kept it for `LONGEST` seconds.
        """
        take = f"SELECT pg_try_advisory_lock{'_shared' * shared}({kind}, {_number(name)})"
        for turn in turns(LONGEST):
            if self.row(take)[0]:
                return
            if turn.is_last:
                raise psycopg.errors.LockNotAvailable(f"another worker held it for {LONGEST:g} s")

    def try_lock(self, kind: int, name: str) -> bool:
        """The same without waiting. True where it is held now, once more where it was already.

        False also where somebody who may not come here holds it in another database.
        """
        if not self.row(f"SELECT pg_try_advisory_lock({kind}, {_number(name)})")[0]:
            return False
        elsewhere = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid() "
            f"AND classid = {kind} AND objid = {_number(name) & 0xFFFFFFFF}"
        )
        if self.row(elsewhere) == (0,):
            return True
        self.unlock(kind, name)
        return False

    def unlock(self, kind: int, name: str, *, shared: bool = False) -> None:
        """Let it go."""
        self.row(f"SELECT pg_advisory_unlock{'_shared' * shared}({kind}, {_number(name)})")

    @contextmanager
    def locked(self, kind: int, name: str, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock inside."""
        self.lock(kind, name, shared=shared)
        try:
            yield
        finally:
            with suppress(psycopg.Error):
                self.unlock(kind, name, shared=shared)

    def sweep(self, run: str = "") -> None:
        """Drop what dead runs, and dead workers of live ones, have left.

        Parameters:
            run: Our own, which lives.
        """
        for found in self.found():
            for kind, what in ((RUN, found.run), (OWN, found.name)):
                if what in (run, KEPT) or (kind == OWN and found.is_template):
                    continue
                if self.try_lock(kind, what):
                    if self.is_there(found.name) and not self._is_in_use(found.name):
                        self.drop(found.name)
                    self.unlock(kind, what)
                    break

    def found(self) -> Iterator[Found]:
        """Every database of ours that this role may drop."""
        for (name,) in self.rows(
            "SELECT datname FROM pg_database WHERE pg_has_role(datdba, 'MEMBER') ORDER BY datname"
        ):
            match = DERIVED.search(name)
            if match is not None:
                yield Found(name, match[1], bool(match[2]))

    # Databases

    def is_there(self, name: str) -> bool:
        """Whether there is such a database."""
        return bool(self.row("SELECT count(*) FROM pg_database WHERE datname = %s", name) == (1,))

    def _is_in_use(self, name: str) -> bool:
        """Whether a session of ours is in it: one that had to connect again may have lost its locks."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
        return bool(self.row(query, name, OURS) != (0,))

    def create(self, name: str, *, like: str, template: str = "") -> None:
        """Create a database that is like a given one.

        Parameters:
            name: Its name.
            like: The given one: what an administrator has put in it, or set for it, the new one has too.
                Empty if there is none.
            template: A copy of such a one, with a schema in it.

        Raises:
            ConfigurationError: Something of it can be neither copied nor made again.
        """
        if template:
            self._copy(name, template)
        elif like:
            self._create_like(name, like)
        else:
            with self.locked(MAKING, ""):
                self._run(f"CREATE DATABASE {quoted(name)}")
        for statement, what in likeness.beside(self.rows, like, name) if like else ():
            try:
                self._run(statement)
            except psycopg.errors.InsufficientPrivilege as error:
                raise ConfigurationError(
                    f"store {self.store!r}: {like!r} has the {what}, which the role of its URL may not give "
                    f"to the database of a worker: {error.diag.message_primary}.\n"
                    "Let a role run the tests that may, or allow it; a setting with:  "
                    "GRANT SET ON PARAMETER ... TO ..."
                ) from None

    def content(self, name: str) -> set[str]:
        """See `likeness.content`."""
        with self._connected(name) as connection:
            return likeness.content(connection)

    def _create_like(self, name: str, like: str) -> None:
        wanted = self.content(like)
        missing = likeness.uncommon(wanted)
        if not missing:
            with self.locked(MAKING, ""):
                self._run(f"CREATE DATABASE {quoted(name)}{self._locale(like)}")
            self._create_extensions(name, like)
            found = self.content(name)
            if found == wanted:
                return
            missing = wanted - found or found - wanted
            self.drop(name)
        try:
            self._copy(name, like)
        except (psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege) as error:
            allow = f"Make it its owner, or allow it with:  ALTER DATABASE {quoted(like)} IS_TEMPLATE true"
            if isinstance(error, psycopg.errors.ObjectInUse):
                allow = "End those sessions: a database is copied while nobody is connected to it."
            raise ConfigurationError(
                f"store {self.store!r}: {like!r} holds what a new database has not "
                f"({likeness.named(missing)}), so that of a worker is a copy of it, which failed: "
                f"{error.diag.message_primary}. {error.diag.message_detail or ''}\n{allow}"
            ) from None
        missing = wanted - self.content(name)
        if missing:
            raise ConfigurationError(
                f"store {self.store!r}: {like!r} holds what no copy of it has, nor the database of a worker: "
                f"{likeness.named(missing)}. Run these tests in one process, or drop it there."
            )

    def _copy(self, name: str, source: str) -> None:
        with self.locked(MAKING, ""):
            self._run(f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(source)}")

    def create_template(self, name: str, source: str, comment: str) -> None:
        """Create a database that is only copied: a session in it would be in the way of that.

        Parameters:
            name: Its name.
            source: What it is a copy of.
            comment: A text to be kept with it; until then it is not complete.
        """
        self._copy(name, source)
        self._run(f"ALTER DATABASE {quoted(name)} ALLOW_CONNECTIONS false")
        self.write_comment(name, comment)

    def write_comment(self, name: str, text: str) -> None:
        """Write a comment on a database."""
        self._run(f"COMMENT ON DATABASE {quoted(name)} IS {literal(text)}")

    def comment(self, name: str) -> str | None:
        """The comment on a database; None where there is none, or no such database."""
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        found = self.rows(query, name)
        return found[0][0] if found else None

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it. Harmless where there is none."""
        with self.locked(MAKING, ""):
            self._run(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")

    def _locale(self, like: str) -> str:
        """Encoding and collation, where a new database would have others."""
        facts = (
            "SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text, "
            "coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), "
            "to_jsonb(d) ->> 'daticurules', spcname::text "
            "FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = %s"
        )
        found = self.row(facts, like)
        if found == self.row(facts, "template1"):
            return ""
        encoding, collate, ctype, provider, locale, rules, space = found
        options = f"ENCODING {literal(encoding)} LC_COLLATE {literal(collate)} LC_CTYPE {literal(ctype)}"
        kind = {"i": "icu", "b": "builtin"}.get(provider)
        if kind is not None:
            options += f" LOCALE_PROVIDER {kind} {kind.upper()}_LOCALE {literal(locale)}"
        options += f" ICU_RULES {literal(rules)}" if rules else ""
        return f" TEMPLATE template0 {options} TABLESPACE {quoted(space)}"

    def _create_extensions(self, name: str, like: str) -> None:
        """As far as that is possible: many only an administrator may create, and old versions nobody."""
        query = (
            "SELECT extname::text, nspname::text, extversion FROM pg_extension e JOIN pg_namespace n "
            "ON n.oid = extnamespace WHERE e.oid >= 16384 ORDER BY e.oid"
        )
        with self._connected(like) as connection:
            found = connection.execute(query).fetchall()
        if not found:
            return
        with suppress(psycopg.Error):
            with self._connected(name) as connection:
                for extension, schema, version in found:
                    connection.execute(
                        f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)} SCHEMA {quoted(schema)} "
                        f"VERSION {quoted(version)}".encode()
                    )

    # The session

    def row(self, query: str, *values: object) -> Any:
        """The first row of a query."""
        return self.rows(query, *values)[0]

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Every row of a query."""
        found: list[tuple[Any, ...]] = self._there().execute(query.encode(), values or None).fetchall()
        return found

    def _run(self, statement: str) -> None:
        self._there().execute(statement.encode())

    def _there(self) -> Any:
        if self._session is None or self._session.closed:
            try:
                self._session = self._connected(_WHERE)
            except psycopg.OperationalError as error:
                if re.search(_FULL, str(error)):
                    raise
                self._session = self._connected(str(self._given.database))
        return self._session

    def _connected(self, database: str) -> Any:
        patience = patience_for(self._given)
        connection = connect(self._given, patience, dbname=database, application_name=OURS)
        connection.execute(
            "SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)"
        )
        patience.answered()
        return connection

    def renew(self) -> None:
        """Have a new session, which holds no lock, if the server has ended this one: it was started anew."""
        with suppress(psycopg.OperationalError):
            self.row("SELECT 1")

    @property
    def is_open(self) -> bool:
        """False before the first call, and after `close`."""
        return self._session is not None

    def close(self) -> None:
        """End the session, and with it every lock."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def translating(self, what: str) -> AbstractContextManager[None]:
        """Say which store could not do it, without the password."""
        url = with_secrets(self._given)
        return translated(what, self.store, psycopg.Error, url, explained=self._explained)

    def _explained(self, error: Exception, text: str) -> Exception | str:
        if re.search(_FULL, text):
            return ConfigurationError(
                f"store {self.store!r}: the server has no connection left for this worker, which needs "
                f"{NEEDED}: run fewer workers, or raise max_connections.\n{text}"
            )
        if isinstance(error, psycopg.errors.ObjectInUse):
            return f"{text}\nEnd those sessions: a database is copied while nobody is connected to it."
        return text


def sweep(given: URL, connection: Connection) -> None:
    """Drop what dead workers have left on the server of a given database, as far as that can be done.

    Parameters:
        given: The database.
        connection: To it.
    """
    names = connection.rows(
        "SELECT datname FROM pg_database "
        "WHERE datname ~ '_protean_testing_' AND pg_has_role(datdba, 'MEMBER')"
    )
    if any(match and match[1] != KEPT for match in (DERIVED.search(name) for (name,) in names)):
        administration = Administration(given, "")
        try:
            administration.sweep()
        except psycopg.Error:
            pass  # it is not in our way
        finally:
            administration.close()


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], signed=True)
