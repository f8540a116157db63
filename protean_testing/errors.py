"""Everything that can go wrong, and how it is worded: what happened, to which store, what to write next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import quote, quote_plus, unquote, unquote_plus

Failed = TypeVar("Failed", bound=Exception)


class ProteanTestingError(Exception):
    """The base of every error of this library."""


class ConfigurationError(ProteanTestingError):
    """What was asked for cannot be had: a wrong value, a missing URL, driver or server."""


class HandleError(ConfigurationError, AttributeError):
    """A handle (`db`, `engine`, `database_url`, `session`) that its class does not have, or not now."""


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


class LostStoreError(StoreError):
    """A store's place was there when the run began, and cannot be reached or used any more."""


class OpenTransactionError(StoreError):
    """A transaction of the code under test stayed open, so the data could not be saved or reset."""


class LeakError(StoreError):
    """The data was reset, but the test left something open that it should have closed."""


class LeakWarning(UserWarning):
    """As LeakError, from a store with ``on_leak="warn"``."""


class LateWriteWarning(UserWarning):
    """Something was written between two tests, when nothing should have been running. It was wiped."""


class RescuedRowsWarning(UserWarning):
    """Rows that came after a killed run are now in a table of their own: what was before it is restored."""


class SchemaPerTestWarning(UserWarning):
    """A test class makes or drops its schema in every test, though it is made once per run."""


class StaleTableWarning(UserWarning):
    """A table that this run did not make has other columns than the models."""


class NotKeptWarning(UserWarning):
    """A schema is not kept for the next run, which could not tell whether it would make the same."""


class NeverResetWarning(UserWarning):
    """A Protean domain holds data in a broker, a cache or an event store that no store restores."""


def without_own_frames(error: Failed) -> Failed:
    """Take the library's frames out of the traceback of an error whose text says all.

    If it came from code of the user's, that stays in its traceback.
    """
    place = error.__traceback__
    while place is not None:
        module = str(place.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if module not in (__name__.partition(".")[0], "contextlib"):
            return error
        place = place.tb_next
    return error.with_traceback(None)


_NAMES = r"(?:ssl)?password|passwd|passfile|pwd"
_HIDDEN = "***"
_IN_URL = re.compile(r"(://[^\s:/?#@]*:)\S*(?=@)")
_LOGIN = re.compile(r"(://[^\s:/?#@]*:)(.*)(?=@)", re.DOTALL)  # of a text that is nothing but a URL
_ASSIGNED = re.compile(
    rf"""(?:(?<![a-z])|(?<=pg)|(?<=%[0-9a-f][a-f]))((?:{_NAMES})(?:\s*=\s*|%3D|['"]\s*[:,]\s*(?=b?['"])))"""
    r"""(b?'(?:[^'\\]|\\.)*'|b?"[^"]*"|[^\s&'",;)]+)""",
    re.IGNORECASE,
)
_IS_NAME = re.compile(_NAMES, re.IGNORECASE)


def redacted(text: str, *secrets: str | None) -> str:
    """The text with passwords replaced by ``***``: where URLs and settings have theirs, and those given.

    A given one that is a plain word, or a part of its URL too, is replaced only where it stands in quotes or
    between signs: else `database "postgres" does not exist` would say nothing any more.

    Parameters:
        text: A message, often of a driver; or a URL.
        secrets: Passwords, and URLs that may hold some; empty ones and None are passed over.
    """
    text = _IN_URL.sub(rf"\1{_HIDDEN}", text)
    text = _ASSIGNED.sub(rf"\1{_HIDDEN}", text)
    for given in filter(None, secrets):
        is_url = "://" in given
        rest = _ASSIGNED.sub("", _LOGIN.sub("", given)).lower() if is_url else ""
        for secret in _passwords(given) if is_url else [given]:
            for form in {
                secret,
                unquote(secret),
                unquote_plus(secret),
                quote(unquote(secret), safe=""),
                quote_plus(unquote(secret)),
            }:
                if form.lower() in rest:
                    continue
                pattern = re.escape(form)
                if form.isalpha() or form.isdigit():
                    pattern = rf"(?<=['\"=:/@&]){pattern}(?!\w)|(?<!\w){pattern}(?=['\"=/@&])"
                text = re.sub(pattern, _HIDDEN, text)
    return text


def _passwords(url: str) -> Iterator[str]:
    """Those in a URL, as they are written there."""
    for whole in dict.fromkeys((url, url.partition("?")[0])):  # a "?" may be a part of it, or end it
        login = _LOGIN.search(whole)
        if login is not None and login[2]:
            yield login[2]
    for part in url.partition("?")[2].split("&"):
        name, _, value = part.partition("=")
        if value and is_secret(name):
            yield value
        for assigned in _ASSIGNED.finditer(unquote_plus(value)):  # a driver's own text, such as ODBC's
            yield assigned[2].strip("'\"{}")


def is_secret(name: str) -> bool:
    """Whether what a URL's query says under this name is a password, or where one is."""
    return bool(_IS_NAME.fullmatch(name))


class Secret(str):
    """A text that holds passwords, which its repr does not show: tracebacks may print local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redacted(str(self), str(self)) if "://" in self else _HIDDEN)
