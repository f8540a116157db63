"""Read what chooses the stores: environment variables, or the project's settings below them."""

from __future__ import annotations

import os
from difflib import get_close_matches

from ..errors import ConfigurationError
from . import settings

TEST_DBS = ("memory", "sqlite", "postgresql")
TEST_INFRAS = ("memory", "full")
KEEP_VARIABLE = "PROTEAN_TESTING_KEEP"
SUMMARY_VARIABLE = "PROTEAN_TESTING_SUMMARY"
WRITES_VARIABLE = "PROTEAN_TESTING_SHOW_WRITES"

_used: set[str] = set()
_unused: dict[str, str] = {}


def test_db() -> str | None:
    """``TEST_DB``, or what ``TEST_INFRA`` implies; None if neither is set.

    Raises:
        ConfigurationError: A value is unknown, or the two contradict each other.
    """
    database = _one_of("TEST_DB", TEST_DBS)
    if not full_infrastructure():
        return database
    if database not in (None, "postgresql"):
        raise ConfigurationError(
            f"TEST_INFRA='full' means TEST_DB='postgresql', but TEST_DB is {database!r}. Unset one of them."
        )
    return "postgresql"


def test_infra() -> str | None:
    """``TEST_INFRA``; None if it is not set.

    Raises:
        ConfigurationError: The value is unknown.
    """
    return _one_of("TEST_INFRA", TEST_INFRAS)


def full_infrastructure() -> bool:
    """True if ``TEST_INFRA=full`` asks for real servers of every kind."""
    return test_infra() == "full"


def url(variable: str) -> str | None:
    """The URL in `variable`: ``DATABASE_URL``, ``REDIS_URL`` or ``MESSAGE_DB_URL``."""
    return _value(variable)


def urls() -> tuple[str | None, ...]:
    """What all of them are at this moment."""
    return tuple(url(variable) for variable in ("DATABASE_URL", "REDIS_URL", "MESSAGE_DB_URL"))


def wants_summary() -> bool:
    """True if ``PROTEAN_TESTING_SUMMARY`` is set: print what was done, at the end, on stderr."""
    return _value(SUMMARY_VARIABLE) not in (None, "0")


def wants_writes() -> bool:
    """False if ``PROTEAN_TESTING_SHOW_WRITES`` is 0: a test that fails does not say what it has written."""
    return _value(WRITES_VARIABLE) != "0"


def wants_keep() -> bool:
    """True if ``PROTEAN_TESTING_KEEP`` is set: schemas stay at the end of the run, for the next one."""
    return _value(KEEP_VARIABLE) not in (None, "0")


def used(*variables: str) -> None:
    """Note that these variables, if they are set, have decided something in this run."""
    _used.update(variables)


def unused(variable: str, why: str) -> None:
    """Note that a variable, if it is set, does not decide here; it may somewhere else in this run."""
    if _value(variable):
        _unused.setdefault(variable, why)


def without_effect() -> list[str]:
    """A line for each variable that is set and decided nothing in the run that ends; it is then forgotten."""
    lines = [
        f"{_named(variable)} is set and has no effect: {why}"
        for variable, why in _unused.items()
        if variable not in _used
    ]
    _used.clear()
    _unused.clear()
    return lines


def _value(variable: str) -> str | None:
    """The environment stands above the project's settings, also if it is set to nothing."""
    value = os.environ.get(variable)
    return (settings.setting(_key(variable)) if value is None else value) or None


def _key(variable: str) -> str:
    return variable.removeprefix("PROTEAN_TESTING_").lower()


def _named(variable: str) -> str:
    return variable if variable in os.environ else f"{_key(variable)} in {settings.file()}"


def _one_of(variable: str, known: tuple[str, ...]) -> str | None:
    value = _value(variable)
    if value is None or value in known:
        return value
    near = get_close_matches(value, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    said = (
        f"{variable}={value!r}"
        if variable in os.environ
        else f"{_key(variable)} = {value!r} in {settings.file()}"
    )
    raise ConfigurationError(f"{said} is none of {', '.join(known)}.{hint}")
