"""What belongs to the server and to no database: it is not restored, so the test that leaves it is named."""

from __future__ import annotations

from ...core.leaks import report_leak
from ..sql.backend import Database
from . import sql
from .connection import Connection

_SYSTEM = """
UNION ALL
SELECT 'setting of ALTER SYSTEM ' || name, 'ALTER SYSTEM RESET ' || quote_ident(name)
  FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'
"""


class Cluster:
    """Knows what there was on the server when it was last looked at."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._there: dict[str, str] | None = None
        self._left: dict[str, str] = {}

    def look(self, connection: Connection) -> None:
        """Find what came since the last look. It is for where a transaction wrote to no table."""
        statement = sql.text("cluster") + (_SYSTEM if connection.superuser else "")
        there: dict[str, str] = dict(connection.rows(statement))  # each thing, and what removes it
        if self._there is not None:
            self._left |= {name: remove for name, remove in there.items() if name not in self._there}
        self._there = there

    def report(self) -> None:
        """Name as a leak what was found."""
        if not self._left:
            return
        left, self._left = self._left, {}
        shown = "".join(f"  {name}\n" for name in left)
        text = (
            f"left on the server of store {self._database.name!r} what belongs to no database:\n{shown}"
            "It is not restored, and the next test finds it. Remove it in the test:  "
            + "; ".join(left.values())
            + ("" if self._database.private else "\n(unless somebody else who uses this server made it)")
        )
        report_leak(text, self._database.name, self._database.on_leak)
