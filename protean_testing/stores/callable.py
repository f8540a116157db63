"""A store in this process: anything that can be cleared, or saved and restored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, MutableMapping, MutableSequence, MutableSet
from inspect import getattr_static
from types import BuiltinMethodType, MethodType
from typing import Any, Protocol

from ..changes import KEPT, Written, compared
from ..errors import ConfigurationError
from ..store import EMPTY, OnLeak, ResetAfter, Snapshot, Store, validate


class Clearable(Protocol):
    """An object with a ``clear()``: a cache, a registry, a queue."""

    def clear(self) -> Any:
        """Remove everything."""


class CallableStore(Store):
    """Gives back data by calling what it is given. Each callable may be async.

    A dict, set or list comes back as it was, the same object with the same values, which are not copied.
    What can only be cleared is empty at the start of every test; there can be no scope inside a scope on it,
    unless `is_empty` says that nothing is there.

    Parameters:
        clear: A callable that clears the store, an object with a ``clear()``, or a function with a cache
            (``lru_cache``), which is emptied.
        save: Called for what is there now, in place of `clear`. It must return a copy.
        restore: Called with what `save` returned, more than once; it must leave that unchanged.
        is_empty: For what can only be cleared: says whether there is nothing in the store now.
        name: What messages call it.
        reset_after: ``"test"``, or ``"class"`` where the tests of a class build on each other.
        on_leak: ``"reset"``, ``"warn"`` or ``"fail"`` where a test left a thread or task at work.
        verify: Compare what `save` returns after each reset, and report what is not as it was.

    Raises:
        ConfigurationError: Neither `clear` nor both `save` and `restore` are given, or nothing can clear it.
    """

    def __init__(
        self,
        clear: Callable[[], Any] | Clearable | None = None,
        *,
        save: Callable[[], Any] | None = None,
        restore: Callable[[Any], Any] | None = None,
        is_empty: Callable[[], bool] | None = None,
        name: str = "",
        reset_after: ResetAfter = "test",
        on_leak: OnLeak = "warn",
        verify: bool = False,
    ) -> None:
        validate(self, name=name, reset_after=reset_after, on_leak=on_leak, verify=verify)
        if (save is None) != (restore is None) or (clear is None) == (save is None):
            raise ConfigurationError("CallableStore takes clear, or both save= and restore=.")
        named = restore if clear is None else clear
        qualified: str = getattr(named, "__qualname__", type(named).__qualname__)
        self.name = name or qualified.rpartition("<locals>.")[2]
        self.reset_after, self.on_leak, self.verify = reset_after, on_leak, verify
        self._clear = _clearing(clear)
        self._save, self._restore = (save, restore) if clear is None else _copying(clear)
        self._is_empty = is_empty
        self._identity = (_same(save), _same(restore), _same(clear), _same(is_empty))

    def identity(self) -> Hashable:
        return self._identity

    def save_data(self) -> Snapshot:
        return EMPTY if self._save is None else self._save()

    def reset_data(self, snapshot: Snapshot) -> Any:
        if self._restore is not None and snapshot is not EMPTY:
            return _unknown(self._restore(snapshot))
        assert self._clear is not None
        return _unknown(self._clear())

    def written_since(self, snapshot: Snapshot) -> Any:
        if self._save is None or snapshot is EMPTY:
            return None
        now = self._save()
        return self._later(snapshot, now) if hasattr(now, "__await__") else written(self.name, snapshot, now)

    async def _later(self, snapshot: Snapshot, now: Any) -> list[Written]:
        return written(self.name, snapshot, await now)

    def dump_data(self) -> Any:
        if self._save is None:
            return super().dump_data()
        return described(self._save())

    def is_empty(self) -> bool:
        return self._is_empty is not None and self._is_empty()


def _clearing(clear: Any) -> Callable[[], Any] | None:
    """What clears it.

    Raises:
        ConfigurationError: It is something that nobody can clear: a str, a dataclass, a tuple.
    """
    if isinstance(clear, type):  # to call it would make another one
        is_bound = isinstance(getattr_static(clear, "clear", None), classmethod | staticmethod)
        found = clear.clear if is_bound else None  # type: ignore[attr-defined]
    else:
        found = getattr(clear, "cache_clear", None) or getattr(clear, "clear", None)
        found = found or (clear if callable(clear) else None)
    if clear is not None and not callable(found):
        named = (
            clear.__qualname__ if isinstance(clear, type) else f"{type(clear).__qualname__} ({clear!r:.60})"
        )
        raise ConfigurationError(
            f"CallableStore cannot clear a {named}. Pass what clears it, or how to save and restore it:  "
            "CallableStore(cache.clear)  or  CallableStore(save=lambda: copy(thing), restore=put_back)"
        )
    return found


def _same(thing: Any) -> Hashable:
    """Equal for one object, and for one method of it: those are equal by their object's identity."""
    return thing if isinstance(thing, MethodType | BuiltinMethodType) else id(thing)


def described(data: Any) -> dict[str, list[str]]:
    """Any data by its keys, or as one thing, for `Store.dump_data`."""
    if isinstance(data, Mapping):
        return {f"key {key!r}": _parts(value) for key, value in data.items()}
    return {"value": _parts(data)}


def written(name: str, then: Any, now: Any) -> list[Written]:
    """What was written to any data: to a mapping by its keys, to a collection by its values, for `Store`."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        return [compared(name, then, now, kind="entries", row=lambda key, one: {key: one})]
    many = (list, tuple, set, frozenset)
    before, after = ([*one] if isinstance(one, many) else [one] for one in (then, now))
    added, gone = _beyond(after, before), _beyond(before, after)
    rows = [[{"value": one} for one in some[:KEPT]] for some in (added, gone)]
    more = (len(added) - len(rows[0]), 0, len(gone) - len(rows[1]))
    return [Written(name, rows[0], [], rows[1], "values", more=more)]


def _beyond(values: list[Any], others: list[Any]) -> list[Any]:
    """The values that are not among the others, or not as often."""
    there, found = Counter(map(repr, others)), []
    for one in values:
        there[repr(one)] -= 1
        found += [one] if there[repr(one)] < 0 else []
    return found


def _parts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [repr(item) for item in value.items()]
    return [repr(one) for one in value] if isinstance(value, list | set) else [repr(value)]


def _unknown(result: Any) -> Any:
    """Whether something had been written is not known; an awaitable is still to be waited for."""
    return result if hasattr(result, "__await__") else False


def _copying(target: Any) -> tuple[Callable[[], Any] | None, Callable[[Any], Any] | None]:
    """How to save and restore a plain collection."""

    def restore(saved: Any) -> None:
        target.clear()
        add(saved)

    if isinstance(target, MutableMapping):
        add: Callable[[Any], Any] = target.update
        return lambda: dict(target), restore
    if isinstance(target, MutableSet):
        add = lambda saved: [target.add(item) for item in saved]  # noqa: E731
        return lambda: set(target), restore
    if isinstance(target, MutableSequence):
        add = target.extend
        return lambda: list(target), restore
    return None, None
