"""The run: what is held and open in this process. The schema of every store is held until it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from os import getpid
from threading import RLock

from ..errors import ConfigurationError, ScopeError, without_own_frames
from ..store import Store, validate
from .companions import Companion
from .figures import Figures
from .resource import Resource, StackedScope
from .run_sync import run_sync

__unittest = True  # unittest leaves frames of this module out of the tracebacks that it prints

AWAKE = 3
"""Places that keep their connections though no scope is open in them: the next class may use one again."""

HELD = 16
"""Places (a domain with all of its own is one) whose schema is held, beyond which those that are private and
not used go: memory does not grow."""


class Run:
    """All that is held and open now. There is one a process.

    Attributes:
        holds: What is held, by its place.
        refused: What a check refused, by the store's identity.
        decided: The URLs that were chosen for this run, for stores that leave theirs open.
        figures: What was done, and how long it took.
        beside: What works beside the tests, each with the scope that keeps it.
        inherited: True in a forked child, to which nothing of this belongs.
        postponed: Ends of tests that are to come after a debugger; None if each comes at once.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.resources: dict[Hashable, Resource] = {}
        self.refused: dict[Hashable, Exception] = {}
        self.decided: dict[Hashable, str] = {}
        self.figures = Figures()
        self.companions: list[tuple[StackedScope, Companion]] = []
        self.inherited = False
        self.postponed: list[Callable[[], object]] | None = None

    def use(self, stores: Sequence[Store], user: str) -> dict[Resource, list[Store]]:
        """Hold the schema of every store until the run ends; all are checked before one is touched.

        Returns:
            Where they are, and which of them are there, in their order.

        Raises:
            ScopeError: This process was forked from the one that holds the schema.
            ConfigurationError, UnsafeStoreError, StoreError: From the stores.
        """
        self.refuse_child()
        self.figures.begin()
        resources = dict(self.resources)
        places: list[tuple[Resource, Store]] = []
        for store in stores:
            validate(store, reset_after=store.reset_after, on_leak=store.on_leak, verify=bool(store.verify))
            location = store.location()
            resource = resources.get(location) or resources.setdefault(location, Resource(store, user))
            if resource.store is not store:
                try:
                    store.share(resource.store)
                except ConfigurationError as error:
                    raise ConfigurationError(f"{error}\nUsed by {resource.user} and by {user}.") from error
            places.append((resource, store))
        for resource, store in places:
            if store.identity() not in resource.schemas:
                self._check(store)
        self.resources = resources
        used: dict[Resource, list[Store]] = {}
        for resource, store in places:
            resource.create(store, self.figures)
            used.setdefault(resource, []).append(store)
        return used

    def _check(self, store: Store) -> None:
        """Check a store once; what was refused is refused again at once."""
        key = store.identity()
        if key in self.refused:
            raise self.refused[key].with_traceback(None)
        try:
            run_sync(store.check())
        except Exception as error:
            self.refused[key] = error
            raise

    def end(self) -> list[Exception]:
        """Leave every open scope, innermost first, then drop every schema, in reverse order.

        Returns:
            What failed; nothing of it stopped the rest. The run can begin again afterwards.
        """
        if self.inherited or not self.resources:
            return []
        errors: list[Exception] = []
        with self.lock:
            for scope in reversed(self.open_scopes()):
                errors += attempts([scope.leave])
            errors += attempts(resource.settle_at_end for resource in reversed(self.resources.values()))
            with self.figures.dropping():
                for resource in reversed(self.resources.values()):
                    errors += attempts(resource.drop())
            self.resources = {}
            self.refused = {}
            self.decided = {}
            self.figures.end()
        return errors

    def drop(self, stores: Sequence[Store]) -> None:
        """Drop the schema of `stores` now, if no scope is open on them.

        Raises:
            ScopeError: A scope is open there.
            StoreError, ExceptionGroup: From the stores.
        """
        with self.lock:
            errors: list[Exception] = []
            for store in reversed(stores):
                resource = self.resources.get(store.location())
                if resource is None:
                    continue
                if len(resource.stack) > 1:
                    raise ScopeError(f"store {store.name!r} cannot be dropped: a scope is still open on it.")
                errors += attempts(resource.drop())
                del self.resources[store.location()]
            raise_all(errors, "while dropping")

    def rest(self) -> None:
        """Have places that no scope uses close their connections, but for the last few.

        A suite may have hundreds, each class with a schema of its own; a server has a hundred connections.
        """
        if len(self.resources) <= AWAKE:
            return
        idle = [resource for resource in self.resources.values() if resource.is_idle]
        for resource in sorted(idle, key=lambda resource: resource.used)[:-AWAKE]:
            resource.rest()
        if len(self.resources) > HELD:
            self._discard()

    def _discard(self) -> None:
        """Remove the private places that were not used for longest: their schema is made again if need be."""
        units: dict[Hashable, dict[Hashable, Resource]] = {}
        for key, resource in self.resources.items():
            name = resource.store.unit
            units.setdefault(key if name is None else name, {})[key] = resource
        if len(units) <= HELD:
            return
        spare = [unit for unit in units.values() if all(resource.is_expendable for resource in unit.values())]
        errors: list[Exception] = []
        for unit in sorted(spare, key=_last_use)[: len(units) - HELD]:
            stores = [store for resource in unit.values() for store in resource.schemas.values()]
            for key in unit:
                del self.resources[key]
            for store in stores:
                self.decided.pop(store.decided_for, None)
            for resource in reversed(unit.values()):
                errors += attempts(resource.drop())
            errors += attempts(store.discard for store in stores)
        raise_all(errors, "while private databases were discarded")

    def open_scopes(self) -> list[StackedScope]:
        """Every scope that is open, outermost first."""
        scopes = (entry.scope for resource in self.resources.values() for entry in resource.stack)
        return sorted({scope for scope in scopes if scope is not None}, key=lambda scope: scope.number)

    def refuse_child(self) -> None:
        if self.inherited:
            raise ScopeError(
                f"process {getpid()} was forked from a test run and must not use its stores: it would "
                "reset or drop what the run still needs.\n"
                "End the child with os._exit(), or start it with the 'spawn' method."
            )

    def forked(self) -> None:
        """In a forked child: what is held belongs to the parent, and is left alone."""
        self.lock = RLock()
        self.inherited = bool(self.resources)


run = Run()
os.register_at_fork(after_in_child=run.forked)


def _last_use(unit: Mapping[Hashable, Resource]) -> int:
    return max(resource.used for resource in unit.values())


def raise_all(errors: Sequence[Exception], when: str) -> None:
    """Raise one error as it is, several as a group."""
    if len(errors) == 1:
        raise without_own_frames(errors[0])
    if errors:
        raise ExceptionGroup(f"{len(errors)} errors {when}", [without_own_frames(one) for one in errors])


def attempts(steps: Iterable[Callable[[], object]]) -> list[Exception]:
    """Take every step, whatever happens to the others.

    Returns:
        What failed.
    """
    errors: list[Exception] = []
    for step in steps:
        try:
            run_sync(step())
        except Exception as error:
            errors.append(without_own_frames(error))
    return errors
