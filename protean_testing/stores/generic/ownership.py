"""Own a database for a run: refuse what is not ours, write down what is there before, and restore it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ...errors import ConfigurationError, StoreError, UnsafeStoreError
from ...ownership import Marker, clean_line, examine, new_marker, refuse_other_name
from ...ownership import Thing as Content
from ...ownership.examine import VERSION_TABLES
from ...ownership.marker import RUN
from ..sql.backend import Database, warn_of_rescued
from . import marker_table, mysql, mysql_schema, rows, schema
from .rows import Copy, Key, Table
from .schema import Thing, identified, named, shown
from .session import Session

_SHOWN = 10


class Ownership:
    """Owns one database for a run.

    Parameters:
        database: Where it is, and what may be done to it.

    Attributes:
        session: To work over.
        marker: What this run has written; None if the database is not its own.
        copies: The rows of what was there before.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.session = Session(database, self._regain)
        self.marker: Marker | None = None
        self.copies: dict[Key, Copy] = {}
        self._session_id: object = None

    # Before anything is touched

    def check(self, tables: Collection[Key]) -> None:
        """Refuse what is not plainly a test's, in use, in the way, or not to be restored."""
        if self.marker is not None:
            return
        self.refuse_name_or_absence()
        self._refuse_without_inspection()
        with self.session.translating("check"):
            found = self.dead_run()
            doomed = self._doomed(found.marker if found else None, tables)
            self._refuse_what_cannot_be_restored(doomed)

    def refuse_name_or_absence(self) -> None:
        """Refuse a database that is not plainly a test's by its name, or does not answer."""
        if not (self.database.private or self.database.unsafe):
            self._refuse_other_names()
        try:
            self.session.connection()
        except DBAPIError as error:
            raise ConfigurationError(
                f"store {self.database.name!r} cannot be reached: {self.session.said(error)}"
            ) from None

    def _refuse_without_inspection(self) -> None:
        """Refuse a dialect that cannot say what is there, before anything is made."""
        if self.database.url.get_backend_name() in ("mysql", "mariadb", "postgresql", "mssql", "oracle"):
            return  # SQLAlchemy's own can
        try:
            with self.session.transaction() as connection:
                schema.definitions(connection, [None])
                rows.reflected(connection, [None], ())
        except (DBAPIError, NotImplementedError) as error:
            if getattr(error, "connection_invalidated", False):
                raise
            why = self.session.said(error) if isinstance(error, DBAPIError) else f"{error}"
            raise ConfigurationError(
                f"store {self.database.name!r}: the dialect {self.database.url.drivername!r} cannot say "
                f"what is in its database, so nothing in it could be restored. Nothing was made.\n{why}\n"
                "Keep these tables in SQLite or PostgreSQL for the tests, or clear them in a "
                "CallableStore(...)."
            ) from None

    def _refuse_other_names(self) -> None:
        name, url = self.database.url.database or "", self.database.url
        if self.session.is_mysql or url.host is not None:
            names = marker_table.locations(self.database) if self.session.is_mysql else [name]
        else:  # a file, also what a link leads to
            names = (
                [] if name.startswith(":memory:") else sorted({Path(name).stem, Path(name).resolve().stem})
            )
        for one in names:
            refuse_other_name(self.database.name, self.database.shown, one)

    def dead_run(self) -> marker_table.Found | None:
        """What a run has written here that does not live any more.

        Raises:
            UnsafeStoreError: It lives, or it cannot be read.
        """
        with self.session.transaction() as connection:
            found = marker_table.read(connection)
            is_alive = marker_table.is_alive(connection, self.database, found)
        if is_alive:
            raise self.database.refusal(
                f"it is in use by another run ({found or 'which is just beginning'}), and two runs in one "
                "database would destroy each other's data.",
                "Wait for it to end, or give this run a database of its own."
                + ("" if self.session.is_mysql else f" If it is long gone:  DROP TABLE {marker_table.NAME}"),
            )
        if found is not None and not found.is_ours:
            raise self.database.refusal(
                f"there is a table {marker_table.NAME}, which this version of the library did not make.",
                f"If no run is using it:  DROP TABLE {marker_table.NAME}",
            )
        if found is not None and found.marker is not None:
            self.session.runs.add(found.marker.run)
            self.session.more_schemas |= set(found.marker.facts.get("schemas", ()))
        return found

    def _doomed(self, marker: Marker | None, tables: Collection[Key]) -> list[Thing]:
        """What is dropped before a run begins, none of which is anybody else's."""
        if self.database.private:
            return []
        content = self.content(marker, tables)
        with self.session.transaction() as connection:
            identity = marker_table.identity(connection, self.database) if marker else ""
        found = examine(
            content.values(),
            marker,
            identity=identity,
            store=self.database.name,
            where=self.database.shown,
            clear=clean_line(self.database.shown),
            unsafe=self.database.unsafe,
            only_rows=not tables and not self.database.adopt,
        )
        if self.database.adopt:  # nothing is in its way
            found = [one for one in found if marker is not None and one.identity in marker.made]
        doomed = [thing for thing, one in content.items() if one in found]
        self.refuse_referring(doomed)
        return doomed

    def content(self, marker: Marker | None, tables: Collection[Key] = ()) -> dict[Thing, Content]:
        """All that is there. What was there before a run is known by its name, the rest by its definition."""
        self.session.see_schema(afresh=True)
        with self.session.transaction() as connection:
            filled = {table.key for table in rows.filled(connection, self.session.tables)}
        found = {}
        for thing, definition in self.session.definitions.items():
            kind, *key = thing
            is_before = marker is not None and named(thing) in marker.before
            found[thing] = Content(
                named(thing) if is_before else identified(thing, definition),
                shown(thing),
                holds_data=kind == "TABLE" and tuple(key) in filled,
                planned=kind in ("TABLE", "VIEW") and tuple(key) in tables,
                is_version=thing[2].lower() in VERSION_TABLES,
            )
        return found

    def refuse_referring(self, doomed: Collection[Thing]) -> None:
        keys = {(schema, name) for kind, schema, name in doomed if kind == "TABLE"}
        if referring := rows.referring(self.session.tables, keys):
            raise self.database.refusal(
                "tables that a run of these tests made are to be dropped, and others have foreign keys on "
                f"them:\n{_listed(f'table {name}' for _, name in referring)}",
                "Drop these foreign keys, or these tables.",
            )

    def _refuse_what_cannot_be_restored(self, doomed: Collection[Thing]) -> None:
        """What was there before may be touched by tests, and must be restored, also after a kill."""
        if self.database.private:
            return
        stays = {thing for thing in self.session.definitions if thing not in doomed}
        wrong: list[str] = []
        if self.session.is_mysql:
            with self.session.transaction() as connection:
                user, needed = mysql_schema.user(connection), mysql_schema.definer_privilege(connection)
                reasons = mysql_schema.unrestorable(connection, self.session.schemas)
                definers = mysql_schema.other_definers(connection, self.session.schemas)
            wrong += [f"{shown(thing)}: {why}" for thing, why in reasons.items() if thing in stays]
            wrong += [
                f"{shown(thing)}: it is out of the way while rows are written, and {user} may not make it "
                f"again for its definer {definer}. Allow it:  GRANT {needed} ON *.* TO {user}"
                for thing, definer in definers.items()
                if thing in stays
            ]
            stays -= reasons.keys()
        wrong += self.unwritable(table for table in self.session.tables if ("TABLE", *table.key) in stays)
        if wrong:
            raise self.database.refusal(
                f"what is there could not be restored as it was:\n{_listed(wrong)}",
                "Mend that, or give it a database of its own.",
            )

    def unrestorable(self, tables: Iterable[Table]) -> list[str]:
        """System-versioned tables on MySQL and MariaDB whose history cannot be restored, with the reason."""
        versioned = {("TABLE", *table.key) for table in tables if table.has_history}
        if not versioned:
            return []
        with self.session.transaction() as connection:
            reasons = mysql_schema.unrestorable(connection, self.session.schemas)
        return [f"{shown(thing)}: {why}" for thing, why in reasons.items() if thing in versioned]

    def unwritable(self, tables: Iterable[Table]) -> list[str]:
        """Tables that cannot be written as they are, each with the reason."""
        found = []
        for table in tables:
            name = shown(("TABLE", *table.key))
            if table.always:
                found.append(f"{name}: a column takes no value but its own (GENERATED ALWAYS AS IDENTITY)")
                continue
            connection = self.session.connection()
            transaction = connection.begin()
            try:
                rows.probe(connection, table)
            except DBAPIError as error:
                if error.connection_invalidated or (self.session.is_mysql and mysql.was_locked(error)):
                    raise
                more = ""
                if table.has_history and "DELETE HISTORY" in str(error.orig):
                    schema = mysql.schema_of(connection, table.key[0])
                    user = mysql_schema.user(connection)
                    more = f"\n    Allow it:  GRANT DELETE HISTORY ON `{schema}`.* TO {user}"
                found.append(f"{name}: {self.session.said(error)}{more}")
            finally:
                transaction.rollback()
        return found

    # The run

    def begin(self) -> None:
        """Take the database, remove what a dead run left, and write down what is there."""
        session = self.session
        self.take_locks(session.connection())
        found = self.dead_run()
        marker = found.marker if found else None
        doomed = self._doomed(marker, self.database.tables)
        with session.transaction() as connection:
            is_first = marker_table.begin(connection, found, new_marker("", ()))
        if not is_first:
            raise self.used()
        if marker is not None:
            session.make_way(readers=True)
        self.remove(marker, doomed)
        session.see_schema(afresh=True)
        things = [[*thing, definition] for thing, definition in session.definitions.items()]
        with session.transaction() as connection:
            identity = marker_table.identity(connection, self.database)
        before = [] if self.database.private else [named(thing) for thing in session.definitions]
        self._write(new_marker(identity, before, schemas=self._schemas))
        if before:
            self.copies = session.copied(())
            self._write(
                replace(
                    self._mine,
                    facts={
                        "things": things,
                        "copies": [[*key, copy.name] for key, copy in self.copies.items()],
                        "counters": session.stamps().counters,
                        "schemas": self._schemas,
                    },
                )
            )

    @property
    def _schemas(self) -> list[str]:
        return [schema for schema in self.session.schemas if schema]

    @property
    def _mine(self) -> Marker:
        assert self.marker is not None
        return self.marker

    @property
    def before(self) -> frozenset[str]:
        """Names of what was there before the run."""
        return self._mine.before

    def made(self) -> None:
        """The schema was made: what came is this run's own."""
        self._write(
            self._mine.having_made(
                identified(thing, definition)
                for thing, definition in self.session.definitions.items()
                if named(thing) not in self.before
            )
        )

    def end(self, *, is_made: bool) -> None:
        """Drop what creating the schema made, restore what was there before, and let the database go."""
        session = self.session
        session.make_way(readers=True)
        session.see_schema(afresh=True)
        doomed = [
            thing
            for thing, definition in session.definitions.items()
            if named(thing) not in self.before
            and (identified(thing, definition) in self._mine.made if is_made else not self.database.adopt)
        ]
        self.refuse_referring(doomed)
        self.remove(self._mine, doomed)
        with session.transaction() as connection:
            marker_table.erase(connection)
        self.marker, self.copies = None, {}

    def remove(self, marker: Marker | None, doomed: Iterable[Thing]) -> None:
        """Drop what a run made, and restore what was there before. If it is killed, the next run goes on."""
        session = self.session
        session.drop(doomed)
        if marker is None:
            return
        if "things" in marker.facts:
            self.restore(marker)
            restored = replace(marker, facts={"schemas": self._schemas})
            with session.transaction() as connection:
                marker_table.write(connection, restored)
            if marker is self.marker:
                self.marker = restored
        self.drop_copies()

    def drop_copies(self) -> None:
        for name in self.session.own_tables():
            if name != marker_table.NAME:
                with self.session.transaction() as connection:
                    rows.drop(connection, [None], {(None, name)})

    def written_down(self, marker: Marker) -> tuple[dict[Thing, str], dict[Key, str]]:
        """What was there before a run, by its definitions, and the tables with its rows."""
        facts = marker.facts
        things = {
            (kind, schema, name): definition for kind, schema, name, definition in facts.get("things", ())
        }
        return things, {(schema, name): copy for schema, name, copy in facts.get("copies", ())}

    def is_as_it_was(self, thing: Thing, copy: str | None) -> bool:
        """Whether a table holds the rows of its copy; none if there is no copy."""
        for table in self.session.tables:
            if table.key == thing[1:]:
                with self.session.transaction() as connection:
                    bag = rows.bag(connection, table)
                    return bag == (rows.bag(connection, table, table.copy(copy)) if copy else Counter())
        return False

    def restore(self, marker: Marker, *, leave_altered: bool = False) -> None:
        """Restore what was there before a run: what is missing, all rows, and counters.

        Parameters:
            leave_altered: What has another definition now, or cannot be made again, is left as it is.

        Raises:
            StoreError: Without `leave_altered`, naming these, and where their rows are.
        """
        session = self.session
        things, copies = self.written_down(marker)
        session.see_schema(afresh=True)
        if leave_altered:
            things = {
                thing: definition
                for thing, definition in things.items()
                if session.definitions.get(thing, definition if session.is_mysql else "") == definition
            }
        missing = {
            thing: definition for thing, definition in things.items() if thing not in session.definitions
        }
        if missing and session.is_mysql:
            try:
                session.make_again(things, only_missing=True)
            except (DBAPIError, StoreError) as error:
                raise self.not_as_it_was(list(missing), copies, f"{error}\n") from None
        if other := [
            thing for thing, definition in things.items() if session.definitions.get(thing) != definition
        ]:
            raise self.not_as_it_was(other, copies)
        tables = [table for table in session.tables if ("TABLE", *table.key) in things]
        wanted = {}
        for table in tables:
            if (name := copies.get(table.key)) is not None:
                with session.transaction() as connection:
                    bag = rows.bag(connection, table, table.copy(name))
                wanted[table.key] = Copy(name, table.key, "", bag)
        if marker is not self.marker:
            self._rescue(marker, tables, wanted)
        session.restore(tables, wanted, marker.facts.get("counters", {}))

    def _rescue(self, marker: Marker, tables: Iterable[Table], wanted: Mapping[Key, Copy]) -> None:
        """Copy what a killed run left, before it is undone: nobody can tell what came after its death."""
        lines = []
        for table in tables:
            with self.session.at_length(), self.session.transaction() as connection:
                now = rows.bag(connection, table)
                if now - (wanted[table.key].bag if table.key in wanted else Counter()):
                    there = set(sa.inspect(connection).get_table_names())
                    names = (f"{marker_table.RESCUED}{number}" for number in count(1))
                    name = next(name for name in names if name not in there)
                    rows.copy(connection, table, name, "")
                    lines.append(f"{shown(('TABLE', *table.key))}: all rows that it had are in table {name}")
        if lines:
            by = f"a run that was killed ({marker})"
            warn_of_rescued(self.database, by, "It, or somebody after it, has written", lines)

    def not_as_it_was(
        self, things: Collection[Thing], copies: Mapping[Key, str], why: str = ""
    ) -> StoreError:
        """The error for what cannot be restored, with the place of its rows."""
        lines = []
        for thing in things:
            copy = copies.get(thing[1:]) if thing[0] == "TABLE" else None
            lines.append(f"{shown(thing)}{f': its rows are in table {copy}' if copy else ''}")
        return StoreError(
            f"what was there before the run is not as it was in store {self.database.name!r} "
            f"({self.database.shown}): it was altered or dropped.\n{_listed(lines)}\n{why}"
            "Make it again with these rows. If that may stay as it is, this removes the copies:  "
            f"{clean_line(self.database.shown)}",
            store=self.database.name,
        )

    def _write(self, marker: Marker) -> None:
        with self.session.transaction() as connection:
            marker_table.write(connection, marker)
        self.marker = marker

    # The lock

    def take_locks(self, connection: sa.Connection) -> None:
        """Take the lock of a live run, which this session holds from now on."""
        if not self.session.is_mysql:
            return
        with connection.begin():
            for location in marker_table.locations(self.database):
                if not mysql.take_lock(connection, location):
                    raise self.used()
            self._session_id = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()

    def _regain(self, connection: sa.Connection) -> None:
        """The connection was lost, and with it the lock: another run may have come meanwhile."""
        if self.marker is None:
            return
        if self.session.is_mysql and self._session_id is not None:
            with suppress(DBAPIError), connection.begin():  # the server may not have noticed that it is gone
                # One that was started anew has given that number to somebody else.
                if mysql.holder(connection, str(self.database.url.database)) == self._session_id:
                    connection.exec_driver_sql(f"KILL {self._session_id}")
        self.take_locks(connection)
        with connection.begin():
            found = marker_table.read(connection)
        if found is None or f'"run": "{RUN}"' not in (found.holder or ""):
            raise StoreError(
                f"store {self.database.name!r} lost its connection, and another run has used the database "
                f"meanwhile ({self.database.shown}).",
                store=self.database.name,
            )

    def used(self) -> UnsafeStoreError:
        """The error if another run was faster."""
        return self.database.refusal(
            "another run has just begun to use it.", "Give each a database of its own."
        )


def _listed(lines: Iterable[str]) -> str:
    found = [f"  {line}" for line in lines]
    more = [f"  and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join(found[:_SHOWN] + more)
