"""What drivers raise, as errors of this library: the store is named, and passwords are not told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import LostStoreError, OpenTransactionError, ProteanTestingError, StoreError, redacted
from ..store import ended_scope

Kinds = type[Exception] | tuple[type[Exception], ...]


@contextmanager
def translated(
    what: str,
    store: str,
    kinds: Kinds,
    url: str = "",
    *,
    explained: Callable[[Exception, str], Exception | str] | None = None,
    hint: str = "Close it in the test, e.g.  with self.db.session() as session: ...",
) -> Iterator[None]:
    """Raise what is of these kinds as a `StoreError`, and say of an open transaction what could not be done.

    The driver's error is no context of ours: its frames hold the password.

    Parameters:
        what: Could not be done: "reset".
        store: The store's name.
        kinds: The driver's errors.
        url: Where the store is; the passwords in it are replaced.
        explained: Gives the error in place of the `StoreError`, or a better text for it.
        hint: The line to write where a transaction stayed open.
    """
    try:
        yield
        return
    except OpenTransactionError as error:
        if error.store:
            raise
        failure: Exception = OpenTransactionError(
            f"could not {what} store {store!r}: a transaction stayed open.\n{error}\n{hint}", store=store
        )
    except ProteanTestingError:
        raise
    except kinds as error:
        text = said(error, url)
        better = explained(error, text) if explained is not None else text
        failure = (
            StoreError(f"could not {what} store {store!r}: {better}", store=store)
            if isinstance(better, str)
            else better
        )
    raise failure from None


def lost(store: str, place: str, why: str, *, url: str = "") -> LostStoreError:
    """The error of a place that this run has used, and cannot use any more.

    Parameters:
        store: The store's name.
        place: Where it is, without passwords.
        why: The driver's or our own words.
        url: Its passwords are not told.
    """
    after = f", as was found after {ended}" if (ended := ended_scope.get("")) else ""
    return LostStoreError(
        f"store {store!r} is lost{after}: {place} was used by this run, and cannot be used any more.\n"
        f"{redacted(why, url).strip()}\n"
        "A test of code that drops, renames, locks or stops such a place makes one for itself that is no "
        "store's, e.g.  CREATE DATABASE other_test",
        store=store,
    )


def said(error: Exception, url: str = "") -> str:
    """The driver's own words, without passwords, and without what SQLAlchemy puts round them."""
    return redacted(str(getattr(error, "orig", None) or error), url).strip()
