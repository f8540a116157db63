"""What a store is: a place that holds data, whose schema can be made and whose data can be restored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from math import inf
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar

from .changes import Written
from .errors import ConfigurationError

Snapshot: TypeAlias = Any
"""What ``save_data`` returns: known to its store alone."""

Value = TypeVar("Value")
Maybe: TypeAlias = Value | Awaitable[Value]
"""What a method returns that may be ``def`` or ``async def``."""

ResetAfter: TypeAlias = Literal["test", "class"]
OnLeak: TypeAlias = Literal["reset", "warn", "fail"]


LeftBy: TypeAlias = Callable[[float, float], str | None]
"""Gives the test that was running at some moment, by its earliest and its latest; None if it is not over."""


ended_scope: ContextVar[str] = ContextVar("ended_scope", default="a scope")
"""The scope (most often a test) whose data is being restored: messages about leaks begin with it."""


leak_policy: ContextVar[OnLeak | None] = ContextVar("leak_policy", default=None)
"""What the stores of that scope ask for, if the store that resets is another one in their place."""


_ANSWERS = (True, False)
_ALLOWED: dict[str, tuple[object, ...]] = {
    "reset_after": ("test", "class"),
    "around": ("test", "class"),
    "on_leak": ("reset", "warn", "fail"),
    "reset": ("fast", "generic"),
    "verify": _ANSWERS,
    "unsafe": _ANSWERS,
    "adopt": _ANSWERS,
    "empty": _ANSWERS,
    "drop": _ANSWERS,
    "traverse": _ANSWERS,
    "stagger": _ANSWERS,
    "tcp": _ANSWERS,
    "keep": (*_ANSWERS, None),
    "dialect": ("sqlite", "postgresql", None),
}


def validate(what: object, **arguments: object) -> None:
    """Check the values that a store, hook or block was given.

    Parameters:
        what: The object that was given them, or its name.
        arguments: By the names that they have everywhere; ``wait`` is seconds, ``name`` and ``prefix`` text.

    Raises:
        ConfigurationError: One has a value that means nothing.
    """
    for name, value in arguments.items():
        allowed = _ALLOWED.get(name)
        if allowed is not None:  # 1 is no True: "unsafe" must be meant
            is_right = value in allowed and type(value) in map(type, allowed)
            say = " or ".join(map(repr, allowed))
        elif name == "wait":
            is_right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf
            say = "a number of seconds, 0 or more"
        elif name == "copy_limit":
            is_right = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            say = "a whole number, 0 or more"
        else:
            is_right, say = isinstance(value, str), "text"
        if not is_right:
            named = what if isinstance(what, str) else type(what).__name__
            raise ConfigurationError(f"{named} cannot have {name}={value!r}: say {say}.")


class _Empty(Enum):
    EMPTY = "empty"


EMPTY: Final = _Empty.EMPTY
"""The snapshot of a store that can only be cleared: it stands for *nothing in it*."""


class Store(ABC):
    """Base class of every store. Only `reset_data` must be written.

    Every method but `identity`, `place`, `share`, `refuse_hidden` and `is_empty` may also be ``async def``.

    Attributes:
        name: What messages call the store.
        reset_after: ``"test"``, or ``"class"`` where the tests of a class build on each other.
        on_leak: ``"reset"``, ``"warn"`` or ``"fail"`` where a test left something open or at work.
        verify: Compare everything after each reset, and report what is not as it was.
        unit: What it is discarded together with: equal for all stores of one domain. None for one alone.
    """

    name: str = "store"
    reset_after: ResetAfter = "test"
    on_leak: OnLeak = "warn"
    verify: bool = False
    unit: Hashable = None

    def identity(self) -> Hashable:
        """Equal for two stores that mean the same place and the same schema; they share one schema."""
        return self

    def location(self) -> Hashable:
        """Equal for two stores in the same place, whatever their schema; they share one line of scopes."""
        return self.identity()

    def share(self, first: Store) -> None:
        """Show the handles of `first`, a store in the same place that is already in use.

        Raises:
            ConfigurationError: The two cannot live in one place.
        """

    def check(self) -> Maybe[None]:
        """Check whether this store may be used at all, and touch nothing.

        Raises:
            UnsafeStoreError: It may hold data that matters.
            ConfigurationError: It cannot be reached, or a driver is missing.
        """

    def create_schema(self) -> Maybe[None]:
        """Make tables, indexes, topics; clear first what a killed run left."""

    def drop_schema(self) -> Maybe[None]:
        """Remove what `create_schema` made. Harmless if there is nothing, or only a part of it."""

    def save_data(self) -> Snapshot:
        """Remember the data as it is now, all of it or nothing. `EMPTY` where a store can only be cleared.

        Raises:
            OpenTransactionError: The code under test has a transaction with writes open.
        """
        return EMPTY

    @abstractmethod
    def reset_data(self, snapshot: Snapshot) -> Maybe[bool]:
        """Bring back the data of `snapshot`, which stays valid; snapshots saved after it become void.

        Returns:
            True if something had been written since the snapshot was saved or last reset.

        Raises:
            LeakError: The data is back, but something was left open.
            StoreError: The data is not back.
        """

    def refuse_hidden(self, what: str) -> None:
        """Refuse a scope or a reset by this store's handle while the code under test works in another place.

        Parameters:
            what: What cannot be: "the scope at test_orders.py:7 cannot begin".

        Raises:
            ScopeError: It does.
        """

    def forget_data(self, snapshot: Snapshot) -> Maybe[None]:
        """Drop `snapshot` and those saved after it. The data stays as it is."""

    def left_open(self, snapshot: Snapshot) -> Maybe[Sequence[str]]:
        """List what was opened since `snapshot` and still is, in a line each. Each is listed once."""
        return []

    def written_since(self, snapshot: Snapshot) -> Maybe[Iterable[Written] | None]:
        """What was written and committed since `snapshot`, for `db.changes()` and under a test that fails.

        The data and the snapshots stay as they are, and nobody is waited for who writes.

        Returns:
            What was written in each table, key or other place; None if the store cannot say.

        Raises:
            StoreError: It cannot be reached.
        """
        return None

    def restore_fully(self, snapshot: Snapshot) -> Maybe[bool]:
        """As `reset_data`, but compare everything: what the store knows of writes cannot be relied on."""
        return self.reset_data(snapshot)

    def dump_data(self) -> Maybe[Mapping[str, Iterable[Hashable]]]:
        """Everything that is there now, for `verify`: by table, key or other thing, its rows or values.

        Returns:
            A mapping of names to lists (or counters) of what can be compared and hashed.

        Raises:
            ConfigurationError: The store cannot look.
        """
        raise ConfigurationError(
            f"store {self.name!r} cannot be verify: {type(self).__name__} has no dump_data(), which says "
            "what is there."
        )

    def rest(self) -> None:
        """Close connections that this store has open until it is used again: no scope is open on it now."""

    @property
    def decided_for(self) -> Hashable:
        """What its place was made for, if that was made for this run and can be made again; else None.

        What lives in this process only was made for its `unit`.
        """
        return None

    def discard(self) -> None:
        """Remove its place for good, after `close`. At its next use the store begins in another one."""

    @property
    def can_free(self) -> bool:
        """Whether `free` has anything to do here."""
        return type(self).free is not Store.free

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        """End sessions that sleep and hold a lock on which somebody waits, and which an earlier test left.

        Called from a thread of its own while a test lasts, so on a connection of its own.

        Parameters:
            left_by: Tells the test from the moment since which a session sleeps; others are left alone.

        Returns:
            Of each that was ended the test, and what it was.
        """
        return []

    def is_empty(self) -> bool:
        """True if a store that can only be cleared is known to hold nothing now."""
        return False

    async def leave_loop(self) -> None:
        """The event loop of a test ends, in which this runs: let go of what is bound to it."""

    def close(self) -> Maybe[None]:
        """Give back connections and files. The store is not used afterwards."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class LocatedStore(Store):
    """A store on a server or in a file: it has a URL, which it may leave to the environment.

    Attributes:
        kind: What it is: with ``"database"``, `db.engine`, `db.session` and their like are its own.
    """

    kind: ClassVar[Literal["database", "redis", "message_db"]]

    @property
    def needs_url(self) -> bool:
        """True if nobody has said yet where it is."""
        return False

    @property
    def place(self) -> str:
        """Where it is, in words for people; without a password. Empty if that is not known."""
        return ""

    def bind(self, url: str, *, private: bool = False) -> None:
        """Say where it is. `private` means that it was made for this run alone."""
        raise ConfigurationError(f"store {self.name!r} of kind {self.kind!r} needs a URL.")
