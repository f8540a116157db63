"""Materialized views: what they show is data too, but only a REFRESH can change it."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import StoreError
from . import baseline
from .catalog import Catalog, Table
from .connection import Connection

UNFILLED = -2
"""The copy of a view WITH NO DATA."""


def keep(connection: Connection, views: list[Table], copy: int) -> dict[int, int]:
    """Copy what `views` show. Returns the copy of each."""
    unfilled = _unfilled(connection, views)
    kept = baseline.keep(connection, [view for view in views if view.number not in unfilled], copy)
    return kept | dict.fromkeys(unfilled, UNFILLED)


def changed(connection: Connection, views: list[tuple[Table, int]]) -> set[int]:
    """Which views show something else than the copy beside them."""
    unfilled = _unfilled(connection, [view for view, _ in views])
    switched = {view.number for view, copy in views if (view.number in unfilled) != (copy == UNFILLED)}
    comparable = [
        (view, copy) for view, copy in views if copy != UNFILLED and view.number not in unfilled | switched
    ]
    return switched | baseline.changed(connection, comparable)


def put_back(connection: Connection, catalog: Catalog, targets: Mapping[int, int]) -> None:
    """Have views show their copies again; the tables are as they were already.

    Raises:
        StoreError: The copy is not what the view's query gives.
    """
    views = [(catalog.tables[number], copy) for number, copy in sorted(targets.items())]
    for view, copy in views:  # by number, which is not the order in which one may read another
        connection.run(
            f"REFRESH MATERIALIZED VIEW {view.sql}" + (" WITH NO DATA" if copy == UNFILLED else "")
        )
    if len(views) > 1:
        for view, _ in [pair for pair in views if pair[1] != UNFILLED]:
            connection.run(f"REFRESH MATERIALIZED VIEW {view.sql}")
    for number in changed(connection, views):
        view = catalog.tables[number]
        raise StoreError(
            f"materialized view {view} cannot be given back: when the scope began it did not show what its "
            "query gave, and it was refreshed since. Refresh it before the scope begins:  "
            f"REFRESH MATERIALIZED VIEW {view.sql}"
        )


def _unfilled(connection: Connection, views: list[Table]) -> set[int]:
    if not views:
        return set()
    oids = ", ".join(str(view.oid) for view in views)
    found = {
        oid
        for (oid,) in connection.rows(
            f"SELECT oid::int8 FROM pg_class WHERE oid IN ({oids}) AND NOT relispopulated"
        )
    }
    return {view.number for view in views if view.oid in found}
