"""Which messages came since a snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...changes import KEPT, Written
from .position import MESSAGES, Position, read_versions

_SHOWN = ("stream_name", "type", "data", "global_position", "metadata")
_NEWER = f"""
SELECT category, total, {", ".join(_SHOWN)}
  FROM (SELECT *, split_part(stream_name, '-', 1) AS category,
               count(*) OVER (PARTITION BY split_part(stream_name, '-', 1)) AS total,
               row_number() OVER (PARTITION BY split_part(stream_name, '-', 1) ORDER BY global_position) AS n
          FROM {MESSAGES} WHERE global_position > %s) m
 WHERE n <= %s ORDER BY global_position
"""


def written(connection: Any, snapshot: Position, restored: Mapping[int, int]) -> Iterator[Written]:
    """The messages that came since, by the categories of their streams.

    Parameters:
        restored: `Position.versions` of messages that were restored since, by the last of them.
    """
    last = snapshot.last
    (older,) = connection.execute(
        f"SELECT count(*) FROM {MESSAGES} WHERE global_position <= {last}"
    ).fetchone()
    if (older, read_versions(connection, last)) != (snapshot.messages, restored.get(last, snapshot.versions)):
        yield Written("$all", kind="category", remark="messages that were there before are gone or changed")
    found: dict[str, list[dict[str, Any]]] = {}
    totals: dict[str, int] = {}
    for category, total, *values in connection.execute(_NEWER, [last, KEPT]).fetchall():
        totals[category] = total
        found.setdefault(category, []).append(dict(zip(_SHOWN, values, strict=True)))
    for category, rows in found.items():
        yield Written(category, rows, kind="category", more=(totals[category] - len(rows), 0, 0))
