"""A store for every adapter of a domain that holds data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from ..store import OnLeak, Store
from . import adapters
from .config import SQL, is_managed
from .locations import REDIS, Locations

if TYPE_CHECKING:
    from .configuration import Configuration


class Policy(TypedDict):
    """What follows a leak, of every store that does not say otherwise itself."""

    on_leak: OnLeak
    verify: bool


def stores_of(configuration: Configuration, locations: Locations, policy: Policy) -> list[Store]:
    """The stores of a configuration: databases, Redis, the event store, caches, brokers."""
    in_process = [*_caches(configuration), *_brokers(configuration)]
    for store in in_process:
        _follow(store, policy)
    return [
        *_databases(configuration, locations, policy),
        *_redis(configuration.config, locations, policy),
        *_event_store(configuration, locations, policy),
        *in_process,
    ]


def _follow(store: Store, policy: Policy) -> Store:
    can_look = type(store).dump_data is not Store.dump_data
    store.on_leak, store.verify = policy["on_leak"], policy["verify"] and can_look
    return store


def _databases(configuration: Configuration, locations: Locations, policy: Policy) -> Iterator[Store]:
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
                yield _follow(adapters.memory_provider(adapter, name), policy)
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
                yield _follow(adapters.unknown(adapter, name, is_provider=True), policy)


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
            yield _follow(
                adapters.unknown(partial(configuration.adapter, "event_store", ""), "event store"), policy
            )


def _caches(configuration: Configuration) -> Iterator[Store]:
    for name, entry in configuration.config["caches"].items():
        adapter = partial(configuration.adapter, "caches", name)
        match entry.get("provider"):
            case "memory":
                yield adapters.memory_cache(adapter, f"cache {name}")
            case "redis":
                pass
            case _:
                yield adapters.unknown(adapter, f"cache {name}")


def _brokers(configuration: Configuration) -> Iterator[Store]:
    for name, entry in configuration.config["brokers"].items():
        adapter = partial(configuration.adapter, "brokers", name)
        match entry.get("provider"):
            case "inline":
                yield adapters.inline_broker(adapter, f"broker {name}")
            case "redis" | "redis_pubsub":
                yield adapters.redis_broker(adapter, f"groups of broker {name}")
            case _:
                yield adapters.unknown(adapter, f"broker {name}")
