"""What belongs to the server and to no database: it is not restored, so the test that leaves it is named."""

from __future__ import annotations

from ...core.leaks import report_leak
from ..sql.backend import Database
from . import sql
from .connection import Connection

_COUNTS = (
    *(
        f"(SELECT count(*) FROM {catalog})"
        for catalog in (
            "pg_roles",
            "pg_auth_members",
            "pg_database",
            "pg_tablespace",
            "pg_replication_slots",
        )
    ),
    "(SELECT (count(*), min(age(xmin)) - age('3'::xid)) FROM pg_db_role_setting)",
)
_OF_SUPERUSER = "(SELECT modification FROM pg_stat_file('postgresql.auto.conf', true))"
_SYSTEM = """
UNION ALL
SELECT 'setting of ALTER SYSTEM ' || name, 'ALTER SYSTEM RESET ' || quote_ident(name)
  FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'
"""


def counts(*, superuser: bool) -> list[str]:
    """Expressions, one of which is another one where any of it may have changed."""
    return [*_COUNTS, _OF_SUPERUSER] if superuser else [*_COUNTS]


class Cluster:
    """Knows what there was on the server when it was last looked at."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._there: dict[str, str] | None = None
        self._counted: list[str] | None = None
        self._left: dict[str, str] = {}

    def look(self, connection: Connection, counted: list[str] | None) -> None:
        """Find what came.

        Parameters:
            counted: The values of `counts`, by which nothing may have changed; None if nobody knows them.
        """
        if self._there is not None and counted is not None and counted == self._counted:
            return
        statement = sql.text("cluster") + (_SYSTEM if connection.superuser else "")
        there: dict[str, str] = dict(
            connection.rows(statement)
        )  # for each thing the statement that removes it
        if self._there is not None:
            self._left |= {name: remove for name, remove in there.items() if name not in self._there}
        self._there, self._counted = there, counted

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
        )
        report_leak(text, self._database.name, self._database.on_leak)
