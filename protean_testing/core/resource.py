"""A place that stores of the run share (a database, a Redis, a file), and the stack of scopes open on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from logging import getLogger
from traceback import clear_frames
from typing import Any, Protocol
from warnings import warn

from ..changes import Written
from ..clock import perf_counter
from ..errors import (
    ConfigurationError,
    LateWriteWarning,
    LeakError,
    LostStoreError,
    ProteanTestingError,
    ScopeError,
    StoreError,
)
from ..progress import progress
from ..store import EMPTY, LocatedStore, OnLeak, Snapshot, Store, ended_scope, leak_policy
from .companions import Companion
from .figures import Figures
from .hanging import watch
from .leaks import Everything, bullet_list, differences, report_leak, strictest
from .process_exit import is_of_signal
from .run_sync import run_sync

__unittest = True  # unittest leaves frames of this module out of the tracebacks that it prints

logger = getLogger("protean_testing")


class StackedScope(Protocol):
    """What the stack, the run and other scopes ask of a `core.scopes.Scope`; see there."""

    stores: tuple[Store, ...]
    label: str
    number: int
    nested: bool
    thread: int
    test: object
    failing: object
    entries: dict[Resource, Entry]
    closing: list[Callable[[], object]]
    async_closing: list[Callable[[], Awaitable[object]]]

    @property
    def outer(self) -> StackedScope | None: ...

    @property
    def is_over(self) -> bool: ...

    @property
    def restores(self) -> bool: ...

    def expire(self) -> None: ...

    def leave(self) -> None: ...

    def close_handles(self) -> list[Exception]: ...

    async def close_async(self) -> None: ...

    def keep_companion(self, beside: Companion) -> None: ...


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """One scope on the stack of one resource; the run's own, the first, has none.

    Attributes:
        snapshot: What the store saved when the scope began.
        on_leak: The strictest policy of the scope's stores here.
        seen: Everything that was there, if one of the stores is to be verified; else None.
        depth: How many entries are outside of it.
        lists_open: The store says what was left open in it. In a scope inside a test, that may outlive it.
    """

    scope: StackedScope | None
    snapshot: Snapshot
    on_leak: OnLeak = "warn"
    seen: dict[str, Any] | None = None
    depth: int = 0
    lists_open: bool = False


class Debt(Enum):
    """How a restore that is owed stands."""

    DUE = "not begun: it came too late, or never"
    BEGUN = "begun and not ended: what it had read of the store's change log is lost"
    FAILED = "begun, and its failure was raised"


class Resource:
    """A place whose schema is held for the run, and the stack of scopes that are open on it.

    Attributes:
        store: The first store that was used here: it saves and resets for all of them.
        user: The test class, test or block that used it first, for messages.
        schemas: The stores whose schema was made here, by their identity.
        stack: The open scopes, outermost first; the first entry is the run itself.
        owed: The outermost entry that must be restored before anything else begins.
        is_awake: False while its connections are closed, as it was not used for some time.
        used: Grows with each scope that begins, to tell which resource was not used for longest.
    """

    _uses = 0

    def __init__(self, store: Store, user: str) -> None:
        self.store = store
        self.user = user
        self.schemas: dict[Hashable, Store] = {}
        self.stack: list[Entry] = []
        self.owed: Entry | None = None
        self.is_awake = True
        self.used = 0
        self._failed: dict[Hashable, Exception] = {}
        self._debt = Debt.DUE
        self._is_fresh = True  # no scope has begun since the schema was made
        self._last = ""  # the scope that was restored last

    # The schema

    def create(self, store: Store, figures: Figures) -> None:
        """Make the schema of `store`, unless it is there. A failure is kept and raised again."""
        identity = store.identity()
        if identity in self._failed:
            raise self._failed[identity].with_traceback(None)
        if identity in self.schemas:
            return
        self.schemas[identity] = store  # a half-made schema is dropped at the end as well
        try:
            began = perf_counter()
            with progress(f"making the schema of store {store.name!r}"):
                run_sync(store.create_schema())
            if not self.stack:
                self.stack.append(Entry(None, run_sync(self.store.save_data())))
            if type(store).create_schema is not Store.create_schema:
                seconds = perf_counter() - began
                place = store.place if isinstance(store, LocatedStore) else ""
                figures.created.append((store.name, place, seconds))
                logger.info("store %r: ready in %.2f s, for %s", store.name, seconds, self.user)
        except Exception as error:
            self._failed[identity] = error
            raise
        except SystemExit as error:  # the commands of Flask-Migrate and click end the program if they fail
            if is_of_signal(error):
                raise
            self._failed[identity] = failed = ConfigurationError(
                f"what makes the schema of store {store.name!r} has ended the program ({error!r}). What it "
                "logged or printed says why."
            )
            raise failed from error

    def drop(self) -> Iterable[Callable[[], object]]:
        """The steps that drop the schemas, in order; each may fail without stopping the next."""
        for store in reversed(self.schemas.values()):
            yield partial(self._drop, store)
        for store in reversed(self.schemas.values()):
            yield store.close

    def _drop(self, store: Store) -> None:
        try:
            run_sync(store.drop_schema())
        except LostStoreError:
            if self.owed is None:  # else it was told
                raise

    def rest(self) -> None:
        """Close connections until the next scope begins. Only if `is_idle`."""
        self.is_awake = False
        for store in self.schemas.values():
            store.rest()

    @property
    def is_idle(self) -> bool:
        """Whether it has connections to close, and no scope is open."""
        rests = any(type(store).rest is not Store.rest for store in self.schemas.values())
        return rests and self.is_awake and len(self.stack) <= 1 and self.owed is None

    @property
    def is_expendable(self) -> bool:
        """Whether all in it may be discarded, and made again: nobody uses it, and no connection is open."""
        is_over = len(self.stack) <= 1 and self.owed is None and not self.is_idle
        return is_over and all(store.decided_for is not None for store in self.schemas.values())

    # The scope stack

    def enter(self, scope: StackedScope, stores: Sequence[Store]) -> Entry:
        """Push `scope` with a snapshot of the data as it is now.

        Parameters:
            stores: Those of the scope's that are in this place.
        """
        with suppress(LeakError):
            self.settle()
        top, store = self.stack[-1], self.store
        if top.scope is None and not self._is_fresh and run_sync(store.reset_data(top.snapshot)):
            self._warn_of_late_write(scope.label)
        self._is_fresh, self.is_awake = False, True
        Resource._uses += 1
        self.used = Resource._uses
        snapshot = self._call(store.save_data)
        is_nested = scope.nested and scope.restores
        if snapshot is EMPTY and is_nested and top.scope is not None and not store.is_empty():
            raise ScopeError(
                f"store {store.name!r} can only be cleared, so {scope.label} cannot begin inside "
                f"{top.scope.label}: it could not restore what is there now.\n"
                "Give the store save= and restore=, or is_empty= where it is known to be empty."
            )
        seen = dict(run_sync(store.dump_data())) if any(one.verify for one in stores) else None
        on_leak = strictest(one.on_leak for one in stores)
        lists_open = type(store).left_open is not Store.left_open and (
            scope.outer is None or not scope.nested
        )
        entry = Entry(scope, snapshot, on_leak, seen, len(self.stack), lists_open)
        self.stack.append(entry)
        return entry

    def restore(self, entry: Entry) -> bool:
        """Restore the data of an entry, which stays on the stack. It is owed until that is done.

        Returns:
            Whether anything had been written.

        Raises:
            LeakError: The data is restored, and something was left open or locked.
            StoreError: It is not restored.
        """
        scope, store = entry.scope, self.store
        assert scope is not None
        self.owe(entry)
        self._debt = Debt.BEGUN
        ended_scope.set(self._last)
        leak: LeakError | None = None
        token = leak_policy.set(entry.on_leak)
        try:
            try:
                changed = store.reset_data(entry.snapshot)
                if changed.__class__ is not bool:  # else it need not be waited for
                    changed = bool(run_sync(changed))
            except LeakError as error:
                leak, changed = error, True
            except StoreError:
                self._debt = Debt.FAILED
                raise
            except BaseException as error:
                _release(error)
                raise
            if self.owed is entry:
                self.owed = None
            if entry.lists_open:
                left = store.left_open(entry.snapshot)
                left = left if left.__class__ is list else run_sync(left)
                if left:
                    leak = self._report_open(left, entry, leak)
            if watch.has_freed:
                leak = self._report_freed(entry, leak)
            if entry.seen is not None:
                leak = self._verify(entry, entry.seen, leak)
        finally:
            leak_policy.reset(token)
        if leak is not None:
            raise leak
        return bool(changed)

    def leave(self, entry: Entry) -> bool:
        """Restore the data of an entry and pop it, and what is above it."""
        self.owe(entry)
        try:
            return self.restore(entry)
        finally:
            del self.stack[entry.depth :]
            if self.owed is None:
                self._call(self.store.forget_data, entry.snapshot)

    def written_since(self, entry: Entry) -> list[Written] | None:
        """What was written since an entry began; None if the store cannot say."""
        store = self.store
        if entry.snapshot is EMPTY and store.is_empty():
            return []
        found = self._call(store.written_since, entry.snapshot)
        return None if found is None else list(found)

    def forget(self, entry: Entry) -> None:
        """Pop an entry, and what is above it; the data stays as it is."""
        del self.stack[entry.depth :]
        self._call(self.store.forget_data, entry.snapshot)

    # Restores that are owed

    def owe(self, entry: Entry) -> None:
        """Have the data of `entry` restored before anything else begins, unless an outer one is owed."""
        if self.owed is None or entry.depth <= self.owed.depth:
            assert entry.scope is not None
            if self.owed is None:  # else that one has begun it
                self._debt, self._last = Debt.DUE, entry.scope.label
            self.owed = entry

    def settle(self) -> None:
        """Restore what is owed: a reset failed, was interrupted, or never came.

        Raises:
            LeakError: The data is restored, and what owed it had left something open.
            StoreError: It is not restored.
        """
        self._pop_what_is_over()
        owed = self.owed
        if owed is None:
            return
        leak: LeakError | None = None
        restore = self.store.reset_data if self._debt is Debt.DUE else self.store.restore_fully
        if self._debt is Debt.DUE:
            self._debt = Debt.BEGUN
        ended_scope.set(self._last)
        token = leak_policy.set(owed.on_leak)
        try:
            self._call(restore, owed.snapshot)
        except LeakError as error:
            leak = error
        except Exception as error:
            raise StoreError(
                f"store {self.store.name!r} is not clean: its reset after {self._last} failed, "
                f"and failed again now.\n{error}",
                store=self.store.name,
            ) from (None if isinstance(error, ProteanTestingError) else error)
        finally:
            leak_policy.reset(token)
        if owed not in self.stack:
            self._call(self.store.forget_data, owed.snapshot)
        self.owed = None
        if leak is not None:
            raise leak

    def settle_at_end(self) -> None:
        """As `settle`, for the last time; a failure that was raised already is not raised again."""
        was_raised = self.owed is not None and self._debt is Debt.FAILED
        try:
            self.settle()
        except (LeakError, StoreError):
            if not was_raised:
                raise

    def _pop_what_is_over(self) -> None:
        """Pop scopes whose end, or whose begin, was interrupted."""
        while self.stack and (top := self.stack[-1]).scope is not None and top.scope.is_over:
            if top.scope.restores:
                self.owe(top)
            self.stack.pop()

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """What the store's method returns, or comes to if it is async."""
        try:
            return run_sync(method(*arguments))
        except BaseException as error:
            _release(error)
            raise

    # What was left behind

    def restore_late_writes(self, entry: Entry, by: str) -> None:
        """Restore what was written since the reset at the end of a test, and report it.

        Parameters:
            by: Who is still at work.

        Raises:
            LeakError: Something was written, and it is to fail.
        """
        store = self.store
        is_exact = entry.on_leak == "fail" and type(store).dump_data is not Store.dump_data
        before = run_sync(store.dump_data()) if is_exact else {}
        ended_scope.set(self._last)
        token = leak_policy.set(entry.on_leak)
        try:
            changed = run_sync(store.reset_data(entry.snapshot))
            written = differences(run_sync(store.dump_data()), before) if is_exact else []
            if changed or written:
                report_leak(
                    f"left {by} running, which wrote into store {store.name!r} after its end.\n"
                    f"{bullet_list(written)}"
                    "The data was wiped. Stop it in the test, e.g.  self.addCleanup(thread.join)",
                    store.name,
                    entry.on_leak,
                    LateWriteWarning,
                )
        finally:
            leak_policy.reset(token)

    def _warn_of_late_write(self, begins: str) -> None:
        after = f"after {self._last} had ended and " if self._last else ""
        warn(
            f"store {self.store.name!r} was written to {after}before {begins} began: no scope was open, and "
            "the data was wiped.\n"
            "Was it a test that does not declare this store? Declare it, in its class or as a fixture.\n"
            "Was it a setUpClass, before its super().setUpClass(), or code of a module? Write behind that "
            "call, or in a test_database() block.\n"
            "Or is a thread, a task or a worker of an earlier test still at work? Stop it in its test.",
            LateWriteWarning,
            stacklevel=2,
        )

    def _report_open(self, left: Sequence[str], entry: Entry, leak: LeakError | None) -> LeakError | None:
        return self._reported(
            f"left something open on store {self.store.name!r}:\n{bullet_list(left)}"
            "The data was reset. Close it in the test, e.g.  self.addCleanup(connection.close)",
            entry.on_leak,
            leak,
        )

    def _report_freed(self, entry: Entry, leak: LeakError | None) -> LeakError | None:
        for label, what, hung in watch.freed(self.store):
            token = ended_scope.set(label)
            text = (
                f"left a lock held on store {self.store.name!r}, and {hung} hung on it:\n"
                f"{bullet_list([what])}"
                "Its session was ended. Close it in the test, e.g.  self.addCleanup(connection.close)"
            )
            leak = self._reported(text, entry.on_leak, leak)
            ended_scope.reset(token)
        return leak

    def _verify(self, entry: Entry, seen: dict[str, Any], leak: LeakError | None) -> LeakError | None:
        """Report what a reset did not restore, and restore it by comparing everything.

        What cannot be restored is reported once: every open scope takes it as it is from then on.
        """
        now: Everything = run_sync(self.store.dump_data())
        wrong = differences(seen, now)
        if not wrong:
            return leak
        with suppress(LeakError):  # what it names is among what differs
            run_sync(self.store.restore_fully(entry.snapshot))
        restored = run_sync(self.store.dump_data())
        still = differences(seen, restored)
        for name in seen.keys() | restored.keys() if still else ():
            if seen.get(name) != restored.get(name):
                for one in self.stack:
                    if one.seen is not None:
                        one.seen[name] = restored.get(name, ())
        end = "It was brought back by looking at everything."
        if still:
            end = f"What cannot be undone here, and stays:\n{bullet_list(still)}Undo it in the test."
        text = f"left in store {self.store.name!r} what its reset did not see:\n{bullet_list(wrong)}{end}"
        on_leak: OnLeak = "fail" if entry.on_leak == "fail" else "warn"  # it was asked for
        token = leak_policy.set(on_leak)
        try:
            return self._reported(text, on_leak, leak)
        finally:
            leak_policy.reset(token)

    def _reported(self, text: str, on_leak: OnLeak, leak: LeakError | None) -> LeakError | None:
        """Warn, or return the error to raise; the first one has the others as notes."""
        try:
            report_leak(text, self.store.name, on_leak)
        except LeakError as error:
            if leak is None:
                return error
            leak.add_note(str(error))
        return leak


def _release(error: BaseException) -> None:
    """Let go of what an interrupted call holds: its error outlives it for long, and cursors hold locks."""
    if not isinstance(error, ProteanTestingError):
        clear_frames(error.__traceback__)
