"""In a worker process a given database stays as it is: it stands for one of the worker's own beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from sqlalchemy import URL

from ...workers import Worker
from .backend import Database
from .definition import Definition

LONGEST = 63  # bytes of a PostgreSQL name
MARK = "_protean_testing_"

KEPT = "kept"
"""Stands for the run in the name of a template that stays."""

DERIVED = re.compile(
    rf"{MARK}([0-9a-f]{{10}}|{KEPT})_(?:(t_)[0-9a-f]{{10}}|[a-z0-9_]{{1,8}}_\d+(?:_empty)?)$"
)
"""The end of a derived name: its run, and ``t_`` for a template. A copy of one has more at its end."""

Alone: TypeAlias = Callable[[], AbstractContextManager[None]]


class Own(Protocol):
    """A database of this worker's own, from before its schema is made until its place is closed.

    Attributes:
        needs_backend: Its backend must drop what came into it, and lets go of it by that.
        given: The URL that was given.
    """

    needs_backend: bool
    given: URL

    def reserve(self, store: str, *, copy: bool = False) -> None:
        """Make it now, empty or as a copy of the given one: something connects to it before the rest."""

    def check(self, store: str, *, unsafe: bool) -> None:
        """Refuse, before anything is made: no test database by the given name, or nobody may make one."""

    def examine(self, database: Database, tables: Collection[tuple[str | None, str]]) -> None:
        """Refuse what a run of one process in the given database would refuse. Nothing there is touched.

        Parameters:
            database: The given one.
            tables: As for `Backend.check`.
        """

    def making(
        self, definition: Definition, *, adopt: bool, keep: bool, alone: Alone
    ) -> AbstractContextManager[None]:
        """Make it, as a copy of what another worker has made by the same definition, else empty; inside,
        the schema is made in it.

        Parameters:
            definition: What makes the schema.
            adopt: It is a copy of the given one.
            keep: What other workers copy stays for the next run.
            alone: While nobody of this process is connected to it.
        """

    def share(self, alone: Alone) -> None:
        """Inside of `making`, the schema was made: let other workers copy it, if they would make the same."""

    def drop(self) -> None:
        """Remove it. Harmless if there is none."""


def worker_database_name(given: str, me: Worker) -> str:
    """The name of a worker's own database, plainly one for tests."""
    return derived_name(given, me.run, me.label)


def derived_name(given: str, run: str, label: str) -> str:
    """Derive a name that begins as the given one does, as far as there is room."""
    end = f"{MARK}{run}_{label}"
    name, room = given.encode(), LONGEST - len(end)
    if len(name) > room:
        digest = hashlib.sha256(name).hexdigest()[:8]
        name = name[: room - 9].decode(errors="ignore").encode() + f"_{digest}".encode()
    return name.decode() + end
