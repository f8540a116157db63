"""The one law: a scope restores, at its end, the data that was there when it began.

Scopes nest: run, class, test, block. The schema is held for the run, whatever the scopes do.
"""

from __future__ import annotations

import sys
import threading
from asyncio import wait_for
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from logging import DEBUG, getLogger
from threading import active_count, get_ident
from types import FrameType
from unittest import TestCase

from ..clock import perf_counter, sleep
from ..errors import LeakError, ScopeError
from ..store import Store
from .companions import Companion
from .hanging import watch
from .resource import Entry, Resource, StackedScope
from .run import attempts, raise_all, run
from .threads import PATIENCE, Background, named

__unittest = True  # unittest leaves frames of this module out of the tracebacks that it prints

HANDLE_WITHIN = 5.0  # seconds for an async handle to close

logger = getLogger("protean_testing")


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
        stores: What to restore, in the order in which to begin; the end takes the reverse.
        label: What messages call it: a test's id, a class, a block and its place in the code.
        nested: True for a block that may hold another block's data as its start.
        outer: The scope through whose handle this one is opened, if any: it may be another thread's.
        keep: Stores whose data stays as it is from test to test.

    Attributes:
        number: Grows with each scope that begins; 0 while this one is not open.
        entries: Its entry on the stack of each resource, while it is open.
        closing: What to close before the stores are reset: handles given out inside this scope.
        async_closing: The same for handles that must be awaited; the async faces do so first.
        in_test: A test runs on it, and its end has not begun.
        test: The test case that opened this block.
        failing: The test case whose failures say what was written since this scope began.
        noted: How many of them did.
        thread: The thread in which it began.
    """

    _count = 0

    def __init__(
        self,
        stores: Sequence[Store],
        label: str,
        *,
        nested: bool = False,
        outer: StackedScope | None = None,
        keep: Sequence[Store] = (),
    ) -> None:
        self.stores = tuple(stores)
        self.label = label
        self.nested = nested
        self.outer = outer
        self.number = 0
        self.entries: dict[Resource, Entry] = {}
        self.closing: list[Callable[[], object]] = []
        self.async_closing: list[Callable[[], Awaitable[object]]] = []
        self.in_test = False
        self.test: object = None
        self.failing: object = None
        self.noted = 0
        self.thread = 0
        self._keep = keep
        self._of_tests: list[tuple[Resource, Entry]] = []  # those that each test begins anew, last one first
        self._is_due = False  # a test has begun on it, and not all that it may have written is restored
        self._ended_companions: list[Companion] = []  # of a test that is over, and not still at that time
        self._leaving = False
        self._background: Background | None = None
        self._is_strict = False
        self._freeing: tuple[Store, ...] = ()

    @property
    def is_open(self) -> bool:
        return bool(self.number)

    @property
    def restores(self) -> bool:
        """False if its end leaves the data as it is."""
        return True

    @property
    def is_over(self) -> bool:
        """True from the first moment of its end."""
        return self._leaving or not self.number

    def expire(self) -> None:
        """Begin the end: if that is interrupted, whoever enters next finds this scope over, and ends it."""
        self._leaving = True

    # Begin and end

    def enter(self) -> None:
        """Begin on every store, or on none.

        Raises:
            ScopeError: Another thread has a scope open on one of the stores.
            StoreError: A store could not be saved; those that were are as before.
        """
        with run.lock:
            if self.nested and self.outer is not None:
                self._refuse_hidden(f"{self.label} cannot begin")
            used = run.use(self.stores, self.label)
            for resource in used:
                self._refuse_other_thread(resource)
                self._expire_what_is_over(resource)
            entries: dict[Resource, Entry] = {}
            try:
                for resource, stores in used.items():
                    entries[resource] = resource.enter(self, stores)
            except BaseException as error:
                left = [partial(resource.leave, entry) for resource, entry in entries.items()]
                for failed in attempts(reversed(left)):
                    error.add_note(f"protean_testing: {type(failed).__name__}: {failed}")
                raise
            Scope._count += 1
            self.entries, self.thread, self._leaving, self._is_due = entries, get_ident(), False, False
            kept = [one for one, there in used.items() if any(store in self._keep for store in there)]
            self._of_tests = [item for item in reversed(entries.items()) if item[0] not in kept]
            self._is_strict = any(store.on_leak == "fail" for store in self.stores)
            self._freeing = tuple(resource.store for resource in entries if resource.store.can_free)
            self.number = Scope._count
            if self._freeing or watch.is_on:
                watch.begin(self, self.label, self._freeing, is_test=self.nested)
            if self.outer is None or not self.nested:  # a scope inside a test sees the test's own threads
                self._background = Background()
            self._resume()

    def reset(self) -> bool:
        """Go back to the start of this scope, which stays open.

        Returns:
            True if something had been written.

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
                return self._restore(reversed(self.entries.items()), Resource.restore)
            finally:
                self._resume()

    def leave(self, inner: Scope | None = None) -> None:
        """Go back to the start of this scope and end it; inner scopes are ended first, with an error.

        Parameters:
            inner: One that ends with this scope. What it would restore, this restores as well.
        """
        ending = [self] if inner is None else [self, inner]
        for scope in ending:
            scope.expire()
            if watch.is_on:
                watch.end(scope, scope.label)
        threads = self._threads_left()
        with run.lock:
            if run.inherited:
                return
            self.must_be_open()
            errors = [*self._end_inner(ending), *ending[-1]._pause()]
            for scope in ending[1:]:
                errors += scope.close_handles()
            around = ending[-1]._companions()
            own = [beside for scope, beside in run.companions if scope in ending]
            run.companions = [entry for entry in run.companions if entry[0] not in ending]
            for scope in ending:
                scope.number = 0
            try:
                self._restore(reversed(self.entries.items()), Resource.leave, errors, threads, is_still=True)
                run.rest()
            finally:
                for beside in around:
                    (beside.close if beside in own else beside.resume)()

    # Tests

    def begin_test(self, label: str) -> Sequence[Exception]:
        """Begin a test on the data of this scope, and owe its restore until `end_test` has done that.

        Between two tests that left nothing behind, nobody is asked anything.

        Parameters:
            label: The test's id.

        Returns:
            What the tests before it had left at work or open.

        Raises:
            StoreError: A store is not clean.
        """
        late: Sequence[Exception] = ()
        with run.lock:
            if run.inherited:
                run.refuse_child()
            if not self.number:
                self.label = label
                self.enter()
            elif self._is_due or self._ended_companions or run.companions:
                late = self._settle()
            else:
                for resource in self.entries:
                    if resource.owed is not None or resource.stack[-1].scope is not self:
                        late = self._settle()
                        break
                else:
                    background = self._background
                    if background is not None:
                        if background.found_left:
                            late = self._begin_background()
                        else:
                            background.begin()
            self.label, self.in_test, self._is_due = label, True, True
        if watch.is_on:
            watch.begin(self, label, self._freeing, is_test=True)
        return late

    def end_test(self) -> None:
        """Restore for the next test; what was left open inside, or served, is ended, with an error.

        Harmless when it is done already. If it is interrupted, or never called, the restore is still owed.
        """
        if not self.in_test:
            return
        self.in_test, self.failing = False, None
        if watch.is_on:
            watch.end(self, self.label)
        threads = self._threads_left() if active_count() != 1 else ()
        with run.lock:
            if run.inherited:
                return
            errors: Sequence[Exception] = ()
            for resource in self.entries:
                if resource.stack[-1].scope is not self:
                    errors = self._end_inner()
                    break
            try:
                self._restore(self._of_tests, Resource.restore, errors, threads)
            finally:
                if run.companions:
                    self._close_own_companions()

    def _settle(self) -> list[Exception]:
        """Do what the end of the test before could not do, or what never came.

        Returns:
            What threads that earlier tests left running have written since.

        Raises:
            StoreError: A store is still not clean.
        """
        late = self._end_inner()
        for beside in (*self._companions(), *self._ended_companions):
            beside.check()
        self._ended_companions.clear()
        if self._is_due:
            for resource, entry in self._of_tests:
                resource.owe(entry)
        for resource in self.entries:
            try:
                resource.settle()
            except LeakError as leak:
                late.append(leak)
        self._is_due = False
        late += self._begin_background()
        self._resume()
        return late

    # What both need

    def _restore(
        self,
        entries: Iterable[tuple[Resource, Entry]],
        step: Callable[[Resource, Entry], bool],
        errors: Sequence[Exception] = (),
        threads: Sequence[threading.Thread] = (),
        *,
        is_still: bool = False,
    ) -> bool:
        """Close the handles, then restore every store, whatever happens to the others.

        Parameters:
            step: How: `Resource.restore` or `Resource.leave`.
            errors: What has failed before.
            threads: Those that this scope left running: what they write now is found as well.
            is_still: The companions were told to pause already.
        """
        restless = self._pause() if run.companions and not is_still else []
        failed, changed = [*errors, *restless], False
        try:
            if self.closing or self.async_closing:
                failed += self.close_handles()
            if threads:
                entries = list(entries)
                failed += attempts(partial(resource.restore, entry) for resource, entry in entries)
                sleep(PATIENCE)
                failed += self._late_writes(threads)
            for resource, entry in entries:
                began = perf_counter()
                try:
                    changed |= (is_changed := step(resource, entry))
                except Exception as error:
                    failed.append(error)
                    is_changed = True
                    if step is Resource.restore and not isinstance(error, LeakError):
                        resource.owe(entry)  # interrupted, it may not have noted that itself
                seconds = perf_counter() - began
                run.figures.resets.append(seconds)
                if logger.isEnabledFor(DEBUG):
                    done = "restored" if is_changed else "nothing to restore"
                    logger.debug(
                        "store %r: %s after %s (%.2f ms)",
                        resource.store.name,
                        done,
                        self.label,
                        seconds * 1e3,
                    )
            if not self.in_test:
                self._is_due = False  # what failed is owed by its resource
        finally:
            if restless:  # it may still write: once more before the next test
                for resource in self.entries:
                    resource.owe(self.entries[resource])
        if failed:
            raise_all(failed, f"after {self.label}")
        return changed

    def close_handles(self) -> list[Exception]:
        """Close what was given out, the last one first.

        Returns:
            What failed.
        """
        errors: list[Exception] = []
        while self.closing:
            errors += attempts([self.closing.pop()])
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

    def must_be_open(self) -> None:
        """Raise ScopeError if this scope is over, or has not begun."""
        if not self.number:
            raise ScopeError(f"{self.label} is over: what it gave out cannot be used any more.")

    @property
    def outlived_run(self) -> bool:
        """True if this scope began in a run that has ended since, which has then left it."""
        return bool(self.entries) and self.entries.keys().isdisjoint(run.resources.values())

    # Scopes inside of this one

    def innermost(self) -> StackedScope:
        """The innermost scope that is open inside this one, or this one."""
        return next((scope for scope in reversed(self._inner()) if scope.restores), self)

    def _inner(self) -> list[StackedScope]:
        if all(resource.stack[-1].scope is self for resource in self.entries):
            return []
        return [
            scope
            for scope in run.open_scopes()
            if scope.number > self.number and not self.entries.keys().isdisjoint(scope.entries)
        ]

    def _end_inner(self, ending: Sequence[StackedScope] = ()) -> list[Exception]:
        errors: list[Exception] = []
        for inner in reversed(self._inner()):
            if inner in ending:
                continue
            errors.append(ScopeError(f"{self.label} ended while {inner.label} was still open inside it."))
            errors += attempts([inner.leave])
        return errors

    def _refuse_hidden(self, what: str) -> None:
        for store in self.stores:
            store.refuse_hidden(what)

    def _expire_what_is_over(self, resource: Resource) -> None:
        """Expire the blocks of tests that run no more: an interruption came before their end could begin."""
        blocks = [scope for entry in resource.stack if (scope := entry.scope) and scope.test is not None]
        running = tests_running() if blocks else []
        for scope in blocks:
            if scope.thread == get_ident() and scope.test not in running and not scope.is_over:
                scope.expire()
                scope.close_handles()

    def _refuse_other_thread(self, resource: Resource) -> None:
        top = resource.stack[-1].scope
        outer = self.outer
        while outer is not None and outer is not top:
            outer = outer.outer
        if top is None or top is outer or top.thread == get_ident():
            return
        raise ScopeError(
            f"{self.label} cannot begin on store {resource.store.name!r}: {top.label} is open there in "
            "another thread, and neither could restore its own data alone.\n"
            "Open one block and use its db.scope(), or give each thread a store of its own."
        )

    # Threads that tests left running

    def _begin_background(self) -> list[Exception]:
        if self._background is None:
            return []
        threads = self._background.left()
        self._background.begin()
        return self._late_writes(threads)

    def _threads_left(self) -> list[threading.Thread]:
        """What this scope left running; it is waited for, and watched, if that is to fail the test."""
        if self._background is None:
            return []
        left = self._background.leave(PATIENCE if self._is_strict else 0.0)
        return left if self._is_strict else []

    def _late_writes(self, threads: Sequence[threading.Thread]) -> list[Exception]:
        if not threads:
            return []
        by = named(threads)
        return attempts(partial(one.restore_late_writes, entry, by) for one, entry in self.entries.items())

    # What works beside the tests

    def keep_companion(self, beside: Companion) -> None:
        """Have it pause whenever data of this scope or of an inner one is restored; end it with this."""
        with run.lock:
            self.must_be_open()
            run.companions.append((self, beside))

    def _close_own_companions(self) -> None:
        """What the test began beside itself ends with it."""
        own = [beside for scope, beside in run.companions if scope is self]
        run.companions = [entry for entry in run.companions if entry[0] is not self]
        self._ended_companions += own
        for beside in own:
            beside.close()

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
            if scope.number <= self.number and not self.entries.keys().isdisjoint(scope.entries)
        ]
