"""Restore what a domain holds in this process: configuration, clock, registry, and data in its adapters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import Any, TypeVar

from protean.utils.globals import _uow_context_stack

from ..changes import Written
from ..core.leaks import counted, report_leak
from ..errors import ScopeError
from ..store import OnLeak, Snapshot, Store
from .adapters import Part, Saved, dumped, forget_repositories, restored, saved, written
from .configuration import Configuration

Result = TypeVar("Result")

_LISTS = (
    "_event_enrichers",
    "_command_enrichers",
    "_aggregate_enrichers",
    "teardown_domain_context_functions",
)
_values_of = attrgetter("config", *_LISTS)  # after every test, so without a call of Python's for each


@dataclass(frozen=True)
class Kept:
    """A domain's state at one moment.

    Attributes:
        sessions: The SQL providers whose session was in a transaction; None if no provider has sessions.
    """

    values: tuple[Any, ...]
    clock: Any
    adapters: tuple[Any, ...]
    repositories: tuple[dict[str, Any], ...]
    idempotency: Any
    traces: Any
    registry: Registry
    units: tuple[Any, ...]
    sessions: frozenset[str] | None
    data: Saved


class StateStore(Store):
    """What a domain holds in this process: last among its stores, so that it is restored first.

    It is one store, since each costs every test some time.

    Parameters:
        configuration: The domain in one configuration.
        parts: What its adapters hold in this process.
        on_leak: What to do if a test left a unit of work open, which is rolled back.
        verify: See `Store`.

    Attributes:
        at_end: Called when the run is over and everything was dropped, if this is the only store.
    """

    at_end: Callable[[], object] | None = None

    def __init__(
        self, configuration: Configuration, parts: Sequence[Part], on_leak: OnLeak, verify: bool
    ) -> None:
        self._configuration, self._domain, self._parts = configuration, configuration.domain, parts
        self.name = f"state of {self._domain.name}"
        self.on_leak, self.verify = on_leak, verify

    @property
    def decided_for(self) -> Hashable:
        return None if self._configuration.is_in_use else self.unit

    def close(self) -> None:
        if self.at_end is not None:
            self.at_end()

    def refuse_hidden(self, what: str) -> None:
        if self._configuration.is_hidden:
            raise ScopeError(
                f"{what}: a block or class inside it has put another configuration of domain "
                f"{self._domain.name!r} in its place, so what the code under test writes now is not in its "
                "stores.\nUse the handle of that one, the innermost:  with db.scope(): ..."
            )

    def save_data(self) -> Snapshot:
        return self._shown(self._save)

    def reset_data(self, snapshot: Kept) -> bool:
        return self._shown(self._reset, snapshot)

    def _shown(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do `work` with the configuration in place, also if another one was put over it."""
        if not self._configuration.is_hidden:
            return work(*arguments)
        with self._configuration.in_place():
            return work(*arguments)

    def _save(self) -> Kept:
        domain = self._domain
        config, *lists = _values_of(domain)
        has_sessions = any(hasattr(one, "_scoped_session_cls") for one in domain.providers.values())
        return Kept(
            values=(deepcopy(dict(config)), *map(list, lists)),
            clock=domain.clock,
            adapters=adapters(domain),
            repositories=tuple(dict(held) for held in _repositories(domain)),
            idempotency=domain._idempotency_store,
            traces=domain._trace_emitter,
            registry=Registry(domain),
            units=tuple(_uow_context_stack._var.get([])),
            sessions=frozenset(open_sessions(domain)) if has_sessions else None,
            data=saved(self._parts),
        )

    def _reset(self, snapshot: Kept) -> bool:
        domain = self._domain
        is_other = not all(map(is_, adapters(domain), snapshot.adapters))
        left = end_units_of_work(snapshot.units) if _uow_context_stack._var.get([]) else []
        if is_other or snapshot.sessions is not None:
            left += end_sessions(domain, snapshot.sessions or frozenset())
        changed = is_other or domain.clock is not snapshot.clock
        if _values_of(domain) != snapshot.values:
            config, *lists = _values_of(domain)
            config.clear()
            config.update(deepcopy(snapshot.values[0]))
            for functions, kept in zip(lists, snapshot.values[1:], strict=True):
                functions[:] = kept
            changed = True
        domain.clock = snapshot.clock
        if is_other:
            restore_adapters(domain, snapshot.adapters)
            for repositories, then in zip(_repositories(domain), snapshot.repositories, strict=True):
                repositories.clear()
                repositories.update(then)
        domain._idempotency_store, domain._trace_emitter = snapshot.idempotency, snapshot.traces
        changed |= snapshot.registry.restore()
        changed |= restored(snapshot.data)
        revive(domain)
        if left:
            report_leak(
                f"left open in domain {domain.name!r}, and rolled back: {', '.join(left)}.\n"
                "End it in the test:  with UnitOfWork(): ...   or  session.close()",
                self.name,
                self.on_leak,
            )
        return changed

    def written_since(self, snapshot: Kept) -> list[Written]:
        return self._shown(lambda: list(written(snapshot.data)))

    def dump_data(self) -> dict[str, list[Any]]:
        domain = self._domain
        found = {f"configuration {section!r}": [repr(value)] for section, value in domain.config.items()}
        for kind, records in domain._domain_registry._elements.items():
            found[f"registered {kind}"] = sorted(records)
        found |= {name.strip("_"): [repr(one) for one in getattr(domain, name)] for name in _LISTS}
        found |= {"clock": [repr(domain.clock)], "adapters": [str(id(one)) for one in adapters(domain)]}
        return found | dumped(self._parts)


class EndStore(Store):
    """Holds nothing. It stands first among the stores of a domain, so that it is closed last.

    Parameters:
        name: What messages call it.
        at_end: Called when the run is over and everything was dropped.
    """

    def __init__(self, name: str, at_end: Callable[[], object]) -> None:
        self.name, self._at_end = name, at_end

    @property
    def decided_for(self) -> Hashable:
        return self.unit

    def reset_data(self, snapshot: Snapshot) -> bool:
        return False

    def is_empty(self) -> bool:
        return True

    def written_since(self, snapshot: Snapshot) -> list[Written]:
        return []

    def close(self) -> None:
        self._at_end()


class Registry:
    """The elements that are registered now."""

    def __init__(self, domain: Any) -> None:
        self._registry = domain._domain_registry
        self._elements = {kind: dict(records) for kind, records in self._registry._elements.items()}
        self._classes = self._now()
        self._seen = self._all_classes()  # all in one list: most often, nothing else need be compared
        self._names = {name: list(records) for name, records in self._registry._elements_by_name.items()}

    def restore(self) -> bool:
        """Forget what was registered since. Returns True if something was."""
        seen = self._all_classes()
        if seen == self._seen:
            return False
        now = self._now()
        # Every initialization, also in another configuration, generates fact events and the events of process
        # managers anew, and the newest are used.
        events = zip(self._elements.get("EVENT", {}).values(), self._classes.get("EVENT", []), strict=True)
        self._classes["EVENT"] = [record.cls if record.auto_generated else cls for record, cls in events]
        if now == self._classes:
            self._seen = seen
            return False
        kinds = now.keys() | self._classes.keys()
        for kind in kinds:  # mostly one: a repository is registered when asked for
            then = self._classes.get(kind, [])
            if now.get(kind) != then:
                held, records = self._registry._elements[kind], self._elements.get(kind, {})
                held.clear()
                held.update(records)
                for record, cls in zip(records.values(), then, strict=True):
                    record.cls = cls
        names = self._registry._elements_by_name
        for name in names.keys() - self._names.keys():
            del names[name]
        for name, named in self._names.items():
            if names.get(name) != named:
                names[name] = list(named)
        self._seen = self._all_classes()
        return True

    def _all_classes(self) -> list[Any]:
        return [record.cls for records in self._registry._elements.values() for record in records.values()]

    def _now(self) -> dict[str, list[Any]]:
        elements = self._registry._elements.items()
        return {kind: [record.cls for record in records.values()] for kind, records in elements if records}


adapters = attrgetter(
    "providers._providers", "caches._caches", "brokers._brokers", "event_store._event_store"
)
"""The current adapters of a domain: initializing it anew replaces them."""


def _repositories(domain: Any) -> tuple[dict[str, Any], ...]:
    """Where a domain remembers repositories, which belong to the adapters of their time."""
    infrastructure = domain._infrastructure
    return (
        infrastructure.outbox_repos,
        infrastructure.processed_message_repos,
        domain.providers._repositories,
    )


def restore_adapters(domain: Any, then: tuple[Any, ...]) -> None:
    """Close the current adapters and put earlier ones in their place, which open again when they are used."""
    providers, caches, brokers, event_store = adapters(domain)
    kept = {id(adapter) for held in then[:3] for adapter in (held or {}).values()} | {id(then[3])}
    now = [adapter for held in (providers, caches, brokers) for adapter in (held or {}).values()]
    for adapter in [*now, event_store]:
        if adapter is not None and id(adapter) not in kept:
            adapter.close()
    domain.providers._providers, domain.caches._caches, domain.brokers._brokers = then[:3]
    domain.event_store._event_store = then[3]
    forget_repositories()


def revive(domain: Any) -> None:
    """Open again what the engine closed at its end and what does not do so by itself: Redis caches."""
    for cache in (domain.caches._caches or {}).values():
        if getattr(cache, "r", cache) is None:
            projections = cache._projections
            type(cache).__init__(cache, cache.name, cache.domain, cache.conn_info)
            cache._projections = projections


def end_units_of_work(but: tuple[Any, ...] = ()) -> list[str]:
    """Roll back the units of work that are still open in this context, innermost first.

    Parameters:
        but: Those that may stay: they were there before.

    Returns:
        How many there were and of which aggregates, in words; nothing if there was none.
    """
    left = [unit for unit in _uow_context_stack._var.get([]) if unit not in but]
    held = [cls.__name__ for unit in left for kept in unit._identity_map.values() for cls, _ in kept]
    for unit in reversed(left):
        if unit.in_progress:
            unit.rollback()
    if not left:
        return []
    _uow_context_stack._var.set(list(but))
    return [f"{counted(len(left), 'unit')} of work{_with(held)}"]


def open_sessions(domain: Any) -> list[str]:
    """The SQL providers whose session of this thread is in a transaction."""
    found = []
    for name, provider in (domain.providers._providers or {}).items():
        sessions = getattr(provider, "_scoped_session_cls", None)
        if sessions is not None and sessions.registry.has() and sessions.registry().in_transaction():
            found.append(name)
    return found


def end_sessions(domain: Any, but: frozenset[str]) -> list[str]:
    """Close those sessions, as every later use of the provider in this thread would meet them.

    Parameters:
        but: The providers whose session may stay as it is.

    Returns:
        Each in words, with the tables of what was in it.
    """
    found = []
    for name in [name for name in open_sessions(domain) if name not in but]:
        sessions = domain.providers[name]._scoped_session_cls
        held = [thing.__table__.name for thing in [*sessions().new, *sessions().identity_map.values()]]
        sessions.remove()
        found.append(f"the session of provider {name!r}{_with(held)}")
    return found


def _with(names: Iterable[str]) -> str:
    """In brackets, how many of each."""
    held = ", ".join(f"{number} {name}" for name, number in sorted(Counter(names).items()))
    return f" ({held})" if held else ""
