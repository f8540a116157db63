"""What frames a test class and each of its tests: the same for the base classes and the decorator."""

from __future__ import annotations

import asyncio
import sys
import unittest
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from inspect import iscoroutinefunction
from threading import get_ident
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from .async_cleanup import await_all, end_tasks
from .config.resolve import declared, resolve
from .core import run_end
from .core.leaks import report_leak, strictest
from .core.run import raise_all
from .core.scopes import Scope
from .database import Database
from .errors import ConfigurationError, ScopeError
from .handles import over, put_handles, remove_handles
from .hooks import Hook
from .store import Store, ended_scope

_fixtures: WeakKeyDictionary[type, ClassFixture] = WeakKeyDictionary()
_without_fixture: list[type[unittest.TestCase]] = []

_DECLARATIONS = ("metadata", "stores", "domain", "config")


class ClassFixture:
    """The scope of a test class, and inside it the one that all its tests share and that each restarts."""

    def __init__(self, cls: type, what: Iterable[Any]) -> None:
        label = f"{cls.__module__}.{cls.__qualname__}"
        items = declared(what, label)
        self.stores = [item for item in items if isinstance(item, Store)]
        self.scope = Scope(self.stores, label)
        kept = [store for store in self.stores if store.reset_after == "class"]
        self.tests = Scope(self.stores, label, outer=self.scope, keep=kept)
        self.db = Database(self.stores, lambda: self.tests if self._in_test else self.scope)
        self.began_in_suite = False
        self.is_to_end = False
        self._hooks = [item for item in items if isinstance(item, Hook)]
        self._class_hooks = ExitStack()
        self._test_hooks: ExitStack | None = None
        self._in_test = False
        self._thread = get_ident()
        self._last: unittest.TestCase | None = None

    def begin(self) -> None:
        resolve(self.stores)
        run_end.arm()
        self.began_in_suite = _end_what_is_over()
        with self._entered("class") as stack:
            self.scope.enter()
            self._class_hooks = stack.pop_all()

    def expire(self) -> None:
        """From here on, whoever begins next ends what is left of it."""
        self.tests.expire()
        self.scope.expire()

    def end(self) -> None:
        inner = self.tests if self.tests.is_open else None
        leave = [partial(self.scope.leave, inner)] if self.scope.is_open else []
        _try_all([*leave, self._class_hooks.close], self.scope.label)

    def begin_test(self, case: unittest.TestCase, result: Any) -> None:
        """The first test fixes what the class holds; after each one the data is back at that.

        From here on the restore is owed, whatever happens to the test and to its end. What the last test's
        threads have written since is told to `result` as that test's error.
        """
        if self._in_test and (self._thread != get_ident() or _is_running(self)):
            where = "in another thread" if self._thread != get_ident() else "around it"
            raise ScopeError(
                f"{case.id()} cannot begin while {self.tests.label} is running {where}: the end of "
                "either would reset the data of both.\n"
                "Run the tests of a class one after the other in one thread, or in several processes."
            )
        self._thread = get_ident()
        self._leave_hooks()
        for error in self.tests.begin_test(case.id()):
            _add_error(result, self._last or case, error)
        self._in_test, self._last = True, case

    @property
    def is_in_test(self) -> bool:
        return self._in_test

    @property
    def is_between_tests(self) -> bool:
        """True where a test of it has run here, and none does now."""
        return self._last is not None and not self._in_test and self._thread == get_ident()

    @property
    def is_unused(self) -> bool:
        return self._last is None and self._thread == get_ident()

    def enter_hooks(self) -> None:
        with self._entered("test") as stack:
            self._test_hooks = stack.pop_all()

    async def end_async_test(self) -> None:
        """As `end_test`, in the test's event loop: what still runs or is open there is ended first."""
        errors = await end_tasks(self._report_tasks, self.tests.innermost().close_async)
        loop = asyncio.get_running_loop()
        leave = (store.leave_loop for store in self.stores)
        errors += await await_all([*leave, loop.shutdown_asyncgens, loop.shutdown_default_executor])
        _try_all([self.end_test], self.tests.label, errors)

    def end_test(self) -> None:
        """Give everything back. Harmless when it is done already.

        Where this is interrupted, or is never called, the stores still owe their restore: see `Hold`.
        """
        if not self._in_test:
            return
        self._in_test = False
        leave = self._leave_hooks if self._test_hooks is not None else self._look_for_hooks
        _try_all([self.tests.end_test, leave], self.tests.label)

    def _leave_hooks(self) -> None:
        hooks, self._test_hooks = self._test_hooks, None
        if hooks is not None:
            hooks.close()

    def _report_tasks(self, names: str) -> None:
        ended_scope.set(self.tests.label)
        stores = ", ".join(store.name for store in self.stores)
        report_leak(
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

    def _look_for_hooks(self) -> None:
        if any(hook.around == "test" for hook in self._hooks):
            raise ConfigurationError(
                f"{self.tests.label}: its hooks were not entered. An async setUp must call super().setUp()."
            )


def begin_class(cls: type[unittest.TestCase], what: Iterable[Any]) -> None:
    """Hold the schema, begin the class's scope, and put the handles on the class.

    Raises:
        ConfigurationError, UnsafeStoreError, StoreError: From the stores.
    """
    before = _fixtures.get(cls)
    if before is not None and before.is_in_test:
        raise ScopeError(
            f"{cls.__module__}.{cls.__qualname__} cannot begin inside its own test {before.tests.label}: "
            "the end of either would reset the data of both."
        )
    _end_class(cls)  # Ctrl-C, or a runner, has left it
    fixture = ClassFixture(cls, what)
    fixture.begin()
    _fixtures[cls] = fixture
    cls.addClassCleanup(_end_class, cls)
    put_handles(cls, fixture.db)


def run_in_fixture(
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
    fixture: ClassFixture | None = None
    own = vars(case).get("setUp")
    try:
        _refuse_unawaited(case)
        found = _fixture_of(type(case), what, result)
        found.begin_test(case, result)
        fixture = found
        if isinstance(case, unittest.IsolatedAsyncioTestCase):
            case.addAsyncCleanup(fixture.end_async_test)
        else:
            if not _is_trial(case):
                case.addCleanup(fixture.end_test)
            fixture.enter_hooks()
    except Exception as error:
        case.setUp = _raising(error)  # type: ignore[method-assign]  # it then fails as a test does
    try:
        return call()
    except BaseException as error:
        _end_behind(fixture, error)
        if result is None and _is_in_a_suite(sys._getframe()):  # which ends here, and would leave the class
            _end_behind(None, error, partial(_end_class, type(case)))
        raise
    finally:
        _end_in(result, case, fixture)
        if fixture is None:
            vars(case).pop("setUp", None)  # it may be run again
            if own is not None:
                vars(case)["setUp"] = own


def clean_up(case: unittest.TestCase, call: Callable[[], Any]) -> Any:
    """Run the test's cleanups: `call` is the runner's own ``doCleanups``.

    A test may call that in its middle. The cleanup that ends it is not meant then: it stays for the end.
    """
    caller = sys._getframe(2)
    while caller.f_back is not None and (
        caller.f_code.co_name == "doCleanups" or caller.f_globals.get("__name__", "").startswith(__package__)
    ):
        caller = caller.f_back
    fixture = _fixtures.get(type(case))
    first = case._cleanups[:1]  # type: ignore[attr-defined]
    is_ours = first and fixture is not None and getattr(first[0][0], "__self__", None) is fixture
    if not is_ours or caller.f_globals.get("__name__") == "unittest.case":
        return call()
    del case._cleanups[0]  # type: ignore[attr-defined]
    try:
        return call()
    finally:
        case._cleanups[:0] = first  # type: ignore[attr-defined]


def fixture_of(case: unittest.TestCase) -> ClassFixture | None:
    """The frame of the test's class, once that has begun."""
    return _fixtures.get(type(case))


def _fixture_of(cls: type[unittest.TestCase], what: Iterable[Any] | None, result: Any) -> ClassFixture:
    if cls not in _fixtures and not _took_over(cls):
        if getattr(result, "_previousTestClass", None) is not cls or cls in over:
            cls.setUpClass()  # no suite of unittest has called it; or only once, for two runs with one result
        elif what is not None:
            begin_class(cls, what)
        if cls not in _fixtures:
            raise ConfigurationError(
                f"{cls.__module__}.{cls.__qualname__}.setUpClass does not call super().setUpClass(), so "
                "its stores were never prepared."
            )
        run_end.first(_end_without_fixture)
        if cls not in _without_fixture:
            _without_fixture.append(cls)
    return _fixtures[cls]


def _is_running(fixture: ClassFixture) -> bool:
    """Whether a test of it is on in this thread: else its end never came."""
    return any(
        one.f_code is run_in_fixture.__code__ and one.f_locals["frame"] is fixture
        for one in _stack(sys._getframe())
    )


def _stack(fixture: FrameType | None) -> Iterator[FrameType]:
    while fixture is not None:
        yield fixture
        fixture = fixture.f_back


def _is_in_a_suite(fixture: FrameType) -> bool:
    return any(one.f_code is unittest.TestSuite.debug.__code__ for one in _stack(fixture))


_SETS_UP = unittest.TestSuite._handleClassSetUp.__code__  # type: ignore[attr-defined]


def _end_what_is_over() -> bool:
    """Before a class begins, end those whose own end was interrupted, or which ``suite.debug()`` has left.

    A suite of unittest ends a class before it begins another one.

    Returns:
        Whether such a suite begins the class.
    """
    begins = [one.f_locals["test"].__class__ for one in _stack(sys._getframe()) if one.f_code is _SETS_UP]
    for cls, fixture in list(_fixtures.items()):
        if cls in begins or cls in _without_fixture:
            continue
        if fixture.is_between_tests or (fixture.is_unused and fixture.began_in_suite):
            _end_class(cls)
    return bool(begins)


def _took_over(cls: type[unittest.TestCase]) -> bool:
    """Take the frame of a base class whose ``setUpClass`` was called by its name, not by ``super()``.

    It began for that base, and nobody would end it. A class that declares other stores needs its own.
    """
    for base in cls.__mro__[1:]:
        if base in _fixtures and base not in _without_fixture:
            if any(getattr(cls, name, None) is not getattr(base, name, None) for name in _DECLARATIONS):
                return False
            fixture = _fixtures[cls] = _fixtures.pop(base)
            remove_handles(base, is_over=False)
            put_handles(cls, fixture.db)
            fixture.scope.label = f"{cls.__module__}.{cls.__qualname__}"
            cls.addClassCleanup(_end_class, cls)
            return True
    return False


def _end_class(cls: type) -> None:
    fixture = _fixtures.get(cls)
    if fixture is None:
        return
    if fixture.is_in_test:  # a test runs the class's cleanups: not before its own end
        fixture.is_to_end = True
        return
    fixture.expire()
    try:
        fixture.end()
    finally:
        _fixtures.pop(cls, None)
        if cls in _without_fixture:
            _without_fixture.remove(cls)
        remove_handles(cls)


def _end_without_fixture() -> None:
    """End classes whose runner will not say that they are over, as a suite of unittest does."""
    while _without_fixture and not any(
        _fixtures[cls].is_in_test for cls in _without_fixture if cls in _fixtures
    ):
        cls = _without_fixture.pop()
        if cls not in _fixtures:
            continue
        _try_all([cls.tearDownClass, partial(_clean_up, cls)], f"{cls.__module__}.{cls.__qualname__}")


def _clean_up(cls: Any) -> None:
    cls.doClassCleanups()
    raise_all([error for _, error, _ in cls.tearDown_exceptions], f"after {cls.__qualname__}")


def _end_behind(
    fixture: ClassFixture | None, error: BaseException, more: Callable[[], object] = lambda: None
) -> None:
    """Give back after a failure that ended the run; it stays the one that is raised."""
    try:
        if fixture is not None:
            fixture.end_test()
        more()
    except Exception as failed:
        error.add_note(f"protean_testing: {type(failed).__name__}: {failed}")


def _end_in(result: Any, case: unittest.TestCase, fixture: ClassFixture | None) -> None:
    """Give back where the runner dropped our cleanup; what fails is the test's error."""
    try:
        if fixture is not None:
            fixture.end_test()
            if fixture.is_to_end:
                _end_class(type(case))
    except Exception as error:
        _add_error(result, case, error)


def _add_error(result: Any, case: unittest.TestCase, error: Exception) -> None:
    if result is None:
        raise error
    result.addError(case, (type(error), error, error.__traceback__))


def _refuse_unawaited(case: unittest.TestCase) -> None:
    """Refuse an async test that its class does not await: it would pass without having run."""
    method = getattr(case, case._testMethodName, None)
    if iscoroutinefunction(method) and not (
        isinstance(case, unittest.IsolatedAsyncioTestCase) or _is_trial(case)
    ):
        raise ConfigurationError(
            f"{case.id()} is async, and its class would never await it. Take AsyncDatabaseTestCase, or "
            "unittest.IsolatedAsyncioTestCase."
        )


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
    ended: BaseException | None = None
    for step in steps:
        try:
            step()
        except Exception as error:
            errors.append(error)
        except BaseException as error:  # Ctrl-C: the steps that are left are quick, or owed by the stores
            ended = ended or error
    if ended is not None:
        raise ended
    raise_all(errors, f"after {label}")
