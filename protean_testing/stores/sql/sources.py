"""What makes a schema beside metadata: a callable, files of SQL statements, the migrations of Alembic."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from ...core.run_sync import run_sync
from ...errors import ConfigurationError
from .inputs import Inputs, checked
from .source import Location, Source
from .sql_files import SQLFiles

Schema: TypeAlias = "Callable[..., Any] | Source | str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"
"""What `schema=` takes."""


def source_of(schema: Schema | None) -> Callable[..., Any] | Source | None:
    """The callable or source that was given, or one that runs the files that were.

    Raises:
        ConfigurationError: It makes no schema.
    """
    if schema is None or callable(schema) or isinstance(schema, Source):
        return schema
    is_several = isinstance(schema, Iterable) and not isinstance(schema, str | os.PathLike)
    several: list[Any] = [*schema] if is_several else [schema]  # type: ignore[misc]
    files = [os.fspath(file) for file in several if isinstance(file, str | os.PathLike)]
    if not files or len(files) < len(several):
        raise ConfigurationError(
            f"SQLAlchemyStore: schema= must be a callable that makes the schema, paths to .sql files, or "
            f'alembic("alembic.ini"), and {schema!r} is none of them.'
        )
    for file in files:
        if os.path.isfile(file) and not file.endswith(".ini"):
            continue
        if file.endswith(".ini"):
            meant = f"Migrations are  schema=alembic({file!r}),  with  from protean_testing import alembic"
        elif os.path.isdir(file):
            meant = f"It is a directory: name its files, as  sorted(Path({file!r}).glob('*.sql'))"
        elif file.strip().count(" ") > 1:
            meant = "It looks like SQL: write that into a file, or execute it in a callable."
        else:
            meant = (
                f"There is none in {Path.cwd()}. Beside a module it is  Path(__file__).with_name({file!r})"
            )
        raise ConfigurationError(f"SQLAlchemyStore: schema={file!r} is no file of SQL statements. {meant}")
    return SQLFiles(tuple(map(os.path.abspath, files)))


def inputs_of(schema: Callable[..., Any] | Source | None, more: Inputs) -> tuple[Any, ...] | None:
    """What a schema depends on, and `more`; None if nobody has said so."""
    known = checked([Path(path) for path in schema.inputs]) if isinstance(schema, Source) else None
    given = checked(more)
    return given if known is None else (*known, *(given or ()))


def run_source(schema: Callable[..., Any] | Source, name: str, handle: Location) -> None:
    """Make the schema of a callable or source.

    Parameters:
        name: The store's.
    """
    if isinstance(schema, Source):
        schema.make(name, handle)
        return
    is_async = inspect.iscoroutinefunction(schema)
    engines = [handle.async_engine() if is_async else handle.engine()] if _takes_engine(schema) else []
    run_sync(schema(*engines))


def _takes_engine(schema: Callable[..., Any]) -> bool:
    """Whether its first argument is to be an engine; what has a default is something else, if not so called.

    Flask-SQLAlchemy's ``create_all(bind_key="__all__")`` and Flask-Migrate's ``upgrade(directory=None)`` are
    called without.
    """
    first = next(iter(inspect.signature(schema).parameters.values()), None)
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        return False
    return first.default is first.empty or "engine" in first.name
