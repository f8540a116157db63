"""Put a domain into one configuration, by other adapters.

A domain is switched to a configuration by giving it other adapters; its own stay as they are, and are put
back at the end. So classes of several configurations come in any order, and each configuration is made once
per run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from protean.adapters import Brokers, Caches, Providers
from protean.adapters.event_store import EventStore
from protean.domain.infrastructure import InfrastructureManager

from ..errors import ConfigurationError, ScopeError, redacted
from ..store import Store
from .adapters import forget_repositories
from .config import Config, own_config, test_environment
from .hints import hint
from .locations import passwords

_ADAPTERS = ("config", "providers", "brokers", "caches", "event_store", "_infrastructure")
_MADE_WHEN_ASKED_FOR = ("_idempotency_store", "_trace_emitter")

_REGISTRY = "protean.domain.registry"  # warns of the classes that every initialization generates anew

_outside: dict[int, Mapping[str, Any]] = {}
_entries: dict[int, list[_Entry]] = {}


@dataclass
class _Entry:
    """What a domain was before a configuration was put in its place."""

    configuration: Configuration
    attributes: dict[str, Any]
    internal: list[tuple[str, str, Any]]


class Configuration:
    """A domain's adapters in one configuration.

    Attributes:
        domain: The domain.
        config: The configuration, with every URL.
        stores: What to restore, in the order in which to prepare it.
    """

    stores: Sequence[Store]

    def __init__(self, domain: Any, config: Config) -> None:
        self.domain = domain
        self.config = config
        self._adapters: dict[str, Any] = {}
        self._internal: list[tuple[str, str, Any]] = []
        self._when_asked_for: dict[str, Any] = dict.fromkeys(_MADE_WHEN_ASKED_FOR)

    def adapter(self, registry: str, name: str) -> Any:
        """The current adapter, also while another configuration is in place.

        Parameters:
            registry: ``"providers"``, ``"brokers"``, ``"caches"``, or ``"event_store"``.
            name: Its name in the configuration.
        """
        held = self._adapters[registry]
        return held.store if registry == "event_store" else held[name]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the domain these adapters; its own come back at the end.

        Raises:
            ConfigurationError: The domain cannot be initialized in this configuration.
            ScopeError: One that was put in place since still is, and stays.
        """
        domain = self.domain
        entries = _entries.setdefault(id(domain), [])
        if not entries:
            _outside[id(domain)] = own_config(domain)
        names = (*_ADAPTERS, *_MADE_WHEN_ASKED_FOR, "clock")
        attributes = {name: getattr(domain, name) for name in names}
        mine = _Entry(self, attributes, _take_internal(domain))
        entries.append(mine)
        try:
            if not self._adapters:
                self._make()
            self._put()
            yield
        finally:
            inner = entries[entries.index(mine) + 1 :]
            entries.remove(mine)
            if inner:
                inner[0].attributes, inner[0].internal = mine.attributes, mine.internal
            else:
                self._when_asked_for = {name: getattr(domain, name) for name in _MADE_WHEN_ASKED_FOR}
                _take_internal(domain)
                _add_internal(domain, mine.internal)
                for name, value in mine.attributes.items():
                    setattr(domain, name, value)
            if not entries:
                del _outside[id(domain)], _entries[id(domain)]
        if inner:
            raise ScopeError(
                f"a block or class ended while another configuration of domain {domain.name!r}, put in place "
                "inside it, was still there. End the inner one first; in pytest, let the inner fixture take "
                "the outer one as an argument."
            )

    @property
    def is_in_use(self) -> bool:
        """Whether the domain has adapters of ours now, of this configuration or of another one."""
        return id(self.domain) in _entries

    @property
    def is_hidden(self) -> bool:
        """Whether the domain has other adapters now: another configuration was put in place since."""
        entries = _entries.get(id(self.domain), [])
        return bool(entries) and entries[-1].configuration is not self

    def _put(self) -> None:
        _take_internal(self.domain)
        _add_internal(self.domain, self._internal)
        for name, value in (self._adapters | self._when_asked_for).items():
            setattr(self.domain, name, value)

    def _make(self) -> None:
        domain = self.domain
        self._adapters = {
            "config": domain.config_class(self.config),
            "providers": Providers(domain),
            "brokers": Brokers(domain),
            "caches": Caches(domain),
            "event_store": EventStore(domain),
            "_infrastructure": InfrastructureManager(domain),
        }
        self._put()
        try:
            with test_environment(), _not_said(_REGISTRY):
                domain.init(traverse=False)
        except Exception as error:
            self._adapters = {}
            text = redacted(f"{type(error).__name__}: {error}", *passwords(self.config))
            raise ConfigurationError(
                f"domain {domain.name!r} could not be initialized in the configuration of this class.\n{text}"
                + hint(error)
            ) from None
        self._internal = _take_internal(domain)

    def close(self) -> None:
        """The run, or its use of this, is over: close the adapters; a later use makes new ones."""
        for name in ("event_store", "brokers", "caches", "providers"):
            if name in self._adapters:
                self._adapters[name].close()
        idempotency = self._when_asked_for["_idempotency_store"]
        if idempotency is not None and idempotency.is_active:
            idempotency._redis.close()
        forget_repositories()


def config_outside(domain: Any) -> Mapping[str, Any]:
    """The domain's own configuration, also while another one is in place."""
    return _outside.get(id(domain)) or own_config(domain)


@contextmanager
def _not_said(logger: str) -> Iterator[None]:
    level = logging.getLogger(logger).level
    logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger(logger).setLevel(level)


def _take_internal(domain: Any) -> list[tuple[str, str, Any]]:
    """Remove what initializing a domain registered for its adapters: outbox, idempotency markers, events."""
    elements, names = domain._domain_registry._elements, domain._domain_registry._elements_by_name
    taken = [
        (kind, qualname, record)
        for kind in ("AGGREGATE", "REPOSITORY")
        for qualname, record in elements[kind].items()
        if record.internal
    ]
    for kind, qualname, record in taken:
        del elements[kind][qualname]
        names[record.name].remove(record)
    return taken


def _add_internal(domain: Any, taken: list[tuple[str, str, Any]]) -> None:
    elements, names = domain._domain_registry._elements, domain._domain_registry._elements_by_name
    for kind, qualname, record in taken:
        elements[kind][qualname] = record
        names.setdefault(record.name, []).append(record)
