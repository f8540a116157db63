"""What a schema is made of, as far as SQLAlchemy sees it."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

Thing = tuple[str, str | None, str]
"""A part of the schema: its kind, as in ``DROP TABLE``, the schema (None: the default one), the name."""


def named(thing: Thing) -> str:
    """As one text, to be written down."""
    kind, schema, name = thing
    return f"{kind} {schema}.{name}" if schema else f"{kind} {name}"


def identified(thing: Thing, definition: str) -> str:
    """As one text that is another one if the definition is."""
    return f"{named(thing)} {sha256(definition.encode()).hexdigest()[:32]}"


def shown(thing: Thing) -> str:
    """For messages."""
    kind, schema, name = thing
    return f"{kind.lower()} {schema}.{name}" if schema else f"{kind.lower()} {name}"


def definitions(connection: sa.Connection, schemas: Collection[str | None]) -> dict[Thing, str]:
    """The definition of tables and views, as far as SQLAlchemy sees it."""
    inspector = sa.inspect(connection)
    found: dict[Thing, str] = {}
    for schema in schemas:
        for name in inspector.get_table_names(schema):
            parts = [inspector.get_columns, inspector.get_pk_constraint, inspector.get_foreign_keys]
            parts += [inspector.get_indexes, inspector.get_unique_constraints]
            found["TABLE", schema, name] = str([_sorted(part(name, schema=schema)) for part in parts])
        for name in inspector.get_view_names(schema):
            found["VIEW", schema, name] = str(inspector.get_view_definition(name, schema))
    return found


def _sorted(part: Any) -> list[str]:
    return sorted(map(repr, part if isinstance(part, list) else [part]))
