"""Events, from the table where a transaction left them to the Redis stream where others read them."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from .database import redis, transaction
from .models import OutboxEvent

STREAM = "shop:events"


def publish() -> int:
    """Append every new event to the stream, in order; say how many.

    Two publishers at once take different events. One that dies between the stream and its commit makes
    the event appear twice: readers go by its number.
    """
    with transaction() as session:
        events = session.scalars(
            select(OutboxEvent)
            .where(OutboxEvent.stream_id.is_(None))
            .order_by(OutboxEvent.id)
            .with_for_update(skip_locked=True)
        ).all()
        for event in events:
            event.stream_id = redis().xadd(
                STREAM, {"number": event.id, "kind": event.kind, "payload": json.dumps(event.payload)}
            )
        return len(events)


def unpack(fields: Mapping[str, str]) -> tuple[int, str, dict[str, Any]]:
    """The number, kind and payload of an entry of the stream."""
    return int(fields["number"]), fields["kind"], json.loads(fields["payload"])
