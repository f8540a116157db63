"""Warnings about what stands beside a store: schemas made per test, stale tables, what nobody restores."""

from __future__ import annotations

import gc
import sys
import sysconfig
import unittest
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence, Set
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from sqlalchemy import Engine, MetaData, Table, TableClause, event, inspect, literal, select

from ...core.leaks import bullet_list
from ...core.remarks import remark
from ...errors import NeverResetWarning, SchemaPerTestWarning, StaleTableWarning
from ...store import ended_scope
from ...workers import worker
from .checkouts import caller
from .definition import name_of
from .source import Source

if TYPE_CHECKING:
    from .handle import DatabaseHandle

_AROUND_A_TEST = ("setUp", "tearDown", "asyncSetUp", "asyncTearDown", "_callCleanup")
_NOT_THE_USERS = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_AROUND_A_FIXTURE = ("execute", "finish")
_SEVERAL = 3  # resets: one test alone, and the end of its class, may well have only read
_AGAIN = 5  # times: some classes may well have their own place for one schema
_made: WeakSet[DatabaseHandle] = WeakSet()
_alike: dict[Hashable, tuple[int, ref[Any]]] = {}  # how often tables were made, and for what the last time
_warned: set[str] = set()  # files

given_back: WeakSet[Any] = WeakSet()
"""The adapters of Protean domains that a store restores."""


# A schema that is made in every test


def watch_schema(handle: DatabaseHandle) -> None:
    """Warn if a test makes or drops tables in this place around itself: they are there for the run."""
    _made.add(handle)
    for kind in (MetaData, Table):
        for when in ("before_create", "before_drop"):
            if not event.contains(kind, when, _schema_changes):
                event.listen(kind, when, _schema_changes)


def warn_if_made_again(
    name: str, handle: DatabaseHandle, tables: Set[tuple[str | None, str]], owner: object, what: str
) -> None:
    """Warn if the same tables are made again and again, each time for another object.

    Parameters:
        name: The store's.
        handle: Where they are made.
        tables: Which.
        owner: What they are made for.
        what: What kind of thing that is, to be made once.
    """
    alike = name, handle.url.get_backend_name(), handle.private or handle.key, frozenset(tables)
    times, last = _alike.get(alike, (0, None))
    if not tables or (last is not None and last() is owner):
        return
    _alike[alike] = times + 1, ref(owner)
    if times + 1 != _AGAIN:
        return
    file, _, line = caller().rpartition(":")
    warnings.warn_explicit(
        f"the {len(tables)} tables of store {name!r} are made for the {_AGAIN}th time, each time for another "
        f"{what}. Make it once, e.g. at the top of a module: then they are, too, and the rows are restored "
        "after each test.",
        SchemaPerTestWarning,
        file,
        int(line or 0),
    )


def _schema_changes(target: Any, connection: Any, **_: Any) -> None:
    where = _around_a_test()
    if where is None:
        return
    case, method, frame = where
    file, line = frame.f_code.co_filename, frame.f_lineno
    for handle in _made:
        if not handle.closed and handle.is_at(connection.engine) and file not in _warned:
            _warned.add(file)
            warnings.warn_explicit(
                f"{case} makes or drops its schema in every test ({method}, {file}:{line}). Store "
                f"{handle.makers[0].name!r} has made it once for the run, and restores the rows after each "
                "test: remove that call.",
                SchemaPerTestWarning,
                file,
                line,
                module=frame.f_globals.get("__name__"),
            )


def _around_a_test() -> tuple[str, str, FrameType] | None:
    """The test class or fixture, its method and the frame in which tables are made; None for all others."""
    frame: FrameType | None = sys._getframe(2)
    maker: FrameType | None = None
    while frame is not None:
        module = frame.f_globals.get("__name__", "").partition(".")[0]
        if module == "protean_testing":
            return None
        if maker is None and not frame.f_code.co_filename.startswith(_NOT_THE_USERS):
            maker = frame
        if module == "_pytest" and frame.f_code.co_name in _AROUND_A_FIXTURE:
            fixture: Any = frame.f_locals.get("self")
            if getattr(fixture, "scope", "") == "function":
                return f"fixture {fixture.argname!r}", "it is one of each test", maker or frame
        case = next(iter(frame.f_locals.values()), None) if frame.f_code.co_name in _AROUND_A_TEST else None
        if isinstance(case, unittest.TestCase):
            method = frame.f_code.co_name.replace("_callCleanup", "a cleanup")
            return f"{type(case).__module__}.{type(case).__qualname__}", method, maker or frame
        frame = frame.f_back
    return None


# A database that nobody uses


def remark_on_unwritten(name: str, handle: DatabaseHandle) -> None:
    """Say at the end that tests have run, and that this database was never written to, nor held anything.

    Most likely the application works in another one. A worker cannot know: others may have written.
    """
    if handle.was_written or handle.idle_resets < _SEVERAL or worker() is not None:
        return
    # It is no more than a hint: what is wrong with the database is said by the drop that follows.
    with suppress(Exception), handle.engine().connect() as connection, handle.limited(connection):
        tables = {(None, table) for table in inspect(connection).get_table_names()}
        for schema, table in sorted(tables.union(*(one.tables() for one in handle.makers)), key=str):
            rows = select(literal(1)).select_from(TableClause(table, schema=schema)).limit(1)
            if connection.execute(rows).first():
                return
        remark(
            f"no test wrote to store {name!r} ({handle.place}), which was empty all the time. "
            "If the application is to use it, give it  self.database_url"
        )


# A table that is not as the models say


def warn_of_stale_tables(
    name: str, engine: Callable[[], Engine], metadata: Sequence[MetaData], schema: object = None
) -> None:
    """Compare the columns of tables that something else has made with those of the models.

    Parameters:
        name: The store's.
        engine: Gives an engine to look by.
        metadata: The models' tables; nothing is compared if there is none.
        schema: What has made them in this run; left out, they were there.
    """
    if not metadata:
        return
    lines = schema.differences(engine(), metadata) if isinstance(schema, Source) else None
    lines = list(_differences(engine(), metadata)) if lines is None else lines
    if lines and schema is None:
        warnings.warn(
            f"the database of store {name!r}, which this run did not make, is stale:\n{bullet_list(lines)}"
            "Migrate it, or let its schema be made for the run: no adopt=True, no managed = false.",
            StaleTableWarning,
            stacklevel=2,
        )
    elif lines:
        warnings.warn(
            f"the schema of store {name!r} is stale: {name_of(schema)} does not make what its models are. "
            f"What differs:\n{bullet_list(lines)}"
            "Write the migration, for example with  alembic revision --autogenerate",
            StaleTableWarning,
            stacklevel=2,
        )


def _differences(engine: Engine, metadata: Sequence[MetaData]) -> Iterator[str]:
    inspector: Any = inspect(engine)
    for table in (table for one in metadata for table in one.tables.values()):
        if not inspector.has_table(table.name, schema=table.schema):
            yield f"table {table.fullname!r} is not there"
            continue
        there = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
        wanted = {column.name for column in table.columns}
        parts = [f"lacks {_listed(wanted - there)}"] * bool(wanted - there)
        parts += [f"has {_listed(there - wanted)}"] * bool(there - wanted)
        if parts:
            yield f"table {table.fullname!r} {' and '.join(parts)}"


def _listed(names: set[str]) -> str:
    return ", ".join(map(repr, sorted(names)))


# What a Protean domain holds beside a database


def warn_of_what_is_never_reset(handle: DatabaseHandle) -> None:
    """Warn if a Protean domain works on this database, and nobody restores its brokers and caches."""
    domains = sys.modules.get("protean.domain")
    if domains is None:
        return
    for domain in [thing for thing in gc.get_objects() if issubclass(type(thing), domains.Domain)]:
        providers = (domain.providers._providers or {}).values()
        if not any(handle.is_at(engine) for one in providers if (engine := getattr(one, "_engine", None))):
            continue
        left = list(_never_reset(domain))
        if left:
            warnings.warn(
                f"{ended_scope.get()} works with the Protean domain {domain.name!r}, whose database is given "
                f"back, and not what it holds elsewhere: {', '.join(left)}. The next test finds it.\n"
                f"Take DomainTestCase, with domain = {domain.name.lower()}: it gives back all of them.",
                NeverResetWarning,
                stacklevel=2,
            )


def _never_reset(domain: Any) -> Iterator[str]:
    redis = sys.modules.get("protean_testing.stores.redis.handle")
    taken = {handle.address.key for handle in redis.in_use} if redis is not None else set()
    for kind, adapters in (("broker", domain.brokers._brokers), ("cache", domain.caches._caches)):
        for name, adapter in (adapters or {}).items():
            if adapter in given_back:
                continue
            uri = adapter.conn_info.get("URI")
            if uri:
                from ..redis.address import from_url

                if from_url(uri).key not in taken:
                    yield f"{kind} {name!r} ({adapter.conn_info.get('provider')})"
            elif getattr(adapter, "_messages", None) or getattr(
                getattr(adapter, "_db", None), "_values", None
            ):
                yield f"{kind} {name!r} ({adapter.conn_info.get('provider')})"
    for name, provider in (domain.providers._providers or {}).items():
        if provider not in given_back and any(getattr(provider, "_databases", {}).values()):
            yield f"database {name!r} (memory)"
