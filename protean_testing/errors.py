"""Everything that can go wrong, and how it is worded: what happened, to which store, what to write next."""

from __future__ import annotations


class ProteanTestingError(Exception):
    """The base of every error of this library."""


class ConfigurationError(ProteanTestingError):
    """What was asked for cannot be had: a wrong value, a missing URL, driver or server."""


class UnsafeStoreError(ProteanTestingError):
    """A store was refused before anything in it was touched: it may hold data that matters."""


class ScopeError(ProteanTestingError):
    """Scopes were opened, reset or left in an order that cannot keep their promise."""


class StoreError(ProteanTestingError):
    """A store could not be created, saved, reset or dropped.

    Parameters:
        message: What happened, with the likely cause and the line to write.
        store: The store's name.
    """

    def __init__(self, message: str, *, store: str = "") -> None:
        super().__init__(message)
        self.store = store


class OpenTransactionError(StoreError):
    """A transaction of the code under test stayed open, so the data could not be saved or reset."""


class LeakError(StoreError):
    """The data was reset, but the test left something open that it should have closed."""


class LeakWarning(UserWarning):
    """As LeakError, from a store with ``on_leak="warn"``."""


class LateWriteWarning(UserWarning):
    """Something was written between two tests, when nothing should have been running. It was wiped."""


class SchemaPerTestWarning(UserWarning):
    """A test class makes or drops its schema in every test, though it is made once per run."""


class StaleTableWarning(UserWarning):
    """A table that this run did not make has other columns than the models."""


class NeverResetWarning(UserWarning):
    """A Protean domain holds data in a broker, a cache or an event store that no store gives back."""


def redacted(text: str, *secrets: str | None) -> str:
    """The text with every secret replaced by ``***``.

    Parameters:
        text: A message, often of a driver.
        secrets: Passwords; empty ones and None are passed over.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text
