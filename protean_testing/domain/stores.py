"""The stores of a domain in one configuration: one for every adapter that holds data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypedDict, Unpack
from weakref import WeakSet

from ..config import environ
from ..store import LocatedStore, OnLeak, Store
from . import adapters
from .adapters import Part, UnknownStore
from .config import SQL, is_managed, wanted
from .configuration import Configuration, config_outside
from .locations import REDIS, Locations
from .state import EndStore, StateStore

_made: dict[Any, Configuration] = {}
_traversed: WeakSet[Any] = WeakSet()


class Policy(TypedDict):
    """What follows a leak, of every store that does not say otherwise itself."""

    on_leak: OnLeak
    verify: bool


def configuration(
    domain: Any, overlay: Mapping[str, Any] | None, *, traverse: bool, **policy: Unpack[Policy]
) -> Configuration:
    """The configuration of a class or block: the same object wherever the same is asked for, in one run.

    Parameters:
        domain: The domain.
        overlay: Sections of the configuration that stand over the domain's own.
        traverse: Let a domain that was never initialized import the modules beneath its root path.
        policy: ``on_leak`` and ``verify``, as for `DomainTestCase`.

    Raises:
        ConfigurationError: Something in it is unknown, or a server cannot be had.
    """
    if traverse and domain.providers._providers is None and domain not in _traversed:
        _traversed.add(domain)
        domain._traverse()
    config = wanted(config_outside(domain), overlay)
    public = tuple(
        sorted(
            name
            for records in domain._domain_registry._elements.values()
            for name, record in records.items()
            if not (record.internal or record.auto_generated)
        )
    )
    key = (domain, public, *policy.values(), json.dumps(config, sort_keys=True, default=repr), environ.urls())
    if key not in _made:
        locations = Locations(config)
        locations.fill((domain, public, has_outbox(config)))
        found = Configuration(domain, config)

        def at_end() -> None:
            _made.pop(key, None)
            found.close()

        found.stores = _stores(found, locations, policy, at_end)
        for store in found.stores:
            if not (isinstance(store, LocatedStore) and store.kind == "redis"):  # which others may share
                store.unit = domain
        _made[key] = found
    return _made[key]


def _stores(
    configuration: Configuration, locations: Locations, policy: Policy, at_end: Callable[[], object]
) -> list[Store]:
    """The stores of a configuration: databases, Redis, the event store, and what is in this process.

    Parameters:
        at_end: Called when the run is over and everything was dropped.
    """
    found = [
        *_databases(configuration, locations, policy),
        *_redis(configuration.config, locations, policy),
        *_event_store(configuration, locations, policy),
        *_caches(configuration, policy),
        *_brokers(configuration, policy),
    ]
    state = StateStore(configuration, [part for part in found if isinstance(part, Part)], **policy)
    others = [store for store in found if isinstance(store, Store)]
    if not others:
        state.at_end = at_end
        return [state]
    return [EndStore(f"adapters of {configuration.domain.name}", at_end), *others, state]


def _databases(configuration: Configuration, locations: Locations, policy: Policy) -> Iterator[Store | Part]:
    config = configuration.config
    events = config["event_store"].get("provider") == "memory"
    for name, entry in config["databases"].items():
        adapter = partial(configuration.adapter, "providers", name)
        if not is_managed(entry) and not (events and name == "memory"):
            if entry.get("provider") in SQL:
                yield adapters.UnmanagedStore(adapter, f"{name} (not managed)")
            continue
        match entry.get("provider"):
            case "memory":
                yield adapters.memory_provider(adapter, name)
            case provider if provider in SQL:
                yield adapters.ProviderStore(
                    adapter,
                    entry["database_uri"],
                    private=("databases", name) in locations.private,
                    owner=(configuration.domain, name, has_outbox(config)),
                    decided_for=locations.private.get(("databases", name)),
                    name=name,
                    **{**policy, **locations.options.get(("databases", name), {})},
                )
            case "elasticsearch":
                from .elasticsearch import ElasticsearchStore

                options = {**policy, **locations.options.get(("databases", name), {})}
                yield ElasticsearchStore(adapter, name=name, **options)
            case _:
                yield UnknownStore(adapter, name, policy["on_leak"], is_provider=True)


def has_outbox(config: dict[str, Any]) -> bool:
    """Whether every database has an outbox too, as ``Domain.has_outbox`` works it out."""
    stream = config.get("server", {}).get("default_subscription_type") == "stream"
    return stream or config.get("enable_outbox", False) is True


def _redis(config: dict[str, Any], locations: Locations, policy: Policy) -> Iterator[Store]:
    """One store for each Redis database, whoever uses it."""
    used: dict[str, list[tuple[str, str]]] = {}
    for section in ("brokers", "caches"):
        for name, entry in config[section].items():
            if entry.get("provider") in REDIS:
                used.setdefault(entry["URI"], []).append((section, name))
    idempotency = (config.get("idempotency") or {}).get("redis_url")
    if idempotency:
        used.setdefault(idempotency, []).append(("idempotency", ""))
    for url, users in used.items():
        from ..stores.redis import RedisStore

        what = {"brokers": "broker", "caches": "cache", "idempotency": "idempotency"}
        options: dict[str, Any] = {**policy}
        for user in users:
            options |= locations.options.get(user, {})
        name = ", ".join(f"{what[section]} {name}".strip() for section, name in users)
        store = RedisStore(name=f"redis of {name}", **options)
        store.bind(url, private=all(user in locations.private for user in users))
        yield store


def _event_store(configuration: Configuration, locations: Locations, policy: Policy) -> Iterator[Store]:
    entry = configuration.config["event_store"]
    match entry.get("provider"):
        case "memory":
            pass  # it keeps its events in the database named memory
        case "message_db":
            from ..stores.message_db.store import MessageDBStore

            yield MessageDBStore(
                **{
                    "url": entry["database_uri"],
                    "private": ("event_store", "") in locations.private,
                    "decided_for": locations.private.get(("event_store", "")),
                    **policy,
                    **locations.options.get(("event_store", ""), {}),
                }
            )
        case _:
            adapter = partial(configuration.adapter, "event_store", "")
            yield UnknownStore(adapter, "event store", policy["on_leak"])


def _caches(configuration: Configuration, policy: Policy) -> Iterator[Store | Part]:
    for name, entry in configuration.config["caches"].items():
        adapter = partial(configuration.adapter, "caches", name)
        match entry.get("provider"):
            case "memory":
                yield adapters.memory_cache(adapter, f"cache {name}")
            case "redis":
                pass
            case _:
                yield UnknownStore(adapter, f"cache {name}", policy["on_leak"])


def _brokers(configuration: Configuration, policy: Policy) -> Iterator[Store | Part]:
    for name, entry in configuration.config["brokers"].items():
        adapter = partial(configuration.adapter, "brokers", name)
        match entry.get("provider"):
            case "inline":
                yield adapters.inline_broker(adapter, f"broker {name}")
            case "redis" | "redis_pubsub":
                yield adapters.redis_broker(adapter, f"groups of broker {name}")
            case _:
                yield UnknownStore(adapter, f"broker {name}", policy["on_leak"])
