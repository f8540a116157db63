"""What killed runs left in a MySQL or MariaDB database, for ``python -m protean_testing clean``."""

from __future__ import annotations

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from ...ownership import Marker, new_marker
from ..sql.backend import Database
from ..sql.urls import parsed_url, sync_url
from . import ownership
from .owner import Owner
from .schema import Thing, shown


class Leftovers:
    """See `ownership.clean.Leftovers`."""

    def __init__(self, url: str, *, unsafe: bool = False) -> None:
        given = sync_url(parsed_url(url))
        engine = create_engine(given, poolclass=NullPool)
        database = Database(name="clean", url=given, engine=lambda: engine, adopt=True, unsafe=unsafe)
        self._owner = Owner(database)
        self._session = self._owner.session

    def refuse_in_use(self) -> None:
        self._owner.refuse_name_or_absence()
        with self._session.told("look at"):
            self._owner.dead_run()

    def listed(self) -> list[str]:
        with self._session.told("look at"):
            found = self._owner.dead_run()
            if found is None:
                return []
            lines = []
            if found.marker is not None:
                content = self._owner.content(found.marker)
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
            return marker.identity == ownership.identity(connection, self._owner.database)

    def _doomed(self, marker: Marker) -> list[Thing]:
        """What the run made; in the very place where it was, also what came since it began."""
        is_here = self._is_the_location(marker)
        return [
            thing
            for thing, one in self._owner.content(marker).items()
            if one.identity in marker.made
            or (is_here and one.identity not in marker.before and (one.holds_data or marker.was_empty))
        ]

    def _to_restore(self, marker: Marker) -> list[str]:
        things, copies = self._owner.written_down(marker)
        lines = []
        for thing, looks in things.items():
            name, copy = shown(thing), copies.get(thing[1:]) if thing[0] == "TABLE" else None
            now = self._session.looks.get(thing)
            if now == looks or (now is None and self._session.is_mysql):
                if now is None:
                    lines.append(f"make {name} again")
                if thing[0] == "TABLE" and not self._owner.is_as_it_was(thing, copy):
                    lines.append(f"restore the rows of {name}, as they were on {marker.since}")
            else:
                why = "altered since" if now else "dropped"
                kept = f", and drop the copy of the rows that it had, {copy}" if copy else ""
                lines.append(f"leave {name}, which was {why}, as it is{kept}")
        return lines

    def remove(self) -> None:
        owner, session = self._owner, self._session
        with session.told("clean"):
            owner.take_locks(session.connection())
            found = owner.dead_run()
            if found is None:
                return
            marker = found.marker
            doomed = self._doomed(marker) if marker else []
            owner.refuse_referring(doomed)
            with session.transaction() as connection:
                if not ownership.begin(connection, found, new_marker("", ())):
                    raise owner.used()
            restores = marker is not None and self._is_the_location(marker)
            session.make_way(readers=True)
            session.drop(doomed)
            if marker is not None and restores:
                owner.restore(marker, leave_altered=True)
            owner.drop_copies()
            with session.transaction() as connection:
                ownership.erase(connection)

    def close(self) -> None:
        self._session.close()
