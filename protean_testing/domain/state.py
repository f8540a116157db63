"""Restore what a domain holds in this process: configuration, clock, registry, and data in its adapters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, TypeVar

from protean.utils.globals import _uow_context_stack

from ..changes import Written
from ..core.leaks import counted, report_leak
from ..errors import ScopeError
from ..store import OnLeak, Snapshot, Store
from .adapters import Part, dumped, forget_repositories, restored, saved, written

if TYPE_CHECKING:
    from .configuration import Configuration

Result = TypeVar("Result")

_LISTS = (
    "_event_enrichers",
    "_command_enrichers",
    "_aggregate_enrichers",
    "teardown_domain_context_functions",
)


@dataclass(frozen=True)
class Kept:
    """A domain's state at one moment."""

    config: dict[str, Any]
    clock: Any
    lists: dict[str, list[Any]]
    adapters: tuple[Any, ...]
    repositories: tuple[dict[str, Any], ...]
    idempotency: Any
    traces: Any
    registry: Registry
    units: tuple[Any, ...]
    sessions: frozenset[str]
    data: list[Any]


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
        return self._shown(lambda: self._reset(snapshot))

    def _shown(self, work: Callable[[], Result]) -> Result:
        """Do `work` with the configuration in place, also if another one was put over it."""
        if not self._configuration.is_hidden:
            return work()
        with self._configuration.in_place():
            return work()

    def _save(self) -> Kept:
        domain = self._domain
        return Kept(
            config=deepcopy(dict(domain.config)),
            clock=domain.clock,
            lists={name: list(getattr(domain, name)) for name in _LISTS},
            adapters=adapters(domain),
            repositories=tuple(dict(held) for held in _repositories(domain)),
            idempotency=domain._idempotency_store,
            traces=domain._trace_emitter,
            registry=Registry(domain),
            units=tuple(_uow_context_stack._var.get([])),
            sessions=frozenset(open_sessions(domain)),
            data=saved(self._parts),
        )

    def _reset(self, snapshot: Kept) -> bool:
        domain = self._domain
        left = [*end_units_of_work(snapshot.units), *end_sessions(domain, snapshot.sessions)]
        reconfigured = domain.config != snapshot.config
        changed = reconfigured or domain.clock is not snapshot.clock
        if reconfigured:
            domain.config.clear()
            domain.config.update(deepcopy(snapshot.config))
        domain.clock = snapshot.clock
        for name, functions in snapshot.lists.items():
            if getattr(domain, name) != functions:
                getattr(domain, name)[:] = functions
                changed = True
        if not all(map(is_, adapters(domain), snapshot.adapters)):
            restore_adapters(domain, snapshot.adapters)
            for repositories, kept in zip(_repositories(domain), snapshot.repositories, strict=True):
                repositories.clear()
                repositories.update(kept)
            changed = True
        domain._idempotency_store, domain._trace_emitter = snapshot.idempotency, snapshot.traces
        changed |= snapshot.registry.restore()
        changed |= restored(self._parts, snapshot.data)
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
        return self._shown(lambda: list(written(self._parts, snapshot.data)))

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
        self._names = {name: list(records) for name, records in self._registry._elements_by_name.items()}

    def restore(self) -> bool:
        """Forget what was registered since. Returns True if something was."""
        now = self._now()
        if now == self._classes:
            return False
        # Every initialization, also in another configuration, generates fact events and the events of process
        # managers anew, and the newest are used.
        events = zip(self._elements.get("EVENT", {}).values(), self._classes.get("EVENT", []), strict=True)
        self._classes["EVENT"] = [record.cls if record.auto_generated else cls for record, cls in events]
        if now == self._classes:
            return False
        for kind in (
            now.keys() | self._classes.keys()
        ):  # mostly one: a repository is registered when asked for
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
        return True

    def _now(self) -> dict[str, list[Any]]:
        return {  # after every test, so without a call of Python's for each of hundreds of elements
            kind: list(map(_class_of, records.values()))
            for kind, records in self._registry._elements.items()
            if records
        }


_class_of = attrgetter("cls")


def adapters(domain: Any) -> tuple[Any, ...]:
    """The current adapters: initializing a domain anew replaces them."""
    return (
        domain.providers._providers,
        domain.caches._caches,
        domain.brokers._brokers,
        domain.event_store._event_store,
    )


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
