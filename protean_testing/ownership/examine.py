"""Decide what in a database is ours to remove, and refuse the database if that cannot be proven."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .marker import Marker
from .names import refusal

_SHOWN = 5  # things that a message names

VERSION_TABLES = frozenset(
    {
        "alembic_version",
        "databasechangelog",
        "databasechangeloglock",
        "django_migrations",
        "flyway_schema_history",
        "goose_db_version",
        "schema_migrations",
        "yoyo_migration",
    }
)
"""In these tables migrations write down how far they came: it is no data of anybody's."""


@dataclass(frozen=True)
class Thing:
    """Something in a location that can be removed by itself: a table, a view, a schema, a key.

    Attributes:
        identity: An oid, which stays when it is renamed; else its name and definition.
        name: What messages call it, with its kind: ``table public.orders``.
        holds_data: Whether removing it would lose rows or values.
        planned: Whether the run is about to create one of this name.
        is_version: Whether it is one of `VERSION_TABLES`.
    """

    identity: str
    name: str
    holds_data: bool = False
    planned: bool = False
    is_version: bool = False


def examine(
    content: Iterable[Thing],
    marker: Marker | None,
    *,
    identity: str,
    store: str,
    where: str,
    clear: str,
    unsafe: bool = False,
    only_rows: bool = False,
) -> list[Thing]:
    """Decide what is removed before a run begins in a location. Nothing is touched here.

    Parameters:
        content: All that is there.
        marker: What the last run wrote; None if none did. It must be known that this run is dead.
        identity: Of the location, now.
        store: The store's name.
        where: The location for messages, without its password.
        clear: The line that would remove what is refused.
        unsafe: Remove what is in the way, whosever it is.
        only_rows: It is not known what will be created (a callable makes the schema): all that holds rows is
            in the way, and nothing else. A migrated database is not: how far migrations came is no data.

    Returns:
        What to remove, none of which is anybody else's.

    Raises:
        UnsafeStoreError: Naming what is in the way and is not ours, and what to write.
    """
    if marker is not None and marker.identity != identity:
        if not unsafe:
            raise refusal(
                store,
                where,
                f"it is a copy of a place that a run of these tests used ({marker}), so what is in it cannot "
                "be told from data that matters.",
                f"If all of that may go, remove what the run left:  {clear}",
            )
        marker = None
    doomed: list[Thing] = []
    in_the_way: list[Thing] = []
    unknown: list[Thing] = []
    for thing in content:
        came_since = marker is not None and marker.came_since(thing.identity)
        if marker is not None and thing.identity in marker.made:
            doomed.append(thing)
        elif came_since and _holds_data(thing, marker):
            unknown.append(thing)
        elif came_since and marker is not None and marker.was_empty:
            doomed.append(thing)
        elif came_since and thing.planned:
            unknown.append(thing)
        elif thing.holds_data and not thing.is_version if only_rows else thing.planned:
            in_the_way.append(thing)
    if unsafe:
        return doomed + unknown + ([] if only_rows else in_the_way)
    if unknown:
        raise refusal(
            store,
            where,
            f"a run that was killed ({marker}) left it, and it is not known whether what came since that run "
            f"began is of its making:\n{listed(unknown)}",
            f"If that may go:  {clear}",
        )
    if in_the_way:
        has = "holds data" if only_rows else "is about to be created, but is there already"
        raise refusal(
            store,
            where,
            f"no run of these tests made this, and it {has}:\n{listed(in_the_way)}",
            "Give it an empty database, or pass adopt=True to use what is there (what migrations have made, "
            "for example; schema=upgrade lets them make it), or pass unsafe=True if losing it is fine.",
        )
    return doomed


def _holds_data(thing: Thing, marker: Marker | None) -> bool:
    """Whether what came since a killed run began must not be lost."""
    killed_creating = marker is not None and not marker.made
    return thing.holds_data and not (thing.is_version and killed_creating)


def listed(things: list[Thing]) -> str:
    """Name things for a message, one a line."""
    names = [f"  {thing.name}{'' if thing.holds_data else ' (empty)'}" for thing in things[:_SHOWN]]
    if len(things) > _SHOWN:
        names.append(f"  and {len(things) - _SHOWN} more")
    return "\n".join(names)
