"""Rows, sequences and materialized views at every snapshot; restored by looking at what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import baseline, large_objects, schema_cache, sequences, views
from .baseline import State
from .catalog import Catalog, Sequence, Table
from .connection import DURABLE, Connection
from .history import Changes, History
from .sequences import Name, Position
from .snapshot import Snapshot


class Data:
    """Keeps what the database holds. Where nobody knows what was written, all of it is looked at.

    Attributes:
        catalog: What there is now.
        stack: The snapshots that are saved, outermost first; before them what creating the schema left.
        rows: The states of tables and materialized views, by their numbers.
        positions: Where sequences stood, by their names.
        snapshot_number: That of the innermost snapshot.
        counted: How many rows a table had when it was last copied in full.
        refreshed: Materialized views that cannot be restored, as nobody was told of yet.
    """

    def __init__(self, connection: Connection, catalog: Catalog) -> None:
        self.connection = connection
        self.catalog = catalog
        self.stack = [Snapshot()]
        self.rows: History[int, State] = History(lambda: [one.rows for one in self.stack])
        self.positions: History[Name, Position] = History(lambda: [one.positions for one in self.stack])
        self.snapshot_number = 0
        self.counted: dict[int, int] = {}
        self.refreshed: set[str] = set()
        self._copy = 0
        self._large = False  # there were never any large objects
        self._stored: set[int] = set()  # the copies of snapshots: those of the base stay

    def begin(self) -> None:
        """Take what is new as it is now: it belongs to every snapshot. Inside a transaction."""
        kept = self.keep(self.unknown())
        new = [s for name, s in self.catalog.sequences.items() if name not in self.positions.base]
        locations = sequences.positions(self.connection, new)
        self.rows.base |= kept
        self._stored.difference_update(*kept.values())
        self.positions.base |= locations

    def state(self) -> dict[str, Any]:
        """What it holds while no snapshot is saved, as JSON can hold it."""
        return {
            "rows": list(self.rows.base.items()),
            "positions": list(self.positions.base.items()),
            "counted": list(self.counted.items()),
            "snapshot_number": self.snapshot_number,
            "copy": self._copy,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """All is as it was when an earlier run ended."""
        self.rows.base = schema_cache.to_rows(state)
        self.positions.base = schema_cache.to_positions(state)
        self.counted = dict(state["counted"])
        self._large = self.rows.base[self.catalog.large_objects] != baseline.EMPTY
        self.snapshot_number, self._copy = state["snapshot_number"], state["copy"]

    def unknown(self) -> set[int]:
        """Tables that came since the snapshots were saved."""
        return {table.number for table in self.catalog.kept if table.number not in self.rows.base}

    # A snapshot is saved

    def save(self) -> Snapshot:
        """Save a snapshot, whatever was written."""
        with self.connection.raw.transaction():
            self.connection.run(DURABLE)
            written = self.written(self.stack[-1].rows, self.catalog.kept) | self.unknown()
            kept = self.keep(self.stack[-1].rows.dirty | written)
            locations = self.locations()
        self.know(locations)
        return self.saved(written, kept, self.moved_since_top(locations), self.snapshot_number + 1)

    def saved(
        self, written: set[int], kept: dict[int, State], moved: dict[Name, Position], snapshot_number: int
    ) -> Snapshot:
        """Another snapshot is saved.

        Parameters:
            written: What was written at the one that is innermost now.
            kept: The state of all that.
            moved: Where sequences stand that do not stand where they stood when that one began, and those
                that did not at some time since.
        """
        self.snapshot_number = snapshot_number
        self.rows.save(written, kept)
        self.positions.save(moved, moved)
        self.stack.append(Snapshot(number=snapshot_number, known=snapshot_number))
        return self.stack[-1]

    def moved_since_top(self, locations: dict[Name, Position]) -> dict[Name, Position]:
        """What `saved` wants to know, by where (at least) the sequences stand that were moved."""
        top = self.stack[-1].positions
        moved = {name: at for name, at in locations.items() if at != self.position(name, top)}
        there = self.catalog.sequences.keys() & self.positions.base.keys()
        back = {name: locations.get(name, self.positions.state(name, top)) for name in top.dirty & there}
        return back | moved

    def know(self, locations: dict[Name, Position]) -> None:
        """Tables and sequences that came since the snapshots were saved are there from now on."""
        for number in self.unknown():
            self.rows.base[number] = baseline.EMPTY
        for name in locations.keys() - self.positions.base.keys():
            self.positions.base[name] = locations[name]

    def locations(self) -> dict[Name, Position]:
        """Where every sequence stands now."""
        return sequences.positions(self.connection, self.catalog.sequences.values())

    def keep(self, numbers: set[int]) -> dict[int, State]:
        """Copy tables and views in full. Inside a transaction."""
        found = [self.catalog.tables[number] for number in sorted(numbers & self.catalog.tables.keys())]
        if not found:
            return {}
        copy = self.next_copy()
        with baseline.unforced(self.connection, found):
            rows = baseline.keep(self.connection, [t for t in found if t.kind == "r"], copy)
        self.counted |= rows
        kept = {number: baseline.state_of(count, copy) for number, count in rows.items()}
        large = large_objects.keep(self.connection, [t for t in found if t.kind == "l"], copy)
        self._large |= any(state != baseline.EMPTY for state in large.values())
        kept |= large
        return kept | views.keep(self.connection, [t for t in found if t.kind == "m"], copy)

    def next_copy(self) -> int:
        """The number of a copy that is made now."""
        self._copy += 1
        self._stored.add(self._copy)
        return self._copy

    # A snapshot is restored

    def reset(self, snapshot: Snapshot) -> bool:
        """Give everything back that is not as it was at `snapshot`. Returns whether anything was not."""
        with self.connection.raw.transaction():
            changed = self.restore(snapshot, self.catalog.kept)
            self.discard(snapshot)
        self.ended(snapshot)
        return changed

    def restore(self, snapshot: Snapshot, suspects: list[Table]) -> bool:
        """Restore `suspects` and sequences to `snapshot`. Inside a transaction."""
        tables = [table for table in suspects if table.kind == "r"]
        targets = {
            number: self.rows.state(number, snapshot.rows) for number in self.written(snapshot.rows, tables)
        }
        baseline.restore(self.connection, self.catalog, targets)
        others = [(t, self.rows.state(t.number, snapshot.rows)) for t in suspects if t.kind == "l"]
        wrong = large_objects.changed(self.connection, others)
        large_objects.restore(self.connection, [pair for pair in others if pair[0].number in wrong])
        shown = [table for table in suspects if table.kind == "m"]  # by the rows that are right again
        outdated = {
            number: self.rows.state(number, snapshot.rows) for number in self.written(snapshot.rows, shown)
        }
        if other := views.restore(self.connection, self.catalog, outdated):
            self.rows.replace(snapshot.rows, self.keep(other))
            self.refreshed |= {self.catalog.tables[number].sql for number in other}
        moved = self.moved(snapshot)
        sequences.restore(self.connection, moved)
        return bool(targets or wrong or outdated or moved)

    def written(self, snapshot: Changes[int, State], suspects: list[Table]) -> set[int]:
        """Which of these tables and views are not as they were at `snapshot`."""
        known = [(t, self.rows.state(t.number, snapshot)) for t in suspects if t.number in self.rows.base]
        tables = [pair for pair in known if pair[0].kind == "r"]
        with baseline.unforced(self.connection, [table for table, _ in tables]):
            found = baseline.changed(self.connection, tables)
        found |= large_objects.changed(self.connection, [pair for pair in known if pair[0].kind == "l"])
        return found | views.changed(self.connection, [pair for pair in known if pair[0].kind == "m"])

    def ended(self, snapshot: Snapshot) -> None:
        """All is as at `snapshot` again, and those inside of it are over."""
        del self.stack[self.stack.index(snapshot) + 1 :]
        snapshot.rows.clear()
        snapshot.positions.clear()
        snapshot.known = self.snapshot_number
        self._stored -= self._void(snapshot)

    def forget(self, snapshot: Snapshot) -> None:
        """`snapshot` and those inside of it are over; the data is as it is."""
        self._stored -= self._void(snapshot)
        self.rows.forget(snapshot.rows)
        self.positions.forget(snapshot.positions)
        del self.stack[self.stack.index(snapshot) :]

    def discard(self, snapshot: Snapshot) -> None:
        """Discard the copies that `snapshot` and those inside of it have made. Inside a transaction."""
        baseline.discard(self.connection, self._void(snapshot))

    def _void(self, snapshot: Snapshot) -> set[int]:
        if not self._stored:
            return set()
        outer = self.stack[: self.stack.index(snapshot)]
        return self._stored - {copy for one in outer for state in one.rows.kept.values() for copy in state}

    def large_objects(self, snapshot: Snapshot | None = None) -> set[int]:
        """The number of what stands for them, if there were any at `snapshot`, or at the innermost now."""
        if not self._large:
            return set()
        number = self.catalog.large_objects
        state = self.rows.state_now(number) if snapshot is None else self.rows.state(number, snapshot.rows)
        return set() if state == baseline.EMPTY else {number}

    def position(self, name: Name, snapshot: Changes[Name, Position]) -> Position | None:
        """Where a sequence stood at `snapshot`; None for one that came later."""
        return self.positions.state(name, snapshot) if name in self.positions.base else None

    def tables(self, keep: Callable[[Table], bool] = lambda table: True) -> list[Table]:
        """The tables and views that are kept, those of one kind."""
        return [table for table in self.catalog.kept if keep(table)]

    def moved(self, snapshot: Snapshot) -> dict[Sequence, Position]:
        """Sequences that do not stand where they stood at `snapshot`, and where that was."""
        return {
            self.catalog.sequences[name]: target
            for name, location in self.locations().items()
            if (target := self.position(name, snapshot.positions)) not in (location, None)
        }
