"""What was written since a scope began: looked at on demand, or under the traceback of a failure."""

from __future__ import annotations

from asyncio import CancelledError
from dataclasses import replace
from functools import partial
from logging import getLogger
from typing import TypeGuard
from unittest import SkipTest

from ..changes import Changes, Written
from ..config import environ
from .hanging import watch
from .resource import Resource
from .run import attempts, raise_all, run
from .scopes import Scope

logger = getLogger("protean_testing")

_FAILURES = 10
"""Of one test, with its subtests, under which it stands what was written."""


def look(scope: Scope) -> Changes:
    """Find what was written to the stores of a scope since it began.

    Raises:
        ScopeError: It is over.
        StoreError, ExceptionGroup: From the stores; every one of them was tried.
    """
    with run.lock:
        run.refuse_child()
        scope.must_be_open()
        changes, errors = _found(scope)
    raise_all(errors, f"when what was written in {scope.label} was looked at")
    return changes


def note_failure(case: object, error: BaseException) -> None:
    """Say under the traceback of a test's failure what it has written, since the outermost of its scopes."""
    if not is_failure(error):
        return
    seen: set[Resource] = set()
    with run.lock:
        scopes = [one for one in run.open_scopes() if one.failing is case and isinstance(one, Scope)]
        for scope in scopes:
            if not scope.entries.keys() <= seen and scope.noted < _FAILURES:
                scope.noted += 1
                note_writes(scope, error)
            seen.update(scope.entries)


def is_failure(error: BaseException | None) -> TypeGuard[BaseException]:
    """Whether an error is a test's failure: neither a skip, nor an interruption."""
    others = (KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError, SkipTest)
    return (
        error is not None
        and not isinstance(error, others)
        and type(error).__name__ not in ("Skipped", "XFailed")
    )


def note_writes(scope: Scope, error: BaseException) -> None:
    """Say under the traceback of an error what was written since a scope began. It never raises."""
    try:
        with run.lock:
            if run.inherited or not scope.is_open or not environ.wants_writes():
                return
            changes, errors = _found(scope)
        changes.note(error, scope.label, [str(one).partition("\n")[0] for one in errors])
    except Exception as failure:  # the test has failed already, and its end must come
        logger.debug("what %s has written could not be listed: %s", scope.label, failure)


def _found(scope: Scope) -> tuple[Changes, list[Exception]]:
    """What was written, and what failed."""
    found: list[Written] = []
    errors: list[Exception] = []
    unknown: list[str] = []
    names = {run.resources.get(store.location()): store.name for store in reversed(scope.stores)}
    for resource, entry in scope.entries.items():
        name = names.get(resource, resource.store.name)
        try:
            written = resource.written_since(entry)
        except Exception as error:
            errors.append(error)
            continue
        if written is None:
            unknown.append(name)
        found += [replace(one, store=one.store or name) for one in written or ()]
    return Changes(found, unknown, len(scope.entries)), errors


class Recording(Scope):
    """A stretch whose writes are looked at, and stay: the scopes around it restore them."""

    @property
    def restores(self) -> bool:
        return False

    def leave(self, inner: Scope | None = None) -> None:
        """Forget where it began; inner scopes are ended first, with an error."""
        self.expire()
        if watch.is_on:
            watch.end(self, self.label)
        with run.lock:
            if run.inherited:
                return
            self.must_be_open()
            errors = self._end_inner([self])
            self.number = 0
            errors += attempts(
                partial(resource.forget, entry) for resource, entry in reversed(self.entries.items())
            )
        raise_all(errors, f"after {self.label}")
