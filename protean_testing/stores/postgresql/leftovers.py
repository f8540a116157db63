"""What killed runs left in a PostgreSQL database, for the command that removes it."""

from __future__ import annotations

from sqlalchemy import Engine

from ...ownership import Marker
from ..sql.backend import Database
from ..sql.urls import parsed_url
from . import acquire, before, change_log, content, fingerprint, ownership
from .connection import OURS, Connection
from .fingerprint import Object


class Leftovers:
    """See `ownership.clean.Leftovers`."""

    def __init__(self, url: str, *, unsafe: bool = False) -> None:
        self._database = Database(name="clean", url=parsed_url(url), engine=_none, unsafe=unsafe)
        self._open: Connection | None = None

    @property
    def _connection(self) -> Connection:
        if self._open is None:
            self._open = Connection(self._database)
        return self._open

    def refuse_in_use(self) -> None:
        """See `ownership.clean.Leftovers`. From now on no run begins there."""
        connection = self._connection
        acquire.refuse_name(self._database, connection)
        acquire.refuse_live(self._database, connection, self._marker())
        acquire.acquire(self._database, connection)

    def listed(self) -> list[str]:
        """See `ownership.clean.Leftovers`."""
        marker = self._marker()
        if marker is None:
            return []
        lines = [f"remove {one}" for one in sorted(self._doomed(marker), key=str)]
        if self._owes(marker):
            lines.append(f"restore what was there before {marker} began: names, rows and sequences")
        return [*lines, f"remove schema {OURS}, which says whose the database is, and what it installed"]

    def remove(self) -> None:
        """See `ownership.clean.Leftovers`.

        Raises:
            StoreError: Something cannot be restored, or removed without what is not listed.
        """
        connection, marker = self._connection, self._marker()
        if marker is None:
            return
        doomed = {one.address for one in self._doomed(marker)}
        restored = before.Restored()
        if self._owes(marker):
            restored = before.restore(connection, killed=True)
        change_log.uninstall(connection)
        acquire.remove(self._database, connection, doomed)
        if restored.lost:
            again = before.restore(connection, killed=True).lost
            restored.lost = again + [line for line in restored.lost if before.RESCUED in line]
        ownership.erase(connection)
        acquire.report(self._database, restored, f"a run that was killed ({marker})")

    def close(self) -> None:
        """See `ownership.clean.Leftovers`."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _marker(self) -> Marker | None:
        return acquire.read_marker(self._database, self._connection)

    def _owes(self, marker: Marker) -> bool:
        return not marker.ended and marker.identity == ownership.identity(self._connection)

    def _doomed(self, marker: Marker) -> list[Object]:
        """What the run made, and what came since it began; of a copy nothing can be told."""
        connection = self._connection
        if marker.identity != ownership.identity(connection):
            return []
        there = content.removable(fingerprint.objects(connection), marker)
        return [one for one in there if one.key in marker.made or marker.came_since(one.key)]


def _none() -> Engine:
    raise AssertionError("no engine is needed to remove what is there")
