"""The backend's own connection: direct, and with every setting that the reset relies on."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from sqlalchemy import URL

from ...clock import monotonic
from ...errors import ConfigurationError, Secret, redacted
from ...waiting import DEADLINE, Patience, connected, limit
from ..driver_errors import lost
from ..sql.backend import Database
from ..sql.urls import server_of, with_secrets

try:
    import psycopg as psycopg
    from psycopg import generators
except ImportError as missing:  # asked for by name, so the extra is what to install
    raise ConfigurationError(
        'PostgreSQL needs psycopg 3. Install it with: pip install "protean-testing[postgresql]"'
    ) from missing

OURS = "protean_testing"
"""The one schema that is ours."""

OLDEST = 15  # PostgreSQL's major version
_TRIES = 20
CONNECT_TIMEOUT = 10  # seconds; psycopg waits for at least 2
LOCK_TIMEOUT = 300  # ms: well below deadlock_timeout, so that no session of the code under test is the victim

# Inherited from the role or the database otherwise (ALTER DATABASE ... SET). The search_path is inherited:
# functions in CHECK, in indexes, generated columns and views may call others by bare names, and those of an
# index are looked at whenever a statement on its table is planned.
_SETTINGS = {
    "application_name": OURS,
    "array_nulls": "on",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "client_min_messages": "error",
    "DateStyle": "ISO, YMD",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "extra_float_digits": "1",
    "idle_in_transaction_session_timeout": "0",
    "IntervalStyle": "postgres",
    "jit": "off",
    "lock_timeout": str(LOCK_TIMEOUT),
    "plan_cache_mode": "force_generic_plan",  # what comes again and again is planned once
    "quote_all_identifiers": "off",
    "row_security": "off",  # an error where rows would be hidden from us
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "synchronous_commit": "off",
    "TimeZone": "UTC",
    "xmloption": "content",
    f"{OURS}.backend": "on",  # our triggers pass over what this session writes
}
_EVALUATED_UNDER = ("TimeZone", "DateStyle", "IntervalStyle", "bytea_output", "extra_float_digits")
"""On which the value of an expression may depend: rows are written under the application's."""

_DISABLE_TRIGGERS = {"session_replication_role": "replica"}
_LATER_SETTINGS = {"idle_session_timeout": 14, "transaction_timeout": 17}  # off where the server knows them

DURABLE = "SET LOCAL synchronous_commit = on;"
"""Before statements that are to outlive a crash of the server, as resets need not."""

_OF_THE_MOMENT = re.compile(r"40|53|57|55P03|58000|58030")
"""SQLSTATEs of a server that cannot at present: deadlocks, resources, locks, cancels, ends, its disk."""

_FAILED = psycopg.pq.ExecStatus.FATAL_ERROR

Rows = list[tuple[Any, ...]]


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time, and the connection is closed: to try again would double the wait."""


class Connection:
    """A connection in autocommit mode, and what its role may do.

    Attributes:
        raw: The psycopg connection.
        can_disable_triggers: Triggers and foreign keys too (``session_replication_role``).
        superuser: True for a superuser.
        version: The server's major version.
        evaluating, reading: Statements that switch, inside a transaction, to the settings under which rows
            are written, and back to those under which they are read; empty if they are the same.
        not_held: Constraints that rows were found not to keep, by the oid of table or domain and their names;
            with the oids of the tables that may have such rows.
        watch: A prepared statement that gives something else once the schema may have been altered, and what
            it gives; empty if there is none.
        replaced: What objects looked like before a constraint of theirs was made again, and since.
    """

    raw: psycopg.Connection[Any]
    can_disable_triggers: bool
    superuser: bool
    version: int
    evaluating: str
    reading: str

    def __init__(self, database: Database) -> None:
        self._database = database
        self.not_held: dict[tuple[int, str], Collection[int]] = {}
        self.replaced: list[tuple[tuple[int, int], str, str]] = []
        self._patience = patience_for(database.url, database.wait)
        self._was_open = False
        self.renew()
        self._was_open = True

    def renew(self) -> None:
        """Connect, also where an earlier connection was lost.

        Raises:
            ConfigurationError: The server cannot be reached, or is too old.
            LostStoreError: It could be reached before.
        """
        self.raw = self._connected()
        self._prepared: dict[str, str] = {}
        self.watch = ("", "")
        self._statements = 0
        self.version = self.raw.info.server_version // 10000
        if self.version < OLDEST:
            self.raw.close()
            raise ConfigurationError(
                f"store {self._database.name!r} is on PostgreSQL {self.version}; {OLDEST} or later is needed."
            )
        later = {name: "0" for name, since in _LATER_SETTINGS.items() if self.version >= since}
        self._end_statement_timeout()
        names = ", ".join(f"current_setting({literal(name)})" for name in ("search_path", *_EVALUATED_UNDER))
        role = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ((self.superuser, self._search_path, *values),) = self.rows(f"SELECT ({role}), {names}")
        theirs = dict(zip(_EVALUATED_UNDER, values, strict=True))
        # What ISO shows is read back in any order of day and month, so that order may be theirs.
        settings = _SETTINGS | later | {"DateStyle": f"ISO, {theirs['DateStyle'].rpartition(' ')[2]}"}
        if self.superuser:
            settings |= _DISABLE_TRIGGERS
        self.run(f"SELECT set_config(key, value, false) FROM json_each_text({literal(json.dumps(settings))})")
        other = {name: value for name, value in theirs.items() if value != settings[name]}
        self.evaluating = f"SELECT {_set(other)};" if other else ""
        self.reading = f"SELECT {_set({name: settings[name] for name in other})};" if other else ""
        self._patience.answered()
        self.can_disable_triggers = self.superuser or self._may_disable_triggers()

    def _end_statement_timeout(self) -> None:
        """Try again: that of the role or the database may be too short for the statement that ends it."""
        for _ in range(_TRIES):
            with suppress(psycopg.errors.QueryCanceled):
                self.run("SET statement_timeout = 0")
                return

    def _may_disable_triggers(self) -> bool:
        try:
            self.run(f"SELECT {_set(_DISABLE_TRIGGERS, local=False)}")
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    def run(self, statement: str) -> None:
        """Execute, without a result. Nothing in the text stands for a parameter."""
        self.raw.execute(statement.encode())

    def rows(self, statement: str, *, again: bool = False) -> Rows:
        """Execute and return every row.

        Parameters:
            statement: Where nothing in it stands for a parameter.
            again: It comes again and again, and takes longer to plan than to execute.
        """
        if again:
            statement = f"EXECUTE {self.prepare(statement)}"
        return self.raw.execute(statement.encode()).fetchall()

    def value(self, statement: str) -> Any:
        """Execute and return the first value of the first row; None where there is no row."""
        row = self.raw.execute(statement.encode()).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def naming_in_full(self) -> Iterator[None]:
        """Inside, the server writes names of the user's with their schemas, whatever the search_path is."""
        self.run("SET search_path = pg_catalog")
        try:
            yield
        finally:
            if self.raw.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
                self.run(f"SELECT set_config('search_path', {literal(self._search_path)}, false)")

    def call(self, statement: str, *values: object) -> list[str]:
        """Execute what comes again and again, prepared and without conversions. Returns its only row.

        Raises:
            psycopg.Error: As `run` would.
        """
        name = self._prepared.get(statement) or self.prepare(statement)
        pgconn = self.raw.pgconn
        pgconn.send_query_prepared(
            name.encode(), [None if value is None else str(value).encode() for value in values]
        )
        (result,) = self.raw.wait(generators.execute(pgconn))  # libpq's own call would block, Ctrl-C too
        if result.status == _FAILED:
            raise psycopg.errors.error_from_result(result)
        return [(result.get_value(0, column) or b"").decode() for column in range(result.nfields)]

    def watched(self, statement: str) -> tuple[str, str]:
        """The name of a statement that is planned once, and the text of its first column now."""
        return self.prepare(statement), self.call(statement)[0]

    def prepare(self, statement: str) -> str:
        """The name of a statement that is planned once."""
        if (name := self._prepared.get(statement)) is None:
            self._statements += 1
            name = f"{OURS}_{self._statements}"
            self.raw.pgconn.send_prepare(name.encode(), statement.encode())
            (result,) = self.raw.wait(generators.execute(self.raw.pgconn))
            if result.status == _FAILED:
                raise psycopg.errors.error_from_result(result)
            self._prepared[statement] = name
        return name

    def refuses(self, error: psycopg.Error) -> bool:
        """Whether `error` is of its statement alone, which the server does not execute as things are.

        Else the connection was lost, a lock is in the way, or the server cannot do anything at present: other
        statements would fail as well. psycopg's classes do not say so: an OperationalError may be either.
        """
        return self.alive and not _OF_THE_MOMENT.match(error.sqlstate or "")

    def unprepare(self, statement: str) -> None:
        """Forget a statement that does not come again."""
        if (name := self._prepared.pop(statement, None)) is not None:
            self.run(f"DEALLOCATE {name}")

    @property
    def alive(self) -> bool:
        """False once it was lost."""
        return not self.raw.closed and not self.raw.broken

    def close(self) -> None:
        """Give it back."""
        self.raw.close()

    def _connected(self) -> psycopg.Connection[Any]:
        database = self._database
        try:
            return connect(database.url, self._patience)
        except psycopg.Error as error:
            reason = redacted(str(error), with_secrets(database.url)).strip()
        if self._was_open:
            raise lost(database.name, database.shown, reason)
        raise ConfigurationError(
            f"store {database.name!r}: {database.shown} cannot be reached.\n"
            f"{reason}\nIs the server running, and are host, user, password and database of the URL right?"
        )


def patience_for(url: URL, wait: float = 0.0) -> Patience:
    """What is known of the server of a URL by all that use it."""
    return Patience(server_of(url), wait)


def connect(url: URL, patience: Patience, **more: Any) -> psycopg.Connection[Any]:
    """A connection in autocommit mode, each of whose calls has an end; a server that starts is waited for.

    Parameters:
        more: What libpq needs to know beside the URL.

    Raises:
        psycopg.Error: The server refuses, or does not answer, or did not when it was last asked.
    """
    if patience.is_spent:
        raise NoAnswer("it did not answer the last time either, so it is not asked again yet")
    parameters = libpq_parameters(url) | more
    try:
        own = float(parameters["connect_timeout"])
    except ValueError:
        own = CONNECT_TIMEOUT
    parameters["connect_timeout"] = max(1, int(min(own if own > 0 else DEADLINE, patience.seconds)))
    began = monotonic()
    try:
        connection: psycopg.Connection[Any] = connected(
            psycopg, parameters, autocommit=True, prepare_threshold=None
        )
    except (psycopg.errors.ConnectionTimeout, KeyboardInterrupt):
        patience.gone(began)
        raise
    works = partial(_works, parameters, connection.info.backend_pid)
    limit(connection, patience, NoAnswer, works)
    return connection


def drop_database(url: URL) -> None:
    """Drop a database of this run's own server. Harmless if there is none."""
    with connect(url, patience_for(url), dbname="postgres") as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(str(url.database))} WITH (FORCE)".encode())


def _works(parameters: dict[str, Any], pid: int) -> bool:
    """Whether a session of ours that does not answer is at work, as another one of ours sees it."""
    looked = f"SELECT state = 'active' FROM pg_stat_activity WHERE pid = {pid}"
    with suppress(psycopg.Error):
        with psycopg.connect(**parameters | {"connect_timeout": 2}, autocommit=True) as other:
            limit(other, Patience(object(), least=2.0), NoAnswer)
            return other.execute(looked.encode()).fetchone() == (True,)
    return False


def libpq_parameters(url: URL) -> dict[str, Any]:
    """What libpq needs to know of a SQLAlchemy URL, whatever driver it names."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    parameters: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT}
    for name, value in url.query.items():
        name = {"ssl": "sslmode"}.get(name, name)  # asyncpg's word for it
        if name in known:
            parameters[name] = value if isinstance(value, str) else ",".join(value)
    parts = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
    }
    parameters |= {name: value for name, value in parts.items() if value is not None}
    hidden = parameters.keys() & {"password", "sslpassword", "passfile"}
    return parameters | {name: Secret(parameters[name]) for name in hidden}


def _set(settings: Mapping[str, str], *, local: bool = True) -> str:
    return ", ".join(
        f"set_config({literal(name)}, {literal(value)}, {local})" for name, value in settings.items()
    )


def quoted(name: str) -> str:
    """A name as SQL writes it, always in quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL constant."""
    return "'" + text.replace("'", "''") + "'"


def listed(numbers: Iterable[int]) -> str:
    """Numbers as a SQL array."""
    return f"'{{{','.join(map(str, numbers))}}}'"
