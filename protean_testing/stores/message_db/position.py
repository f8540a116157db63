"""How far the messages of a Message DB are written, and whether they are the same."""

from __future__ import annotations

from typing import Any, NamedTuple

MESSAGES = "message_store.messages"
SEQUENCE = "message_store.messages_global_position_seq"
_VERSIONS = f"coalesce(sum({MESSAGES}.xmin::text::bigint), 0)::bigint"


class Position(NamedTuple):
    """How far the store is written.

    Attributes:
        last: The last message's global position; 0 if there is none.
        messages: How many there are.
        value, called: The sequence's state.
        versions: The sum of the numbers of the transactions that wrote the messages. If as many are there, it
            is the same exactly if nobody has changed one: each change has a higher number.
        is_copied: Whether the copies hold the messages as they are.
    """

    last: int
    messages: int
    value: int
    called: bool
    versions: int = 0
    is_copied: bool = True


def read_position(connection: Any) -> tuple[str, Position]:
    """How far it is written, and which transactions have ended by now."""
    transactions, *found = connection.execute(
        "SELECT txid_current_snapshot()::text, coalesce(max(global_position), 0), "
        f"count(global_position), s.last_value, s.is_called, {_VERSIONS} "
        f"FROM {SEQUENCE} s LEFT JOIN {MESSAGES} ON true GROUP BY s.last_value, s.is_called"
    ).fetchone()
    return transactions, Position(*found)


def read_versions(connection: Any, last: int) -> int:
    """`Position.versions` of the messages up to a position."""
    query = f"SELECT {_VERSIONS} FROM {MESSAGES} WHERE global_position <= {last}"
    return int(connection.execute(query).fetchone()[0])
