"""What a test class and each of its tests stand in: the same for the base classes and the decorator."""

from __future__ import annotations

import asyncio
import sys
import unittest
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from inspect import iscoroutinefunction, unwrap
from sys import _getframe
from threading import get_ident
from types import FrameType
from typing import Any

from .async_cleanup import await_all, end_tasks, report_tasks
from .config.resolve import declared, resolve
from .core import run_end
from .core.recording import note_failure
from .core.run import raise_all, run
from .core.scopes import Scope
from .database import Database
from .errors import ConfigurationError, ScopeError, UnsafeStoreError, without_own_frames
from .failures import note_failures
from .handles import over, put_handles, remove_handles
from .hooks import Hook
from .store import Store

__unittest = True  # unittest leaves frames of this module out of the tracebacks that it prints

_fixtures: dict[type, ClassFixture] = {}
"""Of the classes that have begun, until they end."""

_DECLARATIONS = ("metadata", "stores", "domain", "config")


class ClassFixture:
    """The scope of a test class, and inside it the one that all its tests share and that each restarts.

    What can be known of all tests of the class is worked out once: an empty test costs a few calls.

    Attributes:
        tests: The scope of the tests.
        is_async: The class runs its tests in an event loop, and `end_async_test` must end them there.
        ends_after_cleanups: As Twisted's do, whose ``tearDown`` comes after their cleanups.
        has_test_hooks: Contexts are entered round each test.
        began_in_suite: A suite of unittest began it.
        began_in_test: The first of its tests did, as no suite called ``setUpClass``: nobody will end it.
        is_to_end: The class's cleanups were run inside a test, at whose end the class ends.
        result: What its last test was run with, which is watched.
    """

    def __init__(self, cls: type, what: Iterable[Any]) -> None:
        label = f"{cls.__module__}.{cls.__qualname__}"
        items = declared(what, label)
        self.stores = [item for item in items if isinstance(item, Store)]
        self.scope = Scope(self.stores, label)
        kept = [store for store in self.stores if store.reset_after == "class"]
        self.tests = Scope(self.stores, label, outer=self.scope, keep=kept)
        self.db = Database(self.stores, lambda: self.tests if self.tests.in_test else self.scope)
        self.began_in_suite = self.began_in_test = self.is_to_end = False
        self.result: Any = None
        self._hooks = [item for item in items if isinstance(item, Hook)]
        of_tests = [hook.context for hook in self._hooks if hook.around == "test"]
        self.has_test_hooks = bool(of_tests)
        self._one_hook = of_tests[0] if len(of_tests) == 1 else None
        self._class_hooks = ExitStack()
        self._leave: Callable[[None, None, None], object] | None = None  # the hooks of the test
        self._thread = get_ident()
        self._last: unittest.TestCase | None = None
        self.belong_to(cls)

    def belong_to(self, cls: type) -> None:
        self.scope.label = f"{cls.__module__}.{cls.__qualname__}"
        self.is_async = issubclass(cls, unittest.IsolatedAsyncioTestCase)
        self.ends_after_cleanups = any(base.__module__.startswith("twisted.trial.") for base in cls.__mro__)

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
        threads have written since is reported to `result` as that test's error.
        """
        if self.tests.in_test:
            self._refuse_at_once(case)
        self._thread = get_ident()
        if self._leave is not None:
            self._leave_hooks()
        for error in self.tests.begin_test(case.id()):
            _add_error(result, self._last or case, error)
        self._last = self.tests.failing = case
        self.tests.noted = 0

    def _refuse_at_once(self, case: unittest.TestCase) -> None:
        """Refuse a test while another one of the class is on: else the end of that one never came."""
        if self._thread != get_ident():
            where = "in another thread"
        elif any(frame.f_locals.get("fixture") is self for frame in _stack(_RUN_IN_FIXTURE)):
            where = "around it"
        else:
            return
        raise ScopeError(
            f"{case.id()} cannot begin while {self.tests.label} is running {where}: the end of "
            "either would reset the data of both.\n"
            "Run the tests of a class one after the other in one thread, or in several processes."
        )

    @property
    def is_over(self) -> bool:
        """True between two tests of it, and before the first if a suite began it: it should have ended."""
        if self.tests.in_test or self._thread != get_ident():
            return False
        return self._last is not None or self.began_in_suite

    def enter_hooks(self) -> None:
        if self._one_hook is not None:
            context = self._one_hook()
            context.__enter__()
            self._leave = context.__exit__
        elif self.has_test_hooks:
            self._leave = self._entered("test").__exit__

    async def end_async_test(self) -> None:
        """As `end_test`, in the test's event loop: what still runs or is open there is ended first."""
        report = partial(report_tasks, self.tests.label, self.stores)
        errors = await end_tasks(report, self.tests.innermost().close_async)
        loop = asyncio.get_running_loop()
        leave = (store.leave_loop for store in self.stores)
        errors += await await_all([*leave, loop.shutdown_asyncgens, loop.shutdown_default_executor])
        end: Sequence[Callable[[], object]] = [self.end_test]
        if run.postponed is not None:  # hooks are left in the context that they were entered in
            hooks, self._leave = self._leave, _left
            end = [] if hooks is None else [partial(hooks, None, None, None)]
        _try_all(end, self.tests.label, errors)

    def end_test(self) -> None:
        """Restore everything, then leave the hooks. Harmless when it is done already.

        If it is interrupted, or never called, the scope still owes the restore.
        """
        if not self.has_test_hooks:
            self.tests.end_test()
        elif self.tests.in_test:
            leave = self._leave_hooks if self._leave is not None else self._miss_hooks
            try:
                self.tests.end_test()
            except BaseException as error:
                _try_all([partial(_throw, error), leave], self.tests.label)
            leave()

    def _leave_hooks(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave(None, None, None)

    def _miss_hooks(self) -> None:
        raise ConfigurationError(
            f"{self.tests.label}: its hooks were not entered. An async setUp must call super().setUp()."
        )

    def _entered(self, around: str) -> ExitStack:
        """All hooks of a kind are entered, or none."""
        with ExitStack() as stack:
            for hook in self._hooks:
                if hook.around == around:
                    stack.enter_context(hook.context())
            return stack.pop_all()


def _left(*_: None) -> None:
    """Hooks that are left already."""


def begin_class(cls: type[unittest.TestCase], what: Iterable[Any]) -> None:
    """Hold the schema, begin the class's scope, and put the handles on the class.

    Raises:
        ConfigurationError, UnsafeStoreError, StoreError: From the stores.
    """
    before = _fixtures.get(cls)
    if before is not None and before.tests.in_test:
        raise ScopeError(
            f"{cls.__module__}.{cls.__qualname__} cannot begin inside its own test {before.tests.label}: "
            "the end of either would reset the data of both."
        )
    _end_class(cls)  # Ctrl-C, or a runner, has left it
    try:
        fixture = ClassFixture(cls, what)
        fixture.begin()
    except (ConfigurationError, UnsafeStoreError) as error:
        raise without_own_frames(error) from error.__cause__
    _fixtures[cls] = fixture
    cls.addClassCleanup(_end_class, cls)
    put_handles(cls, fixture.db)


def run_in_fixture(
    case: unittest.TestCase,
    result: unittest.TestResult | None,
    call: Callable[[], Any],
    what: Callable[[], Iterable[Any] | None],
) -> Any:
    """Run one test between the begin and the end of its class's scope of tests.

    Parameters:
        call: The runner's own ``run`` or ``debug``.
        what: Returns what the class declares, for a runner that never calls ``setUpClass``; None if the class
            has a ``setUpClass`` of its own, which must then have called ours.
    """
    cls = type(case)
    found = _fixtures.get(cls)
    if result is not None:
        if found is None or found.result is not result:
            run_end.watch(result)
        note_failures(case, result, note_failure)
    method = getattr(case, case._testMethodName, None)
    if getattr(cls, "__unittest_skip__", False) or getattr(method, "__unittest_skip__", False):
        return call()
    fixture: ClassFixture | None = None
    own: Any = None
    try:
        if found is None:
            found = _begun_fixture(cls, what, result)
        found.result = result
        if not found.is_async and iscoroutinefunction(method):
            _refuse_unawaited(case, found)
        found.begin_test(case, result)
        fixture = found
        if found.is_async:
            case.addAsyncCleanup(found.end_async_test)  # type: ignore[attr-defined]
        else:
            if not found.ends_after_cleanups and run.postponed is None:
                case.addCleanup(found.end_test if found.has_test_hooks else found.tests.end_test)
            if found.has_test_hooks:
                found.enter_hooks()
    except Exception as error:
        own = vars(case).get("setUp")
        case.setUp = partial(_throw, error)  # type: ignore[method-assign]  # it then fails as a test does
    try:
        return call()
    except BaseException as error:
        if fixture is not None and result is None:
            note_failure(case, error)
        if run.postponed is None:
            _end_behind(fixture, error)
        if result is None and any(_stack(_DEBUGS_SUITE)):  # which ends here, and would leave the class
            _end_behind(None, error, partial(_end_class, cls))
        raise
    finally:
        if fixture is None:
            vars(case).pop("setUp", None)  # it may be run again
            if own is not None:
                vars(case)["setUp"] = own
        elif run.postponed is not None:
            run.postponed.append(partial(_end_in, None, case, fixture))
        elif fixture.tests.in_test or fixture.is_to_end:
            _end_in(result, case, fixture)


def clean_up(case: unittest.TestCase, call: Callable[[], Any]) -> Any:
    """Run the test's cleanups in its middle, or by somebody else: `call` is the runner's own ``doCleanups``.

    The cleanup that ends the test is not meant in its middle: it stays for the end.
    """
    caller = _getframe(2)
    while caller.f_back is not None and (
        caller.f_code.co_name == "doCleanups" or caller.f_globals.get("__name__", "").startswith(__package__)
    ):
        caller = caller.f_back
    fixture = _fixtures.get(type(case))
    first = case._cleanups[:1]  # type: ignore[attr-defined]
    ours = () if fixture is None else (fixture, fixture.tests)
    is_ours = first and any(getattr(first[0][0], "__self__", None) is one for one in ours)
    if not is_ours or caller.f_globals.get("__name__") == "unittest.case":
        return call()
    del case._cleanups[0]  # type: ignore[attr-defined]
    try:
        return call()
    finally:
        case._cleanups[:0] = first  # type: ignore[attr-defined]


RUNS = unittest.TestCase.run.__code__
"""What calls `doCleanups` at the end of a test; anybody else does so in its middle."""

_RUN_IN_FIXTURE = run_in_fixture.__code__
_SETS_UP = unittest.TestSuite._handleClassSetUp.__code__  # type: ignore[attr-defined]
_DEBUGS_SUITE = unittest.TestSuite.debug.__code__


def _stack(code: Any) -> Iterator[FrameType]:
    """The frames of a function that are on the stack, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code:
            yield frame
        frame = frame.f_back


def fixture_of(case: unittest.TestCase) -> ClassFixture | None:
    """The fixture of the test's class, once that has begun."""
    return _fixtures.get(type(case))


def _begun_fixture(
    cls: type[unittest.TestCase], what: Callable[[], Iterable[Any] | None], result: Any
) -> ClassFixture:
    """Begin the class for a test, as its runner has not."""
    if not _took_over(cls):
        if getattr(result, "_previousTestClass", None) is not cls or cls in over:
            cls.setUpClass()  # no suite of unittest has called it; or only once, for two runs with one result
        elif (declared_there := what()) is not None:
            begin_class(cls, declared_there)
        if cls not in _fixtures:
            raise ConfigurationError(
                f"{_without_super(cls)} does not call super().setUpClass(), so the stores of "
                f"{cls.__module__}.{cls.__qualname__} were never prepared."
            )
        run_end.first(_end_begun_in_tests)
        _fixtures[cls].began_in_test = True
    return _fixtures[cls]


def _without_super(cls: type) -> str:
    """Name the ``setUpClass`` that does not pass on: it may be that of a base class or mixin elsewhere."""
    for base in cls.__mro__:
        function = unwrap(getattr(base.__dict__.get("setUpClass"), "__func__", cls))
        if "super" not in getattr(getattr(function, "__code__", None), "co_names", ("super",)):
            cls = base
            break
    return f"{cls.__module__}.{cls.__qualname__}.setUpClass"


def _end_what_is_over() -> bool:
    """Before a class begins, end those whose own end was interrupted, or which ``suite.debug()`` has left.

    A suite of unittest ends a class before it begins another one.

    Returns:
        Whether such a suite begins the class.
    """
    begins = [frame.f_locals["test"].__class__ for frame in _stack(_SETS_UP)]
    for cls, fixture in list(_fixtures.items()):
        if fixture.is_over and not fixture.began_in_test and cls not in begins:
            _end_class(cls)
    return bool(begins)


def _took_over(cls: type[unittest.TestCase]) -> bool:
    """Take the fixture of a base class whose ``setUpClass`` was called by its name, not by ``super()``.

    It began for that base, and nobody would end it. A class that declares other stores needs its own.
    """
    for base in cls.__mro__[1:]:
        if base in _fixtures and not _fixtures[base].began_in_test:
            if any(getattr(cls, name, None) is not getattr(base, name, None) for name in _DECLARATIONS):
                return False
            fixture = _fixtures[cls] = _fixtures.pop(base)
            remove_handles(base, is_over=False)
            put_handles(cls, fixture.db)
            fixture.belong_to(cls)
            cls.addClassCleanup(_end_class, cls)
            return True
    return False


def _end_class(cls: type) -> None:
    fixture = _fixtures.get(cls)
    if fixture is None:
        return
    if fixture.tests.in_test:  # a test runs the class's cleanups: not before its own end
        fixture.is_to_end = True
        return
    fixture.expire()
    try:
        fixture.end()
    finally:
        _fixtures.pop(cls, None)
        remove_handles(cls)


def _end_begun_in_tests() -> None:
    """End classes whose runner will not say that they are over, as a suite of unittest does."""
    begun: list[Any] = [cls for cls, fixture in _fixtures.items() if fixture.began_in_test]
    if any(_fixtures[cls].tests.in_test for cls in begun):
        return
    for cls in reversed(begun):
        if cls in _fixtures:
            _fixtures[cls].began_in_test = False  # if its cleanups are gone, `_end_what_is_over` ends it
            _try_all([cls.tearDownClass, partial(_clean_up, cls)], f"{cls.__module__}.{cls.__qualname__}")


def _clean_up(cls: Any) -> None:
    cls.doClassCleanups()
    raise_all([error for _, error, _ in cls.tearDown_exceptions], f"after {cls.__qualname__}")


def _end_behind(
    fixture: ClassFixture | None, error: BaseException, more: Callable[[], object] = lambda: None
) -> None:
    """Restore after a failure that ended the run; it stays the one that is raised."""
    try:
        if fixture is not None:
            fixture.end_test()
        more()
    except Exception as failed:
        error.add_note(f"protean_testing: {type(failed).__name__}: {failed}")


def _end_in(result: Any, case: unittest.TestCase, fixture: ClassFixture) -> None:
    """Restore if the runner dropped our cleanup; what fails is the test's error."""
    try:
        fixture.end_test()
        if fixture.is_to_end:
            _end_class(type(case))
    except Exception as error:
        _add_error(result, case, error)


def _add_error(result: Any, case: unittest.TestCase, error: Exception) -> None:
    if result is None:
        raise error
    result.addError(case, (type(error), error, error.__traceback__))


def _refuse_unawaited(case: unittest.TestCase, fixture: ClassFixture) -> None:
    """Refuse an async test that its class does not await: it would pass without having run."""
    if not (fixture.is_async or fixture.ends_after_cleanups):
        raise ConfigurationError(
            f"{case.id()} is async, and its class would never await it. Take AsyncDatabaseTestCase, or "
            "unittest.IsolatedAsyncioTestCase."
        )


def _throw(error: BaseException) -> None:
    raise error


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
