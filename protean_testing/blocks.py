"""The lifecycle without a base class: a block, and a decorator."""

from __future__ import annotations

import functools
import inspect
import unittest
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .class_fixture import begin_class, clean_up, fixture_of, run_in_fixture
from .config.resolve import declared, empty_database, resolve
from .core import run_end
from .core.run import raise_all, run
from .database import Block, Database, caller
from .errors import ConfigurationError
from .hooks import Hook
from .store import Store, validate

if TYPE_CHECKING:
    from sqlalchemy import MetaData

__unittest = True  # unittest leaves frames of this module out of the tracebacks that it prints

BLOCKS = "_protean_testing_blocks"
"""An attribute of decorated functions, outermost block first; whatever wraps them has it as well."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class test_database(Block):
    """A block with a schema, after which the data is as it was before: ``with test_database(...) as db:``.

    Works with ``async with``, ``enterContext``, ``enterClassContext`` and ``enterModuleContext``, nested
    and repeated. The schema stays until the run ends.

    Parameters:
        what: SQLAlchemy metadata, stores and hooks; an empty database if nothing is given.
        drop: Drop the schema at the block's end: for scripts, and for modules whose schemas have equal names.

    Raises:
        ConfigurationError, UnsafeStoreError, StoreError: On entry, from the stores.
    """

    __test__: ClassVar[bool] = False  # not a test, though its name begins like one

    def __init__(self, *what: MetaData | Store | Hook, drop: bool = False) -> None:
        validate(self, drop=drop)
        label = f"the block at {caller()}"
        super().__init__(declared(what, label) if what else [empty_database()], label=label)
        self._drop = drop

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self._drop and not self._open:
                run.drop(self._stores)

    def _prepared(self) -> Sequence[Store]:
        resolve(self._stores)
        run_end.arm()
        return self._stores


def end_run() -> None:
    """End the run now, as its runner or the exit of the process would: for scripts that go on afterwards.

    Open scopes are restored and left, innermost first, and every schema is dropped. The next block or class
    begins a new run.

    Raises:
        StoreError, ExceptionGroup: From the stores; every one of them was tried.
    """
    raise_all(run_end.end_run(), "at the end of the run")


def uses_database(*what: MetaData | Store | Hook) -> Callable[[Decorated], Decorated]:
    """Decorate a test function, an async test function, or a whole ``unittest.TestCase`` class.

    A function that has a parameter ``db`` is given the handle; a class gets what a `DatabaseTestCase` has.

    Parameters:
        what: As for `test_database`.

    Raises:
        ConfigurationError: What is decorated is none of these, or nothing is given.
    """
    refuse_bare("uses_database", "Base.metadata", what)
    return lambda target: decorated(target, what, lambda: test_database(*what))


def refuse_bare(decorator: str, example: str, what: Sequence[Any]) -> None:
    """Refuse a decorator without its parentheses, or with nothing in them: its tests would vanish.

    Raises:
        ConfigurationError: It is so.
    """
    target = what[0] if len(what) == 1 else None
    is_class = isinstance(target, type) and (
        issubclass(target, unittest.TestCase) or not hasattr(target, "metadata")
    )
    if not what or is_class or inspect.isfunction(target):
        named = f"{target.__module__}.{target.__qualname__}" if target is not None else "what follows it"
        raise ConfigurationError(
            f"@{decorator} on {named} says no stores, so nothing would be prepared or restored.\n"
            f"Write it with them:  @{decorator}({example})"
        )


def decorated(target: Any, what: Iterable[Any], block: Callable[[], Block]) -> Any:
    """The function inside a block, or the class with the fixture of a class that declares `what`."""
    return _decorated_class(target, what) if isinstance(target, type) else _wrapped(target, block())


def _wrapped(function: Any, block: Block) -> Any:
    if (
        not callable(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise ConfigurationError(
            f"uses_database cannot decorate {function!r}: it is no test function or class."
        )
    signature = inspect.signature(function)
    wants_db = "db" in signature.parameters
    block.label = f"{function.__module__}.{function.__qualname__}"

    def arguments(db: Database) -> dict[str, Any]:
        return {"db": db} if wants_db else {}

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            depth = block.depth
            try:
                async with block as db:
                    return await function(*args, **arguments(db), **kwargs)
            finally:
                block.end_since(depth)

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            depth = block.depth
            try:
                with block as db:
                    return function(*args, **arguments(db), **kwargs)
            finally:
                block.end_since(depth)

    setattr(wrapper, BLOCKS, (block, *getattr(function, BLOCKS, ())))
    if wants_db:  # else a runner with fixtures looks for one of that name
        left = [parameter for name, parameter in signature.parameters.items() if name != "db"]
        wrapper.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
    return wrapper


def _decorated_class(cls: Any, what: Iterable[Any]) -> Any:
    """The same class, with its setUpClass, setUp, run, debug and doCleanups wrapped by the class fixture."""
    if not issubclass(cls, unittest.TestCase):
        raise ConfigurationError(
            f"uses_database decorates unittest.TestCase classes, and {cls.__name__} is none."
        )
    set_up_class, set_up, run_, debug = cls.setUpClass.__func__, cls.setUp, cls.run, cls.debug
    do_cleanups = cls.doCleanups

    def setUpClass(subclass: Any) -> None:
        begin_class(subclass, what)
        set_up_class(subclass)

    def setUp(self: Any) -> None:
        fixture = fixture_of(self)
        if fixture is not None and isinstance(self, unittest.IsolatedAsyncioTestCase):
            fixture.enter_hooks()
        set_up(self)

    def wrapped_run(self: Any, result: Any = None) -> Any:
        return run_in_fixture(self, result, partial(run_, self, result), lambda: what)

    def wrapped_debug(self: Any) -> None:
        run_in_fixture(self, None, partial(debug, self), lambda: what)

    def doCleanups(self: Any) -> Any:
        return clean_up(self, partial(do_cleanups, self))

    wrappers = {
        "setUpClass": setUpClass,
        "setUp": setUp,
        "run": wrapped_run,
        "debug": wrapped_debug,
        "doCleanups": doCleanups,
    }
    for name, wrapper in wrappers.items():
        wrapped = functools.wraps(getattr(cls, name))(wrapper)
        setattr(cls, name, classmethod(wrapped) if name == "setUpClass" else wrapped)
    return cls
