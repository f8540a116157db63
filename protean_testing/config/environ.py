"""The environment variables that choose the stores. Reads them and decides nothing else."""

from __future__ import annotations

import os
from difflib import get_close_matches

from ..errors import ConfigurationError

TEST_DBS = ("memory", "sqlite", "postgresql")
TEST_INFRAS = ("memory", "full")
KEEP_VARIABLE = "PROTEAN_TESTING_KEEP"

_used: set[str] = set()
_unused: dict[str, str] = {}


def test_db() -> str | None:
    """``TEST_DB``, or what ``TEST_INFRA`` implies; None where neither is set.

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
    """``TEST_INFRA``; None where it is not set.

    Raises:
        ConfigurationError: The value is unknown.
    """
    return _one_of("TEST_INFRA", TEST_INFRAS)


def full_infrastructure() -> bool:
    """True where ``TEST_INFRA=full`` asks for real servers of every kind."""
    return test_infra() == "full"


def url(variable: str) -> str | None:
    """The URL in `variable`: ``DATABASE_URL``, ``REDIS_URL`` or ``MESSAGE_DB_URL``."""
    return os.environ.get(variable) or None


def urls() -> tuple[str | None, ...]:
    """What all of them are at this moment."""
    return tuple(url(variable) for variable in ("DATABASE_URL", "REDIS_URL", "MESSAGE_DB_URL"))


def wants_summary() -> bool:
    """True where ``PROTEAN_TESTING_SUMMARY`` is set: print what was done, at the end, on stderr."""
    return os.environ.get("PROTEAN_TESTING_SUMMARY", "") not in ("", "0")


def wants_keep() -> bool:
    """True where ``PROTEAN_TESTING_KEEP`` is set: schemas stay at the end of the run, for the next one."""
    return os.environ.get(KEEP_VARIABLE, "") not in ("", "0")


def used(*variables: str) -> None:
    """Note that these variables, if they are set, have decided something in this run."""
    _used.update(variables)


def unused(variable: str, why: str) -> None:
    """Note that a variable, if it is set, does not decide here; it may somewhere else in this run."""
    if os.environ.get(variable):
        _unused.setdefault(variable, why)


def without_effect() -> list[str]:
    """A line for each variable that is set and decided nothing in the run that ends; it is then forgotten."""
    lines = [f"{name} is set and has no effect: {why}" for name, why in _unused.items() if name not in _used]
    _used.clear()
    _unused.clear()
    return lines


def _one_of(variable: str, known: tuple[str, ...]) -> str | None:
    value = os.environ.get(variable) or None
    if value is None or value in known:
        return value
    near = get_close_matches(value, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(f"{variable}={value!r} is none of {', '.join(known)}.{hint}")
