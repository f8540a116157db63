"""A database of a worker's own: cloned from a template that one worker of the run has built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

from sqlalchemy import URL

from ...errors import ConfigurationError
from ...ownership import refuse_other_name
from ...workers import Worker
from ..own import Alone, derived_name
from ..urls import shown
from ..witness import unchanged
from .connection import OURS, quoted
from .meeting import BUILDING, KEPT, NEEDED, OWN, RUN, Meeting


class Clone:
    """The database of one worker.

    Parameters:
        given: The URL that was given, which tells the server, the role and the name.
        name: What the worker's own is called.
        me: The worker.
    """

    needs_keeper = False  # all of it goes at once
    why = "each worker has a database of its own"

    def __init__(self, given: URL, name: str, me: Worker) -> None:
        self._given, self._name, self._me = given, name, me
        self._meeting = Meeting(given, "database")
        self._template = self._definition = ""
        self._is_there = False

    def check(self, store: str, *, unsafe: bool) -> None:
        """See Own.check.

        Raises:
            UnsafeStoreError: The given database is none for tests by its name.
            ConfigurationError: The role may not create databases, or the server has no room for a worker.
        """
        meeting, name = self._meeting, str(self._given.database)
        meeting.store = store
        if not unsafe:
            refuse_other_name(store, shown(self._given), name)
        with meeting.told("reach the server"):
            may, role = meeting.row(
                "SELECT rolsuper OR rolcreatedb, rolname FROM pg_roles WHERE rolname = current_user"
            )
            if not may:
                raise ConfigurationError(
                    f"store {store!r}: {self.why} beside {name!r}, and "
                    f"role {role!r} may not create databases. Allow it with:  "
                    f"ALTER ROLE {quoted(role)} CREATEDB"
                )
            if not meeting.is_there(name):
                raise ConfigurationError(
                    f"store {store!r}: there is no database {name!r} on the server of its URL. "
                    "Create it: the workers' own take after it."
                )

    def _refuse_full_server(self) -> None:
        """Every worker that is there, we too, may need its connections at any time."""
        most, others, workers = self._meeting.row(
            "SELECT current_setting('max_connections')::int "
            "- current_setting('superuser_reserved_connections')::int "
            "- coalesce(current_setting('reserved_connections', true), '0')::int, "
            "(SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL "
            f" AND datname !~ '_protean_testing_' AND application_name <> '{OURS}'), "
            f"(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = {OWN})"
        )
        if most - others < workers * NEEDED:
            self._meeting.close()
            raise ConfigurationError(
                f"store {self._meeting.store!r}: the server allows {most} connections, {others} are in use "
                f"by others, and {workers} workers need {NEEDED} each: run fewer workers, or raise "
                "max_connections."
            )

    def reserve(self, store: str, *, copy: bool = False) -> None:
        """See Own.reserve.

        Raises:
            ConfigurationError, StoreError: It cannot be created.
        """
        if self._is_there:
            return
        self.check(store, unsafe=True)
        if copy:
            with self.making(store, adopt=True, keep=False, alone=nullcontext):
                return
        with self._meeting.told("create the database of a worker"):
            self._begin()
            self._meeting.create(self._name, like=str(self._given.database))
            self._is_there = True

    @contextmanager
    def making(self, definition: str, *, adopt: bool, keep: bool, alone: Alone) -> Iterator[None]:
        """See Own.making. The first to come builds the template, and the others wait for it.

        Raises:
            StoreError: It could not be created.
        """
        meeting, given = self._meeting, str(self._given.database)
        kept = derived_name(given, KEPT, f"t_{_digest(meeting.store)}")
        fleeting = derived_name(given, self._me.run, f"t_{_digest(definition)}")
        self._template, self._definition = kept if keep else fleeting, definition
        with meeting.told("create the database of a worker"):
            if not self._is_there:
                self._begin()
            if not keep and meeting.is_there(kept):
                with meeting.locked(BUILDING, kept):
                    meeting.drop(kept)
            meeting.lock(BUILDING, self._template)
        try:
            with meeting.told("create the database of a worker"):
                if not (adopt and self._is_there):
                    self._create(given, adopt, alone)
            yield
        finally:
            with meeting.told("end the building of a template"):
                meeting.unlock(BUILDING, self._template)

    def _begin(self) -> None:
        """Say that this worker lives."""
        self._meeting.lock(RUN, self._me.run, shared=True)
        self._meeting.lock(OWN, self._name)
        self._refuse_full_server()
        self._meeting.sweep(self._me.run)

    def _create(self, given: str, adopt: bool, alone: Alone) -> None:
        if adopt and not self._fits():
            self._build(given, {})
        if not self._fits():
            if not self._is_there:
                self._meeting.create(self._name, like=given)
        elif self._is_there:
            with alone():
                self._meeting.drop(self._name)
                self._meeting.create(self._name, template=self._template, like=given)
        else:
            self._meeting.create(self._name, template=self._template, like=given)
        self._is_there = True

    def share(self, seen: Mapping[str, str], alone: Alone) -> None:
        """See Own.share.

        Raises:
            StoreError: What made the schema is still connected.
        """
        with alone(), self._meeting.told("clone the database of a worker"):
            self._build(self._name, seen)

    def _build(self, source: str, seen: Mapping[str, str]) -> None:
        if self._meeting.is_there(self._template):
            self._meeting.drop(self._template)
        self._meeting.create_template(self._template, source, json.dumps([self._definition, seen]))

    def _fits(self) -> bool:
        """Whether the template is there, complete, and as it would be built now."""
        comment = self._meeting.comment(self._template)
        definition, seen = json.loads(comment) if comment else ("", {})
        return bool(definition == self._definition and unchanged(seen))

    def drop(self) -> None:
        """See Own.drop. The last worker of the run drops its templates too."""
        meeting = self._meeting
        if not meeting.is_open:
            return
        self._is_there = False
        try:
            with meeting.told("drop the database of a worker"):
                meeting.drop(self._name)
                meeting.unlock(RUN, self._me.run, shared=True)
                if meeting.try_lock(RUN, self._me.run):
                    for found in meeting.found():
                        if found.is_template and found.run == self._me.run:
                            meeting.drop(found.name)
        finally:
            meeting.close()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
