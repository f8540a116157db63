"""Sessions that sleep and hold a lock on which somebody waits: ended, if a test that is over left them."""

from __future__ import annotations

from sqlalchemy import URL

from ...clock import monotonic
from ...store import LeftBy
from ...waiting import Patience
from .connection import OURS, connect, literal, psycopg

_HOLDERS = f"""
WITH waiting AS (
    SELECT DISTINCT unnest(pg_blocking_pids(pid)) AS pid
      FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
)
SELECT a.pid::text, NULL, a.state, extract(epoch FROM clock_timestamp() - a.state_change)::float8,
       a.application_name, left(a.query, 200)
  FROM waiting JOIN pg_stat_activity a USING (pid)
 WHERE a.state LIKE 'idle%' AND a.datname = current_database() AND a.application_name <> '{OURS}'
UNION ALL
SELECT NULL, gid, 'prepared', extract(epoch FROM clock_timestamp() - prepared)::float8, '', ''
  FROM pg_prepared_xacts
 WHERE database = current_database() AND EXISTS (SELECT FROM waiting WHERE pid = 0)
"""


def free(url: URL, left_by: LeftBy) -> list[tuple[str, str]]:
    """See `Store.free`. On a connection of its own, which is closed again.

    Raises:
        psycopg.Error: The server cannot be asked.
    """
    ended = []
    with connect(url, Patience(object(), least=2.0), application_name=OURS) as connection:
        before = monotonic()
        found = connection.execute(_HOLDERS.encode()).fetchall()
        after = monotonic()
        for pid, gid, state, seconds, application, query in found:
            test = left_by(before - seconds, after - seconds)
            if test is None:
                continue
            what = f"prepared transaction {gid!r}"
            end = f"ROLLBACK PREPARED {literal(gid or '')}"
            if pid is not None:
                named = f" ({application})" if application else ""
                said = " ".join(query.split())
                what = f"pid {pid}{named}, {state} for {seconds:.1f} s, last statement: {said}"
                end = f"SELECT pg_terminate_backend({pid})"
            try:
                connection.execute(end.encode())
            except psycopg.errors.InsufficientPrivilege:
                what += "\n  Our role may not end it: GRANT pg_signal_backend TO the role of the URL"
            ended.append((test, what))
    return ended
