"""What a dialect does for SQLAlchemyStore: keep the data of one database, whoever writes to it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import URL, Engine

from ...changes import Written
from ...errors import OpenTransactionError, RescuedRowsWarning, UnsafeStoreError
from ...ownership import refusal
from ...store import LeftBy, OnLeak, Snapshot
from .urls import shown


@dataclass(frozen=True, kw_only=True)
class Database:
    """One database as its backend sees it.

    Attributes:
        name: The store's name, for messages.
        url: Where it is, with driver and password.
        engine: Gives the engine to reach it by at this moment (the application's own, if it owns one).
        private: True for a database that was made for this run alone: no safeguard is needed.
        adopt: True if the schema exists already: it is neither created nor dropped.
        unsafe: True if the user allows what the safeguards would refuse.
        tables: (schema or None, name) of every table that will be created, if that is known.
        rebuild: Creates the schema again in a database from which `drop` took everything; None if
            nobody can (an adopted schema).
        wait: Seconds to wait for a transaction of the code under test that is still at work.
        on_leak: What to do if a test left a transaction open: reset only, warn, or fail.
        reset: "fast", or "generic" to install nothing in the database and look at every table.
        definition: Names what makes the schema. What was made by the same is used as it is; nothing is,
            where this is empty.
    """

    name: str
    url: URL
    engine: Callable[[], Engine]
    private: bool = False
    adopt: bool = False
    unsafe: bool = False
    tables: Collection[tuple[str | None, str]] = ()
    rebuild: Callable[[], None] | None = None
    wait: float = 2.0
    on_leak: OnLeak = "warn"
    reset: str = "fast"
    definition: str = ""

    @property
    def shown(self) -> str:
        """The URL for messages, without its password."""
        return shown(self.url)

    def refusal(self, why: str, instead: str) -> UnsafeStoreError:
        """The error for a database that is not touched."""
        return refusal(self.name, self.shown, why, instead)


class Backend(Protocol):
    """Keeps the data of one database. Calls come in this order, from any thread, one at a time:
    check, acquire, (the schema is made,) created, then save, reset and forget, at last drop, close."""

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        """Refuse, touching nothing: no test database by its name and not ours; used by a live run;
        `tables` (those about to be created) that exist, hold rows and were not made by us."""

    def acquire(self) -> bool | None:
        """Acquire the database for this run; drop what a dead run left, and drop
        tables about to be created that are there (`check` has allowed it). True if the schema is
        there already, as `Database.definition` has made it."""

    def created(self) -> None:
        """The schema was made, or a second store's schema was added to it: take it as it is now. Where
        snapshots are saved already, the new tables belong to all of them as they are now."""

    def save(self) -> Snapshot:
        """See Store.save_data."""

    def reset(self, snapshot: Snapshot) -> bool:
        """See Store.reset_data. A schema that was changed since `created` is repaired as well."""

    def written_since(self, snapshot: Snapshot) -> Iterable[Written]:
        """See Store.written_since."""

    def sessions_are_stale(self) -> bool:
        """Whether sessions may hold temporary tables since this was last asked, or plans for a schema that is
        another one now."""

    def restore_fully(self, snapshot: Snapshot) -> bool:
        """As `reset`, but look at everything: nothing that was noted is relied on."""

    def dump_data(self) -> Mapping[str, Counter[Any]]:
        """See Store.dump_data."""

    def forget(self, snapshot: Snapshot) -> None:
        """See Store.forget_data."""

    def drop(self) -> None:
        """Drop all that came into being since `acquire` (nothing that was there before, nothing if the
        schema was adopted), and the ownership marker. Harmless if there is nothing."""

    def away(self) -> AbstractContextManager[None]:
        """While it has no connection: others may need the database for themselves."""

    def keep(self) -> bool:
        """In place of `drop`: leave the schema for the next run, with the data that creating it had left.
        False, and nothing is done, if this is not known here."""

    def rest(self) -> None:
        """Close connections until the next call, if that harms nothing: nobody uses the database now."""

    def free(self, left_by: LeftBy) -> list[tuple[str, str]]:
        """See Store.free."""

    def close(self) -> None:
        """Close every connection of the backend's own."""


def warn_of_rescued(database: Database, by: str, who: str, lines: Iterable[str]) -> None:
    """Warn of rows that were moved out of the way of what there was before a killed run.

    Parameters:
        by: The run.
        who: Who has written them, or may have.
        lines: Where they are, a line a table.
    """
    listed = "\n".join(f"  {line}" for line in lines)
    warnings.warn(
        f"what was there before {by} is restored in store {database.name!r} ({database.shown}). "
        f"{who}:\n{listed}\nCopy from there what is yours, and drop it.",
        RescuedRowsWarning,
        stacklevel=2,
    )


def writer_is_open(store: str, error: OpenTransactionError) -> OpenTransactionError:
    """The error of a scope that cannot begin.

    Parameters:
        store: The store's name.
        error: Says which transactions are open, and where.
    """
    return OpenTransactionError(
        f"a scope cannot begin on store {store!r}: a transaction that writes is open.\n"
        f"{error}\nCommit or close it before the scope begins, e.g.  session.commit()",
        store=store,
    )
