"""What a callable read while it made a schema: where none of it has changed, it would make the same again."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import MetaData, Table

PROGRAM = "a program was started: "
"""Begins a name that stands for no file: what another program reads, nobody sees here."""

_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
_DIRECTORIES = ("os.listdir", "os.scandir")
_TEST = re.compile(r"(test_.*|.*_test|tests|conftest)\.py")
_PASSED_OVER = re.compile(r"\..*|__pycache__|.*\.(db|sqlite3?|log|pyc)|.*-(journal|wal|shm)")

_reading: set[str] | None = None


@contextmanager
def watching() -> Iterator[dict[str, str]]:
    """Inside, see what is read. The result, by path, is there at the end: files, directories, and the
    project's modules that are loaded."""
    global _reading
    _hook()
    seen: dict[str, str] = {}
    _reading = set()
    try:
        yield seen
    finally:
        paths, _reading = _reading, None
        for path in paths | _modules():
            looks = path if path.startswith(PROGRAM) else _looks(path)
            if looks is not None:
                seen[path] = looks


def unchanged(seen: Mapping[str, str]) -> bool:
    """Whether all of it is as it was, and no module of the project is there that was not.

    Parameters:
        seen: From `watching`; empty where nobody has watched.
    """
    return not seen or (
        _modules() <= seen.keys() and all(_looks(path) == looks for path, looks in seen.items())
    )


@cache
def _hook() -> None:
    sys.addaudithook(_audit)  # it can never be taken away; it does nothing while nobody watches


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _reading is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR) if mode is None else set("wax+") & set(mode)
        if isinstance(path, str) and not writes and not _of_python(path):
            _reading.add(os.path.abspath(_source(path)))
    elif event in _DIRECTORIES:
        path = os.fspath(arguments[0]) if isinstance(arguments[0], str | os.PathLike) else "."
        importing = sys._getframe(1).f_code.co_filename.startswith("<frozen importlib")
        if isinstance(path, str) and not importing and not _of_python(path):
            _reading.add(os.path.abspath(path))
    elif event in _PROGRAMS:
        _reading.add(f"{PROGRAM}{arguments[0]}")


def _source(path: str) -> str:
    if path.endswith(".pyc"):
        try:
            return importlib.util.source_from_cache(path)
        except ValueError:
            pass
    return path


def _looks(path: str) -> str | None:
    """A hash of a file, or of the names in a directory; None where there is neither."""
    try:
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if not _PASSED_OVER.fullmatch(name))
            content = "\n".join(names).encode()
        elif os.path.isfile(path):
            content = Path(path).read_bytes()
        else:
            return None
    except OSError:
        return None
    return hashlib.sha256(content).hexdigest()[:16]


def _modules() -> set[str]:
    """The files of the project's modules that are loaded, but for tests that define no tables."""
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and not _of_python(file):
            path = os.path.abspath(file)
            if not _is_test(path) or _defines_tables(module):
                found.add(path)
    return found


def _is_test(path: str) -> bool:
    *directories, name = Path(path).parts
    return bool(_TEST.fullmatch(name)) or not {"test", "tests"}.isdisjoint(directories)


def _defines_tables(module: ModuleType) -> bool:
    for value in list(vars(module).values()):
        if issubclass(type(value), MetaData | Table):
            return True
        if (
            issubclass(type(value), type)
            and "__table__" in vars(value)
            and value.__module__ == module.__name__
        ):
            return True
    return False


def _of_python(path: str) -> bool:
    """Whether it belongs to Python, to an installed package, to us or to the system."""
    return os.path.abspath(path).startswith(_places())


@cache
def _places() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    ours = str(Path(__file__).resolve().parent.parent)
    packages = [*site.getsitepackages(), site.getusersitepackages(), paths["purelib"], paths["platlib"]]
    places = {ours, paths["stdlib"], paths["platstdlib"], *packages, "/proc", "/dev", "/sys"}
    return tuple(os.path.join(os.path.abspath(place), "") for place in places)
