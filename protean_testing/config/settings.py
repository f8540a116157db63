"""Read what the project says in pyproject.toml, setup.cfg or tox.ini about the stores of its tests."""

from __future__ import annotations

import tomllib
from configparser import ConfigParser
from configparser import Error as ParserError
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError

_SWITCHES = ("keep", "summary", "show_writes")
KEYS = ("test_db", "test_infra", "database_url", "redis_url", "message_db_url", *_SWITCHES)
_FILES = {
    "pyproject.toml": "tool.protean_testing",
    "setup.cfg": "protean_testing",
    "tox.ini": "protean_testing",
}


def setting(key: str) -> str | None:
    """Return what the project says, as the text that the environment variable would have.

    Parameters:
        key: One of `KEYS`.

    Raises:
        ConfigurationError: The file cannot be read, or has an unknown key or value.
    """
    return _read(_directory())[0].get(key)


def file() -> str:
    """Return the name of the file that has the project's settings."""
    return _read(_directory())[1]


def _directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # a test has removed it
        return None


@cache
def _read(directory: Path | None) -> tuple[dict[str, str], str]:
    """Read the nearest file with such a section: in the current directory, or in one above it."""
    for place in (directory, *directory.parents) if directory is not None else ():
        for name, section in _FILES.items():
            found = _section(place / name, section) if (place / name).is_file() else None
            if found is not None:
                return {key: _text(name, key, value) for key, value in found.items()}, name
    return {}, ""


def _section(path: Path, section: str) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if "protean_testing" not in text:  # what others say there, and how, is none of our business
        return None
    try:
        if path.suffix == ".toml":
            table: dict[str, Any] | None = tomllib.loads(text).get("tool", {}).get("protean_testing")
            return table
        parser = ConfigParser(interpolation=None)
        parser.read_string(text, path.name)
        return dict(parser[section]) if section in parser else None
    except (tomllib.TOMLDecodeError, ParserError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from None


def _text(name: str, key: str, value: Any) -> str:
    if key not in KEYS:
        near = get_close_matches(key, KEYS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" Known are: {', '.join(KEYS)}."
        raise ConfigurationError(f"{name}: there is no setting {key!r} of protean_testing.{hint}")
    if key in _SWITCHES and str(value).lower() in ("true", "false", "1", "0"):
        return "1" if str(value).lower() in ("true", "1") else "0"
    if not isinstance(value, str) or key in _SWITCHES:
        kind = "true or false" if key in _SWITCHES else "text"
        raise ConfigurationError(f"{name}: {key} = {value!r} means nothing: say {kind}.")
    return value
