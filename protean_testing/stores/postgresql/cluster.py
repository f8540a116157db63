"""What belongs to the server and to no database: it is not restored, so the test that leaves it is named."""

from __future__ import annotations

from ...core.leaks import report_leak
from ...waiting import turns
from ..sql.backend import Database
from ..sql.worker_url import worker_database_of
from . import sql
from .connection import Connection

_SYSTEM = """
UNION ALL
SELECT 'setting of ALTER SYSTEM ' || name, 'ALTER SYSTEM RESET ' || quote_ident(name)
  FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'
"""

_REMOVED_WITHIN = 1.0
"""Seconds in which a test of another worker or run has removed what it has made on the same server."""


class Cluster:
    """Knows what there was on the server when it was last looked at."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._there: dict[str, str] | None = None
        self._left: dict[str, str] = {}

    def look(self, connection: Connection) -> None:
        """Find what came since the last look. It is for where a transaction wrote to no table."""
        there = _there(connection)
        if self._there is not None:
            self._left |= {name: remove for name, remove in there.items() if name not in self._there}
        self._there = there

    def report(self, connection: Connection) -> None:
        """Name as a leak what was found, and on a server that others use stays there."""
        if not self._left:
            return
        left, self._left = self._left, {}
        is_shared = not self._database.private or worker_database_of(self._database.url) is not None
        for _ in turns(_REMOVED_WITHIN) if is_shared else ():
            there = _there(connection)
            left = {name: remove for name, remove in left.items() if name in there}
            if not left:
                return
        shown = "".join(f"  {name}\n" for name in left)
        text = (
            f"left on the server of store {self._database.name!r} what belongs to no database:\n{shown}"
            "It is not restored, and the next test finds it. Remove it in the test:  "
            + "; ".join(left.values())
            + ("\n(unless somebody else who uses this server made it)" if is_shared else "")
        )
        report_leak(text, self._database.name, self._database.on_leak)


def _there(connection: Connection) -> dict[str, str]:
    """Each thing, and what removes it."""
    return dict(connection.rows(sql.text("cluster") + (_SYSTEM if connection.superuser else "")))
