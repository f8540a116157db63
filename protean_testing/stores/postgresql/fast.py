"""The fast reset: it restores what was logged as written, and costs by that, not by what is there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from . import baseline, change_log, sequences
from .baseline import State
from .catalog import Table
from .connection import DURABLE, OURS, Connection
from .data import Data
from .installed import Installed
from .sequences import Name, Position
from .snapshot import Snapshot

TRUNCATE_ROWS = 10_000  # from which on it is worth its price at the end of a scope around tests
TRUNCATE_ROWS_AS_OWNER = 100  # where every row that is deleted is looked for in all that may refer to it
VACUUM_EVERY = 200  # resets
VACUUM_ROWS = 10_000  # removed, after which it is time too

UNKNOWN = ("0", "true")
"""Any transaction may have happened."""

_RESET = f"SELECT {OURS}.reset($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_LOOK = f"{OURS}.reset(0, $1, $2, 0, '{{}}', false, false, NULL, '', '')"


@dataclass(frozen=True)
class Findings:
    """What happened since the last call, and whether it was dealt with.

    Attributes:
        done: All is restored. What follows is told only where it is not.
        changed: Something was not as at the snapshot.
        written: The numbers of the tables that were logged.
        schema: The schema may have been changed.
        views: A materialized view may have been refreshed.
        everything: The change log cannot be relied on.
        unexplained: Something happened that the change log does not account for.
        again: Where the schema was not changed after all, the reset can do its work.
        crashed: So has the server since then.
    """

    done: bool = False
    changed: bool = False
    written: frozenset[int] = frozenset()
    schema: bool = False
    views: bool = False
    everything: bool = False
    unexplained: bool = False
    again: bool = False
    crashed: bool = False


EVERYTHING = Findings(schema=True, views=True, everything=True)
"""Nothing is known of what was written."""


class Fast:
    """Knows what was written, and gives it back in one call.

    Parameters:
        connection: The backend's own.
        data: What was there at every snapshot, and the slower way for what this one cannot do.

    Attributes:
        installed: What this has put into the database.
        unexplained: At the last reset something had happened that the change log does not account for.
    """

    def __init__(self, connection: Connection, data: Data) -> None:
        self.connection, self.data = connection, data
        self.installed = Installed(connection, data)
        self._seen = UNKNOWN  # seen and pending, as protean_testing.reset wants to know
        self.unexplained = False
        self._resets = 0
        self._failures = 0
        self._dead: dict[int, tuple[int, int]] = {}  # how often a table was cleared, and of how many rows

    def report_slow_way(self, store: str, why: str) -> None:
        """A reset failed. Once is nothing: a test changed the schema. Again and again, it makes all slow."""
        self._failures += 1
        self.installed.renew = True
        logging.getLogger("protean_testing").log(
            logging.WARNING if self._failures > 1 else logging.INFO,
            "the fast reset of store %r failed (%d times so far), and all tables were looked at instead: %s",
            store,
            self._failures,
            why,
        )

    @property
    def innermost(self) -> Snapshot:
        """The snapshot that was saved last, of those that are valid; else what creating the schema left."""
        return self.data.stack[-1]

    @property
    def pending(self) -> bool:
        """Whether a transaction was not over at the last look."""
        return self._seen[1].startswith("t")

    def begin(self) -> None:
        """The data has taken what is new: install what logs it. Inside a transaction of `installed`.

        Inside no other: a subtransaction's number, which is not its own, would be unexplained afterwards.
        """
        self.installed.install()
        self._set_positions(self.data.positions.base)
        _, seen = self._findings()
        self.installed.log_keys(self.data.rows.base, self.data.snapshot_number)
        self._set_targets(self.innermost)
        self._seen = self._after(seen)

    def resume(self, state: dict[str, Any]) -> None:
        """An earlier run has installed it, and the data is as it was then."""
        self.installed.resume(state)
        with self.installed.transaction():
            _, seen = self._findings()
            self._clear_change_log(self.data.snapshot_number)
            self.connection.run(f"DELETE FROM {OURS}.changed_key")
            seen = self._after(seen)
        self._seen = seen

    # A snapshot is saved

    def save(self, accept_schema: Callable[[], bool]) -> Snapshot:
        """Save a snapshot.

        Parameters:
            accept_schema: Looks at the schema, and reads the catalog again where it was changed. Returns
                whether it was.

        Raises:
            psycopg.errors.LockNotAvailable: A transaction of the code under test is open.
        """
        snapshot_number, top = self.data.snapshot_number + 1, self.innermost
        # What an ended inner scope had kept is not what the functions aim at: they aim at `top` again.
        owed = top.rows.owed or top.positions.owed or top.rows.kept or top.positions.kept
        owed = owed or self.data.large_objects()
        if owed or not self._nothing_to_save(snapshot_number):
            return self._save_written(snapshot_number, accept_schema)
        return self.data.saved(set(), {}, {}, snapshot_number)

    def _nothing_to_save(self, snapshot_number: int) -> bool:
        said, _, own = self.connection.call(
            f"SELECT said, CASE said WHEN 'nothing' THEN setval('{OURS}.snapshot', $3) END, "
            f"pg_current_xact_id_if_assigned() FROM {_LOOK} said",
            *self._seen,
            snapshot_number,
        )
        if own == self._seen[0]:  # that of setval itself, and none was before it
            self._seen = (str(int(own) + 1), self._seen[1])
        return said == "nothing"

    def _save_written(self, snapshot_number: int, accept_schema: Callable[[], bool]) -> Snapshot:
        data, top = self.data, self.innermost
        with self.installed.transaction():
            self.connection.run(DURABLE)
            findings, seen = self._findings()
            changed = (findings.schema or findings.unexplained) and accept_schema()
            findings = replace(findings, everything=findings.everything or changed)
            more = top.rows.owed | data.unknown() | data.large_objects()
            owed = {table.number for table in self._suspects(findings, more)}
            kept = self._keep(owed, by_key=not findings.everything)
            moved = self._moved(owed, everywhere=findings.everything or findings.unexplained)
            self._set_positions(moved)
            if changed:
                self.installed.install()
            if findings.crashed:
                self.installed.install_after_crash(snapshot_number)
            self._clear_change_log(snapshot_number)
            self.installed.log_keys(kept, snapshot_number)
            changed_states = self.installed.uncertain(set(kept) | set(top.rows.kept))
            states = {n: kept[n] if n in kept else data.rows.state_now(n) for n in changed_states}
            names = self.installed.uncertain_sequences(moved.keys() | top.positions.kept)
            locations = {n: moved[n] if n in moved else data.positions.state_now(n) for n in names}
            self.installed.set_targets(states, locations, snapshot_number)
            seen = self._after(seen)
        self._seen = seen
        if findings.unexplained:
            top.hidden = top.unexplained = True
        return data.saved(owed, kept, moved, snapshot_number)

    def _moved(self, written: set[int], *, everywhere: bool) -> dict[Name, Position]:
        """Where sequences stand that were moved since the innermost snapshot. Inside a transaction."""
        more = self.innermost.positions.dirty
        suspects = self.installed.suspects(written, more, everywhere=everywhere)
        locations = sequences.positions(self.connection, suspects)
        self.data.know(locations)
        return self.data.moved_since_top(locations)

    def _set_positions(self, locations: Mapping[Name, Position]) -> None:
        """Set them to where they stand, so that the next move of one is seen. Inside a transaction."""
        there = self.data.catalog.sequences
        sequences.set_positions(
            self.connection, {there[name]: at for name, at in locations.items() if name in there and at[1]}
        )

    def _keep(self, numbers: set[int], *, by_key: bool) -> dict[int, State]:
        """Copy the tables and views that were written, or only their keys that were."""
        kept, whole = {}, set()
        for number in numbers:
            state = self._keep_keys(self.data.catalog.tables[number]) if by_key else None
            if state is None:
                whole.add(number)
            else:
                kept[number] = state
        return kept | self.data.keep(whole)

    def _keep_keys(self, table: Table) -> State | None:
        snapshot = self.innermost
        if snapshot is self.data.stack[0] or not self.installed.all_keys_logged(table.number, snapshot.known):
            return None
        below = self.data.rows.state(table.number, snapshot.rows)
        whole = f"number = {table.number} AND key IS NULL AND snapshot >= {snapshot.number}"
        if below == baseline.EMPTY or self.connection.value(
            f"SELECT EXISTS (SELECT FROM {OURS}.changed_key WHERE {whole})"
        ):
            return None
        copy = self.data.next_copy()
        baseline.keep_keys(self.connection, table, copy, snapshot.number)
        return (*below, copy)

    def _suspects(self, findings: Findings, more: set[int]) -> list[Table]:
        """What was written, as far as is known, and those of `more`."""
        if findings.everything:
            return self.data.tables()
        tables = self.data.catalog.tables
        numbers = self.data.catalog.rows_of(set(findings.written) | more)
        found = {number: tables[number] for number in numbers if tables[number].changeable}
        found |= {table.number: table for table in self.installed.watched}
        if findings.views:
            found |= {view.number: view for view in self.data.catalog.views()}
        return list(found.values())

    # A snapshot is restored

    def reset(
        self, snapshot: Snapshot, *, thorough: bool, everywhere: bool, same_schema: bool = False
    ) -> Findings:
        """Restore what was written since `snapshot`.

        Parameters:
            snapshot: One that is valid.
            thorough: See what single tests may have hidden: sequences of tables that nobody wrote, in turn.
            everywhere: All of them, however many there are.
            same_schema: The schema was looked at just now, and is as it was.

        Returns:
            Whether anything was; or what to look at, if nothing is done yet.

        Raises:
            psycopg.errors.LockNotAvailable: A transaction of the code under test is in the way.
        """
        data = self.data
        dirty = data.rows.dirty_since(snapshot.rows) & data.catalog.tables.keys()
        dirty |= data.large_objects(snapshot)  # nothing tells if all of them are gone
        displaced = data.positions.dirty_since(snapshot.positions)
        thorough |= bool(displaced)
        others = self.installed.others(displaced, everywhere=everywhere) if thorough else None
        if self._has_targets_of(snapshot) and not (dirty or data.rows.kept_since(snapshot.rows)):
            word, *rest = self._call(snapshot, dirty, others, same_schema=same_schema)
        else:
            with self.installed.transaction():
                self._set_targets(snapshot)
                self._truncate(snapshot, dirty)
                word, *rest = self._call(snapshot, dirty, others, same_schema=same_schema)
                if word in ("nothing", "reset"):
                    self._set_targets(snapshot, known=data.snapshot_number)
                    data.discard(snapshot)
        if word == "schema":
            return Findings(schema=True, views=True, again=True)
        if word == "look":
            self.unexplained = rest[-1] == "t"
            return self._read(*rest[3:])
        data.ended(snapshot)
        self._accept(word, rest)
        return Findings(done=True, changed=word == "reset")

    def reset_quickly(self, snapshot: Snapshot) -> bool | None:
        """As `reset`, for the end of one test, on the shortest way.

        Returns:
            Whether anything was restored; None if it is not done, since there is more to look at.

        Raises:
            psycopg.Error: It is not done either.
        """
        installed = self.installed
        if (
            snapshot is not self.data.stack[-1]
            or snapshot.hidden
            or snapshot.rows.dirty
            or snapshot.positions.dirty
            or not installed.has_targets
            or self.data.large_objects(snapshot)
        ):
            return None
        (said,) = self.connection.call(
            _RESET,
            snapshot.number,
            *self._seen,
            installed.newest,
            "{}",
            installed.held,
            installed.moved,
            None,
            *self.connection.watch,
        )
        word, *rest = said.split()
        if word == "schema" or word == "look":
            return None
        self._accept(word, rest)
        snapshot.known = self.data.snapshot_number
        if self.unexplained or self._seen[1].startswith("t"):
            snapshot.unexplained = snapshot.quick = True
        elif word == "reset":
            snapshot.quick = True
        return word == "reset"

    def _accept(self, word: str, rest: list[str]) -> None:
        """All is restored: what the function has told is known from now on."""
        self.unexplained = bool(rest) and rest[-1] == "t"
        if rest:
            self._seen = (rest[0], rest[1])
        if word == "reset":
            self._clear_away(_numbers(rest[3]), int(rest[2]))

    def _has_targets_of(self, snapshot: Snapshot) -> bool:
        """Whether what is installed aims at `snapshot`, and not only at one inside of it."""
        if snapshot is self.innermost:
            return self.installed.has_targets
        return self._has_same_targets(snapshot)

    def _has_same_targets(self, outer: Snapshot) -> bool:
        """Whether what there was at the innermost snapshot is what there was at `outer` too."""
        rows, positions = self.data.rows, self.data.positions
        return self.installed.has_same_targets(outer.known) and not (
            rows.kept_since(outer.rows) or positions.kept_since(outer.positions)
        )

    def reset_by_comparing(
        self, snapshot: Snapshot, *, everything: bool, altered: set[int] | None = None
    ) -> bool:
        """As `reset`, but what may have been written is compared; all that there is, if asked for.

        Parameters:
            altered: The oids of what was altered, and of all that may have been written, and are not logged.

        Raises:
            psycopg.errors.LockNotAvailable: A transaction of the code under test is in the way.
        """
        data = self.data
        with self.installed.transaction():
            findings, seen = self._findings()
            if findings.crashed:
                self.installed.install_after_crash(data.snapshot_number)
                self.connection.run(f"SELECT setval('{OURS}.snapshot', {data.snapshot_number})")
            more = data.rows.dirty_since(snapshot.rows) | data.large_objects(snapshot)
            if altered is not None:
                findings = replace(findings, everything=findings.crashed)
                more |= {number for number, table in data.catalog.tables.items() if table.oid in altered}
            suspects = data.tables() if everything else self._suspects(findings, more)
            known = self.connection.not_held
            changed = data.restore(snapshot, suspects)
            if self.connection.not_held is not known:  # the reset function cannot restore these
                self.installed.install()
            self._clear_change_log(data.snapshot_number)
            self.connection.run(f"DELETE FROM {OURS}.changed_key WHERE snapshot >= {snapshot.number}")
            self._set_targets(snapshot, known=data.snapshot_number)
            data.discard(snapshot)
            seen = self._after(seen)
        self._seen = seen
        self.unexplained = findings.unexplained and not everything
        data.ended(snapshot)
        return changed

    def forget(self, snapshot: Snapshot) -> None:
        """`snapshot` and those inside of it are over; the data is as it is."""
        outer = self.data.stack[self.data.stack.index(snapshot) - 1]
        if not self._has_same_targets(outer):
            with self.installed.transaction():
                self._set_targets(outer)
                self.data.discard(snapshot)
                seen = self._after(self._seen)
            self._seen = seen
        self.data.forget(snapshot)

    def _set_targets(
        self,
        snapshot: Snapshot,
        known: int | None = None,
    ) -> None:
        """Have the functions aim at `snapshot`. Inside a transaction.

        Parameters:
            known: The number of the latest one at which all was as at the snapshot, where that has changed.
        """
        rows, positions = self.data.rows, self.data.positions
        unsure = self.installed.uncertain(rows.kept_since(snapshot.rows))
        moved = self.installed.uncertain_sequences(positions.kept_since(snapshot.positions))
        states = {number: rows.state(number, snapshot.rows) for number in unsure}
        locations = {name: positions.state(name, snapshot.positions) for name in moved}
        self.installed.set_targets(states, locations, snapshot.known if known is None else known)

    def _truncate(self, snapshot: Snapshot, dirty: set[int]) -> None:
        """Empty tables that hold many rows and held none at `snapshot`, as do all that refer to them."""
        catalog, rows = self.data.catalog, self.data.rows
        many = TRUNCATE_ROWS if self.connection.can_disable_triggers else TRUNCATE_ROWS_AS_OWNER
        for number in dirty:
            if self.data.counted.get(number, 0) < many:
                continue
            tables = [catalog.tables[other] for other in sorted(catalog.referring({number}))]
            if any(
                table.always_firing or rows.state(table.number, snapshot.rows) != baseline.EMPTY
                for table in tables
                if table.holds_rows
            ):
                continue
            self.connection.run(f"LOCK TABLE {OURS}.change_log IN SHARE MODE NOWAIT")
            self.connection.run(f"TRUNCATE {', '.join(table.alone for table in tables)}")

    # The reset function

    def _call(
        self, snapshot: Snapshot, dirty: set[int], others: str | None, *, same_schema: bool
    ) -> list[str]:
        (said,) = self.connection.call(
            _RESET,
            snapshot.number,
            *self._seen,
            0 if same_schema else self.installed.newest,
            "{" + ",".join(map(str, dirty)) + "}",
            self.installed.held,
            self.installed.moved,
            others,
            *(("", "") if same_schema else self.connection.watch),
        )
        return said.split()

    def _findings(self) -> tuple[Findings, tuple[str, str]]:
        """What happened since the last call, for a transaction that deals with all of it."""
        (said,) = self.connection.call(f"SELECT {_LOOK}", *self._seen)
        rest = said.split()[1:]
        return (self._read(*rest[3:]), (rest[0], rest[1])) if rest else (self._read("0"), self._seen)

    def _after(self, seen: tuple[str, str]) -> tuple[str, str]:
        """What is accounted for at the end of the transaction, which is none of the code under test."""
        own = self.connection.value("SELECT pg_current_xact_id_if_assigned()::text")
        return (str(int(own) + 1), seen[1]) if own == seen[0] else seen

    def _read(self, written: str, unexplained: str = "f") -> Findings:
        logged = frozenset(_numbers(written))
        unsure = change_log.SCHEMA in logged or change_log.SENTINEL not in logged
        return Findings(
            written=frozenset(number for number in logged if number > 0),
            schema=unsure or not self.connection.superuser,
            views=change_log.VIEW in logged or not self.connection.superuser,
            everything=unsure,
            unexplained=unexplained == "t",
            crashed=change_log.SENTINEL not in logged,
        )

    def _clear_change_log(self, snapshot_number: int) -> None:
        self.connection.run(
            f"DELETE FROM {OURS}.change_log; INSERT INTO {OURS}.change_log VALUES ({change_log.SENTINEL}); "
            f"SELECT setval('{OURS}.snapshot', {snapshot_number})"
        )

    # Dead rows

    def _clear_away(self, written: list[int], removed: int) -> None:
        """Now and then remove what resets leave behind, or they would become slower and slower."""
        self._resets += 1
        names = [f"{OURS}.change_log", f"{OURS}.changed_key"] if self._resets % VACUUM_EVERY == 0 else []
        for number in written:
            times, rows = self._dead.get(number, (0, 0))
            self._dead[number] = times + 1, rows + removed
            if times + 1 >= VACUUM_EVERY or rows + removed >= VACUUM_ROWS:
                del self._dead[number]
                table = self.data.catalog.tables.get(number)
                if table is not None and table.kind == "r":
                    names.append(table.sql)
        if names:
            self.connection.run(f"VACUUM (SKIP_LOCKED) {', '.join(names)}")


def _numbers(array: str) -> list[int]:
    """A SQL array as a list."""
    return list(map(int, filter(None, array.strip("{}").split(","))))
