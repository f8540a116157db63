"""The handles that a test class has from its begin to its end: `db`, `engine`, `database_url`, `session`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from .database import Database, sql_stores
from .errors import HandleError

HANDLES = ("db", "engine", "database_url", "session")

over: WeakSet[type] = WeakSet()
"""Classes that had handles and have ended since."""

_held: WeakKeyDictionary[type, dict[str, Any]] = WeakKeyDictionary()


class Handle:
    """Stands on a class in place of a handle that is not there now, and says why.

    It has no ``__set__``: what the user's class, its ``setUpClass`` or a test calls by that name is theirs.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, case: object, cls: type) -> Any:
        if sys._getframe(1).f_globals.get("__name__") == "nose2.util":
            return self  # it gets every attribute of a class, in search of tests
        named = f"{cls.__qualname__}.{self._name}"
        held = _held.get(cls)
        if held is not None:
            names = ", ".join(repr(store.name) for store in sql_stores(held["db"].stores))
            raise HandleError(
                f"there is no {named}: it stands for the one SQL store of a class, and this has "
                f"{names or 'none'}.\n"
                f"Ask the store that you mean, by its name: {cls.__qualname__}.db.store('name')"
            )
        if cls in over:
            raise HandleError(f"there is no {named} any more: the class is over, and its data was restored.")
        raise HandleError(
            f"there is no {named} yet: it is there from super().setUpClass() on, until the class ends.\n"
            "In setUpClass, call super().setUpClass() first. At module level, in a class's body and in the "
            "arguments of a decorator it can never be read, since no store has begun."
        )


def put_handles(cls: type, db: Database) -> None:
    """Set the handles on the class. A name that the user has taken stays the user's.

    Those of a parent that is open, with other stores, do not shine through.
    """
    handles: dict[str, Any] = {"db": db, **{name: Handle(name) for name in HANDLES[1:]}}
    if len(sql_stores(db.stores)) == 1:
        handles |= {"engine": db.engine, "database_url": db.url, "session": db.session}
    for name, handle in handles.items():
        if _is_free(cls, name):
            setattr(cls, name, handle)
    _held[cls] = handles


def remove_handles(cls: type, *, is_over: bool = True) -> None:
    """Take off what `put_handles` set, if it is there still."""
    for name, handle in _held.pop(cls, {}).items():
        if vars(cls).get(name) is handle:
            delattr(cls, name)
            if all(name not in vars(base) for base in cls.__mro__):
                setattr(cls, name, Handle(name))  # a decorated class has no base of the library's
    if is_over:
        over.add(cls)


def _is_free(cls: type, name: str) -> bool:
    for base in cls.__mro__:
        if name in vars(base):
            there = vars(base)[name]
            return isinstance(there, Handle) or there is _held.get(base, {}).get(name, cls)
    return True


def sentinel_handles() -> Iterable[Handle]:
    """One for each name, in their order."""
    return map(Handle, HANDLES)
