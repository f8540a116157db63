"""The rows of an adopted schema, written down so that they come back even where the run is killed."""

from __future__ import annotations

from . import baseline, sequences
from .catalog import read_catalog
from .connection import OURS, Connection, literal
from .data import Data


def remember(connection: Connection, data: Data) -> None:
    """Write down where the first copies are, and where sequences stand. Inside a transaction."""
    connection.run(
        f"DROP TABLE IF EXISTS {OURS}.adopted; CREATE TABLE {OURS}.adopted "
        "(schema text, name text, number int, copies int[], last_value bigint, is_called bool)"
    )
    lines = []
    for number, state in data.rows.base.items():
        table = data.catalog.tables[number]
        copies = f"'{{{','.join(map(str, state))}}}'"
        lines.append(f"({literal(table.schema)}, {literal(table.name)}, {number}, {copies}, NULL, NULL)")
    for (schema, name), (last, called) in data.positions.base.items():
        lines.append(f"({literal(schema)}, {literal(name)}, NULL, NULL, {last}, {called})")
    if lines:
        connection.run(f"INSERT INTO {OURS}.adopted VALUES {', '.join(lines)}")


def give_back(connection: Connection) -> None:
    """Bring back what a dead run had found, in all tables and sequences that are still there."""
    if connection.value(f"SELECT to_regclass('{OURS}.adopted')") is None:
        return
    found = connection.rows(f"SELECT * FROM {OURS}.adopted")
    numbers = {(schema, name): number for schema, name, number, *_ in found if number is not None}
    catalog = read_catalog(connection, numbers)
    states = {number: tuple(copies) for _, _, number, copies, *_ in found if number is not None}
    tables = [table for table in catalog.tables.values() if table.kind == "r" and table.changeable]
    with connection.raw.transaction():
        known = [(table, states[table.number]) for table in tables if table.number in states]
        with baseline.unforced(connection, [table for table, _ in known]):
            wrong = baseline.changed(connection, known)
        baseline.put_back(connection, catalog, {number: states[number] for number in wrong})
        places = {
            (schema, name): (last, called) for schema, name, _, _, last, called in found if last is not None
        }
        targets = {s: places[name] for name, s in catalog.sequences.items() if name in places}
        sequences.put_back(connection, targets)
