"""One place, held for the run: its schema is made once, and scopes follow each other on its line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .awaiting import finished
from .errors import LateWriteWarning, LeakError, ScopeError, StoreError
from .figures import Figures
from .store import EMPTY, Mark, Store, ended_scope

if TYPE_CHECKING:
    from .lifecycle import Scope


@dataclass(frozen=True, eq=False)
class Level:
    """One scope on the line of one place; the run's own has none."""

    scope: Scope | None
    mark: Mark


class Hold:
    """One place whose schema is held for the run, and the line of scopes that are open on it.

    Attributes:
        store: The first store that was used in this place: it saves and resets for all of them.
        holder: The test class, test or block that used it first, for messages.
        line: The open scopes, outermost first; the first entry is the run itself.
    """

    def __init__(self, store: Store, holder: str) -> None:
        self.store = store
        self.holder = holder
        self.schemas: dict[Hashable, Store] = {}
        self.line: list[Level] = []
        self.failed: dict[Hashable, Exception] = {}
        self._owed: Level | None = None
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
                finished(store.create_schema())
                if not self.line:
                    self.line.append(Level(None, finished(self.store.save_data())))
        except Exception as error:
            self.failed[identity] = error
            raise

    def enter(self, scope: Scope) -> None:
        """Put `scope` on the line: remember the data as it is now."""
        self.settle()
        top = self.line[-1]
        if top.scope is None and not self._fresh and finished(self.store.reset_data(top.mark)):
            self.warn_of_late_write()
        self._fresh = False
        mark = finished(self.store.save_data())
        if mark is EMPTY and scope.nested and top.scope is not None and not self.store.is_empty():
            raise ScopeError(
                f"store {self.store.name!r} can only be cleared, so {scope.label} cannot begin inside "
                f"{top.scope.label}: it could not give back what is there now.\n"
                "Give the store save= and restore=, or is_empty= where it is known to be empty."
            )
        self.line.append(Level(scope, mark))

    def reset(self, scope: Scope) -> bool:
        """Bring back the data at the start of `scope`, which stays on the line."""
        level = self._level(scope)
        self._last = scope.label
        ended_scope.set(scope.label)
        self._owed = level
        try:
            changed = bool(finished(self.store.reset_data(level.mark)))
        except LeakError:
            self._owed = None
            raise
        self._owed = None
        return changed

    def leave(self, scope: Scope) -> bool:
        """Bring back the data at the start of `scope` and take it off the line."""
        level = self._level(scope)
        try:
            return self.reset(scope)
        finally:
            self.line = self.line[: self.line.index(level)]
            if self._owed is None:
                finished(self.store.forget_data(level.mark))

    def owe(self, scope: Scope) -> None:
        """Bring back the data at the start of `scope` before anything else begins."""
        self._owed = self._level(scope)

    def settle(self) -> None:
        """Try once more what an earlier reset could not do."""
        if self._owed is None:
            return
        owed = self._owed
        try:
            finished(self.store.reset_data(owed.mark))
        except LeakError:
            pass
        except Exception as error:
            raise StoreError(
                f"store {self.store.name!r} is not clean: its reset after {self._last} failed, "
                f"and failed again now.\n{error}",
                store=self.store.name,
            ) from error
        if owed not in self.line:
            finished(self.store.forget_data(owed.mark))
        self._owed = None

    def warn_of_late_write(self) -> None:
        after = f"after {self._last} had ended" if self._last else "before any test began"
        warnings.warn(
            f"store {self.store.name!r} was written to {after}, while no test was running. The data was "
            "wiped. Is a thread, a task or a worker of that test still at work? Stop it in the test.",
            LateWriteWarning,
            stacklevel=2,
        )

    def drop(self) -> Iterable[Callable[[], object]]:
        """The steps that end this hold, in order; each may fail without stopping the next."""
        for store in reversed(self.schemas.values()):
            yield store.drop_schema
        for store in reversed(self.schemas.values()):
            yield store.close

    def _level(self, scope: Scope) -> Level:
        return next(level for level in reversed(self.line) if level.scope is scope)
