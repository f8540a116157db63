"""What killed runs left in a MySQL or MariaDB database, for ``python -m protean_testing clean``."""

from __future__ import annotations

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from ...ownership import Marker, new_marker
from ..sql.backend import Database
from ..sql.urls import parsed_url, sync_url
from . import marker_table
from .ownership import Ownership
from .schema import Thing, shown


class Leftovers:
    """See `ownership.clean.Leftovers`."""

    def __init__(self, url: str, *, unsafe: bool = False) -> None:
        given = sync_url(parsed_url(url))
        engine = create_engine(given, poolclass=NullPool)
        database = Database(name="clean", url=given, engine=lambda: engine, adopt=True, unsafe=unsafe)
        self._ownership = Ownership(database)
        self._session = self._ownership.session

    def refuse_in_use(self) -> None:
        self._ownership.refuse_name_or_absence()
        with self._session.translating("look at"):
            self._ownership.dead_run()

    def listed(self) -> list[str]:
        with self._session.translating("look at"):
            found = self._ownership.dead_run()
            if found is None:
                return []
            lines = []
            if found.marker is not None:
                content = self._ownership.content(found.marker)
                lines += [
                    f"drop {content[thing].name}{'' if content[thing].holds_data else ' (empty)'}"
                    for thing in self._doomed(found.marker)
                ]
                if self._is_the_location(found.marker):
                    lines += self._to_restore(found.marker)
            return [
                *lines,
                *(f"drop table {name} (the library's own)" for name in self._session.own_tables()),
            ]

    def _is_the_location(self, marker: Marker) -> bool:
        with self._session.transaction() as connection:
            return marker.identity == marker_table.identity(connection, self._ownership.database)

    def _doomed(self, marker: Marker) -> list[Thing]:
        """What the run made; in the very place where it was, also what came since it began."""
        is_here = self._is_the_location(marker)
        return [
            thing
            for thing, one in self._ownership.content(marker).items()
            if one.identity in marker.made or (is_here and marker.came_since(one.identity))
        ]

    def _to_restore(self, marker: Marker) -> list[str]:
        things, copies = self._ownership.written_down(marker)
        lines = []
        for thing, definition in things.items():
            name, copy = shown(thing), copies.get(thing[1:]) if thing[0] == "TABLE" else None
            now = self._session.definitions.get(thing)
            if now == definition or (now is None and self._session.is_mysql):
                if now is None:
                    lines.append(f"make {name} again")
                if thing[0] == "TABLE" and not self._ownership.is_as_it_was(thing, copy):
                    lines.append(f"restore the rows of {name}, as they were on {marker.since}")
            else:
                why = "altered since" if now else "dropped"
                kept = f", and drop the copy of the rows that it had, {copy}" if copy else ""
                lines.append(f"leave {name}, which was {why}, as it is{kept}")
        return lines

    def remove(self) -> None:
        ownership, session = self._ownership, self._session
        with session.translating("clean"):
            ownership.take_locks(session.connection())
            found = ownership.dead_run()
            if found is None:
                return
            marker = found.marker
            doomed = self._doomed(marker) if marker else []
            ownership.refuse_referring(doomed)
            with session.transaction() as connection:
                if not marker_table.begin(connection, found, new_marker("", ())):
                    raise ownership.used()
            restores = marker is not None and self._is_the_location(marker)
            session.make_way(readers=True)
            session.drop(doomed)
            if marker is not None and restores:
                ownership.restore(marker, leave_altered=True)
            ownership.drop_copies()
            with session.transaction() as connection:
                marker_table.erase(connection)

    def close(self) -> None:
        self._session.close()
