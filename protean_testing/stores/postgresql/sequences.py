"""Where sequences stand: read exactly, and restored. What a failed statement took is seen here as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .catalog import Sequence
from .connection import Connection, listed

Name = tuple[str, str]
Position = tuple[int, bool]
"""last_value and is_called, as in the sequence itself."""

_SET_BASED = 18
"""The version of PostgreSQL that has `pg_get_sequence_data`."""

_ONLY_CALLED = "LATERAL (SELECT pg_sequence_last_value(s.oid) AS last_value, true AS is_called)"
"""For earlier ones: NULL for a sequence that gave no value yet, which is then read for itself."""

CHUNK = 200
"""Sequences that one statement reads for themselves."""


def positions(connection: Connection, sequences: Iterable[Sequence]) -> dict[Name, Position]:
    """Where they stand now."""
    by_oid = {sequence.oid: sequence for sequence in sequences}
    read = "pg_get_sequence_data(s.oid)" if connection.version >= _SET_BASED else _ONLY_CALLED
    found: dict[Name, Position] = {}
    known = f"unnest({listed(by_oid)}::oid[]) s (oid)"
    for oid, last, called in connection.rows(
        f"SELECT s.oid::int8, d.last_value, d.is_called FROM {known}, {read} d"
    ):
        if last is not None:
            found[by_oid[oid].key] = (last, called)
    waiting = [sequence for sequence in by_oid.values() if sequence.key not in found]
    for begin in range(0, len(waiting), CHUNK):
        part = waiting[begin : begin + CHUNK]
        union = " UNION ALL ".join(
            f"SELECT {number}, last_value, is_called FROM {sequence.sql}"
            for number, sequence in enumerate(part)
        )
        for number, last, called in connection.rows(union, again=True):
            found[part[number].key] = (last, called)
    return found


def restore(connection: Connection, targets: Mapping[Sequence, Position]) -> None:
    """Set sequences to their positions. What sessions had cached of them is void too."""
    for sequence, (last, _) in targets.items():
        if sequence.cached:  # nothing else makes a live session forget the values it holds
            connection.run(f"ALTER SEQUENCE {sequence.sql} RESTART WITH {last}")
    set_positions(connection, targets)


def set_positions(connection: Connection, locations: Mapping[Sequence, Position]) -> None:
    """Set sequences to where they stand, or are to stand: whatever takes the next value is seen then.

    The server logs 32 values at once: only the first one after this needs a transaction number.
    """
    part = [
        f"setval({sequence.oid}::regclass, {last}, {called})"
        for sequence, (last, called) in locations.items()
    ]
    for begin in range(0, len(part), CHUNK):
        connection.run("SELECT " + ", ".join(part[begin : begin + CHUNK]))
