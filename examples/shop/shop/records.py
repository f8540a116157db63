"""What a change leaves behind, in the transaction that makes it: an audit entry, an event to publish."""

from typing import Any

from sqlalchemy.orm import Session

from .context import actor
from .models import AuditEntry, OutboxEvent


def audit(session: Session, action: str, subject: str, **details: Any) -> None:
    """For people: who did what to which thing."""
    session.add(AuditEntry(actor=actor(), action=action, subject=subject, details=details))


def event(session: Session, kind: str, **payload: Any) -> None:
    """For other programs: `shop.outbox` publishes it once the transaction is committed."""
    session.add(OutboxEvent(kind=kind, payload=payload))
