"""List what is in a SQLite file, copy it beside the file, restore it, and remove what is a run's."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError, StoreError, UnsafeStoreError
from ...ownership import Marker, Thing, refusal
from ...ownership.clean import clean_line
from ..sql.backend import Database
from .content import add_definitions, drop, is_as_in_image, things
from .image import copy
from .location import OurConnection, connect, is_rubbish
from .open_transactions import patiently
from .private import pages
from .rows import IMAGE
from .run_directory import RunDirectory, sync


@dataclass(frozen=True)
class Found:
    """What is in the file, and what of it goes.

    Attributes:
        marker: Of the run that used the file last, as far as it proves something of this very file.
        copy: What was in the file before that run, if that must be restored.
        doomed: What is removed.
        foreign: What is in the file now, was not there before that run, and is nobody's to remove.
    """

    marker: Marker | None = None
    copy: Path | None = None
    doomed: tuple[Thing, ...] = ()
    foreign: tuple[Thing, ...] = ()


class FileContent:
    """What is in a file, before, beside and after the schema of a run.

    Parameters:
        file: Where it is, without any symbolic link on the way.
        shown: The same for messages.
        beside: What stands beside it.
        key: See `Location.key`.
        database: What the user said about it.
    """

    def __init__(self, file: Path, shown: str, beside: RunDirectory, key: str, database: Database) -> None:
        self._file, self._shown, self._run_dir, self._key = file, shown, beside, key
        self._database = database

    def things_there(self, planned: Collection[str] = (), *, has_copy: bool = False) -> list[Thing]:
        """List all that is in it.

        Parameters:
            planned: Names of what is about to be created.
            has_copy: What was in it will be restored, so that it may be no database now.
        """
        if not self.is_there():
            return []
        try:
            with closing(self.connect()) as connection:
                return things(connection, planned)
        except sqlite3.DatabaseError as error:
            if has_copy and is_rubbish(error):
                return []
            raise ConfigurationError(
                f"store {self._database.name!r}: {self._shown} cannot be read: {error}."
            ) from None

    def is_there(self) -> bool:
        """Tell whether there is a database, be it without tables."""
        return self._file.exists() and self._file.stat().st_size > 0

    def copy_beside(self, name: str, without: list[Thing]) -> None:
        """Copy the file as it is, but for some things; whole and on the disk before anything is touched."""
        path, scratch = self._run_dir.path_of_copy(name), self._run_dir.scratch()
        scratch.touch()
        shutil.copymode(self._file, scratch)
        with closing(self.connect()) as source, closing(connect(str(scratch))) as target:
            target.execute("PRAGMA synchronous = OFF")
            self._alone(lambda: copy(source, target))
            target.execute("PRAGMA journal_mode = DELETE")  # nothing beside it
            self._refuse_hurt(drop(target, without))
        sync(scratch)
        scratch.replace(path)
        sync(path.parent)

    def restore(self, found: Found) -> None:
        """Restore what was there before the run of the marker, and remove what is doomed."""
        self._restore(found)
        if found.marker is not None and "wal" in found.marker.facts and self.is_there():
            wal = bool(found.marker.facts["wal"])
            if self.has_wal() != wal:
                with closing(self.connect()) as connection, suppress(sqlite3.OperationalError):
                    connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")

    def has_wal(self) -> bool:
        """Whether its journal is a write-ahead log, which is written into the file's header."""
        with open(self._file, "rb") as file:
            return file.read(20)[18:] == b"\x02\x02"

    def _is_rubbish(self) -> bool:
        try:
            self.connect().close()
        except sqlite3.DatabaseError as error:
            return is_rubbish(error)
        return False

    def _restore(self, found: Found) -> None:
        marker = found.marker
        if found.copy and self._file.is_file() and self._is_rubbish():
            self._run_dir.remove_file()
        if marker is not None and not found.copy and not found.foreign and not marker.before:
            if marker.facts["absent"]:
                self._run_dir.remove_file()
            elif found.doomed:  # it was there, and empty
                self._run_dir.empty_file()
            return
        if not (found.doomed or found.copy) or (self._file.exists() and self._removed(found)):
            return
        assert found.copy is not None
        with self._put_together(found, found.copy) as target:
            if not self._file.exists():
                self._run_dir.remove_file()  # a journal of another database would be taken for its own
                self._file.touch()
                shutil.copymode(found.copy, self._file)
            with closing(self.connect()) as connection:
                self._alone(lambda: copy(target, connection), readers=True)
                if _content(connection) != _content(target):
                    raise self.cannot_restore(found.copy, "something writes into it")

    def _removed(self, found: Found) -> bool:
        """Drop what is doomed. False, and nothing is done, if what was there before has to be restored."""
        with closing(self.connect()) as connection:
            if found.copy:
                connection.execute(f"ATTACH ? AS {IMAGE}", (_uri(found.copy),))
            self._alone(lambda: connection.execute("BEGIN IMMEDIATE"))
            try:
                hurt = set(drop(connection, found.doomed)) & {thing.name for thing in found.foreign}
                if not self._database.unsafe:
                    self._refuse_hurt(sorted(hurt))
                if found.copy and not is_as_in_image(connection, alone=not found.foreign):
                    return False
                if found.doomed:
                    self._alone(lambda: connection.execute("COMMIT"), readers=True)
                return True
            finally:
                connection.rollback()

    @contextmanager
    def _put_together(self, found: Found, copied: Path) -> Iterator[sqlite3.Connection]:
        """What was in the file before, and what is in it now and is nobody's to remove."""
        if not found.foreign:
            with closing(read_copy(copied)) as target:
                yield target
            return
        names = ", ".join(thing.name for thing in found.foreign)
        if any(thing.holds_data or thing.name.startswith("virtual") for thing in found.foreign):
            raise self.cannot_restore(copied, f"this is in it now as well: {names}")
        scratch = self._run_dir.scratch()
        with (
            closing(self.connect()) as source,
            closing(read_copy(copied)) as before,
            closing(connect(str(scratch))) as target,
        ):
            copy(before, target)
            add_definitions(target, source, list(found.foreign))
            yield target
        scratch.unlink()

    def is_right(self, marker: Marker) -> bool:
        """Whether what was there before this run is as it was."""
        copied = self._run_dir.copy_of(marker)
        if copied is None:
            return True
        with closing(self.connect()) as connection:
            connection.execute(f"ATTACH ? AS {IMAGE}", (_uri(copied),))
            return is_as_in_image(connection, alone=False)

    def connect(self) -> OurConnection:
        connection = connect(str(self._file))
        try:
            patiently(  # a hot journal is rolled back here
                lambda: connection.execute("PRAGMA schema_version").fetchone(),
                key=self._key,
                wait=self._database.wait,
                end=False,
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _alone(self, action: Any, *, readers: bool = False) -> None:
        patiently(action, key=self._key, wait=self._database.wait, end=True, readers=readers)

    # What is said of it

    @property
    def clean_line(self) -> str:
        return clean_line(shlex.quote(f"sqlite:///{self._file}"), unsafe=self._database.unsafe)

    def refusal(self, why: str, instead: str) -> UnsafeStoreError:
        return refusal(self._database.name, self._shown, why, instead)

    def _refuse_hurt(self, names: list[str]) -> None:
        if names:
            raise self.refusal(
                "what a run of these tests made cannot be removed, since others refer to it:\n  "
                + "\n  ".join(names),
                "Drop that, or remove all of it:  " + self.clean_line,
            )

    def cannot_restore(self, copied: Path | None, why: str) -> StoreError:
        where = "It was left as it is."
        if copied:
            where = f"What was in it before this run is in {copied}, a SQLite database."
        return StoreError(
            f"store {self._database.name!r}: {self._shown} cannot be restored: {why}.\n{where}\n"
            f"To restore it:  {self.clean_line}",
            store=self._database.name,
        )


def read_copy(path: Path) -> OurConnection:
    return connect(_uri(path))


def _uri(path: Path) -> str:
    return f"{path.as_uri()}?mode=ro&immutable=1"


def _content(connection: sqlite3.Connection) -> bytes:
    """All that a database is, whatever its journal."""
    content = pages(connection)
    return content[:18] + content[20:]
