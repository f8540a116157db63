"""What makes a schema, as a text: equal for two schemas that are made by the same, in whatever process."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any

from sqlalchemy import (
    Column,
    Dialect,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    types,
)
from sqlalchemy.exc import CompileError
from sqlalchemy.schema import AddConstraint, CreateColumn, CreateIndex, CreateSequence, DDLElement

_PLAIN = {
    types.BigInteger, types.Boolean, types.Date, types.DateTime, types.Float, types.Integer,
    types.LargeBinary, types.Numeric, types.SmallInteger, types.String, types.Text, types.Time,
    types.Unicode, types.Uuid,
}  # fmt: skip
"""Types that are no more than their class and a few numbers. To compile one costs ten times as much."""


def definition(
    metadatas: Iterable[MetaData], schema: Callable[..., Any] | None, dialect: Dialect, *more: object
) -> str:
    """A hash of the tables that metadata creates, and of the callable that makes the rest.

    Parameters:
        metadatas: All that `dialect` creates of them counts, and what listens to it.
        schema: Its name and its source.
        more: What else makes a difference.
    """
    digest = hashlib.sha256()
    for part in (*_of_metadata(metadatas, dialect), *_of_callable(schema), *map(repr, more)):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:32]


def _of_metadata(metadatas: Iterable[MetaData], dialect: Dialect) -> Iterator[str]:
    for metadata in metadatas:
        yield repr((metadata.schema, sorted(map(repr, metadata.naming_convention.items()))))
        yield from _of_listeners(metadata)
        for sequence in metadata._sequences.values():
            yield _compiled(CreateSequence(sequence), dialect)
        for _, table in sorted(metadata.tables.items()):
            yield repr((table.key, table.schema, table.comment, table._prefixes, _options(table)))
            yield from (_of_column(column, dialect) for column in table.columns)
            yield from sorted(_of_constraint(one, dialect) for one in table.constraints)
            yield from sorted(_of_index(index, dialect) for index in table.indexes)
            yield from _of_listeners(table)


def _of_column(column: Column[Any], dialect: Dialect) -> str:
    kind = column.type
    if (
        type(kind) not in _PLAIN
        or column.server_default is not None
        or column.constraints
        or _options(column)
        or isinstance(column.default, Sequence)
    ):
        return f"{_compiled(CreateColumn(column), dialect)} {kind!r} {column.comment}"
    facts = [(key, value) for key, value in vars(kind).items() if isinstance(value, int | str)]
    what = (column.name, type(kind).__name__, facts, column.nullable, column.autoincrement, column.comment)
    return repr(what)


def _of_constraint(constraint: Any, dialect: Dialect) -> str:
    if _options(constraint) or type(constraint) not in (ForeignKeyConstraint, PrimaryKeyConstraint):
        return f"{_compiled(AddConstraint(constraint), dialect)} {constraint.name}"
    what = [type(constraint).__name__, constraint.name, constraint.deferrable, constraint.initially]
    what += [column.name for column in constraint.columns]
    if isinstance(constraint, ForeignKeyConstraint):
        what += [element.target_fullname for element in constraint.elements]
        what += [constraint.ondelete, constraint.onupdate, constraint.match, constraint.use_alter]
    return repr((what, constraint.comment))


def _of_index(index: Any, dialect: Dialect) -> str:
    if _options(index) or not all(isinstance(one, Column) for one in index.expressions):
        return f"{_compiled(CreateIndex(index), dialect)}"
    return repr((index.name, index.unique, [column.name for column in index.expressions]))


def _options(thing: Any) -> list[tuple[str, Any]]:
    """What it was given for single dialects. To ask one that was given none takes long."""
    return sorted(thing.kwargs.items()) if "dialect_options" in vars(thing) else []


def _of_listeners(thing: MetaData | Table) -> Iterator[str]:
    """What else is done when it is created: often a trigger or a function."""
    for listener in (*thing.dispatch.before_create, *thing.dispatch.after_create):
        if isinstance(listener, DDLElement):
            yield str(getattr(listener, "statement", listener))
        elif not isinstance(listener, partial):  # SQLAlchemy's own, of a type that its column tells
            if not getattr(listener, "__module__", "").startswith("protean_testing."):
                yield from _of_callable(listener)


def _compiled(element: Any, dialect: Dialect) -> str:
    try:
        return str(element.compile(dialect=dialect))
    except CompileError:  # create_all will say so
        return repr(element)


def _of_callable(schema: Callable[..., Any] | None) -> Iterator[str]:
    if schema is None:
        return
    plain = inspect.unwrap(getattr(schema, "__func__", schema))
    yield f"{getattr(plain, '__module__', '')}.{getattr(plain, '__qualname__', type(plain).__qualname__)}"
    try:
        yield _source(plain)
    except TypeError:  # it has no hash
        yield ""


@cache
def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""
