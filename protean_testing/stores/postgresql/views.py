"""Materialized views: what they show is data too, but only a REFRESH can change it."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import StoreError
from . import baseline
from .baseline import State
from .catalog import Catalog, Table
from .connection import Connection

UNFILLED: State = (-2,)
"""The state of a view WITH NO DATA."""


def keep(connection: Connection, views: list[Table], copy: int) -> dict[int, State]:
    """Copy what `views` show. Returns the state of each."""
    unfilled = _unfilled(connection, views)
    kept = baseline.keep(connection, [view for view in views if view.number not in unfilled], copy)
    states = {number: baseline.state_of(rows, copy) for number, rows in kept.items()}
    return states | dict.fromkeys(unfilled, UNFILLED)


def changed(connection: Connection, views: list[tuple[Table, State]]) -> set[int]:
    """Which views show something else than the state beside them."""
    unfilled = _unfilled(connection, [view for view, _ in views])
    switched = {view.number for view, state in views if (view.number in unfilled) != (state == UNFILLED)}
    comparable = [
        (view, state) for view, state in views if state != UNFILLED and view.number not in unfilled | switched
    ]
    return switched | baseline.changed(connection, comparable)


def restore(connection: Connection, catalog: Catalog, targets: Mapping[int, State]) -> None:
    """Have views show their states again; the tables are as they were already.

    Raises:
        StoreError: The state is not what the view's query gives.
    """
    views = [(catalog.tables[number], state) for number, state in targets.items()]
    views.sort(key=lambda pair: pair[0].oid)  # one may read another that was there before it
    for view, state in views:  # by a query of the application's, with what its owner may see
        tail = " WITH NO DATA" if state == UNFILLED else ""
        connection.run(
            f"SET LOCAL row_security = on; {connection.evaluating} REFRESH MATERIALIZED VIEW {view.sql}{tail}"
        )
    if views:
        connection.run(f"SET LOCAL row_security = off; {connection.reading}")
    for number in changed(connection, views):
        view = catalog.tables[number]
        raise StoreError(
            f"materialized view {view} cannot be restored: when the scope began it did not show what its "
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
