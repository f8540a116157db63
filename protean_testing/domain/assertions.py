"""Assertions on a domain's events, streams and messages, and the helpers as methods of a test case."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from . import helpers

if TYPE_CHECKING:
    from protean import Domain
    from protean.testing import EventLog, ProcessResult, ProjectionResult

Event = TypeVar("Event")


class DomainAssertions(unittest.TestCase):
    """Mixed into `DomainTestCase`.

    Attributes:
        domain: The domain.
    """

    domain: ClassVar[Domain]

    def process(self, command: Any, *, until: Callable[[], bool] | None = None) -> ProcessResult:
        """See `helpers.process`."""
        return helpers.process(command, until=until, domain=self.domain)

    def drain(self, *, until: Callable[[], bool] | None = None, max_cycles: int = 5) -> int:
        """See `helpers.drain`."""
        return helpers.drain(until=until, max_cycles=max_cycles, domain=self.domain)

    def events(self, stream: str = "$all") -> EventLog:
        """See `helpers.events`."""
        return helpers.events(stream, domain=self.domain)

    def published(self, stream: str, broker: str = "default") -> list[dict[str, Any]]:
        """See `helpers.published`."""
        return helpers.published(stream, broker, domain=self.domain)

    def projection(self, cls: type, identifier: Any) -> ProjectionResult:
        """See `helpers.projection`."""
        return helpers.projection(cls, identifier, domain=self.domain)

    def assertEventRaised(self, event: type[Event], *, stream: str = "$all", **fields: Any) -> Event:
        """Fail unless such an event was raised.

        Parameters:
            event: Its class.
            stream: The stream or the category to look in.
            fields: Values that it must have.

        Returns:
            The first one that has them.
        """
        raised = self.events(stream)
        for found in raised.of_type(event):
            if all(getattr(found, name, None) == value for name, value in fields.items()):
                return found  # type: ignore[no-any-return]
        wanted = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        self.fail(f"no {event.__name__}({wanted}) was raised, but {_listed(raised)}")

    def assertStream(self, stream: str, events: list[type]) -> None:
        """Fail unless the stream has just these events, in this order.

        Parameters:
            stream: A stream, a category of streams, or ``"$all"``.
            events: Their classes.
        """
        raised = self.events(stream)
        if raised.types != events:
            wanted = ", ".join(event.__name__ for event in events) or "nothing"
            self.fail(f"stream {stream!r} should have {wanted}, but has {_listed(raised)}")

    def assertPublished(self, stream: str, broker: str = "default", **fields: Any) -> dict[str, Any]:
        """Fail unless such a message was published.

        Parameters:
            stream: The broker's stream.
            broker: The broker's name.
            fields: Values that it must have, at its first level or in its ``data``.

        Returns:
            The first one that has them.
        """
        found = self.published(stream, broker)
        for message in found:
            values = {**(message["data"] if isinstance(message.get("data"), dict) else {}), **message}
            if all(name in values and values[name] == value for name, value in fields.items()):
                return message
        wanted = ", ".join(f"{name}={value!r}" for name, value in fields.items()) or "anything"
        self.fail(f"no message with {wanted} is in stream {stream!r} of broker {broker!r}, but {found!r}")

    def assertQueryCount(self, expected: int, database: str = "default") -> AbstractContextManager[list[str]]:
        """See `helpers.query_count`."""
        return helpers.query_count(expected, database, domain=self.domain)


def _listed(events: EventLog) -> str:
    return ", ".join(repr(event) for event in events) or "nothing"
