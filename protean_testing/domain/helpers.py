"""Process commands, run the engine, read events and messages: thin over ``protean.testing``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from protean import testing
from protean.exceptions import ObjectNotFoundError
from protean.utils.globals import current_domain

from ..errors import ConfigurationError
from .state import revive

if TYPE_CHECKING:
    from protean import Domain

_ONE_PASS = 5  # as protean.testing.drain: how many passes of the engine at most


def process(
    command: Any, *, until: Callable[[], bool] | None = None, domain: Domain | None = None
) -> testing.ProcessResult:
    """Process a command and wait for its effects, in the engine where processing is not synchronous.

    Parameters:
        command: The command.
        until: In the engine: stop as soon as this is true.
        domain: The domain; that of the context if it is left out.

    Returns:
        Its ``result``, its ``events``, and its ``error``, which is not raised.
    """
    domain = _domain(domain)
    with _reviving(domain):
        return testing.process_and_wait(command, domain, until=_opened(domain, until))


def drain(
    *, until: Callable[[], bool] | None = None, max_cycles: int = _ONE_PASS, domain: Domain | None = None
) -> int:
    """Run the engine until it has nothing to do, or until `until`: outbox, brokers, handlers, subscribers.

    The engine closes the domain at its end; what the test goes on with is opened again.

    Parameters:
        until: Run again until this is true, at most `max_cycles` times.
        max_cycles: How many times to run it.
        domain: The domain; that of the context if it is left out.

    Returns:
        How many times it ran.
    """
    domain = _domain(domain)
    with _reviving(domain):
        return testing.drain(domain, until=_opened(domain, until), max_cycles=max_cycles)


async def drain_async(*, domain: Domain | None = None) -> None:
    """As `drain`, once, from an async test: the engine has an event loop of its own in another thread.

    Parameters:
        domain: The domain; that of the context if it is left out.
    """
    from protean.server.engine import Engine

    class ThreadEngine(Engine):
        def _setup_signal_handlers(self) -> None:
            """None: signals belong to the main thread."""

        def _cleanup_signal_handlers(self) -> None:
            """None."""

    domain = _domain(domain)
    with _reviving(domain):
        await asyncio.to_thread(lambda: ThreadEngine(domain, test_mode=True).run())


def events(stream: str = "$all", *, domain: Domain | None = None) -> testing.EventLog:
    """The events that were raised and written to the event store, in order.

    Parameters:
        stream: A stream (``"order-<id>"``), a category of streams, or all of them.
        domain: The domain; that of the context if it is left out.
    """
    domain = _domain(domain)
    store = domain.event_store.store
    assert store is not None
    found = []
    for message in store.read_all(stream):
        headers = message.metadata.domain if message.metadata else None
        if headers is not None and headers.kind == "EVENT":
            found.append(message.to_domain_object())
    return testing.EventLog(found)


def published(stream: str, broker: str = "default", *, domain: Domain | None = None) -> list[dict[str, Any]]:
    """The messages that were published to a stream of a broker, in order; reading them takes none away.

    Parameters:
        stream: The stream.
        broker: The broker's name.
        domain: The domain; that of the context if it is left out.

    Raises:
        ConfigurationError: The broker is not one of Protean's own.
    """
    held: Any = _domain(domain).brokers[broker]
    match getattr(type(held), "__broker__", None):
        case "inline":
            return [message for _, message in held._messages[stream]] if stream in held._messages else []
        case "redis":
            return [json.loads(fields[b"data"]) for _, fields in held._client.xrange(stream)]
        case "redis_pubsub":
            return [json.loads(text)[1] for text in held.redis_instance.lrange(stream, 0, -1)]
    raise ConfigurationError(f"what broker {broker!r} ({type(held).__name__}) holds is not known here.")


def projection(cls: type, identifier: Any, *, domain: Domain | None = None) -> testing.ProjectionResult:
    """A projection as it is stored, in a database or a cache: ``.found``, ``.has(name=value)``.

    Parameters:
        cls: The projection's class.
        identifier: The value of its identifier.
        domain: The domain; that of the context if it is left out.
    """
    view: Any = _domain(domain).view_for(cls)
    try:
        return testing.ProjectionResult(cls, view.get(identifier))
    except ObjectNotFoundError:
        return testing.ProjectionResult(cls, None)


def query_count(
    expected: int, database: str = "default", *, domain: Domain | None = None
) -> AbstractContextManager[list[str]]:
    """A block that must send so many queries to a SQL database, and fails otherwise.

    Parameters:
        expected: How many SELECT, INSERT, UPDATE and DELETE statements.
        database: The provider's name.
        domain: The domain; that of the context if it is left out.

    Raises:
        ConfigurationError: It is no SQL database, so there is nothing to count.
    """
    from protean.integrations.pytest.query_assertions import assert_query_count

    provider = _domain(domain).providers[database]
    engine = getattr(provider, "_engine", None)
    if engine is None:
        raise ConfigurationError(
            f"database {database!r} has the provider {provider.conn_info.get('provider')!r}, which sends no "
            "SQL: there are no queries to count. Give this class a config with a SQL database."
        )
    return assert_query_count(expected, engine)


def _domain(domain: Domain | None) -> Domain:
    found = current_domain._get_current_object() if domain is None else domain  # type: ignore[attr-defined]
    if found is None:
        raise ConfigurationError("there is no domain here: name it with domain=, or push its context.")
    return found


def _opened(domain: Domain, until: Callable[[], bool] | None) -> Callable[[], bool] | None:
    """The same question, asked of a domain that the engine has just closed."""

    def asked() -> bool:
        revive(domain)
        return until is not None and until()

    return None if until is None else asked


@contextmanager
def _reviving(domain: Domain) -> Iterator[None]:
    try:
        yield
    finally:
        revive(domain)
