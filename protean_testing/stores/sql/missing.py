"""A given database that is not there, on a server where it can be created for the run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from sqlalchemy import URL

from ...ownership import is_test_name
from ...waiting import Patience
from .sibling import Sibling
from .urls import server_of


class Missing(Protocol):
    """A database that the run creates."""

    def create(self) -> None: ...


class _OnMySQL:
    """Nothing says of such a database who created it, so that a run which is killed leaves it."""

    def __init__(self, url: URL, store: str) -> None:
        self._store = store
        self._sibling = Sibling(url.set(database="information_schema"), url)
        self.is_missing, self.drop = self._sibling.is_missing, self._sibling.drop

    def create(self) -> None:
        self._sibling.create(self._store)


def missing_database(url: URL, store: str) -> Missing | None:
    """What creates the database of `url`; None if it is there, or must be, or nobody can tell.

    Raises:
        ConfigurationError: It is not there, and is not to be created or cannot be.
    """
    if Patience(server_of(url)).is_gone:  # it has just been waited for, and could not tell
        return None
    match url.get_backend_name():
        case "postgresql":
            from ..postgresql.missing import missing

            return missing(url, store)
        case "mysql" | "mariadb" if is_test_name(str(url.database)):
            found = _OnMySQL(url, store)
            return found if found.is_missing() else None
    return None


def dropping(url: URL, store: str, missing: Missing | None) -> Callable[[], None] | None:
    """What drops the database, at the end, if a run has created it; this one, or one that was killed."""
    if isinstance(missing, _OnMySQL):
        return missing.drop
    if url.get_backend_name() != "postgresql":
        return None
    from ..postgresql.missing import drop_created, is_created

    return partial(drop_created, url, store) if is_created(url) else None
