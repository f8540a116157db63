"""Whether a SQLite file may be used, what was in it before us, and leaving it as it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sqlalchemy import URL, Engine

from ...errors import ConfigurationError, LostStoreError, UnsafeStoreError
from ...ownership import Marker, examine, refuse_other_name
from ...waiting import turns
from ..sql.backend import Database
from .content import identities, things
from .file_content import FileContent, Found, read_copy
from .location import Location, location_of
from .run_directory import JOURNALS, RunDirectory

_FREE = "Wait for it to end, or give this run a file of its own."


class TestFile:
    """A file that a run uses for its tests.

    Parameters:
        file: Where it is.
        location: The same, with what connects to it.
        database: What the user said about it.
    """

    __test__ = False

    def __init__(self, file: Path, location: Location, database: Database) -> None:
        self._file, self._database = file.resolve(), database
        self._shown = str(file) if file == self._file else f"{file}, which is {self._file}"
        self._run_dir = RunDirectory(self._file)
        self._content = FileContent(self._file, self._shown, self._run_dir, location.key, database)
        self._marker: Marker | None = None
        self._there: frozenset[str] = frozenset()  # before the next schema is made
        self._is_late: bool | None = None  # written to after the death of the run before
        self._trusted = database.unsafe or database.private
        self._is_ours = database.adopt and database.private  # a worker's copy of a given file

    @classmethod
    def at(cls, file: Path, *, private: bool = False, unsafe: bool = False) -> TestFile:
        """One that no store uses."""
        name = "database"
        url = URL.create("sqlite", database=str(file))
        database = Database(name=name, url=url, engine=_no_engine, private=private, unsafe=unsafe)
        return cls(file, location_of(url, name), database)

    @property
    def fleeting(self) -> bool:
        """Whether it came into being with this run, so that nothing of it need survive."""
        return self._marker is not None and bool(self._marker.facts["absent"])

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        """See Backend.check."""
        name, file = self._database.name, self._file
        self._refuse_other_name()
        if not file.parent.is_dir():
            raise ConfigurationError(f"store {name!r}: there is no directory {file.parent} for its file.")
        if not os.access(file.parent, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
            raise ConfigurationError(
                f"store {name!r}: {self._shown} cannot be written, or its directory, which SQLite needs too."
            )
        if self._run_dir.is_in_use():
            raise self._in_use()
        if self._database.adopt and not self._content.is_there() and self._found(()).copy is None:
            raise ConfigurationError(
                f"store {name!r} adopts a schema that exists, but there is no database in {file}."
            )
        if not self._trusted and self._run_dir.other_links() > 0:
            raise self._content.refusal(
                "it has another name (a hard link), which may not be one for tests.",
                "Give it a file that is a copy, or pass unsafe=True if losing this data is fine.",
            )
        self._found(tables)
        if self._marker is not None:
            self._there = identities(self._content.things_there())

    def examine(self, tables: Collection[tuple[str | None, str]]) -> None:
        """Refuse what is in the way of a run in a file that is only copied.

        A run that is at work there answers for what it found. What a killed one owes is restored first, by
        the first worker that comes: else it would be copied as that run left it.
        """
        if self._database.adopt:
            self._restore_owed()
        if not self._run_dir.is_in_use():
            self._found(tables)

    def _restore_owed(self) -> None:
        for _ in turns(self._database.wait):  # another worker may be at it
            if self._run_dir.marker() is None:
                return
            if self._run_dir.acquire():
                break
        else:
            return
        try:
            found = self._found(())
            if found.copy:
                self._content.restore(found)
                self._run_dir.remove()
        finally:
            self._run_dir.release()

    def acquire(self) -> bool:
        """Take the file for this run; restore and remove what a dead run left.

        Returns:
            Whether the schema is there already, as `Database.definition` has made it, with its data.
        """
        try:
            acquired = self._run_dir.acquire()
        except OSError as error:
            what = f"store {self._database.name!r}: nothing can be written beside {self._shown}"
            raise ConfigurationError(f"{what}: {error.strerror}.") from None
        if not acquired:
            raise self._in_use()
        last = self._run_dir.marker()
        if last is not None and self._is_kept(last):
            self._begin(last.made, kept=last)
            return True
        found = self._found(self._database.tables)
        if found.copy:
            self._run_dir.watch()  # also if we are killed while we restore
        self._content.restore(found)
        self._begin(frozenset())
        return False

    def created(self) -> None:
        """Write down what creating the schema has made: nothing else is removed without being asked."""
        if self._marker is None or (self._database.adopt and not self._is_ours):
            return
        self._file.touch()  # whoever connects would do so; now it can be linked
        made = identities(self._content.things_there()) - self._there
        marker = self._marker.having_made(made)
        self._marker = self._run_dir.write(marker if marker.facts["linked"] else self._run_dir.linked(marker))

    def was_replaced(self) -> None:
        """A test had put another file in its place, which is restored by now."""
        if self._marker is not None and self._run_dir.is_held:
            self._marker = self._run_dir.write(self._run_dir.linked(self._marker))

    def keep(self) -> bool:
        """Leave the file as it is for the next run. False where somebody is still at work in it."""
        if self._marker is None or not self._run_dir.is_held:
            return False
        with closing(self._content.connect()) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy or self._run_dir.proof(self._marker) != "itself" or not self._content.is_right(self._marker):
            return False
        facts = {**self._marker.facts, "copied": False, "kept": self._fingerprint()}
        self._run_dir.write(replace(self._marker, facts=facts))
        self._run_dir.path_of_copy(facts["name"]).unlink(missing_ok=True)
        self._marker = None
        self._run_dir.release()
        return True

    def drop(self) -> None:
        """Remove what creating the schema has made; the file, if it was not there and nothing else is in it.

        Raises:
            StillOpen: Somebody is in the way.
            StoreError: What was there before cannot be restored. Its copy stays.
        """
        marker = self._marker
        if marker is None or self._run_dir.is_inherited:
            return
        if not self._run_dir.is_held:
            raise LostStoreError(
                f"store {self._database.name!r}: {self._run_dir.directory} was removed while the run used "
                f"{self._shown}, so it is not known whether another run has it now. It was left as it is.",
                store=self._database.name,
            )
        proof = self._run_dir.proof(marker)
        if proof in ("replaced", "copied"):
            copy_of = self._run_dir.copy_of(marker)
            self._marker = None
            if copy_of is None:
                self._run_dir.remove()
            raise self._content.cannot_restore(copy_of, "another file has come into its place")
        now = self._content.things_there(has_copy=self._run_dir.copy_of(marker) is not None)
        doomed = tuple(now) if self._is_ours else tuple(t for t in now if t.identity in marker.made)
        foreign = tuple(t for t in now if t not in doomed and t.identity not in marker.before)
        self._content.restore(Found(marker, self._run_dir.copy_of(marker), doomed, foreign))
        self._marker = None
        self._run_dir.remove()

    def abandon(self) -> None:
        """Let the file go with what is in it: the next run finds the marker, if there is one."""
        if self._run_dir.is_held and self._run_dir.marker() is None and not self._run_dir.is_damaged:
            self._run_dir.remove()
        elif self._run_dir.is_held:
            self._run_dir.release()

    # After a run that was killed

    @property
    def file(self) -> Path:
        """Where it is, without any symbolic link on the way."""
        return self._file

    @property
    def is_in_use(self) -> bool:
        """Whether a live run has it."""
        return self._run_dir.is_in_use()

    def refuse_in_use(self) -> None:
        """See Leftovers.refuse_in_use."""
        self._refuse_other_name()
        if self._run_dir.is_in_use():
            raise self._in_use()

    def left_over(self) -> list[str]:
        """See Leftovers.listed."""
        marker = self._run_dir.marker()
        if marker is None:
            copies = [f"{path}, a copy of what was in the file: removed" for path in self._run_dir.copies()]
            return [str(self._run_dir.directory), *copies] if self._run_dir.directory.is_dir() else []
        lines = [] if marker.facts.get("kept") else [f"the marker of a run that was killed ({marker})"]
        found = self._all_of_it(marker)
        if found.copy is not None:
            instead = (
                ", in place of the other file there" if self._run_dir.proof(marker) == "replaced" else ""
            )
            lines.append(f"what was in {self._file} before, from {found.copy}{instead}: restored")
        lines += [f"{thing.name}{'' if thing.holds_data else ' (empty)'}: removed" for thing in found.doomed]
        return lines or [f"the marker of a kept schema ({marker})"]

    def remove_left_over(self) -> None:
        """See Leftovers.remove."""
        if not self._run_dir.directory.is_dir():
            return
        if not self._run_dir.acquire():
            raise self._in_use()
        marker = self._run_dir.marker()
        if marker is not None:
            self._content.restore(self._all_of_it(marker))
        self._run_dir.remove()

    def remove_if_ours(self) -> None:
        """Remove a dead worker's own file, if it is proven to be that, and empty or of its making."""
        if not self._run_dir.directory.is_dir() or not self._run_dir.acquire():
            return
        marker = self._run_dir.marker()
        try:
            if marker is not None and self._file.exists():
                proof = self._run_dir.proof(marker)
                is_rowless = proof == "unlinked" and not any(
                    thing.holds_data for thing in self._content.things_there()
                )
                if not marker.facts.get("absent") or not (proof == "itself" or is_rowless):
                    return
                self._run_dir.remove_file()
            self._run_dir.remove()
        finally:
            self._run_dir.release()

    def _all_of_it(self, marker: Marker) -> Found:
        """What goes if the user has said so: all that was not there before."""
        copied = self._run_dir.copy_of(marker)
        proof = self._run_dir.proof(marker)
        if proof == "replaced":
            return Found(marker, copied) if copied else Found()
        kept = marker.facts.get("kept")
        there = self._content.things_there(has_copy=copied is not None)
        now = [thing for thing in there if not kept or thing.identity in marker.made]
        return Found(marker, copied, tuple(t for t in now if t.identity not in marker.before))

    # What is there

    def _found(self, tables: Iterable[tuple[str | None, str]]) -> Found:
        """Decide what of the file goes before a run begins. Nothing is touched.

        Raises:
            UnsafeStoreError: What is there is not ours.
            ConfigurationError: It is no database.
        """
        planned = [name for schema, name in tables if schema in (None, "main")]
        marker = self._run_dir.marker() if self._marker is None else None  # else a second store joins
        copied, identity = None, ""
        if self._marker is None and self._run_dir.is_damaged and not self._trusted:
            raise self._refuse_damaged()
        if marker is not None:
            copied, proof = self._run_dir.copy_of(marker), self._run_dir.proof(marker)
            identity = "" if proof == "copied" else marker.identity
            if proof == "replaced" and copied and not self._trusted:
                raise self._content.refusal(
                    f"it is another file than the one that a killed run used ({marker}). What was in that "
                    f"one before is in {copied}.",
                    f"To put that in its place:  {self._content.clean_line}\n"
                    f"To leave this file:  remove {copied.parent}",
                )
            if copied and proof == "itself" and not self._trusted:
                self._refuse_late(marker, copied)
            if self._trusted and proof in ("replaced", "copied"):
                marker, copied = None, None
            elif proof in ("gone", "replaced") and not copied:
                marker = None
            elif proof == "copied" and not (copied or self._content.is_there()):
                marker = None
            elif proof == "unlinked":  # nothing was made yet, or nothing proves that it is in this file
                marker = replace(marker, made=frozenset())
        now = self._content.things_there(planned, has_copy=copied is not None)
        if copied:
            self._run_dir.was_opened()
        if marker is not None and marker.facts.get("kept"):  # whatever came since, came after its end
            marker = replace(marker, before=identities(now) - marker.made)
            marker = replace(marker, was_empty=not marker.before)
        if self._marker is not None:
            now = [thing for thing in now if thing.identity not in self._marker.made]
        content = now
        if marker is not None and copied is not None:
            with closing(read_copy(copied)) as connection:
                before = [t for t in things(connection, planned) if t.identity in marker.before]
            content = [thing for thing in now if thing.identity not in marker.before] + before
        doomed = examine(
            [] if self._database.adopt and marker is None else content,
            marker,
            identity=identity,
            store=self._database.name,
            where=self._shown,
            clear=self._content.clean_line,
            unsafe=self._trusted,
            only_rows=not planned and not self._database.adopt,
        )
        gone = identities(doomed)
        known = frozenset[str]() if marker is None or marker.facts.get("kept") else marker.before
        foreign = tuple(thing for thing in now if thing.identity not in gone | known)
        return Found(marker, copied, tuple(doomed), foreign)

    def _is_kept(self, marker: Marker) -> bool:
        facts = marker.facts
        if not (self._database.definition and facts.get("kept")):
            return False
        return self._run_dir.proof(marker) == "itself" and bool(facts["kept"] == self._fingerprint())

    def _fingerprint(self) -> list[str] | None:
        """By what the schema was made, and all that is in the file; None where there is more beside it."""
        beside = (self._file.with_name(self._file.name + ending) for ending in JOURNALS[:2])
        if not self._content.is_there() or any(one.exists() and one.stat().st_size for one in beside):
            return None
        with open(self._file, "rb") as file:
            return [self._database.definition, hashlib.file_digest(file, "sha256").hexdigest()]

    # Before and after

    def _begin(self, made: frozenset[str], kept: Marker | None = None) -> None:
        """Write the marker of this run; before that, copy what is there and not ours."""
        there = self._content.things_there()
        before = [thing for thing in there if thing.identity not in made]
        exists, name = self._file.exists(), self._run_dir.new_name()
        absent = kept.facts["absent"] if kept is not None else not exists
        is_empty = (kept is not None and not before) or not self._content.is_there()
        if self._is_ours:
            before, absent, is_empty = [], True, True
        facts = {} if is_empty else {"wal": self._content.has_wal()}
        if not is_empty:
            self._run_dir.watch()
            self._content.copy_beside(name, [thing for thing in there if thing.identity in made])
        marker = self._run_dir.begin(
            name,
            set(identities(before)),
            absent=absent,
            copied=not is_empty,
            **facts,
        )
        self._marker = marker if not made else self._run_dir.write(marker.having_made(made))
        self._there = identities(before)

    # What is said of it

    def _refuse_other_name(self) -> None:
        file = self._file
        if not self._trusted:
            refuse_other_name(self._database.name, self._shown, file.stem, what="file", end=file.suffix)

    def _refuse_damaged(self) -> UnsafeStoreError:
        directory, copies = self._run_dir.directory, self._run_dir.copies()
        before = "".join(f"\nWhat was in the file before that run is in {path}" for path in copies)
        return self._content.refusal(
            f"the marker of the run that used it last, in {directory}, cannot be read.{before}",
            f"If the file is as it should be:  remove {directory}",
        )

    def _in_use(self) -> UnsafeStoreError:
        marker = self._run_dir.marker()
        who = "a run that is just starting" if marker is None else str(marker)
        if marker is not None and marker.is_this_run:
            who = f"this very process ({marker})"
        return UnsafeStoreError(
            f"{self._shown} is in use by {who}: two runs in one file would destroy each other's data. {_FREE}"
        )

    def _refuse_late(self, marker: Marker, copied: Path) -> None:
        """Refuse what somebody has written since the run was killed: to restore would undo it."""
        if self._is_late is None:  # known before the file is opened
            self._is_late = self._run_dir.was_written_since()
        if self._is_late:
            raise self._content.refusal(
                f"it was written to after a run that was killed ({marker}) had ended. What was there before "
                f"that run is in {copied}; to restore it would undo what was written since.",
                f"To restore it:  {self._content.clean_line}\n"
                f"To keep what is there now:  remove {copied.parent}",
            )


def _no_engine() -> Engine:
    raise AssertionError("nobody uses this database")
