"""What was there before the run: restored by oid, whatever it is called now, also if the run was killed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from ...ownership import Marker
from . import baseline, change_log, fingerprint, large_objects, parts, sequences, views
from .baseline import State
from .catalog import Catalog, Table, read_catalog
from .catalogs import CLASS, Address
from .connection import DURABLE, OURS, Connection, listed, literal, psycopg, quoted
from .data import Data
from .fingerprint import Object

RESCUED = "protean_testing_rescued"
"""The schema of tables that hold the rows of those that are gone. It is the user's."""

# A line for each object, with its name. Of a table also its number in the copies, its columns and the numbers
# of the copies of its rows (NULL: none is owed any more); of a sequence where it stood; of a schema the
# statements that make it.
INSTALL = f"""
CREATE TABLE {OURS}.before (
    classid oid, objid oid, kind text, identity text, schema text, name text,
    number int, columns text, copies int[], rescued text, last_value bigint, is_called bool,
    made text,
    PRIMARY KEY (classid, objid)
);
"""


def write_names(connection: Connection, objects: Collection[Object]) -> None:
    """Write down what is there and what it is called. Inside a transaction."""
    columns = "classid, objid, kind, identity, schema, name"
    lines = []
    for one in objects:
        texts = (one.kind, one.identity, one.schema, one.name)
        lines.append(f"({one.address[0]}, {one.address[1]}, {', '.join(map(literal, texts))})")
    insertion = f"INSERT INTO {OURS}.before ({columns}) VALUES {', '.join(lines)}" if lines else ""
    connection.run(f"DELETE FROM {OURS}.before; {insertion}")
    for address, found in parts.take(
        connection, [one.address for one in objects if one.kind == "schema"]
    ).items():
        made = "; ".join(part.line for part in found.values())
        connection.run(f"UPDATE {OURS}.before SET made = {literal(made)} WHERE {_at(address)}")


def replace(connection: Connection, pairs: Mapping[Address, Address]) -> None:
    """What was at the first address was made again, and is at the second one."""
    for was, at in pairs.items():
        connection.run(f"UPDATE {OURS}.before SET objid = {at[1]} WHERE {_at(was)}")


def _at(address: Address) -> str:
    return f"classid = {address[0]} AND objid = {address[1]}"


def write_rows(connection: Connection, data: Data, marker: Marker) -> None:
    """Write down where the copies of rows are, and where sequences stand. Inside a transaction."""
    tables = {
        t.number: t
        for t in data.catalog.tables.values()
        if f"{CLASS}:{t.oid}" in marker.before or t.kind == "l"
    }
    large = data.catalog.tables[data.catalog.large_objects].oid
    statements = [
        f"INSERT INTO {OURS}.before (classid, objid) VALUES ({CLASS}, {large}) ON CONFLICT DO NOTHING"
    ]
    lines = [
        f"({table.oid}, {number}, {literal(table.shape)}, {listed(data.rows.base[number])}::int[])"
        for number, table in tables.items()
        if number in data.rows.base
    ]
    if lines:
        statements.append(
            f"UPDATE {OURS}.before b SET number = v.number, columns = v.columns, copies = v.copies "
            f"FROM (VALUES {', '.join(lines)}) v (oid, number, columns, copies) "
            f"WHERE b.classid = {CLASS} AND b.objid = v.oid"
        )
    lines = []
    for name, (last, called) in data.positions.base.items():
        sequence = data.catalog.sequences.get(name)
        if sequence is None or f"{CLASS}:{sequence.oid}" in marker.made:
            continue  # one of an identity column is in neither list: it goes with its table
        if f"{CLASS}:{sequence.oid}" in marker.before or tables.keys() & set(sequence.tables):
            lines.append(f"({CLASS}, {sequence.oid}, {last}, {called})")
    if lines:
        statements.append(
            f"INSERT INTO {OURS}.before (classid, objid, last_value, is_called) VALUES {', '.join(lines)} "
            "ON CONFLICT (classid, objid) DO UPDATE "
            "SET last_value = excluded.last_value, is_called = excluded.is_called"
        )
    connection.run("; ".join(statements))


@dataclass(frozen=True)
class _Kept:
    """A table that was there, by its copies."""

    oid: int
    was: str
    number: int
    columns: str
    state: State
    rescued: str


@dataclass
class Restored:
    """What there is to say of a restore, a line each.

    Attributes:
        lost: What could not be restored, with the place of the copy of its rows.
        rescued: Tables that somebody may have written to since the run died, with the place of these rows.
    """

    lost: list[str] = field(default_factory=list)
    rescued: list[str] = field(default_factory=list)


def restore(connection: Connection, *, killed: bool) -> Restored:
    """Restore names, rows and sequences of what was there before, and see that they are right.

    Parameters:
        killed: Whether the run died before now, so that what is there may be somebody else's.

    Raises:
        psycopg.errors.LockNotAvailable: A transaction is in the way.
    """
    if connection.value(f"SELECT to_regclass('{OURS}.before')") is None:
        return Restored()
    _restore_schemas(connection)
    renamed = fingerprint.restore_names(connection, _names(connection))
    lost = [
        f"{was} is called {now.identity} now, and what is called {was.identity} came since"
        for now, was in renamed
    ]
    with connection.raw.transaction():
        connection.run(DURABLE)
        kept = _kept(connection)
        catalog = read_catalog(connection, _numbers(connection, kept))
        by_oid = {table.oid: table for table in catalog.tables.values()}
        gone = [one for one in kept if one.oid not in by_oid]
        there = [(by_oid[one.oid], one) for one in kept if one.oid in by_oid]
        altered, refused, rescued = _restore_rows(connection, catalog, there, killed=killed)
        lost += [rescue(connection, one, "is gone") for one in gone]
        lost += [rescue(connection, one, "was altered") for one in altered]
        lost += [rescue(connection, one, "does not take the rows that it had") for one in refused]
        lost += _restore_sequences(connection, catalog)
        # Nothing else is owed any more: what the user writes or renames from now on stays.
        names = ", ".join(f"({classid}, {objid})" for classid, objid in (now.address for now, _ in renamed))
        but = f"WHERE (classid, objid) NOT IN ({names})" if names else ""
        connection.run(f"DELETE FROM {OURS}.before {but}; UPDATE {OURS}.before SET copies = NULL")
        connection.run(f"UPDATE {OURS}.before SET last_value = NULL")
    return Restored(lost, rescued)


def _restore_schemas(connection: Connection) -> None:
    """Make schemas again that are gone, and find those of their names that came in their place."""
    found = connection.rows(
        f"SELECT classid::int8, objid::int8, identity, made FROM {OURS}.before "
        "WHERE made IS NOT NULL AND objid NOT IN (SELECT oid FROM pg_namespace)"
    )
    for classid, objid, identity, made in found:
        connection.run(made)
        at = connection.value(f"SELECT to_regnamespace({literal(identity)})::oid::int8")
        replace(connection, {(classid, objid): (classid, at)})


def _names(connection: Connection) -> dict[Address, Object]:
    found = connection.rows(
        "SELECT classid::int8, objid::int8, kind, identity, schema, name "
        f"FROM {OURS}.before WHERE kind IS NOT NULL"
    )
    return {(classid, objid): Object((classid, objid), *names) for classid, objid, *names in found}


def _kept(connection: Connection) -> list[_Kept]:
    found = connection.rows(
        "SELECT objid::int8, coalesce(identity, 'of large objects'), number, columns, copies, "
        "coalesce(rescued, '') "
        f"FROM {OURS}.before WHERE copies IS NOT NULL ORDER BY number"
    )
    return [
        _Kept(oid, was, number, columns, tuple(copies), rescued)
        for oid, was, number, columns, copies, rescued in found
    ]


def _numbers(connection: Connection, kept: list[_Kept]) -> dict[tuple[str, str], int]:
    """The numbers that tables had, by the names that they have now; other tables have other numbers."""
    numbers = {
        ("", str(number)): number for number in range(1, max((one.number for one in kept), default=0) + 1)
    }
    names = {
        oid: (schema, name)
        for oid, schema, name in connection.rows(
            "SELECT c.oid::int8, n.nspname::text, c.relname::text FROM pg_class c "
            f"JOIN pg_namespace n ON n.oid = c.relnamespace JOIN {OURS}.before b ON b.objid = c.oid "
            f"WHERE b.classid = {CLASS} AND b.number IS NOT NULL"
        )
    }
    for one in kept:
        if one.oid in names:
            del numbers["", str(one.number)]
            numbers[names[one.oid]] = one.number
    return numbers


def _restore_rows(
    connection: Connection, catalog: Catalog, there: list[tuple[Table, _Kept]], *, killed: bool
) -> tuple[list[_Kept], list[_Kept], list[str]]:
    """Returns those that were altered, those that refuse their rows, and a line for what was rescued."""
    tables = [(t, one.state) for t, one in there if t.kind == "r" and t.changeable]
    with baseline.unforced(connection, [table for table, _ in tables]):
        wrong, unreadable = _compare(connection, tables)
        others = [(t, one) for t, one in there if t.number in wrong and t.shape == one.columns]
        rescued = _rescue_late(connection, others) if killed else []
    altered = [one for t, one in there if t.number in wrong and t.shape != one.columns]
    targets = {t.number: s for t, s in tables if t.number in wrong - {one.number for one in altered}}
    refusing = _restore_what_fits(connection, catalog, targets) | unreadable
    refused = [one for t, one in there if t.number in refusing]
    large = [(t, one.state) for t, one in there if t.kind == "l"]
    large_objects.restore(connection, [pair for pair in large if large_objects.changed(connection, [pair])])
    shown = [(t, one.state) for t, one in there if t.kind == "m" and t.shape == one.columns]
    stale = views.changed(connection, shown)
    outdated = {t.number: s for t, s in shown if t.number in stale}
    if not _succeeds(connection, lambda: views.restore(connection, catalog, outdated)):
        refused += [one for t, one in there if t.number in outdated]
    return altered, refused, rescued


def _compare(connection: Connection, tables: list[tuple[Table, State]]) -> tuple[set[int], set[int]]:
    """Returns those that hold other rows, and those that cannot be read: what an index calls fails."""
    wrong: set[int] = set()

    def compare(some: list[tuple[Table, State]]) -> None:
        wrong.update(baseline.changed(connection, some))

    if _succeeds(connection, partial(compare, tables)):
        return wrong, set()
    return wrong, {pair[0].number for pair in tables if not _succeeds(connection, partial(compare, [pair]))}


def _restore_what_fits(connection: Connection, catalog: Catalog, targets: dict[int, State]) -> set[int]:
    """Restore tables, but for those that refuse their rows: a type, or a function, is another now.

    One of them must not keep all others from their rows, in this run and in every later one.
    """

    def fits(some: dict[int, State]) -> bool:
        return _succeeds(connection, lambda: baseline.restore(connection, catalog, some))

    def is_readable(number: int) -> bool:
        query = f"SELECT count(s.line::{catalog.tables[number].sql}) FROM ({{}}) s".format
        lines = baseline.lines(catalog.tables[number], targets[number])
        return targets[number] == baseline.EMPTY or _succeeds(
            connection, lambda: connection.run(query(lines))
        )

    if fits(targets):
        return set()
    left = dict(targets)
    readable = {number: state for number, state in targets.items() if is_readable(number)}
    done = list(readable) if fits(readable) else []
    while True:
        for number in done:
            del left[number]
        done = [number for number, state in left.items() if number in readable and fits({number: state})]
        if not done:
            return set(left)


def _succeeds(connection: Connection, step: Callable[[], object]) -> bool:
    """Whether the server takes it; if not, nothing of it is done."""
    try:
        with connection.raw.transaction():
            step()
    except psycopg.Error as error:
        if not connection.refuses(error):
            raise
        return False
    return True


def _rescue_late(connection: Connection, changed: list[tuple[Table, _Kept]]) -> list[str]:
    """Copy the rows that somebody may have written since the run died, before they are removed."""
    late, logged = change_log.written_late(connection), change_log.logged(connection)
    lines = []
    for table, one in changed:
        if late is not None and table.oid in logged and one.number not in late:
            continue
        now = f'SELECT (t.*)::text COLLATE "C" AS line FROM ONLY {table.sql} t'
        since = now if one.state == baseline.EMPTY else f"{now} EXCEPT ALL {baseline.lines(table, one.state)}"
        if connection.value(f"SELECT EXISTS ({since})"):
            location = _copy(connection, one.was, one.columns, since)
            lines.append(f"table {one.was}: the rows that were new or changed are in table {location}")
        elif late is not None:
            lines.append(f"table {one.was}: rows that were deleted are there again")
    return lines


def _restore_sequences(connection: Connection, catalog: Catalog) -> list[str]:
    """Returns a line for each whose bounds do not allow where it stood."""
    found = connection.rows(
        f"SELECT objid::int8, last_value, is_called FROM {OURS}.before WHERE last_value IS NOT NULL"
    )
    locations = {oid: (last, called) for oid, last, called in found}
    there = [one for one in catalog.sequences.values() if one.oid in locations]
    now = sequences.positions(connection, there)
    moved = {s: locations[s.oid] for s in there if now[s.key] != locations[s.oid]}
    if _succeeds(connection, lambda: sequences.restore(connection, moved)):
        return []
    return [
        f"sequence {sequence.sql} was altered; it stood at {location[0]}"
        for sequence, location in moved.items()
        if not _succeeds(connection, partial(sequences.restore, connection, {sequence: location}))
    ]


def owed(connection: Connection) -> list[str]:
    """For each table that copies of rows are kept of, the query that shows them."""
    try:
        return [
            f"The rows of {one.was}:  SELECT (line::{one.was}).* FROM {OURS}.kept "
            f"WHERE number = {one.number} AND copy IN ({', '.join(map(str, one.state))})"
            for one in _kept(connection)
            if one.state and one.state != views.UNFILLED
        ]
    except psycopg.ProgrammingError:  # that schema is none of ours
        return []


# What cannot be restored


def rescue_all(connection: Connection, addresses: Collection[Address]) -> list[str]:
    """Copy the rows that tables had into tables of the user's, once. Returns a line for each table."""
    with connection.raw.transaction():
        connection.run(DURABLE)
        kept = [one for one in _kept(connection) if (CLASS, one.oid) in addresses and one.state]
        return [rescue(connection, one, "cannot be restored") for one in kept]


def rescue(connection: Connection, kept: _Kept, what: str) -> str:
    """Copy the rows that a table had into a table of the user's. Inside a transaction."""
    if not kept.state or kept.state == views.UNFILLED:
        return f"table {kept.was} {what}; it had no rows"
    location = kept.rescued or _rescue(connection, kept)
    return f"table {kept.was} {what}; the rows that it had are in table {location}"


def _rescue(connection: Connection, kept: _Kept) -> str:
    copies = ", ".join(map(str, kept.state))
    lines = f"SELECT line FROM {OURS}.kept WHERE number = {kept.number} AND copy IN ({copies})"
    location = _copy(connection, kept.was, kept.columns, lines)
    connection.run(
        f"UPDATE {OURS}.before SET rescued = {literal(location)} "
        f"WHERE classid = {CLASS} AND objid = {kept.oid}"
    )
    return location


def _copy(connection: Connection, was: str, columns: str, lines: str) -> str:
    """Copy rows, given as texts by the query `lines`, into a new table of the user's."""
    if not connection.value(f"SELECT to_regnamespace('{RESCUED}')"):
        connection.run(f"CREATE SCHEMA {RESCUED}")
    location, number = _location(was, 1), 1
    while connection.value(f"SELECT to_regclass({literal(location)})") is not None:
        number += 1
        location = _location(was, number)

    def make() -> None:
        connection.run(f"CREATE TABLE {location} ({columns})")
        connection.run(f"INSERT INTO {location} SELECT (s.line::{location}).* FROM ({lines} OFFSET 0) s")

    if not _succeeds(connection, make):  # a type of its columns is gone or another as well
        connection.run(f"CREATE TABLE {location} AS {lines}")
    return location


def _location(identity: str, number: int) -> str:
    name = identity.replace('"', "").encode()[:55].decode(errors="ignore")
    return f"{RESCUED}.{quoted(name if number == 1 else f'{name} {number}')}"
