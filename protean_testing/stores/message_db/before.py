"""Copy messages that a test may change, and judge whose the newer ones are if the run was killed."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

from ...ownership import Left, Marker, all_left, new_marker
from ...ownership.watching import uptime
from .position import MESSAGES, SEQUENCE

KIND = "message_db"
SCHEMA = "protean_testing_messages"
_COPY = f"{SCHEMA}.before"  # what was there before the run
_OURS = f"{SCHEMA}.ours"  # what it has written since, and keeps for the scopes that begin now
_LOCK = 0x6D657373616765  # an advisory lock is known by a number
_WRITTEN = "extract(epoch FROM time AT TIME ZONE 'utc')"
_CLOCKS = 1.0  # seconds by which clocks may have drifted apart


def identity(connection: Any) -> str:
    """Name this very database: a copy of it is another one."""
    import psycopg

    oid = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    try:
        query = f"SELECT concat(system_identifier, ' ', {oid}) FROM pg_control_system()"
        return str(connection.execute(query).fetchone()[0])
    except psycopg.errors.InsufficientPrivilege:  # a table that was copied has another oid
        query = f"SELECT concat({oid}, ' ', '{MESSAGES}'::regclass::oid)"
        return str(connection.execute(query).fetchone()[0])


def take_lock(connection: Any) -> bool:
    """Take what tells runs, of whatever machine, that a live one is here; it ends with the connection."""
    return bool(connection.execute(f"SELECT pg_try_advisory_lock({_LOCK})").fetchone()[0])


def is_locked(connection: Any) -> bool:
    """Whether a live run is here."""
    if not take_lock(connection):
        return True
    connection.execute(f"SELECT pg_advisory_unlock({_LOCK})")
    return False


def server_clock(connection: Any) -> float:
    """The server's time, in seconds since 1970."""
    return float(connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()[0])


def read_marker(connection: Any) -> Marker | None:
    """What the run before this one wrote; None if none did."""
    if connection.execute(f"SELECT to_regclass('{SCHEMA}.run')").fetchone()[0] is None:
        return None
    found = connection.execute(f"SELECT marker FROM {SCHEMA}.run").fetchone()
    return Marker.from_json(found[0]) if found else None


def prepare(connection: Any) -> bool:
    """Make room for copies of the messages that the run writes, in the transaction that is open.

    Returns:
        False if the role may not create a schema: then what a test changes or deletes cannot be restored.
    """
    may = "SELECT has_database_privilege(current_database(), 'CREATE')"
    if not connection.execute(may).fetchone()[0]:
        return False
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    connection.execute(f"CREATE UNLOGGED TABLE {_OURS} AS TABLE {MESSAGES} WITH NO DATA")
    return True


def write(connection: Any, handle: str, first: tuple[int, int, int, bool]) -> bool:
    """Copy what is there, and say that it is this run's, in the transaction that is open.

    Returns:
        See `prepare`.
    """
    if not prepare(connection):
        return False
    facts: dict[str, Any] = {"first": list(first), "clock": server_clock(connection) - uptime()}
    marker = new_marker(handle, ["messages"] if first[1] else [], **facts)
    connection.execute("SET LOCAL synchronous_commit = on")  # the copy must outlive the server, too
    connection.execute(f"CREATE TABLE {SCHEMA}.run (marker text NOT NULL)")
    connection.execute(f"CREATE TABLE {_COPY} AS TABLE {MESSAGES}")
    connection.execute(f"INSERT INTO {SCHEMA}.run VALUES (%s)", [marker.to_json()])
    return True


def copies(connection: Any) -> list[str]:
    """The tables with copies."""
    query = "SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(name) IS NOT NULL"
    return [name for (name,) in connection.execute(query, [[_COPY, _OURS]])]


def keep(connection: Any, after: int) -> None:
    """Copy the messages behind a position: a scope begins, inside of which they may be changed."""
    connection.execute(f"INSERT INTO {_OURS} SELECT * FROM {MESSAGES} WHERE global_position > {after}")


def let_go(connection: Any, after: int) -> None:
    """Drop the copies of messages that have been deleted."""
    connection.execute(f"DELETE FROM {_OURS} WHERE global_position > {after}")


def missing(connection: Any, copy: str = _COPY) -> int:
    """How many messages of a copy are gone, or not as they were."""
    query = (
        f"SELECT count(*) FROM {copy} b LEFT JOIN {MESSAGES} m USING (global_position) "
        "WHERE to_jsonb(m) IS DISTINCT FROM to_jsonb(b)"
    )
    return int(connection.execute(query).fetchone()[0])


def restore(connection: Any, copy: str = _COPY, last: int | None = None) -> None:
    """Make the messages of a copy, up to the last one of a snapshot, as they were, in a transaction."""
    columns = connection.execute(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute "
        f"WHERE attrelid = '{copy}'::regclass AND attnum > 0 AND NOT attisdropped"
    ).fetchone()[0]
    chosen = f"{last} >= b.global_position" if last is not None else "true"
    connection.execute(
        f"DELETE FROM {MESSAGES} m USING {copy} b WHERE m.global_position = b.global_position "
        f"AND to_jsonb(m) IS DISTINCT FROM to_jsonb(b) AND {chosen}"
    )
    connection.execute(
        f"INSERT INTO {MESSAGES} ({columns}) SELECT {columns} FROM {copy} b "
        f"WHERE {chosen} AND NOT EXISTS (SELECT FROM {MESSAGES} m "
        "WHERE m.global_position = b.global_position)"
    )


def erase(connection: Any) -> None:
    """Drop the copy and the marker. The messages must be seen to be right."""
    connection.execute(f"DROP TABLE IF EXISTS {_COPY}, {_OURS}, {SCHEMA}.run; DROP SCHEMA IF EXISTS {SCHEMA}")


def counted(messages: int) -> str:
    """So many messages."""
    return f"{messages} message{'s' * (messages != 1)}"


@dataclass(frozen=True)
class Leftover:
    """What a killed run left.

    Attributes:
        marker: What it wrote.
        changed: How many messages of before are gone or changed.
        ours: How many newer messages are of its making.
        unknown: How many newer ones may be anybody's.
        streams: Some of their streams, for messages.
        why: Why nothing can be proven; empty if it can.
        death: When it died, by the server's clock.
    """

    marker: Marker
    changed: int
    ours: int
    unknown: int
    streams: tuple[str, ...]
    why: str
    death: float

    def settle(self, connection: Any, *, all_of_it: bool = False) -> None:
        """Restore what was there before, and remove what the run wrote, in the transaction that is open.

        Parameters:
            all_of_it: Also newer messages that may be anybody's.
        """
        last, _, value, called = self.marker.facts["first"]
        newer = f"DELETE FROM {MESSAGES} WHERE global_position > {int(last)}"
        if all_of_it:
            connection.execute(newer)
        else:
            connection.execute(f"{newer} AND {_WRITTEN} <= %s", [self.death])
        restore(connection)
        if all_of_it or not self.unknown:
            connection.execute(f"SELECT setval('{SEQUENCE}', {int(value)}, {bool(called)})")
        if missing(connection):
            raise RuntimeError(f"messages differ from their copy in {_COPY}")
        erase(connection)


def judge(connection: Any) -> Leftover | None:
    """Tell what a dead run left. Nothing is touched."""
    marker = read_marker(connection)
    if marker is None:
        return None
    here = identity(connection)
    death, why = _death(connection, marker, here)
    last = int(marker.facts["first"][0])
    newer = f"FROM {MESSAGES} WHERE global_position > {last}"
    ours = connection.execute(f"SELECT count(*) {newer} AND {_WRITTEN} <= %s", [death]).fetchone()[0]
    streams = connection.execute(
        f"SELECT DISTINCT stream_name {newer} AND {_WRITTEN} > %s ORDER BY 1 LIMIT 3", [death]
    ).fetchall()
    unknown = connection.execute(f"SELECT count(*) {newer} AND {_WRITTEN} > %s", [death]).fetchone()[0]
    names = tuple(name for (name,) in streams)
    return Leftover(marker, missing(connection), ours, unknown, names, why, death)


def record_of(handle: str) -> Left | None:
    """What is written down on this machine of the run that had the place."""
    return next((left for left in all_left(KIND) if left.facts.get("location") == handle), None)


def _death(connection: Any, marker: Marker, here: str) -> tuple[float, str]:
    """When the run died, by the server's clock; never, and why that is not known."""
    if marker.identity != here:
        return 0.0, "the database is a copy of the one that it used"
    if marker.host != platform.node():
        return 0.0, "it ran on another machine"
    left = record_of(here)
    signs = left.signs if left is not None and left.facts.get("run") == marker.run else None
    if signs is None:
        return 0.0, "it is not known when it died"
    clock = marker.facts["clock"]
    if signs.uptime > uptime() or abs(server_clock(connection) - uptime() - clock) > _CLOCKS:
        return 0.0, "a clock was set, or a machine was started anew since"
    return signs.uptime + clock, ""
