"""Say what a schema is made from: files, directories and plain values."""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from ...errors import ConfigurationError

Inputs = Any
"""One or several of: a path, a directory, a plain value."""

_PLAIN = (
    type(None), bool, int, float, complex, str, bytes, decimal.Decimal, uuid.UUID,
    datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone,
)  # fmt: skip
_LOOKS_LIKE_A_PATH = re.compile(r".*[/\\*?].*|.*\.[A-Za-z]\w{0,7}")  # in one line


class Unclear(Exception):
    """Nothing tells whether this is the same in another process, or in a later run."""


class _At:
    """A path, found from the directory in which it was given.

    Attributes:
        given: As the user wrote it.
        path: Where that is.
    """

    def __init__(self, given: str | os.PathLike[str]) -> None:
        self.given, self.path = given, os.path.abspath(given)


def checked(inputs: Inputs) -> tuple[Any, ...] | None:
    """The argument ``inputs=``, each of it a path or a plain value.

    Raises:
        ConfigurationError: Something in it is neither.
    """
    if inputs is None:
        return None
    several = isinstance(inputs, Iterable) and not isinstance(inputs, str | bytes | dict | PurePath)
    found: list[Any] = []
    for one in inputs if several else [inputs]:
        if isinstance(one, str | os.PathLike) and one != "" and not isinstance(one, enum.Enum):
            found.append(_At(one))
        elif is_plain(one):
            found.append(one)
        else:
            raise ConfigurationError(
                f"inputs= takes files, directories and plain values (texts, numbers, dates, tuples of them), "
                f"and was given a {type(one).__qualname__}: {one!r}."
            )
    return tuple(found)


def key(inputs: tuple[Any, ...] | None) -> tuple[str, ...] | None:
    """Equal for equal inputs, whatever is in the files now."""
    if inputs is None:
        return None
    return tuple(one.path if isinstance(one, _At) else text_of(one) for one in inputs)


def content(one: Any) -> str:
    """What one input holds now.

    Raises:
        Unclear: It cannot be read, or looks like a path and leads nowhere.
    """
    if not isinstance(one, _At):
        return text_of(one)
    if os.path.lexists(one.path):
        return f"{os.fspath(one.given)} {described(one.path)}"
    if isinstance(one.given, str):
        if _LOOKS_LIKE_A_PATH.fullmatch(one.given):
            raise Unclear(
                f"inputs= names {one.given!r}, and there is no file or directory {one.path}. Write one that "
                f"may come later as Path({one.given!r}), a value that only looks like one as ({one.given!r},)"
            )
        return text_of(one.given)
    return f"{os.fspath(one.given)} is not there"


def described(path: str) -> str:
    """A hash of a file, or of all files below a directory, by their names and content.

    Raises:
        Unclear: It cannot be read.
    """
    try:
        if not os.path.isdir(path):
            return _file(path)
        digest, known = hashlib.sha256(), set()
        for directory, names, files in os.walk(path, onerror=_failed, followlinks=True):
            real = os.path.realpath(directory)
            names[:] = sorted(name for name in names if name != "__pycache__") if real not in known else []
            known.add(real)
            digest.update(repr((os.path.relpath(directory, path), names)).encode())
            for name in sorted(name for name in files if not name.endswith(".pyc")):
                where = os.path.join(directory, name)
                looks = _file(where) if os.path.exists(where) else "leads nowhere"
                digest.update(repr((name, looks)).encode())
        return f"directory {digest.hexdigest()}"
    except OSError as error:
        raise Unclear(f"{path}, which it is made from, cannot be read: {error.strerror}") from None


def _file(path: str) -> str:
    if not os.path.isfile(path):
        raise OSError(0, "it is no file")
    with open(path, "rb") as file:
        return f"file {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _failed(error: OSError) -> None:
    raise error


def is_plain(value: Any) -> bool:
    """Whether its text distinguishes it from every other value, in any process."""
    if type(value) in (list, tuple, set, frozenset):
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(is_plain(part) for item in value.items() for part in item)
    if isinstance(value, enum.Enum):
        return is_plain(value.value)
    return type(value) in _PLAIN or (isinstance(value, PurePath) and type(value).__module__ in _PATHS)


_PATHS = {type(Path()).__module__, PurePath.__module__}


def text_of(value: Any) -> str:
    """The text of a plain value."""
    if type(value) in (list, tuple):
        return f"{type(value).__name__}[{', '.join(map(text_of, value))}]"
    if type(value) in (set, frozenset):
        return f"{type(value).__name__}[{', '.join(sorted(map(text_of, value)))}]"
    if type(value) is dict:
        return f"dict[{', '.join(sorted(f'{text_of(k)}: {text_of(v)}' for k, v in value.items()))}]"
    if isinstance(value, enum.Enum):
        return f"{type(value).__module__}.{type(value).__qualname__}.{value.name} {text_of(value.value)}"
    return f"{type(value).__name__} {value!r}"
