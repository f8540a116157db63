"""Materialized views: what they show is data too, but only a REFRESH can change it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from . import baseline
from .baseline import State
from .catalog import Catalog, Table
from .connection import Connection, psycopg

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


def restore(connection: Connection, catalog: Catalog, targets: Mapping[int, State]) -> set[int]:
    """Have views show their states again; the tables are as they were already.

    A state may be none that the view's query gives now, for a view that was not refreshed when it was kept.

    Returns:
        Those that could not be restored: they show what their query gives.
    """
    views = [(catalog.tables[number], state) for number, state in targets.items()]
    views.sort(key=lambda pair: pair[0].oid)  # one may read another that was there before it
    for view, state in views:  # by a query of the application's, with what its owner may see
        tail = " WITH NO DATA" if state == UNFILLED else ""
        switch = f"SET LOCAL row_security = on; {connection.evaluating}"
        try:
            with connection.raw.transaction():
                connection.run(f"{switch} REFRESH MATERIALIZED VIEW {view.sql}{tail}")
        except psycopg.Error as error:  # it shows what it showed
            if not connection.refuses(error):
                raise
    if views:
        connection.run(f"SET LOCAL row_security = off; {connection.reading}")
    other = changed(connection, views)
    if not connection.superuser:
        return other
    for number in other:
        _write(connection, catalog.tables[number], targets[number])
    return set()


def warn_of_refreshed(store: str, names: set[str]) -> None:
    """Say which views were refreshed and cannot show what they showed before; `names` is empty then."""
    views = sorted(names)
    names.clear()
    warnings.warn(
        f"materialized view {', '.join(views)} of store {store!r} was refreshed by a test, and had not shown "
        "what its query gave when the scope began. What it showed cannot be restored by this role (by a "
        "superuser it is): to the end of the scope it shows what its query gives. Refresh it before the "
        f"scope begins:  REFRESH MATERIALIZED VIEW {views[0]}",
        stacklevel=3,
    )


def _write(connection: Connection, view: Table, state: State) -> None:
    """Write what a view is to show, as a superuser may: it is a table for that moment."""
    turn = "UPDATE pg_class SET relkind = '{}', relispopulated = true WHERE oid = {}".format
    rows = baseline.insertion(view, baseline.lines(view, state)) if state else "SELECT"
    connection.run(f"{turn('r', view.oid)}; TRUNCATE ONLY {view.sql}; {rows}; {turn('m', view.oid)}")


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
