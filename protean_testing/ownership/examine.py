"""Decide what in a place is ours to remove, and refuse the place if that cannot be proven."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .marker import Marker
from .names import refusal

_SHOWN = 5  # things that a message names


@dataclass(frozen=True)
class Thing:
    """Something in a place that can be removed by itself: a table, a view, a schema, a key.

    Attributes:
        identity: An oid, which stays when it is renamed; else its name and definition.
        name: What messages call it, with its kind: ``table public.orders``.
        holds_data: Whether removing it would lose rows or values.
        planned: Whether the run is about to create one of this name.
    """

    identity: str
    name: str
    holds_data: bool = False
    planned: bool = False


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
    """Decide what is removed before a run begins in a place. Nothing is touched here.

    Parameters:
        content: All that is there.
        marker: What the last run wrote; None if none did. It must be known that this run is dead.
        identity: Of the place, now.
        store: The store's name.
        where: The place for messages, without its password.
        clear: The line that would remove what is refused.
        unsafe: Remove what is in the way, whosever it is.
        only_rows: It is not known what will be created (a callable makes the schema): all that holds rows is
            in the way, and nothing else.

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
        if marker is not None and thing.identity in marker.made:
            doomed.append(thing)
        elif marker is not None and thing.identity not in marker.before and thing.holds_data:
            unknown.append(thing)
        elif marker is not None and thing.identity not in marker.before and marker.was_empty:
            doomed.append(thing)
        elif thing.holds_data if only_rows else thing.planned:
            in_the_way.append(thing)
    if unsafe:
        return doomed + unknown + ([] if only_rows else in_the_way)
    if unknown:
        raise refusal(
            store,
            where,
            f"a run that was killed ({marker}) left it, and what came since then is not known to be of its "
            f"making, and holds data:\n{_listed(unknown)}",
            f"If that may go:  {clear}",
        )
    if in_the_way:
        has = "holds data" if only_rows else "is about to be created, but is there already"
        raise refusal(
            store,
            where,
            f"no run of these tests made this, and it {has}:\n{_listed(in_the_way)}",
            "Give it an empty database, or pass adopt=True to use what is there (a database that migrations "
            "have made, for example), or pass unsafe=True if losing it is fine.",
        )
    return doomed


def _listed(things: list[Thing]) -> str:
    names = [f"  {thing.name}{'' if thing.holds_data else ' (empty)'}" for thing in things[:_SHOWN]]
    if len(things) > _SHOWN:
        names.append(f"  and {len(things) - _SHOWN} more")
    return "\n".join(names)
