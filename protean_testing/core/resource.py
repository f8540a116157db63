"""One place, held for the run: its schema is made once, and scopes follow each other on its line."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from traceback import clear_frames
from typing import TYPE_CHECKING, Any
from warnings import warn

from ..errors import LateWriteWarning, LeakError, ProteanTestingError, ScopeError, StoreError
from ..store import EMPTY, OnLeak, Snapshot, Store, ended_scope, leak_policy
from .figures import Figures
from .hanging import watch
from .leaks import Everything, bullet_list, differences, report_leak, strictest
from .run_sync import run_sync

if TYPE_CHECKING:
    from .scopes import Scope


@dataclass(frozen=True, eq=False)
class Entry:
    """One scope on the line of one place; the run's own has none.

    Attributes:
        depth: How many are outside of it.
        on_leak: The strictest policy of the scope's stores in this place.
        seen: Everything that was there, where one of them is paranoid; else None.
    """

    scope: Scope | None
    snapshot: Snapshot
    on_leak: OnLeak
    seen: dict[str, Any] | None
    depth: int = 0


class Resource:
    """One place whose schema is held for the run, and the line of scopes that are open on it.

    Attributes:
        store: The first store that was used in this place: it saves and resets for all of them.
        holder: The test class, test or block that used it first, for messages.
        is_awake: False while its connections are closed; it was not used for some time.
        used: A number that grows: when a scope last began here.
        line: The open scopes, outermost first; the first entry is the run itself.
    """

    _uses = 0

    def __init__(self, store: Store, user: str) -> None:
        self.store = store
        self.user = user
        self.schemas: dict[Hashable, Store] = {}
        self.stack: list[Entry] = []
        self.is_awake = True
        self.used = 0
        self.failed: dict[Hashable, Exception] = {}
        self._owed: Entry | None = None  # a restore that was begun, or came too late: first of all
        self._due: Entry | None = None  # that of the test which runs now, from its first moment on
        self._is_doubtful = False  # a reset was begun: what it had read of the store's notes is lost
        self._is_told = False  # that reset has failed, and not only been interrupted
        self._fresh = True
        self._last = ""

    def create(self, store: Store, figures: Figures) -> None:
        """Make the schema of `store`, unless it is there. A failure is kept and raised again."""
        identity = store.identity()
        if identity in self.failed:
            raise self.failed[identity].with_traceback(None)
        if identity in self.schemas:
            return
        self.schemas[identity] = store  # a half-made schema is dropped at the end as well
        try:
            has_schema = type(store).create_schema is not Store.create_schema
            with figures.creating(store.name) if has_schema else nullcontext():
                run_sync(store.create_schema())
                if not self.stack:
                    self.stack.append(Entry(None, run_sync(self.store.save_data()), "warn", None))
        except Exception as error:
            self.failed[identity] = error
            raise

    def enter(self, scope: Scope, stores: Sequence[Store]) -> None:
        """Put `scope` on the line: remember the data as it is now.

        Parameters:
            stores: Those of the scope's that are in this place.
        """
        with suppress(LeakError):
            self.settle()
        top = self.stack[-1]
        if top.scope is None and not self._fresh and run_sync(self.store.reset_data(top.snapshot)):
            self._warn_of_late_write(scope.label)
        self._fresh = False
        self.is_awake = True
        Resource._uses += 1
        self.used = Resource._uses
        snapshot = self._ask(self.store.save_data)
        if snapshot is EMPTY and scope.nested and top.scope is not None and not self.store.is_empty():
            raise ScopeError(
                f"store {self.store.name!r} can only be cleared, so {scope.label} cannot begin inside "
                f"{top.scope.label}: it could not give back what is there now.\n"
                "Give the store save= and restore=, or is_empty= where it is known to be empty."
            )
        seen = dict(run_sync(self.store.dump_data())) if any(store.verify for store in stores) else None
        self.stack.append(
            Entry(scope, snapshot, strictest(store.on_leak for store in stores), seen, len(self.stack))
        )

    def begin_test(self, scope: Scope) -> None:
        """Owe the restore from now on: of a test whose end never comes, whoever is next brings it."""
        self._due = self._entry(scope)

    def end_test(self, scope: Scope) -> bool:
        """Bring back the data at the start of `scope`, on which each of its tests begins."""
        self._owe_due()
        return self.reset(scope)

    def reset(self, scope: Scope) -> bool:
        """Bring back the data at the start of `scope`, which stays on the line."""
        entry = self._entry(scope)
        self._owed, self._is_doubtful = entry, True
        self._last = scope.label
        ended_scope.set(scope.label)
        leak: LeakError | None = None
        token = leak_policy.set(entry.on_leak)
        try:
            try:
                changed = bool(self._ask(self.store.reset_data, entry.snapshot))
            except LeakError as error:
                leak, changed = error, True
            except StoreError:
                self._is_told = True
                raise
            self._owed, self._is_doubtful, self._is_told = None, False, False
            if scope.outer is None or not scope.nested:  # else what is opened in it may outlive it
                leak = self._report_open(entry, leak)
            leak = self._report_hanging(entry, leak)
            if entry.seen is not None:
                leak = self._compare(entry, entry.seen, leak)
        finally:
            leak_policy.reset(token)
        if leak is not None:
            raise leak
        return changed

    def leave(self, scope: Scope) -> bool:
        """Bring back the data at the start of `scope` and take it off the line."""
        entry = self._entry(scope)
        self.owe(scope)
        try:
            return self.reset(scope)
        finally:
            del self.stack[entry.depth :]
            if self._due is not None and self._due.depth >= entry.depth:
                self._due = None
            if self._owed is None:
                self._ask(self.store.forget_data, entry.snapshot)

    def rest(self) -> None:
        """Close connections until the next scope begins, if no scope is open and nothing is owed."""
        self.is_awake = False
        for store in self.schemas.values():
            store.rest()

    @property
    def is_expendable(self) -> bool:
        """Whether all in it may be discarded, and made again: nobody uses it, and no connection is open."""
        is_over = len(self.stack) <= 1 and self._owed is None and not self.is_idle
        return is_over and all(store.decided_for is not None for store in self.schemas.values())

    @property
    def is_idle(self) -> bool:
        """Whether it has connections to close, and no scope is open."""
        rests = any(type(store).rest is not Store.rest for store in self.schemas.values())
        return rests and self.is_awake and len(self.stack) <= 1 and self._owed is None

    def settle_at_end(self) -> None:
        """As `settle`, for the last time; a failure that was told already is not told again."""
        was_told = self._is_told
        try:
            self.settle(test_is_over=True)
        except (LeakError, StoreError):
            if not was_told:
                raise

    def owe(self, scope: Scope) -> None:
        """Bring back the data at the start of `scope` before anything else begins."""
        self._owed = self._entry(scope)

    def settle(self, *, test_is_over: bool = False) -> None:
        """Bring back what is owed: a reset failed, was interrupted, or never came.

        Parameters:
            test_is_over: The test that ran last runs no more, whether its end came or not.

        Raises:
            LeakError: The data is back, and what owed it had left something open.
            StoreError: It is not back.
        """
        if test_is_over:
            self._owe_due()
        self._pop_what_is_over()
        owed = self._owed
        if owed is None:
            return
        leak: LeakError | None = None
        ended_scope.set(self._last)
        restore = self.store.restore_fully if self._is_doubtful else self.store.reset_data
        with _policy(owed.on_leak):
            try:
                self._ask(restore, owed.snapshot)
            except LeakError as error:
                leak = error
            except Exception as error:
                raise StoreError(
                    f"store {self.store.name!r} is not clean: its reset after {self._last} failed, "
                    f"and failed again now.\n{error}",
                    store=self.store.name,
                ) from error
        if owed not in self.stack:
            self._ask(self.store.forget_data, owed.snapshot)
        self._owed, self._is_doubtful, self._is_told = None, False, False
        if leak is not None:
            raise leak

    def _ask(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """What the store's method returns, or comes to where it is async."""
        try:
            return run_sync(method(*arguments))
        except BaseException as error:
            if not isinstance(error, ProteanTestingError):  # interrupted: the error outlives this for long,
                clear_frames(error.__traceback__)  # and what it holds would hold locks
            raise

    def _owe_due(self) -> None:
        """What is due becomes what is owed at once, unless something further out is."""
        due = self._due
        if due is None:
            return
        if self._owed is None or self._owed.depth > due.depth:
            assert due.scope is not None
            self._owed, self._last = due, due.scope.label
        self._due = None

    def _pop_what_is_over(self) -> None:
        """Scopes whose end was interrupted, or whose begin was."""
        while (top := self.stack[-1] if self.stack else None) is not None:
            if top.scope is None or not top.scope.is_over:
                return
            if self._owed is None or self._owed.depth > top.depth:
                self._owed, self._last = top, top.scope.label
            self.stack.pop()

    def reset_again(self, scope: Scope, by: str) -> None:
        """Bring back what was written since the reset at the end of `scope`, and tell of it.

        Parameters:
            by: Who is still at work.

        Raises:
            LeakError: Something was, and it is to fail.
        """
        entry, store = self._entry(scope), self.store
        exact = entry.on_leak == "fail" and type(store).dump_data is not Store.dump_data
        there = run_sync(store.dump_data()) if exact else {}
        ended_scope.set(self._last)
        with _policy(entry.on_leak):
            changed = run_sync(store.reset_data(entry.snapshot))
            written = differences(run_sync(store.dump_data()), there) if exact else []
            if changed or written:
                report_leak(
                    f"left {by} running, which wrote into store {store.name!r} after its end.\n"
                    f"{bullet_list(written)}"
                    "The data was wiped. Stop it in the test, e.g.  self.addCleanup(thread.join)",
                    store.name,
                    entry.on_leak,
                    LateWriteWarning,
                )

    def _warn_of_late_write(self, begins: str) -> None:
        after = f"after {self._last} had ended and " if self._last else ""
        warn(
            f"store {self.store.name!r} was written to {after}before {begins} began: no scope was open, and "
            "the data was wiped.\n"
            "Was it a setUpClass, before its super().setUpClass(), or code of a module? Write behind that "
            "call, or in a test_database() block.\n"
            "Or is a thread, a task or a worker of an earlier test still at work? Stop it in its test.",
            LateWriteWarning,
            stacklevel=2,
        )

    def drop(self) -> Iterable[Callable[[], object]]:
        """The steps that end this hold, in order; each may fail without stopping the next."""
        for store in reversed(self.schemas.values()):
            yield store.drop_schema
        for store in reversed(self.schemas.values()):
            yield store.close

    def _report_open(self, entry: Entry, leak: LeakError | None) -> LeakError | None:
        if type(self.store).left_open is Store.left_open:
            return leak
        left = run_sync(self.store.left_open(entry.snapshot))
        if not left:
            return leak
        return self._told(
            f"left something open on store {self.store.name!r}:\n{bullet_list(left)}"
            "The data was reset. Close it in the test, e.g.  self.addCleanup(connection.close)",
            entry.on_leak,
            leak,
        )

    def _report_hanging(self, entry: Entry, leak: LeakError | None) -> LeakError | None:
        for label, what, hung in watch.ended(self.store):
            token = ended_scope.set(label)
            text = (
                f"left a lock held on store {self.store.name!r}, and {hung} hung on it:\n"
                f"{bullet_list([what])}"
                "Its session was ended. Close it in the test, e.g.  self.addCleanup(connection.close)"
            )
            leak = self._told(text, entry.on_leak, leak)
            ended_scope.reset(token)
        return leak

    def _compare(self, entry: Entry, seen: dict[str, Any], leak: LeakError | None) -> LeakError | None:
        """Tell of what a reset did not bring back, and then do so by looking at everything.

        What cannot be brought back is told once: all that are open take it as it is.
        """
        now: Everything = run_sync(self.store.dump_data())
        wrong = differences(seen, now)
        if not wrong:
            return leak
        run_sync(self.store.restore_fully(entry.snapshot))
        mended = run_sync(self.store.dump_data())
        still = differences(seen, mended)
        for name in seen.keys() | mended.keys() if still else ():
            if seen.get(name) != mended.get(name):
                for one in self.stack:
                    if one.seen is not None:
                        one.seen[name] = mended.get(name, ())
        end = "It was brought back by looking at everything."
        if still:
            end = f"What cannot be undone here, and stays:\n{bullet_list(still)}Undo it in the test."
        text = f"left in store {self.store.name!r} what its reset did not see:\n{bullet_list(wrong)}{end}"
        with _policy("fail" if entry.on_leak == "fail" else "warn"):  # it was asked for
            return self._told(text, entry.on_leak, leak)

    def _told(self, text: str, on_leak: OnLeak, leak: LeakError | None) -> LeakError | None:
        """Warn, or give the error to raise; the first one has the others as notes."""
        try:
            report_leak(text, self.store.name, on_leak)
        except LeakError as error:
            if leak is None:
                return error
            leak.add_note(str(error))
        return leak

    def _entry(self, scope: Scope) -> Entry:
        return next(entry for entry in reversed(self.stack) if entry.scope is scope)


@contextmanager
def _policy(on_leak: OnLeak) -> Iterator[None]:
    token = leak_policy.set(on_leak)
    try:
        yield
    finally:
        leak_policy.reset(token)
