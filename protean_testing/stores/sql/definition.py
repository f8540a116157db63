"""Describe what makes a schema: the CREATE statements of its metadata, the callable, and what is declared.

Nothing is watched, and nothing that the user gave is changed. What cannot be told is said to be so: such a
schema is not reused by a later run, or by another process.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

from sqlalchemy import Dialect, ForeignKeyConstraint, Index, MetaData, Table
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.schema import DDL, CreateIndex, ExecutableDDLElement
from sqlalchemy.sql.ddl import SchemaGenerator
from sqlalchemy.types import TypeEngine

from ...errors import ConfigurationError
from .inputs import Unclear, content, described, is_plain, text_of
from .source import Source

_VERSION = "3"
"""Part of each digest: what an older version of this module has described is stale."""

_MOST = 2000  # objects that are looked at to describe one callable


@dataclass(frozen=True)
class Definition:
    """What makes a schema.

    Attributes:
        digest: Equal for two schemas only if the same makes them.
        undeclared: Why a later run cannot tell whether it would make the same; empty if it can.
        unclear: Why not even another process of this run can; empty if it can.
        opaque: Nothing tells which tables it makes.
    """

    digest: str
    undeclared: str = ""
    unclear: str = ""
    opaque: bool = False


def define(
    metadatas: Iterable[MetaData],
    schema: Callable[..., Any] | Source | None,
    dialect: Dialect,
    *more: object,
    inputs: Iterable[Any] | None = None,
) -> Definition:
    """Describe a schema.

    Parameters:
        metadatas: All that `dialect` creates of them counts, and what listens to that.
        schema: What makes the rest.
        more: What else makes a difference, with a `repr` that tells it.
        inputs: What the callable and the listeners depend on, as `inputs.checked` returns it.
    """
    digest = hashlib.sha256(_VERSION.encode())
    undeclared = unclear = ""

    def add(parts: Iterable[str]) -> None:
        nonlocal unclear
        try:
            for part in parts:
                digest.update(part.encode(errors="surrogateescape") + b"\0")
        except Unclear as error:
            unclear = unclear or str(error)

    add(map(repr, more))
    listeners: list[tuple[str, Any]] = []
    for metadata in metadatas:
        try:
            statements, heard = _created(metadata, dialect)
        except Exception as error:  # of a compiler of the user's, too
            unclear = unclear or f"its CREATE statements cannot be told ({type(error).__name__}: {error})"
        else:
            add(statements)
            listeners += heard
    for where, listener in listeners:
        add([where])
        add(_of_callable(listener, dialect))
    if schema is not None:
        add(_of_callable(schema, dialect))
    if inputs is None and schema is not None:
        undeclared = _hint(f"schema={name_of(schema)} may read anything", f"schema={name_of(schema)}")
    elif inputs is None and listeners:
        where, listener = listeners[0]
        undeclared = _hint(
            f"{name_of(listener)} listens to the creation of {where} and may do anything", "metadata"
        )
    try:
        declared = sorted(map(content, inputs or ()))
    except Unclear as error:
        undeclared = undeclared or str(error)
    else:
        add(declared)
    if unclear:  # then it is equal to none but itself
        add([repr((os.getpid(), id(schema), [id(one) for _, one in listeners]))])
    return Definition(digest.hexdigest()[:32], undeclared or unclear, unclear, schema is not None)


def schema_key(schema: Callable[..., Any] | Source | None) -> Hashable:
    """Equal for two callables only if they are the same object with the same bound arguments."""
    if isinstance(schema, Source):
        return schema
    if type(schema) is partial:
        arguments = [*schema.args, *(pair for item in sorted(schema.keywords.items()) for pair in item)]
        return (partial, schema_key(schema.func), len(schema.args), *map(_argument_key, arguments))
    if isinstance(schema, MethodType):
        return (MethodType, _Same(schema.__self__), _Same(schema.__func__))
    return None if schema is None else _Same(schema)


def _argument_key(value: Any) -> Hashable:
    return text_of(value) if is_plain(value) else _Same(value)


class _Same:
    """Equal for one object alone, whatever that says of itself."""

    def __init__(self, thing: object) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._thing is self._thing

    def __hash__(self) -> int:
        return id(self._thing)


def name_of(thing: Any) -> str:
    """What messages call a callable."""
    if isinstance(thing, Source):
        return repr(thing)
    if isinstance(thing, partial):
        return f"partial({name_of(thing.func)}, ...)"
    return str(getattr(thing, "__qualname__", None) or type(thing).__qualname__)


def _hint(why: str, argument: str) -> str:
    return (
        f"{why}. Declare what it is made from, files, directories or values, and it is kept until one of "
        f'them changes:  SQLAlchemyStore({argument}, inputs=["migrations/"])'
    )


# Metadata


def all_metadata(metadata: Any) -> tuple[MetaData, ...]:
    """Return what was given as several.

    Raises:
        ConfigurationError: One of them is no metadata.
    """
    is_one = metadata is not None and (isinstance(metadata, str) or not isinstance(metadata, Iterable))
    given = (metadata,) if is_one else tuple(metadata or ())
    for one in given:
        if not isinstance(one, MetaData):
            meant = " Pass its .metadata." if hasattr(one, "metadata") else ""
            meant = " Where the database is comes by its name: url=..." if isinstance(one, str) else meant
            raise ConfigurationError(f"SQLAlchemyStore: {one!r} is no SQLAlchemy MetaData.{meant}")
    return given


@contextmanager
def unchanged(metadatas: Iterable[MetaData]) -> Iterator[None]:
    """Let SQLAlchemy create or drop tables inside: what it notes on their constraints is gone afterwards.

    ``AddConstraint(c)`` and ``DropConstraint(c)``, which a cycle of foreign keys needs, take `c` out of every
    later CREATE TABLE.
    """
    constraints = [
        (one, one._create_rule)
        for metadata in metadatas
        for table in metadata.tables.values()
        for one in table.constraints
    ]
    try:
        yield
    finally:
        for constraint, rule in constraints:
            if constraint._create_rule is not rule:
                constraint._create_rule = rule


def _created(metadata: MetaData, dialect: Dialect) -> tuple[list[str], list[tuple[str, Any]]]:
    """The statements that create it, and what of the user's listens to that, with what it listens to."""
    recorder = _Recorder(dialect)
    with unchanged([metadata]):
        recorder._run_ddl_visitor(SchemaGenerator, metadata)
    if type(metadata).create_all is not MetaData.create_all:
        recorder.listeners.append(("metadata", type(metadata).create_all))
    return sorted(recorder.statements), recorder.listeners


class _Recorder(MockConnection):
    """Takes the place of a connection while SQLAlchemy generates DDL: it runs nothing of the user's."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect, lambda element, *_: self.say(element.compile(dialect=dialect)))
        self.statements: list[str] = []
        self.listeners: list[tuple[str, Any]] = []

    def say(self, what: object) -> None:
        """Note a statement, or a fact that makes a difference to what is created."""
        self.statements.append(str(what))

    def _run_ddl_visitor(self, visitorcallable: Any, element: Any, **options: Any) -> None:
        quiet = type(visitorcallable.__name__, (_Quiet, visitorcallable), {})
        super()._run_ddl_visitor(quiet, element, **options)


class _Quiet:
    """Mixed into SQLAlchemy's generators: the user's listeners are noted and not called."""

    connection: _Recorder
    dialect: Dialect

    @contextmanager
    def with_ddl_events(self, target: Any, **options: Any) -> Iterator[None]:
        self._fire(target.dispatch.before_create, target, options)
        if isinstance(target, Table):
            parts: list[Any] = [*target.constraints, *target.indexes]
            for part in parts:
                self._note_condition(part, str(part.name))
        yield
        self._fire(target.dispatch.after_create, target, options)

    def visit_foreign_key_constraint(self, constraint: ForeignKeyConstraint) -> None:
        if self.dialect.supports_alter:
            compiler: Any = self.dialect.ddl_compiler(self.dialect, None)  # type: ignore[arg-type]
            self.connection.say(f"{constraint.table.fullname} {compiler.process(constraint)}")

    def visit_index(self, index: Index, create_ok: bool = False) -> None:
        with self.with_ddl_events(index):
            self.connection.execute(CreateIndex(index))

    def _fire(self, listeners: Iterable[Any], target: Any, options: dict[str, Any]) -> None:
        for listener in listeners:
            if isinstance(listener, ExecutableDDLElement):  # it says itself what it does
                if isinstance(listener, DDL):
                    self.connection.say(
                        (_named(target), listener.statement, _fact(dict(listener.context or {})))
                    )
                else:
                    self.connection.execute(listener)
                self._note_condition(listener, _named(target))
            elif _is_of_type(listener):
                listener(target, self.connection, _ddl_runner=self, **options)
            elif not getattr(listener, "__module__", "").startswith("protean_testing."):
                self.connection.listeners.append((_named(target), listener))

    def _note_condition(self, part: Any, name: str) -> None:
        """``ddl_if`` or ``execute_if``, which may ask a callable of the user's."""
        condition = getattr(part, "_ddl_if", None)
        if condition is not None:
            self.connection.say((name, condition.dialect, _fact(condition.state)))
            if condition.callable_ is not None:
                self.connection.listeners.append((name, condition.callable_))


def _fact(value: Any) -> str:
    if not is_plain(value):
        raise Unclear(f"a {type(value).__qualname__} that DDL is given is no plain value")
    return text_of(value)


def _is_of_type(listener: Any) -> bool:
    """Whether it is SQLAlchemy's own, of a type that is created beside its table: an ENUM, a DOMAIN."""
    method = listener.func if isinstance(listener, partial) else listener
    owner = getattr(method, "__self__", None) or getattr(method, "target", None)
    if not isinstance(owner, TypeEngine):
        return False
    name = getattr(method, "__name__", None) or getattr(method, "name", "")
    return str(getattr(getattr(type(owner), str(name), None), "__module__", "")).startswith("sqlalchemy.")


def _named(target: Any) -> str:
    kind = {"MetaData": "metadata"}.get(type(target).__name__, type(target).__name__.lower())
    name = getattr(target, "fullname", None) or getattr(target, "name", None)
    return f"{kind} {str(name)!r}" if name else kind


# Callables


def _of_callable(thing: Any, dialect: Dialect) -> Iterator[str]:
    """A text that is equal for the same callable in another process.

    Raises:
        Unclear: Nothing tells it from another one.
    """
    name = name_of(thing)
    known: set[int] = set()
    waiting = [thing]
    while waiting:
        one = waiting.pop(0)
        if is_plain(one):
            yield text_of(one)
            continue
        if id(one) in known:
            yield f"again {type(one).__qualname__}"
            continue
        known.add(id(one))
        if len(known) > _MOST:
            raise _unclear(name, thing)
        texts, more = _parts(one, name, dialect)
        yield from texts
        waiting = [*more, *waiting]


def _parts(one: Any, name: str, dialect: Dialect) -> tuple[list[str], list[Any]]:
    """What tells one object from others: texts, and objects that are to be described in their turn."""
    if type(one) in (list, tuple):
        return [f"{type(one).__qualname__} {len(one)}"], list(one)
    if type(one) is dict:
        return [f"dict {len(one)}"], [part for item in one.items() for part in item]
    if type(one) is partial:
        return ["partial"], [one.func, one.args, one.keywords]
    if isinstance(one, MethodType):
        return ["method"], [one.__self__, one.__func__]
    if isinstance(one, FunctionType):
        try:
            cells = [cell.cell_contents for cell in one.__closure__ or ()]
        except ValueError:  # one is empty
            raise _unclear(name, one) from None
        where = [f"function {one.__module__}.{one.__qualname__}", _code(one.__code__)]
        where.append(_file(one.__code__.co_filename, name))
        return where, [one.__defaults__, one.__kwdefaults__, cells]
    if isinstance(one, MetaData):
        statements, heard = _created(one, dialect)
        return statements, [listener for _, listener in heard]
    if isinstance(one, BuiltinFunctionType) and isinstance(one.__self__, type(sys) | None):
        return [f"function {one.__module__}.{one.__qualname__}"], []
    if isinstance(one, type(sys)):
        return [f"module {one.__name__}", _file(getattr(one, "__file__", None) or "", name)], []
    if isinstance(one, type):
        if _reached(one.__module__, one.__qualname__) is not one:
            raise _unclear(name, one)
        module: Any = sys.modules[one.__module__]
        is_ours = one.__module__ == "builtins"
        file = "" if is_ours else _file(getattr(module, "__file__", None) or "", name)
        return [f"class {one.__module__}.{one.__qualname__}", file], []
    if (
        type(one).__basicsize__ == _Bare.__basicsize__
        and type(one).__itemsize__ == 0
        and hasattr(one, "__dict__")
    ):
        return ["object"], [type(one), vars(one)]
    raise _unclear(name, one)


class _Bare:
    """Its instances are what is in their ``__dict__``, and nothing else."""


def _unclear(name: str, thing: Any) -> Unclear:
    return Unclear(
        f"{name} is bound to a {type(thing).__qualname__} that nothing tells from another one in the next "
        "process. Give it plain values, in a module that is a file"
    )


def _reached(module: str, name: str) -> Any:
    thing: Any = sys.modules.get(module)
    for part in name.split("."):
        thing = getattr(thing, part, None)
    return thing


def _file(path: str, name: str) -> str:
    """By the file that it stands in: its helpers there count as well."""
    if not os.path.isfile(path):
        raise Unclear(f"the source of {name} is in no file")
    return described(path)


def _code(code: CodeType) -> str:
    """Which of all functions of its file: also of two lambdas in one line."""
    parts = [_code(one) if isinstance(one, CodeType) else text_of(one) for one in code.co_consts]
    return repr((code.co_firstlineno, code.co_code.hex(), code.co_names, parts))
