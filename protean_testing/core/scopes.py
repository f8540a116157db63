"""The one law: a scope gives back, at its end, the data that was there when it began.

Scopes nest: run, class, test, block. The schema is held for the run, whatever the scopes do.
"""

from __future__ import annotations

import sys
import threading
from asyncio import wait_for
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from threading import get_ident
from time import perf_counter, sleep
from types import FrameType
from unittest import TestCase

from ..errors import LeakError, ScopeError
from ..store import Store
from .companions import Companion
from .hanging import watch
from .resource import Resource
from .run import attempts, raise_all, run
from .threads import PATIENCE, Background, named

HANDLE_WITHIN = 5.0  # seconds for an async handle to close


def tests_running() -> list[object]:
    """The test cases whose ``run`` or ``debug`` is on in this thread, innermost first; known by identity."""
    found: list[object] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _RUN or frame.f_code is _DEBUG:
            found.append(frame.f_locals["self"])
        frame = frame.f_back
    return found


_RUN, _DEBUG = TestCase.run.__code__, TestCase.debug.__code__


class Scope:
    """A stretch of the run after which the data of some stores is as it was before.

    Parameters:
        stores: What to give back, in the order in which to begin; the end takes the reverse.
        label: What messages call it: a test's id, a class, a block and its place in the code.
        nested: True for a block that may hold another block's data as its start.
        outer: The scope through whose handle this one is opened, if any: it may be another thread's.
        keep: Stores whose data stays as it is from test to test.

    Attributes:
        closing: What to close before the stores are reset: handles given out inside this scope.
        async_closing: The same for handles that must be awaited; the async faces do so first.
    """

    _count = 0

    def __init__(
        self,
        stores: Sequence[Store],
        label: str,
        *,
        nested: bool = False,
        outer: Scope | None = None,
        keep: Sequence[Store] = (),
    ) -> None:
        self.stores = tuple(stores)
        self.label = label
        self.nested = nested
        self.outer = outer
        self.number = 0
        self.closing = ExitStack()
        self.async_closing: list[Callable[[], Awaitable[object]]] = []
        self._keep = keep
        self._resources: list[Resource] = []
        self._of_tests: list[Resource] = []  # those that each test begins anew
        self._closed: list[Companion] = []  # of a test that is over, and not still at that time
        self._leaving = False
        self.test: object = None  # the one that opened this block
        self._thread = 0
        self._background: Background | None = None

    @property
    def is_open(self) -> bool:
        return bool(self.number)

    @property
    def resources(self) -> list[Resource]:
        """The places of its stores, while it is open."""
        return self._resources

    @property
    def is_over(self) -> bool:
        """True from the first moment of its end."""
        return self._leaving or not self.number

    def expire(self) -> None:
        """Begin the end: if that is interrupted, whoever enters next finds this scope over, and ends it."""
        self._leaving = True

    def enter(self) -> None:
        """Begin on every store, or on none.

        Raises:
            ScopeError: Another thread has a scope open on one of the stores.
            StoreError: A store could not be saved; those that were are as before.
        """
        with run.lock:
            if self.nested and self.outer is not None:
                self._refuse_hidden(f"{self.label} cannot begin")
            resources = run.use(self.stores, self.label)
            for resource in resources:
                self._refuse_other_thread(resource)
                self._expire_what_is_over(resource)
            stores: dict[Resource, list[Store]] = {}
            for store in self.stores:
                stores.setdefault(run.resources[store.location()], []).append(store)
            with ExitStack() as undo:
                for resource in resources:
                    resource.enter(self, stores[resource])
                    undo.callback(resource.leave, self)
                undo.pop_all()
            Scope._count += 1
            kept = {run.resources[store.location()] for store in self._keep}
            self._of_tests = [resource for resource in resources if resource not in kept]
            self._resources, self._thread, self._leaving = resources, get_ident(), False
            self.number = Scope._count
            watch.begin(self, is_test=self.nested)
            if self.outer is None or not self.nested:  # a scope inside a test sees the test's own threads
                self._background = Background()
            self._resume()

    def reset(self) -> bool:
        """Go back to the start of this scope, which stays open.

        Returns:
            True where something had been written.

        Raises:
            ScopeError: It is not open, or an inner scope still is.
            StoreError, ExceptionGroup: From the stores; every one of them was tried.
        """
        with run.lock:
            run.refuse_child()
            self.must_be_open()
            inner = self._inner()
            if inner:
                raise ScopeError(f"{self.label} cannot be reset while {inner[-1].label} is open inside it.")
            self._refuse_hidden(f"{self.label} cannot be reset")
            try:
                return self._reset(self._resources)
            finally:
                self._resume()

    def begin_test(self, label: str) -> list[Exception]:
        """Begin a test on the data of this scope, and owe its restore until `end_test` has done that.

        Parameters:
            label: The test's id.

        Returns:
            What the tests before it had left at work or open.

        Raises:
            StoreError: A store is not clean.
        """
        late: list[Exception] = []
        if self.is_open:
            late = self.settle()
            self.label = label
        else:
            self.label = label
            self.enter()
        for resource in self._of_tests:
            resource.begin_test(self)
        watch.begin(self, is_test=True)
        return late

    def end_test(self) -> None:
        """As `reset`, for the next test: what was left open inside, or served, is ended, with an error."""
        watch.end(self)
        threads = self._threads_left()
        with run.lock:
            if not run.inherited:
                try:
                    self._reset(self._of_tests, self._end_inner(), threads, how=Resource.end_test)
                finally:
                    if run.companions:
                        self._close_own_companions()

    def _close_own_companions(self) -> None:
        """What the test began beside itself ends with it."""
        own = [beside for scope, beside in run.companions if scope is self]
        run.companions = [entry for entry in run.companions if entry[0] is not self]
        self._closed += own
        for beside in own:
            beside.close()

    def leave(self, inner: Scope | None = None) -> None:
        """Go back to the start of this scope and end it; inner scopes are ended first, with an error.

        Parameters:
            inner: One that ends with this scope. What it would bring back, this brings back as well.
        """
        ending = [self] if inner is None else [self, inner]
        for scope in ending:
            scope.expire()
            watch.end(scope)
        threads = self._threads_left()
        with run.lock:
            if run.inherited:
                return
            self.must_be_open()
            errors = [*self._end_inner(ending), *ending[-1]._pause()]
            for scope in ending[1:]:
                errors += scope._close_handles()
            around = ending[-1]._companions()
            own = [beside for scope, beside in run.companions if scope in ending]
            run.companions = [entry for entry in run.companions if entry[0] not in ending]
            for scope in ending:
                scope.number = 0
            try:
                self._restore(self._resources, Resource.leave, errors, threads)
                run.rest()
            finally:
                for beside in around:
                    (beside.close if beside in own else beside.resume)()

    def settle(self) -> list[Exception]:
        """Begin again after a reset: what that could not do is tried once more.

        Returns:
            What threads that earlier tests left running have written since.

        Raises:
            StoreError: A store is still not clean.
        """
        with run.lock:
            run.refuse_child()
            late = self._end_inner()
            for beside in (*self._companions(), *self._closed):
                beside.check()
            self._closed.clear()
            for resource in self._resources:
                try:
                    resource.settle(test_is_over=resource in self._of_tests)
                except LeakError as leak:
                    late.append(leak)
            late += self._begin_background()
            self._resume()
            return late

    def innermost(self) -> Scope:
        """The innermost scope that is open inside this one, or this one."""
        return (self._inner() or [self])[-1]

    def _refuse_hidden(self, what: str) -> None:
        for store in self.stores:
            store.refuse_hidden(what)

    def _inner(self) -> list[Scope]:
        if all(resource.stack[-1].scope is self for resource in self._resources):
            return []
        return [
            scope
            for scope in run.open_scopes()
            if scope.number > self.number and not set(self._resources).isdisjoint(scope._resources)
        ]

    def _end_inner(self, ending: Sequence[Scope] = ()) -> list[Exception]:
        errors: list[Exception] = []
        for inner in reversed(self._inner()):
            if inner in ending:
                continue
            errors.append(ScopeError(f"{self.label} ended while {inner.label} was still open inside it."))
            errors += attempts([inner.leave])
        return errors

    def _begin_background(self) -> list[Exception]:
        if self._background is None:
            return []
        threads = self._background.left()
        self._background.begin()
        return self._late_writes(self._resources, threads)

    def _threads_left(self) -> list[threading.Thread]:
        """What this scope left running; it is waited for, and watched, where that shall fail the test."""
        if self._background is None:
            return []
        strict = any(store.on_leak == "fail" for store in self.stores)
        left = self._background.leave(PATIENCE if strict else 0.0)
        return left if strict else []

    def _late_writes(
        self, resources: Sequence[Resource], threads: Sequence[threading.Thread]
    ) -> list[Exception]:
        return attempts(
            partial(resource.reset_again, self, named(threads)) for resource in resources if threads
        )

    def _restore(
        self,
        resources: Sequence[Resource],
        how: Callable[[Resource, Scope], bool],
        errors: Sequence[Exception] = (),
        threads: Sequence[threading.Thread] = (),
    ) -> bool:
        """Close the handles, then bring back every store, whatever happens to the others.

        Parameters:
            threads: Those that this scope left running: what they write now is found as well.
        """
        errors, changed = [*errors, *self._close_handles()], False
        if threads:
            errors += attempts(partial(resource.reset, self) for resource in reversed(resources))
            sleep(PATIENCE)
            errors += self._late_writes(resources, threads)
        for resource in reversed(resources):
            began = perf_counter()
            try:
                changed |= how(resource, self)
            except Exception as error:
                errors.append(error)
            run.figures.resets.append(perf_counter() - began)
        raise_all(errors, f"after {self.label}")
        return changed

    def _reset(
        self,
        resources: Sequence[Resource],
        errors: Sequence[Exception] = (),
        threads: Sequence[threading.Thread] = (),
        how: Callable[[Resource, Scope], bool] = Resource.reset,
    ) -> bool:
        restless = self._pause()
        try:
            return self._restore(resources, how, [*errors, *restless], threads)
        finally:
            if restless:  # it may still write: once more before the next test
                for resource in resources:
                    resource.owe(self)

    def _close_handles(self) -> list[Exception]:
        errors = attempts([self.closing.close])
        return errors + attempts([self.close_async]) if self.async_closing else errors

    async def close_async(self) -> None:
        """Close the handles that must be awaited: in the loop that they were used in, else in ours.

        Raises:
            Exception, ExceptionGroup: From the handles; every one of them was tried.
        """
        errors: list[Exception] = []
        while self.async_closing:
            try:
                await wait_for(self.async_closing.pop()(), HANDLE_WITHIN)
            except Exception as error:
                errors.append(error)
        raise_all(errors, f"after {self.label}")

    def keep_companion(self, beside: Companion) -> None:
        """Have it pause whenever data of this scope or of an inner one is given back; end it with this."""
        with run.lock:
            self.must_be_open()
            run.companions.append((self, beside))

    def _pause(self) -> list[Exception]:
        return attempts(partial(beside.pause, self.label) for beside in self._companions())

    def _resume(self) -> None:
        for beside in self._companions():
            beside.resume()

    def _companions(self) -> list[Companion]:
        """What works beside this scope: it was begun in it or around it, on one of its stores."""
        return [
            beside
            for scope, beside in run.companions
            if scope.number <= self.number and not set(self._resources).isdisjoint(scope._resources)
        ]

    @property
    def outlived_run(self) -> bool:
        """True where this scope began in a run that has ended since, which has then left it."""
        return bool(self._resources) and not any(
            resource in run.resources.values() for resource in self._resources
        )

    def must_be_open(self) -> None:
        """Raises ScopeError where this scope is over, or has not begun."""
        if not self.is_open:
            raise ScopeError(f"{self.label} is over: what it gave out cannot be used any more.")

    def _expire_what_is_over(self, resource: Resource) -> None:
        """Expire the blocks of tests that run no more: an interruption came before their end could begin."""
        if any(entry.scope is not None and entry.scope.test is not None for entry in resource.stack):
            running = tests_running()
            for entry in resource.stack:
                scope = entry.scope
                if scope is None or scope.test is None or scope._thread != get_ident():
                    continue
                if scope.test not in running and not scope.is_over:
                    scope.expire()
                    scope._close_handles()

    def _refuse_other_thread(self, resource: Resource) -> None:
        top = resource.stack[-1].scope
        outer = self.outer
        while outer is not None and outer is not top:
            outer = outer.outer
        if top is None or top is outer or top._thread == get_ident():
            return
        raise ScopeError(
            f"{self.label} cannot begin on store {resource.store.name!r}: {top.label} is open there in "
            "another thread, and neither could restore its own data alone.\n"
            "Open one block and use its db.scope(), or give each thread a store of its own."
        )
