"""A database of a worker's own: cloned from a template that one worker of the run has built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, nullcontext

from sqlalchemy import URL

from ...errors import ConfigurationError
from ...ownership import refuse_other_name
from ...workers import Worker
from ..sql.backend import Database
from ..sql.definition import Definition
from ..sql.urls import shown
from ..sql.worker_database import KEPT, Alone, derived_name
from .acquire import refuse_content
from .administration import BUILDING, MAKING, NEEDED, OWN, RUN, Administration
from .connection import OURS, Connection, quoted
from .content import TableName
from .likeness import digest


class Clone:
    """The database of one worker.

    Parameters:
        given: The URL that was given, which tells the server, the role and the name.
        name: What the worker's own is called.
        me: The worker.
    """

    needs_backend = False  # all of it goes at once
    why = "each worker has a database of its own"

    def __init__(self, given: URL, name: str, me: Worker) -> None:
        self.given, self._name, self._me = given, name, me
        self._administration = Administration(given, "database")
        self._template, self._definition = "", Definition("")
        self._like = ""  # what the given database holds, if the template is to outlive this run
        self._is_there = self._is_building = False
        self._examined: set[TableName] | None = None
        self._pattern = ""  # what it takes after: the given database, if that is there

    def check(self, store: str, *, unsafe: bool) -> None:
        """See Own.check.

        Raises:
            UnsafeStoreError: The given database is none for tests by its name.
            ConfigurationError: The role may not create databases, or the server has no room for a worker.
        """
        administration, name = self._administration, str(self.given.database)
        administration.store = store
        if not unsafe:
            refuse_other_name(store, shown(self.given), name)
        with administration.translating("reach the server"):
            may, role = administration.row(
                "SELECT rolsuper OR rolcreatedb, rolname FROM pg_roles WHERE rolname = current_user"
            )
            if not may:
                raise ConfigurationError(
                    f"store {store!r}: {self.why} beside {name!r}, and "
                    f"role {role!r} may not create databases. Allow it with:  "
                    f"ALTER ROLE {quoted(role)} CREATEDB"
                )
            self._pattern = name if administration.is_there(name) else ""

    def examine(self, database: Database, tables: Collection[TableName]) -> None:
        """See Own.examine. Our connection would be in the way of a worker that copies the given one.

        Raises:
            UnsafeStoreError: Something is in the way, or holds data of others.
        """
        if not self._pattern or (self._examined is not None and self._examined.issuperset(tables)):
            return
        every = (self._examined or set()).union(tables)
        administration = self._administration
        with administration.translating("look at the given database"):
            with (
                administration.locked(MAKING, "", shared=True),
                closing(Connection(database)) as connection,
            ):
                refuse_content(database, connection, every)
        self._examined = every

    def _refuse_full_server(self) -> None:
        """Every worker that is there, we too, may need its connections at any time."""
        most, others, workers = self._administration.row(
            "SELECT current_setting('max_connections')::int "
            "- current_setting('superuser_reserved_connections')::int "
            "- coalesce(current_setting('reserved_connections', true), '0')::int, "
            "(SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL "
            f" AND datname !~ '_protean_testing_' AND application_name <> '{OURS}'), "
            f"(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = {OWN})"
        )
        if most - others < workers * NEEDED:
            self._administration.close()
            raise ConfigurationError(
                f"store {self._administration.store!r}: the server allows {most} connections, {others} are "
                f"in use by others, and {workers} workers need {NEEDED} each: run fewer workers, or raise "
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
            with self.making(Definition(store), adopt=True, keep=False, alone=nullcontext):
                return
        with self._administration.translating("create the database of a worker of"):
            self._begin()
            self._administration.create(self._name, like=self._pattern)
            self._is_there = True

    @contextmanager
    def making(self, definition: Definition, *, adopt: bool, keep: bool, alone: Alone) -> Iterator[None]:
        """See Own.making. The first to come builds the template, and the others wait for it.

        Raises:
            StoreError: It could not be created.
            ConfigurationError: Another worker of this run makes another schema by the same URL.
        """
        administration, given = self._administration, str(self.given.database)
        kept = derived_name(given, KEPT, f"t_{_digest(administration.store)}")
        fleeting = derived_name(given, self._me.run, f"t_{_digest(definition.digest)}")
        self._template, self._definition = kept if keep else fleeting, definition
        with administration.translating("create the database of a worker of"):
            if not self._is_there:
                self._begin()
            if not keep and administration.is_there(kept):
                with administration.locked(BUILDING, kept):
                    administration.drop(kept)
            self._begin_building()
            self._like = digest(administration.content(given)) if keep and self._pattern else ""
        try:
            with administration.translating("create the database of a worker of"):
                if not (adopt and self._is_there):
                    self._create(given, adopt, alone)
                self._refuse_other_schema(given)
            yield
        finally:
            with administration.translating("end the building of a template"):
                self._end_building()

    def _begin_building(self) -> None:
        """Wait for whoever builds the template, and have others wait."""
        if not self._is_building:
            self._administration.lock(BUILDING, self._template)
            self._is_building = True

    def _end_building(self) -> None:
        if self._is_building:
            self._administration.unlock(BUILDING, self._template)
            self._is_building = False

    def _begin(self) -> None:
        """Say that this worker lives."""
        if self._administration.try_lock(RUN, self._me.run):
            self._forget_earlier_run()
            self._administration.unlock(RUN, self._me.run)
        self._administration.lock(RUN, self._me.run, shared=True)
        self._administration.lock(OWN, self._name)
        self._refuse_full_server()
        self._administration.sweep(self._me.run)

    def _forget_earlier_run(self) -> None:
        """One parent may start workers of one run after those of another: what it left is not of this run."""
        for found in self._administration.found():
            if found.run == self._me.run and found.is_template:
                self._administration.drop(found.name)
            elif found.run == KEPT:
                with self._administration.locked(BUILDING, found.name):
                    digest, opaque, run, store, like = _read(self._administration.comment(found.name))
                    if run == self._me.run:
                        self._administration.write_comment(
                            found.name, json.dumps([digest, opaque, "", store, like])
                        )

    def _create(self, given: str, adopt: bool, alone: Alone) -> None:
        if adopt and not self._pattern:
            raise ConfigurationError(
                f"store {self._administration.store!r}: adopt=True takes what is there, and there is no "
                f"database {given!r} on the server of its URL."
            )
        if adopt and not self._fits():
            self._build(given)
        fits = self._fits()
        if fits:
            self._administration.write_comment(self._template, self._facts())
        if not fits:
            if not self._is_there:
                self._administration.create(self._name, like=self._pattern)
        elif self._is_there:
            with alone():
                self._administration.drop(self._name)
                self._administration.create(self._name, template=self._template, like=self._pattern)
        else:
            self._administration.create(self._name, template=self._template, like=self._pattern)
        self._is_there = True
        if fits:  # each makes ready what it has copied beside the others
            self._end_building()

    def share(self, alone: Alone) -> None:
        """See Own.share.

        Raises:
            StoreError: What made the schema is still connected.
        """
        if self._definition.unclear:
            return  # nobody else would make the same, as far as can be told
        with alone(), self._administration.translating("clone the database of a worker of"):
            self._begin_building()
            self._build(self._name)
            self._refuse_other_schema(str(self.given.database))

    def _build(self, source: str) -> None:
        if self._administration.is_there(self._template):
            self._administration.drop(self._template)
        self._administration.create_template(self._template, source, self._facts())

    def _facts(self) -> str:
        """What is written down with a template: what has made it, and for which run."""
        what = self._definition
        return json.dumps([what.digest, what.opaque, self._me.run, self._administration.store, self._like])

    def _refuse_other_schema(self, given: str) -> None:
        """As one process would: of two schemas in one database, each must tell which tables it makes."""
        administration, what = self._administration, self._definition
        ours = [derived_name(given, run, f"t_{_digest('')}")[:-10] for run in (self._me.run, KEPT)]
        for found in administration.found():
            if found.name[:-10] not in ours:
                continue
            made_by, opaque, run, store, _ = _read(administration.comment(found.name))
            if made_by and made_by != what.digest and run == self._me.run and (opaque or what.opaque):
                raise ConfigurationError(
                    f"stores {store!r} and {administration.store!r} are one database, {given!r}, but have "
                    "different schemas, which cannot be told apart.\n"
                    "Give each a database of its own, or both the same schema."
                )

    def _fits(self) -> bool:
        """Whether the template is there, complete, and as it would be built now."""
        made_by, _, _, _, like = _read(self._administration.comment(self._template))
        return (made_by, like) == (self._definition.digest, self._like)

    def drop(self) -> None:
        """See Own.drop. The last worker of the run drops its templates too."""
        administration = self._administration
        if not administration.is_open:
            return
        self._is_there = False
        try:
            with administration.translating("drop the database of a worker of"):
                administration.renew()
                administration.drop(self._name)
                administration.unlock(RUN, self._me.run, shared=True)
                if administration.try_lock(RUN, self._me.run):
                    for found in administration.found():
                        if found.is_template and found.run == self._me.run:
                            administration.drop(found.name)
        finally:
            administration.close()


def _read(comment: str | None) -> tuple[str, bool, str, str, str]:
    """See Clone._facts; all of it is empty if there is none, or one of another version of ours."""
    try:
        digest, opaque, run, store, like = json.loads(comment or "")
    except ValueError:
        return "", False, "", "", ""
    return digest, opaque, run, store, like


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
