"""What frames a test class and each of its tests: the same for the base classes and the decorator."""

from __future__ import annotations

import asyncio
import threading
import unittest
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from . import run_end
from .database import Database
from .errors import ConfigurationError, LeakError, ScopeError
from .hooks import Hook
from .leaks import strictest, tell_of_leak
from .lifecycle import raise_all
from .resolve import declared, resolve
from .scope import Scope
from .store import Store, ended_scope

_frames: WeakKeyDictionary[type, ClassFrame] = WeakKeyDictionary()
_unframed: list[type[unittest.TestCase]] = []

_DECLARATIONS = ("metadata", "stores", "domain", "config")

PATIENCE = 5.0  # seconds for the tasks that an async test left
TRIES = 10


class ClassFrame:
    """The scope of a test class, and inside it the one that all its tests share and that each restarts."""

    def __init__(self, cls: type, what: Iterable[Any]) -> None:
        label = f"{cls.__module__}.{cls.__qualname__}"
        items = declared(what, label)
        self.stores = [item for item in items if isinstance(item, Store)]
        self.scope = Scope(self.stores, label)
        self.tests = Scope(self.stores, label, outer=self.scope)
        self.db = Database(self.stores, lambda: self.tests if self._in_test else self.scope)
        self._kept = [store for store in self.stores if store.reset_after == "class"]
        self._hooks = [item for item in items if isinstance(item, Hook)]
        self._class_hooks = ExitStack()
        self._test_hooks: ExitStack | None = None
        self._in_test = False
        self._thread = 0
        self._last: unittest.TestCase | None = None

    def begin(self) -> None:
        resolve(self.stores)
        run_end.arm()
        with self._entered("class") as stack:
            self.scope.enter()
            self._class_hooks = stack.pop_all()

    def end(self) -> None:
        inner = self.tests if self.tests.is_open else None
        leave = [partial(self.scope.leave, inner)] if self.scope.is_open else []
        _try_all([*leave, self._class_hooks.close], self.scope.label)

    def begin_test(self, case: unittest.TestCase, result: Any) -> None:
        """The first test fixes what the class holds; after each one the data is back at that.

        What the last test's threads have written since is told to `result` as that test's error.
        """
        if self._in_test and self._thread != threading.get_ident():
            raise ScopeError(
                f"{case.id()} cannot begin while {self.tests.label} is running in another thread: the end of "
                "either would reset the data of both.\n"
                "Run the tests of a class in one thread, or in several processes."
            )
        self._thread = threading.get_ident()
        self.tests.label = case.id()
        if self.tests.is_open:
            for error in self.tests.settle():
                _add_error(result, self._last or case, error)
        else:
            self.tests.enter()
        self._in_test, self._last = True, case

    def enter_hooks(self) -> None:
        with self._entered("test") as stack:
            self._test_hooks = stack.pop_all()

    async def end_async_test(self) -> None:
        """As `end_test`, in the test's event loop: what still runs or is open there is ended first."""
        errors = await _end_tasks(self._tell_of_tasks)
        for close in (self.tests.innermost().async_closing.aclose, *(s.leave_loop for s in self.stores)):
            try:
                await close()
            except Exception as error:
                errors.append(error)
        _try_all([self.end_test], self.tests.label, errors)

    def end_test(self) -> None:
        """Give everything back. Harmless when it is done already."""
        if not self._in_test:
            return
        self._in_test = False
        hooks, self._test_hooks = self._test_hooks, None
        steps: list[Callable[[], object]] = [lambda: self.tests.restart(self._kept)]
        if hooks is not None:
            steps.append(hooks.close)
        elif any(hook.around == "test" for hook in self._hooks):
            steps.append(self._hooks_were_forgotten)
        _try_all(steps, self.tests.label)

    def _tell_of_tasks(self, names: str) -> None:
        ended_scope.set(self.tests.label)
        stores = ", ".join(store.name for store in self.stores)
        tell_of_leak(
            f"left {names} running, cancelled before the reset of {stores}.\n"
            "Wait for it in the test, or cancel it there:  task.cancel()",
            stores,
            strictest(store.on_leak for store in self.stores),
        )

    @contextmanager
    def _entered(self, around: str) -> Iterator[ExitStack]:
        with ExitStack() as stack:
            for hook in self._hooks:
                if hook.around == around:
                    stack.enter_context(hook.context())
            yield stack

    def _hooks_were_forgotten(self) -> None:
        raise ConfigurationError(
            f"{self.tests.label}: its hooks were not entered. An async setUp must call super().setUp()."
        )


def begin_class(cls: type[unittest.TestCase], what: Iterable[Any]) -> None:
    """Hold the schema, begin the class's scope, and put the handles on the class.

    Raises:
        ConfigurationError, UnsafeStoreError, StoreError: From the stores.
    """
    frame = ClassFrame(cls, what)
    frame.begin()
    _frames[cls] = frame
    cls.addClassCleanup(_end_class, cls)
    handles: dict[str, Any] = {"db": frame.db}
    if sum(getattr(store, "kind", "") == "database" for store in frame.stores) == 1:
        handles |= {"engine": frame.db.engine, "database_url": frame.db.url, "session": frame.db.session}
    for name, handle in handles.items():
        setattr(cls, name, handle)


def run_framed(
    case: unittest.TestCase,
    result: unittest.TestResult | None,
    call: Callable[[], Any],
    what: Iterable[Any] | None,
) -> Any:
    """Run one test between its class's frame: `call` is the runner's own ``run`` or ``debug``.

    Parameters:
        what: What the class declares, for a runner that never calls ``setUpClass``; None where the class
            has a ``setUpClass`` of its own, which must then have called ours.
    """
    if result is not None:
        run_end.watch(result)
    if _is_skipped(case):
        return call()
    frame: ClassFrame | None = None
    try:
        found = _frame_of(type(case), what, result)
        found.begin_test(case, result)
        frame = found
        if isinstance(case, unittest.IsolatedAsyncioTestCase):
            case.addAsyncCleanup(frame.end_async_test)
        else:
            if not _is_trial(case):
                case.addCleanup(frame.end_test)
            frame.enter_hooks()
    except Exception as error:
        case.setUp = _raising(error)  # type: ignore[method-assign]  # it then fails as a test does
    try:
        return call()
    except BaseException as error:
        _end_behind(frame, error)
        raise
    finally:
        _end_in(result, case, frame)


def frame_of(case: unittest.TestCase) -> ClassFrame | None:
    """The frame of the test's class, once that has begun."""
    return _frames.get(type(case))


def _frame_of(cls: type[unittest.TestCase], what: Iterable[Any] | None, result: Any) -> ClassFrame:
    if cls not in _frames and not _took_over(cls):
        if getattr(result, "_previousTestClass", None) is not cls:  # no suite of unittest has called it
            cls.setUpClass()
        elif what is not None:
            begin_class(cls, what)
        if cls not in _frames:
            raise ConfigurationError(
                f"{cls.__module__}.{cls.__qualname__}.setUpClass does not call super().setUpClass(), so "
                "its stores were never prepared."
            )
        run_end.first(_end_unframed)
        _unframed.append(cls)
    return _frames[cls]


def _took_over(cls: type[unittest.TestCase]) -> bool:
    """Take the frame of a base class whose ``setUpClass`` was called by its name, not by ``super()``.

    It began for that base, and nobody would end it. A class that declares other stores needs its own.
    """
    for base in cls.__mro__[1:]:
        if base in _frames and base not in _unframed:
            if any(getattr(cls, name, None) is not getattr(base, name, None) for name in _DECLARATIONS):
                return False
            frame = _frames[cls] = _frames.pop(base)
            frame.scope.label = f"{cls.__module__}.{cls.__qualname__}"
            cls.addClassCleanup(_end_class, cls)
            return True
    return False


def _end_class(cls: type) -> None:
    frame = _frames.pop(cls, None)
    if frame is not None:
        frame.end()


def _end_unframed() -> None:
    """End classes whose runner will not say that they are over, as a suite of unittest does."""
    while _unframed and not any(_frames[cls]._in_test for cls in _unframed):
        cls = _unframed.pop()
        _try_all([cls.tearDownClass, partial(_clean_up, cls)], f"{cls.__module__}.{cls.__qualname__}")


def _clean_up(cls: Any) -> None:
    cls.doClassCleanups()
    raise_all([error for _, error, _ in cls.tearDown_exceptions], f"after {cls.__qualname__}")


def _end_behind(frame: ClassFrame | None, error: BaseException) -> None:
    """Give back after a failure that ended the run; it stays the one that is raised."""
    try:
        if frame is not None:
            frame.end_test()
    except Exception as failed:
        error.add_note(f"protean_testing: {type(failed).__name__}: {failed}")


def _end_in(result: Any, case: unittest.TestCase, frame: ClassFrame | None) -> None:
    """Give back where the runner dropped our cleanup; what fails is the test's error."""
    try:
        if frame is not None:
            frame.end_test()
    except Exception as error:
        _add_error(result, case, error)


def _add_error(result: Any, case: unittest.TestCase, error: Exception) -> None:
    if result is None:
        raise error
    result.addError(case, (type(error), error, error.__traceback__))


async def _end_tasks(tell: Callable[[str], None]) -> list[Exception]:
    """Cancel what the test left running in its loop, and wait for it.

    Parameters:
        tell: Called with what it was.

    Returns:
        The errors of tasks that failed instead of ending, or do not end at all.
    """
    loop = asyncio.get_running_loop()
    left = asyncio.all_tasks(loop) - {asyncio.current_task()}
    tasks = set(left)
    told: list[Exception] = []
    if tasks:
        names = ", ".join(sorted(f"{task.get_name()} ({_coroutine(task)})" for task in tasks))
        try:
            tell(f"task{'s' * (len(tasks) > 1)} {names}")
        except LeakError as leak:
            told.append(leak)
    for _ in range(TRIES):  # a client's own time limits may swallow a cancellation
        for task in left:
            task.cancel()
        if left:
            _, left = await asyncio.wait(left, timeout=PATIENCE / TRIES)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
    errors = [error for task in tasks - left if not task.cancelled() and (error := task.exception())]
    if left:
        names = ", ".join(sorted(task.get_name() + " " + repr(task.get_coro()) for task in left))
        errors.append(ScopeError(f"tasks of the test do not end, though they were cancelled: {names}"))
    return told + [error for error in errors if isinstance(error, Exception)]


def _coroutine(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", task.get_coro()))


def _is_trial(case: unittest.TestCase) -> bool:
    """True for Twisted's own test cases: their tearDown comes after their cleanups."""
    return any(base.__module__.startswith("twisted.trial.") for base in type(case).__mro__)


def _is_skipped(case: unittest.TestCase) -> bool:
    method = getattr(case, case._testMethodName, None)
    return bool(
        getattr(type(case), "__unittest_skip__", False) or getattr(method, "__unittest_skip__", False)
    )


def _raising(error: Exception) -> Callable[[], None]:
    def setUp() -> None:
        raise error

    return setUp


def _try_all(steps: Iterable[Callable[[], object]], label: str, errors: Sequence[Exception] = ()) -> None:
    errors = list(errors)
    for step in steps:
        try:
            step()
        except Exception as error:
            errors.append(error)
    raise_all(errors, f"after {label}")
