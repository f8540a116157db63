"""A schema that stays at the end of a run, or as a template: what is known of it is written down beside it.

It stands in the database only while no run is at work there, and only where that one has ended well. So what
was killed half-way is made anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from . import baseline, fingerprint, large_objects, sequences, views
from .catalog import Catalog, Sequence, Table
from .connection import OURS, Connection, listed, literal

INSTALL = (
    f"CREATE TABLE {OURS}.ready (definition text, state text); "
    f"ALTER TABLE {OURS}.ready REPLICA IDENTITY FULL;"
)

State = dict[str, Any]
"""What JSON can hold: lists in place of tuples, and text in place of numbers as keys."""


def write(connection: Connection, definition: str, state: State) -> None:
    """Write down that the schema is there, as `definition` has made it, with its data as it was then."""
    state = {"as": _way(connection), "quick_fingerprint": fingerprint.take_quick(connection), **state}
    connection.run(
        f"DELETE FROM {OURS}.ready; "
        f"INSERT INTO {OURS}.ready VALUES ({literal(definition)}, {literal(json.dumps(state))})"
    )


def is_there(connection: Connection, definition: str) -> bool:
    """Whether something was written by the same `definition`, be it as it was or not."""
    if not definition or connection.value(f"SELECT to_regclass('{OURS}.ready')") is None:
        return False
    return bool(connection.rows(f"SELECT FROM {OURS}.ready WHERE definition = {literal(definition)}"))


def read(connection: Connection, definition: str) -> State | None:
    """What was written, where that was by the same `definition` and schema and data are as they were.

    Returns:
        As it was given to `write`, but with the catalog itself.
    """
    if not is_there(connection, definition):
        return None
    state: State = json.loads(connection.value(f"SELECT state FROM {OURS}.ready"))
    if state["as"] != _way(connection):
        return None
    looked = json.loads(json.dumps(fingerprint.take_quick(connection)))
    if looked != state["quick_fingerprint"]:
        return None
    schema = state["schema"]
    schema["catalog"] = _to_catalog(schema["catalog"])
    return state if _data_is_right(connection, schema["catalog"], state["data"]) else None


def _data_is_right(connection: Connection, catalog: Catalog, data: State) -> bool:
    """Whether rows, views and sequences are as they were."""
    with connection.raw.transaction():
        if sequences.positions(connection, catalog.sequences.values()) != to_positions(data):
            return False
        filled = _filled(connection, catalog)
        known = [(catalog.tables[number], rows) for number, rows in to_rows(data).items()]
        tables = [(one, rows) for one, rows in known if one.kind == "r" and (rows or one.oid in filled)]
        with baseline.unforced(connection, [table for table, _ in tables]):
            wrong = baseline.changed(connection, tables)
        wrong |= large_objects.changed(connection, [pair for pair in known if pair[0].kind == "l"])
        return not wrong and not views.changed(connection, [pair for pair in known if pair[0].kind == "m"])


def _filled(connection: Connection, catalog: Catalog) -> set[int]:
    """Tables that have, or had, a row: the rest need no look."""
    oids = listed(table.oid for table in catalog.holding())
    query = f"SELECT oid::int8 FROM unnest({oids}::oid[]) oid WHERE pg_relation_size(oid) > 0"
    return {oid for (oid,) in connection.rows(query)}


def to_rows(data: State) -> dict[int, baseline.State]:
    """The state of every table, by its number."""
    return {number: fixed(state) for number, state in data["rows"]}


def to_positions(data: State) -> dict[sequences.Name, sequences.Position]:
    """Where every sequence stood, by its name."""
    return {fixed(name): fixed(location) for name, location in data["positions"]}


def erase(connection: Connection) -> None:
    """A run is at work from now on."""
    connection.run(f"DELETE FROM {OURS}.ready")


def of_catalog(catalog: Catalog) -> State:
    """What there is, as JSON can hold it."""
    tables = [{**asdict(one), "identities": sorted(one.identities)} for one in catalog.tables.values()]
    return {"tables": tables, "sequences": [asdict(one) for one in catalog.sequences.values()]}


def _to_catalog(state: State) -> Catalog:
    """The same catalog again."""
    tables = [_table({name: fixed(value) for name, value in one.items()}) for one in state["tables"]]
    locations = [
        Sequence(**{name: fixed(value) for name, value in one.items()}) for one in state["sequences"]
    ]
    return Catalog({one.number: one for one in tables}, {one.key: one for one in locations})


def _table(facts: State) -> Table:
    return Table(**{**facts, "identities": frozenset(facts["identities"])})


def fixed(value: Any) -> Any:
    """With tuples in place of lists again."""
    return tuple(map(fixed, value)) if isinstance(value, list) else value


def _way(connection: Connection) -> list[Any]:
    """What decides how the fast reset is installed: another role, server or version does it anew."""
    role = connection.value("SELECT current_user::text")
    return [
        role,
        connection.superuser,
        connection.can_disable_triggers,
        connection.raw.info.server_version,
        connection.evaluating,
        _ours(),
    ]


@cache
def _ours() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".sql"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
