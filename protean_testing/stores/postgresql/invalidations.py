"""Tell in one cheap query that no relation was altered, whoever did it and however many there are.

Every session of PostgreSQL is told which relations are altered, by invalidations of its caches, and plans
anew what mentions one of them. So one statement of ours mentions all relations that are known, and its plan
holds a moment: the function that gives it says that it is immutable, and is called at planning alone. While
the moment stays the same, no column, constraint, index, trigger, policy or rule of theirs was touched. (A
TRUNCATE or an ANALYZE invalidates as well: then the catalogs are compared.) What belongs to no relation is
asked for by itself: it is little.
"""

from __future__ import annotations

from . import catalogs, sql
from .connection import OURS, Connection, listed, psycopg

FUNCTION = f"""
CREATE OR REPLACE FUNCTION {OURS}.planned() RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS
'BEGIN RETURN extract(epoch FROM clock_timestamp()); END'
"""

_KNOWN = """
SELECT ARRAY(SELECT oid::int8 FROM pg_class WHERE oid >= 16384 AND relkind <> 't'
                AND relnamespace <> to_regnamespace('protean_testing') ORDER BY 1),
       ARRAY(SELECT oid::int8 FROM pg_type WHERE oid >= 16384 AND typtype <> 'c' AND typcategory <> 'A'
              ORDER BY 1),
       ARRAY(SELECT oid::int8 FROM pg_proc WHERE oid >= 16384
                AND pronamespace <> to_regnamespace('protean_testing') ORDER BY 1)
"""
_OF_SUPERUSER = f"SELECT concat_ws(' ', {OURS}.planned(), (SELECT max(oid) FROM pg_class))"


class Invalidations:
    """What one connection was told of alterations."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._statement = self._of_superuser = ""
        self._known: list[str] = []
        self._latest: list[str] = []

    def any_since(self) -> bool:
        """Whether something may have been altered since what was accepted."""
        if not self._statement:
            return True
        try:
            self._latest = self._connection.call(self._statement)
        except psycopg.Error as error:  # the function is gone: the catalogs tell more
            if not self._connection.refuses(error):
                raise
            self._statement = ""
            return True
        return self._latest != self._known

    def accept(self) -> None:
        """What was read last is as it is to be: the catalogs have been compared after that."""
        self._known = self._latest
        statement = self._of_superuser or self._statement
        if statement:
            self._connection.watch = self._connection.watched(statement)

    def read(self) -> None:
        """Begin to watch the relations that there are now. What they are like is compared after this."""
        ((relations, types, functions),) = self._connection.rows(_KNOWN, again=True)
        constants = "', '".join(map(str, relations or [0]))
        statement = (
            sql.text("invalidations")
            .replace(":relations", f"'{constants}'")
            .replace(":types", listed(types))
            .replace(":functions", listed(functions))
            .replace(":counts", catalogs.counts(superuser=self._connection.superuser))
        )
        if statement != self._statement:
            for one in filter(None, (self._statement, self._of_superuser)):
                self._connection.unprepare(one)
            self._connection.watch = ("", "")
            self._statement = statement
            if self._connection.superuser:  # whom event triggers tell the rest, almost always
                mentioned = statement.rpartition("\n WHERE ")[2]
                self._of_superuser = f"{_OF_SUPERUSER} WHERE {mentioned}"
        self._latest = self._connection.call(statement)
