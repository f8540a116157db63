"""A SQLite file of a worker's own, beside a given one."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL

from ...errors import ConfigurationError, StoreError
from ...ownership import refuse_other_name
from ...workers import Worker
from ..sql.backend import Database
from ..sql.definition import Definition
from ..sql.worker_database import Alone
from .file_ownership import TestFile
from .location import location_of
from .run_directory import ENDING, RunDirectory


def worker_file(url: URL, me: Worker) -> URL:
    """The URL of the worker's file; the given one where that is no file."""
    file = location_of(url, "database").file
    if file is None or not url.database:
        return url
    own = file.with_name(f"{file.stem}_protean_testing_{_here()}{me.run[:6]}_{me.label}{file.suffix}")
    return url.set(database=url.database.replace(file.name, own.name))


def _here() -> str:
    """This machine: whether a file's worker lives is known on its own machine only."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


class WorkerFile:
    """The file of one worker.

    Parameters:
        given: The URL that was given.
        url: That of the worker's own.
    """

    needs_backend = True

    def __init__(self, given: URL, url: URL) -> None:
        self.given, self._url = given, url

    def check(self, store: str, *, unsafe: bool) -> None:
        """See Own.check."""
        given = _file(self.given).resolve()
        if not unsafe:
            refuse_other_name(store, given, given.stem, what="file", end=given.suffix)
        if not given.parent.is_dir():
            raise ConfigurationError(f"store {store!r}: there is no directory {given.parent} for its file.")

    def examine(self, database: Database, tables: Collection[tuple[str | None, str]]) -> None:
        """See Own.examine."""
        TestFile(_file(self.given), location_of(self.given, database.name), database).examine(tables)

    def reserve(self, store: str, *, copy: bool = False) -> None:
        """See Own.reserve. Whoever connects to a file makes it."""

    @contextmanager
    def making(self, definition: Definition, *, adopt: bool, keep: bool, alone: Alone) -> Iterator[None]:
        """See Own.making. To make a schema anew is as quick as to copy one."""
        sweep(_file(self.given))
        if adopt:
            self._copy_given()
        yield

    def share(self, alone: Alone) -> None:
        """See Own.share."""

    def _copy_given(self) -> None:
        """Copy it under a name that is removed if we are killed meanwhile."""
        given = _file(self.given)
        if not given.exists():
            raise ConfigurationError(
                f"a schema that exists is to be adopted, but there is no database in {given}."
            )
        beside = RunDirectory(_file(self._url).resolve())
        if not beside.acquire():
            raise StoreError(f"{beside.file} is in use by another worker.")
        scratch = beside.scratch()
        with closing(sqlite3.connect(given)) as source, closing(sqlite3.connect(scratch)) as copy:
            source.backup(copy)
        os.replace(scratch, beside.file)
        beside.release()

    def drop(self) -> None:
        """See Own.drop. Its backend has removed it."""


def sweep(given: Path) -> None:
    """Remove the files of dead workers of this machine, beside a given one, if they are proven to be that."""
    for file in files_of_workers(given):
        TestFile.at(file, private=True).remove_if_ours()


def files_of_workers(given: Path) -> Iterator[Path]:
    """The files that workers of this machine have, or had, beside a given one: their markers are there."""
    pattern = re.compile(
        rf"\.({re.escape(given.stem)}_protean_testing_{_here()}[0-9a-f]{{6}}_\w+{re.escape(given.suffix)})"
        + re.escape(ENDING)
    )
    directory = given.parent.resolve()
    for name in os.listdir(directory) if directory.is_dir() else ():
        found = pattern.fullmatch(name)
        if found is not None:
            yield directory / found[1]


def _file(url: URL) -> Path:
    file = location_of(url, "database").file
    assert file is not None
    return file
