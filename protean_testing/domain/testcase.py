"""A base class, a block and a decorator for a Protean domain."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..blocks import decorated, refuse_bare
from ..config.resolve import resolve
from ..core import run_end
from ..database import Block, caller
from ..errors import ConfigurationError
from ..hooks import Hook
from ..store import OnLeak, Store, validate
from ..testcase import AsyncDatabaseTestCase, DatabaseTestCase
from .assertions import DomainAssertions
from .context import pushed
from .stores import configuration

if TYPE_CHECKING:
    from protean import Domain

Config = Mapping[str, Any]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Declared:
    """What a domain comes to: hooks and stores. Worked out when it is iterated, so that a declaration starts
    nothing."""

    def __init__(
        self,
        domain: Domain,
        config: Config | None = None,
        *,
        traverse: bool = True,
        on_leak: OnLeak = "warn",
        verify: bool = False,
        more: Sequence[Store | Hook] = (),
    ) -> None:
        validate("a domain's test", traverse=traverse, on_leak=on_leak, verify=verify)
        self._domain, self._config, self._more = domain, config, more
        self._traverse, self._on_leak, self._verify = traverse, on_leak, verify

    def __iter__(self) -> Iterator[Store | Hook]:
        found = configuration(
            self._domain,
            self._config,
            traverse=self._traverse,
            on_leak=self._on_leak,
            verify=self._verify,
        )
        of_test = pushed(self._domain, self._on_leak)  # one for all: each enters it when the last has left it
        yield Hook(found.in_place, around="class")
        yield Hook(lambda: pushed(self._domain, self._on_leak), around="class")
        yield from self._more
        yield from found.stores
        yield Hook(lambda: of_test)


class DomainTestCase(DomainAssertions, DatabaseTestCase):
    """A test case on a Protean domain.

    The domain is initialized in this class's configuration, its context is pushed for every test, and events
    and commands are processed synchronously. After each test all that the domain's adapters hold is as it
    was, and after the class the domain itself.

    Attributes:
        domain: The domain.
        config: Sections of its configuration for this class alone, over its own: databases, brokers and
            caches by name, the event store as a whole. An adapter without a URL gets a server of this run's
            own. What an adapter says under ``"testing"`` goes to its store: ``{"unsafe": True}``.
        traverse: Whether a domain that was never initialized imports the modules beneath its root path, as
            ``domain.init()`` does.
        on_leak: ``"reset"``, ``"warn"`` or ``"fail"`` if a test left something open or at work.
        verify: Compare everything after each reset, and report what is not as it was.
        stores: Further stores and hooks.
        db: The handle: ``db.scope()``, ``db.reset()``, ``db.store(name)``.
    """

    config: ClassVar[Config | None] = None
    traverse: ClassVar[bool] = True
    on_leak: ClassVar[OnLeak] = "warn"
    verify: ClassVar[bool] = False

    @classmethod
    def _declared(cls) -> Iterable[Any]:
        return _OfClass(cls)  # asked for before every test, and iterated when the class begins


class _OfClass:
    """What a test case declares."""

    def __init__(self, cls: type[DomainTestCase]) -> None:
        self._cls = cls

    def __iter__(self) -> Iterator[Store | Hook]:
        cls = self._cls
        if not hasattr(cls, "domain") or cls.metadata is not None:
            raise ConfigurationError(
                f"{cls.__module__}.{cls.__qualname__} must declare domain, a protean.Domain, and no metadata."
            )
        yield from Declared(
            cls.domain,
            cls.config,
            traverse=cls.traverse,
            on_leak=cls.on_leak,
            verify=cls.verify,
            more=cls.stores or (),
        )


class AsyncDomainTestCase(DomainTestCase, AsyncDatabaseTestCase):
    """The same for async tests: the domain's context reaches the test and its tasks."""


class test_domain(Block):
    """A block with a domain, after which all that it holds is as before: ``with test_domain(shop) as db:``.

    Works as `test_database` does, and pushes the domain's context.

    Parameters:
        domain: The domain.
        config, traverse, on_leak, verify: As for `DomainTestCase`.

    Raises:
        ConfigurationError, UnsafeStoreError, StoreError: On entry, from the stores.
    """

    __test__: ClassVar[bool] = False  # not a test, though its name begins like one

    def __init__(
        self,
        domain: Domain,
        *,
        config: Config | None = None,
        traverse: bool = True,
        on_leak: OnLeak = "warn",
        verify: bool = False,
    ) -> None:
        super().__init__([], label=f"the block at {caller()}")
        self._declared = Declared(domain, config, traverse=traverse, on_leak=on_leak, verify=verify)

    def _prepared(self) -> Sequence[Store]:
        found = list(self._declared)
        self._hooks = [hook for hook in found if isinstance(hook, Hook) and hook.around == "class"]
        self._stores = [store for store in found if isinstance(store, Store)]
        resolve(self._stores)
        run_end.arm()
        return self._stores


def uses_domain(
    domain: Domain,
    *,
    config: Config | None = None,
    traverse: bool = True,
    on_leak: OnLeak = "warn",
    verify: bool = False,
) -> Callable[[Decorated], Decorated]:
    """Decorate a test function, an async test function, or a whole ``unittest.TestCase`` class.

    A function that has a parameter ``db`` is given the handle; a class gets what a `DomainTestCase` has.

    Parameters:
        domain: The domain.
        config, traverse, on_leak, verify: As for `DomainTestCase`.

    Raises:
        ConfigurationError: What is decorated is none of these.
    """
    refuse_bare("uses_domain", "shop", [domain])
    options: dict[str, Any] = {
        "config": config,
        "traverse": traverse,
        "on_leak": on_leak,
        "verify": verify,
    }
    what = Declared(domain, **options)

    def decorate(target: Any) -> Any:
        if isinstance(target, type) and issubclass(target, unittest.TestCase):
            target.domain = domain  # type: ignore[attr-defined]
        return decorated(target, what, lambda: test_domain(domain, **options))

    return decorate
