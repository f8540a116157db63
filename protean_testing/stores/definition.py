"""What makes a schema, as a text: equal for two schemas that are made by the same, in whatever process."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import Dialect, MetaData
from sqlalchemy.exc import CompileError
from sqlalchemy.schema import CreateIndex, CreateSequence, CreateTable


def definition(
    metadatas: Iterable[MetaData], schema: Callable[..., Any] | None, dialect: Dialect, *more: object
) -> str:
    """A hash of the tables that metadata creates, and of the callable that makes the rest.

    Parameters:
        metadatas: Their tables, indexes and sequences count, as `dialect` creates them.
        schema: Its name and its source.
        more: What else makes a difference.
    """
    digest = hashlib.sha256()
    for part in (*_of_metadata(metadatas, dialect), *_of_callable(schema), *map(repr, more)):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:32]


def _of_metadata(metadatas: Iterable[MetaData], dialect: Dialect) -> Iterator[str]:
    for metadata in metadatas:
        for sequence in metadata._sequences.values():
            yield _compiled(CreateSequence(sequence), dialect)
        for _, table in sorted(metadata.tables.items()):
            yield _compiled(CreateTable(table), dialect)
            yield from sorted(_compiled(CreateIndex(index), dialect) for index in table.indexes)


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
        yield inspect.getsource(plain)
    except (OSError, TypeError):
        yield ""
