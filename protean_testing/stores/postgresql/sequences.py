"""Where sequences stand: read exactly, and put back. What a failed statement took is seen here as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .catalog import Sequence
from .connection import Connection

Name = tuple[str, str]
Position = tuple[int, bool]
"""last_value and is_called, as in the sequence itself."""

CHUNK = 200
"""Sequences that one statement looks at."""


def positions(connection: Connection, sequences: Iterable[Sequence]) -> dict[Name, Position]:
    """Where they stand now."""
    found: dict[Name, Position] = {}
    waiting = list(sequences)
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
    make_noticed(connection, targets)


def make_noticed(connection: Connection, locations: Mapping[Sequence, Position]) -> None:
    """Set sequences to where they stand, or are to stand: what takes the next value of one is noticed then.

    The server logs 32 values at once: only the first one after this needs a transaction number.
    """
    part = [
        f"setval({sequence.oid}::regclass, {last}, {called})"
        for sequence, (last, called) in locations.items()
    ]
    for begin in range(0, len(part), CHUNK):
        connection.run("SELECT " + ", ".join(part[begin : begin + CHUNK]))
