"""Whether a SQLite file may be used, what was in it before us, and leaving it as it was."""

from __future__ import annotations

import hashlib
import os
import platform
import sqlite3
from collections.abc import Collection
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from ... import ownership
from ...errors import ConfigurationError, UnsafeStoreError
from ...ownership import refuse_other_name
from ..keeper import Database
from ..witness import unchanged
from .image import Busy, copy
from .open_transactions import patiently
from .own import sweep
from .place import Place, connect
from .rows import quoted

_BESIDE = ("", "-journal", "-wal", "-shm")


class TestFile:
    """A file that a run uses for its tests.

    Parameters:
        file: Where it is.
        place: How it is reached.
        database: What the user said about it.
    """

    __test__ = False

    def __init__(self, file: Path, place: Place, database: Database) -> None:
        self._file, self._place, self._database = file, place, database
        self._name = f"{platform.node()}:{place.key}"
        self._claim: ownership.Claim | None = None
        self._created = False
        self._before: set[tuple[str, str]] = set()

    @property
    def ours(self) -> bool:
        """Whether it came into being with this run, or with one before it that died."""
        return self._created

    def check(self, tables: Collection[tuple[str | None, str]]) -> None:
        """See Keeper.check."""
        name, file = self._database.name, self._file
        if self._claim is None:
            left = ownership.left_over(self._name)
        else:  # a second store joins
            left = {"created": self._created, "before": sorted(self._before)}
        if not file.parent.is_dir():
            raise ConfigurationError(f"store {name!r}: there is no directory {file.parent} for its file.")
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise ConfigurationError(f"store {name!r}: {file} cannot be written.")
        if self._database.adopt and _absent(file):
            raise ConfigurationError(
                f"store {name!r} adopts a schema that exists, but there is no database in {file}."
            )
        if _absent(file) or (left or {}).get("created"):
            return
        trusted = self._database.unsafe or self._database.private
        if not trusted:
            refuse_other_name(name, file, file.stem, what="file", end=file.suffix)
        try:
            with closing(connect(self._place.source)) as connection:
                others = _meant(tables) & self._tables_of_others(connection, left or {})
                for table in sorted(() if trusted or self._database.adopt else others):
                    if connection.execute(f"SELECT 1 FROM main.{quoted(table)} LIMIT 1").fetchone():
                        raise UnsafeStoreError(
                            f"refusing to drop tables in store {name!r} ({file}): table {quoted(table)} "
                            "holds rows that no run of these tests has made.\n"
                            "Point it at another file, or pass unsafe=True if losing them is fine."
                        )
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"store {name!r}: {file} cannot be read: {error}.") from None

    def claim(self) -> bool:
        """Take the file for this run; remove what a dead run left, and stale tables.

        Returns:
            Whether the schema is there already, as `Database.definition` has made it, with its data.
        """
        if not self._database.private:
            sweep(self._file)
        self._claim = ownership.claim(self._name)
        facts = self._claim.facts
        if self._is_kept(facts):
            self._created = facts["created"]
            self._before = {(kind, name) for kind, name in facts["before"]}
            self._claim.remember(created=self._created, before=sorted(self._before))
            return True
        if facts.get("created") and not self._database.adopt:
            self._remove()
        self._created = _absent(self._file) and not self._database.adopt
        before: set[tuple[str, str]] = set()
        if not self._created:
            with closing(self._place.connect()) as connection:
                before = others(connection, () if self._database.adopt else self._database.tables)
            before &= {(kind, name) for kind, name in facts.get("before", before)}
        self._before = before
        self._claim.remember(created=self._created, before=sorted(before))
        if not self._created and not self._database.adopt:
            drop_others(self._place, before, wait=self._database.wait)
        return False

    def keep(self) -> bool:
        """Leave the file as it is for the next run. False where somebody is still at work in it."""
        if self._claim is None or not self._claim.owned:
            return False
        with closing(self._place.connect()) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            return False
        kept, seen = self._looks(), self._database.seen
        self._claim.remember(created=self._created, before=sorted(self._before), kept=kept, seen=seen)
        self._claim.abandon()
        return True

    def _is_kept(self, facts: dict[str, Any]) -> bool:
        if not (self._database.definition and facts.get("kept") and unchanged(facts["seen"])):
            return False
        self._database.seen.update(facts["seen"])
        return bool(facts["kept"] == self._looks())

    def _looks(self) -> list[str] | None:
        """By what the schema was made, and all that is in the file; None where there is more beside it."""
        beside = (self._file.with_name(self._file.name + ending) for ending in ("-journal", "-wal"))
        if _absent(self._file) or any(not _absent(one) for one in beside):
            return None
        with open(self._file, "rb") as file:
            return [self._database.definition, hashlib.file_digest(file, "sha256").hexdigest()]

    def drop(self) -> None:
        """Remove all that came since `claim`; the file, if it was not there."""
        if self._claim is None or not self._claim.owned:
            return
        if not self._database.adopt:
            if self._file.exists():
                drop_others(self._place, self._before, wait=self._database.wait)
            if self._created:
                self._remove()
        self._claim.release()

    def abandon(self) -> None:
        """Let the claim go without a drop."""
        if self._claim is not None:
            self._claim.abandon()

    @staticmethod
    def _tables_of_others(connection: sqlite3.Connection, left: dict[str, Any]) -> set[str]:
        found = objects(connection)
        before = {(kind, name) for kind, name in left.get("before", found)}
        return {name for kind, name in found if kind == "table" and (kind, name) in before}

    def _remove(self) -> None:
        for ending in _BESIDE:
            self._file.with_name(self._file.name + ending).unlink(missing_ok=True)


_KINDS = ("view", "trigger", "virtual table", "table", "index")  # a virtual table takes others with it


def objects(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """(kind, name) of all that is in the schema, in an order in which it can be dropped."""
    rows = connection.execute(
        "SELECT iif(sql LIKE 'CREATE VIRTUAL%', 'virtual table', type), name FROM main.sqlite_schema "
        "WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name LIKE 'sqlite\\_stat_' ESCAPE '\\'"
    ).fetchall()
    return sorted(rows, key=lambda row: _KINDS.index(row[0]))


def others(
    connection: sqlite3.Connection, tables: Collection[tuple[str | None, str]]
) -> set[tuple[str, str]]:
    """(kind, name) of what is in the schema, without tables that are about to be created."""
    return set(objects(connection)) - {("table", name) for name in _meant(tables)}


def drop_others(place: Place, before: Collection[tuple[str, str]], *, wait: float) -> None:
    """Drop every table, view, index and trigger but those of `before`.

    Raises:
        StillOpen: Somebody is in the way.
    """
    alone = partial(patiently, key=place.key, wait=wait, end=True)
    connection, _ = alone(place.connect)
    with closing(connection):
        if not before:
            if not connection.execute("PRAGMA main.page_count").fetchone()[0]:
                return
            with suppress(Busy, sqlite3.Error), closing(connect(":memory:")) as nothing:
                copy(nothing, connection)
        alone(lambda: connection.execute("BEGIN IMMEDIATE"))
        while ours := [found for found in objects(connection) if found not in before]:
            kind, name = ours[0]
            connection.execute(f"DROP {kind.removeprefix('virtual ')} main.{quoted(name)}")
        alone(lambda: connection.execute("COMMIT"), readers=True)


def _absent(file: Path) -> bool:
    return not file.exists() or file.stat().st_size == 0


def _meant(tables: Collection[tuple[str | None, str]]) -> set[str]:
    return {name for schema, name in tables if schema in (None, "main")}
