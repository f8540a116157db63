"""A SQLite file of a worker's own, beside a given one."""

from __future__ import annotations

import hashlib
import platform
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import URL

from ... import ownership
from ...errors import ConfigurationError, UnsafeStoreError
from ...ownership import refuse_other_name
from ...workers import Worker
from ..own import Alone
from .place import place_of


def own_file(url: URL, me: Worker) -> URL:
    """The URL of the worker's file; the given one where that is no file."""
    file = place_of(url, "database").file
    if file is None or not url.database:
        return url
    own = file.with_name(f"{file.stem}_protean_testing_{_here()}{me.run[:6]}_{me.label}{file.suffix}")
    return url.set(database=url.database.replace(file.name, own.name))


def _here() -> str:
    """This machine: whether a file's worker lives is known on its own machine only."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


class OwnFile:
    """The file of one worker.

    Parameters:
        given: The URL that was given.
        url: That of the worker's own.
    """

    needs_keeper = True

    def __init__(self, given: URL, url: URL) -> None:
        self._given, self._url = given, url
        self._adopted = False

    def check(self, store: str, *, unsafe: bool) -> None:
        """See Own.check."""
        given = _file(self._given)
        if not unsafe:
            refuse_other_name(store, given, given.stem, what="file", end=given.suffix)
        if not given.parent.is_dir():
            raise ConfigurationError(f"store {store!r}: there is no directory {given.parent} for its file.")

    def reserve(self, store: str, *, copy: bool = False) -> None:
        """See Own.reserve. Whoever connects to a file makes it."""

    @contextmanager
    def making(self, definition: str, *, adopt: bool, keep: bool, alone: Alone) -> Iterator[None]:
        """See Own.making. To make a schema anew is as quick as to copy one."""
        sweep(_file(self._given))
        if adopt:
            self._copy_given()
        yield

    def share(self, seen: Mapping[str, str], alone: Alone) -> None:
        """See Own.share."""

    def _copy_given(self) -> None:
        given = _file(self._given)
        if not given.exists():
            raise ConfigurationError(
                f"a schema that exists is to be adopted, but there is no database in {given}."
            )
        self._adopted = True
        with closing(sqlite3.connect(given)) as source, closing(sqlite3.connect(_file(self._url))) as copy:
            source.backup(copy)

    def drop(self) -> None:
        """See Own.drop. What its keeper has made is gone with that."""
        if self._adopted:
            _remove(_file(self._url))


def sweep(given: Path) -> None:
    """Remove the files of dead workers of this machine, beside a given one."""
    name = re.compile(
        rf"{re.escape(given.stem)}_protean_testing_{_here()}[0-9a-f]{{6}}_\w+{re.escape(given.suffix)}"
    )
    for file in given.parent.iterdir():
        if name.fullmatch(file.name):
            place = f"{platform.node()}:{file.resolve()}"
            with suppress(UnsafeStoreError):  # its worker lives, or another one sweeps
                if ownership.left_over(place) is not None:
                    claim = ownership.claim(place)
                    _remove(file)
                    claim.release()


def _file(url: URL) -> Path:
    file = place_of(url, "database").file
    assert file is not None
    return file


def _remove(file: Path) -> None:
    for ending in ("", "-journal", "-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)
