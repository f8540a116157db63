"""Work out the configuration of a test's domain: its own, the environment's, and the class's over both."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from ..config import environ
from ..errors import ConfigurationError

Config = dict[str, Any]

_NAMED = ("databases", "brokers", "caches")
SQL = ("sqlite", "postgresql", "mysql", "mssql")
_PROCESSING = ("event_processing", "command_processing")
_KNOWN = {
    "broker": ("inline", "redis", "redis_pubsub"),
    "event store": ("memory", "message_db"),
    "cache": ("memory", "redis"),
}


def wanted(own: Mapping[str, Any], overlay: Mapping[str, Any] | None) -> Config:
    """The domain's own configuration as the environment changes it, with the class's over both.

    Databases, brokers and caches are replaced by name, each as a whole; the event store as a whole; every
    other section is merged. Events and commands are processed synchronously unless `overlay` says otherwise.

    Parameters:
        own: The domain's own.
        overlay: What a class or block declares.

    Raises:
        ConfigurationError: A section or an adapter is unknown, or the environment contradicts itself.
    """
    config = deepcopy(dict(own))
    _switch_databases(config)
    _switch_infrastructure(config)
    _lay_over(config, overlay or {})
    for processing in _PROCESSING:
        if processing not in (overlay or {}):
            config[processing] = "sync"
    if config["event_store"].get("provider") == "memory":
        config["databases"].setdefault("memory", {"provider": "memory"})
    _check(config)
    return config


def own_config(domain: Any) -> Mapping[str, Any]:
    """The domain's own configuration, with the overlay ``[test]`` of its file.

    Protean lays it over when the domain is constructed, by ``PROTEAN_ENV``. A runner other than pytest sets
    that for nobody, so what the file says is read again here.
    """
    config: Mapping[str, Any] = domain.config
    if os.environ.get("PROTEAN_ENV"):
        return config
    if _from_file(domain) != config:
        return config  # given as a dictionary, or changed since
    with test_environment():
        return _from_file(domain)


@contextmanager
def test_environment() -> Iterator[None]:
    """``PROTEAN_ENV=test`` for what Protean reads meanwhile, unless it is set: files, the level of logs."""
    if os.environ.get("PROTEAN_ENV"):
        yield
        return
    os.environ["PROTEAN_ENV"] = "test"
    try:
        yield
    finally:
        del os.environ["PROTEAN_ENV"]


def _from_file(domain: Any) -> Mapping[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there may be no file
        config: Mapping[str, Any] = domain.config_class.load_from_path(domain.root_path)
        return config


def _switch_databases(config: Config) -> None:
    target = environ.test_db() or environ.test_infra()  # "memory" means the same in both
    if target is None:
        return
    environ.used("TEST_DB", "TEST_INFRA")
    for name, entry in config["databases"].items():
        if name == "memory" and entry.get("provider") == "memory":
            continue  # the memory event store keeps its events there
        if target != "memory" and not (is_managed(entry) and entry.get("provider") in ("memory", *SQL)):
            continue  # nobody here could make its schema
        kept = entry if entry.get("provider") == target else {"managed": is_managed(entry)}
        config["databases"][name] = {**kept, "provider": target}
        config["databases"][name].pop("database_uri", None)


def _switch_infrastructure(config: Config) -> None:
    match environ.test_infra():
        case "memory":
            config["brokers"] = {name: {"provider": "inline"} for name in config["brokers"]}
            config["caches"] = {name: _cache(entry, "memory") for name, entry in config["caches"].items()}
            config["event_store"] = {"provider": "memory"}
            config["idempotency"] = {**config.get("idempotency", {}), "redis_url": None}
        case "full":
            for name, entry in config["brokers"].items():
                kept = {} if entry.get("provider") == "inline" else entry
                config["brokers"][name] = {"provider": "redis", **kept}
                config["brokers"][name].pop("URI", None)
            config["caches"] = {name: _cache(entry, "redis") for name, entry in config["caches"].items()}
            config["event_store"] = {"provider": "message_db"}
            if config.get("idempotency", {}).get("redis_url"):
                config["idempotency"] = {**config["idempotency"], "redis_url": None, "provider": "redis"}


def _cache(entry: Config, provider: str) -> Config:
    return {"provider": provider, **({"TTL": entry["TTL"]} if "TTL" in entry else {})}


def is_managed(entry: Mapping[str, Any]) -> bool:
    """Whether Protean, and so we, may touch a database. A text that spells "no" is taken at its word."""
    value = entry.get("managed", True)
    if isinstance(value, str):
        return value.strip().lower() not in ("false", "0", "no", "off", "")
    return bool(value)


def _lay_over(config: Config, overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        if key not in config:
            raise ConfigurationError(f"config: a Protean domain has no section {key!r}.{_near(key, config)}")
        if key in _NAMED:
            config[key] = {**config[key], **deepcopy(dict(value))}
        elif isinstance(value, Mapping) and key != "event_store":
            config[key] = _merged(config[key] or {}, value)
        else:
            config[key] = deepcopy(value)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> Config:
    both = dict(under)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(both.get(key), Mapping):
            both[key] = _merged(both[key], value)
        else:
            both[key] = deepcopy(value)
    return both


def _check(config: Config) -> None:
    """What Protean itself would answer with a KeyError, or only when it is used."""
    entries = [("broker", name, entry) for name, entry in config["brokers"].items()]
    entries += [("cache", name, entry) for name, entry in config["caches"].items()]
    entries += [("event store", "", config["event_store"])]
    for kind, name, entry in entries:
        provider = entry.get("provider")
        if (kind != "broker" and provider not in _KNOWN[kind]) or (provider is None or "." in str(provider)):
            which = f"{kind} {name!r}" if name else f"the {kind}"
            raise ConfigurationError(
                f"config: {which} has provider {provider!r}, which is none of {', '.join(_KNOWN[kind])}. "
                "Protean names its adapters by these short names, not by a class path."
                f"{_near(str(provider).rpartition('.')[2], _KNOWN[kind])}"
            )


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
