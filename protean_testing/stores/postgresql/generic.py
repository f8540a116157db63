"""The reset that installs nothing in the user's schemas: all tables and sequences are looked at."""

from __future__ import annotations

from dataclasses import dataclass

from . import baseline, sequences, views
from .catalog import Catalog, Table
from .connection import Connection
from .levels import Level, Levels
from .sequences import Name, Position


@dataclass(frozen=True, eq=False)
class Mark:
    """A level of rows and one of sequences, which begin and end together."""

    rows: Level[int, int]
    positions: Level[Name, Position]


class Generic:
    """Keeps rows and sequences by looking at all of them.

    Attributes:
        catalog: What there is now.
    """

    def __init__(self, connection: Connection, catalog: Catalog) -> None:
        self.connection = connection
        self.catalog = catalog
        self.rows: Levels[int, int] = Levels()
        self.positions: Levels[Name, Position] = Levels()
        self._copy = baseline.EMPTY
        self._stored: set[int] = set()

    def begin(self) -> None:
        """Take tables and sequences that are new as they are now: they belong to every mark."""
        with self.connection.raw.transaction():
            kept = self._keep(self._unknown())
            places = sequences.positions(
                self.connection,
                [s for name, s in self.catalog.sequences.items() if name not in self.positions.base],
            )
        self.rows.base |= kept
        self.positions.base |= places

    def save(self) -> Mark:
        with self.connection.raw.transaction():
            written = self._written(self.rows.top) | self._unknown()
            places = sequences.positions(self.connection, self.catalog.sequences.values())
            moved = {
                name for name, place in places.items() if place != self._position(name, self.positions.top)
            }
            kept = self._keep(self.rows.top.dirty | written)
        moved |= self.positions.top.dirty & places.keys()
        for number in self._unknown():
            self.rows.base[number] = baseline.EMPTY
        for name in places.keys() - self.positions.base.keys():
            self.positions.base[name] = places[name]
        return Mark(
            self.rows.save(written, kept), self.positions.save(moved, {name: places[name] for name in moved})
        )

    def reset(self, mark: Mark) -> bool:
        with self.connection.raw.transaction():
            targets = {number: self.rows.state(number, mark.rows) for number in self._written(mark.rows)}
            baseline.put_back(
                self.connection, self.catalog, {n: c for n, c in targets.items() if not self._is_view(n)}
            )
            # A view may be right as it is, or be wrong only because of the rows that a test wrote.
            views.put_back(
                self.connection, self.catalog, {n: c for n, c in targets.items() if self._is_view(n)}
            )
            moved = {
                self.catalog.sequences[name]: target
                for name, place in sequences.positions(
                    self.connection, self.catalog.sequences.values()
                ).items()
                if (target := self._position(name, mark.positions)) not in (place, None)
            }
            sequences.put_back(self.connection, moved)
        self.rows.reset(mark.rows)
        self.positions.reset(mark.positions)
        self._discard()
        return bool(targets or moved)

    def forget(self, mark: Mark) -> None:
        self.rows.forget(mark.rows)
        self.positions.forget(mark.positions)
        self._discard()

    def knows(self, mark: Mark) -> bool:
        return self.rows.has(mark.rows)

    def _all(self) -> list[Table]:
        return [table for table in self.catalog.tables.values() if table.kind != "p" and table.changeable]

    def _is_view(self, number: int) -> bool:
        return self.catalog.tables[number].kind == "m"

    def _unknown(self) -> set[int]:
        return {table.number for table in self._all()} - self.rows.base.keys()

    def _written(self, mark: Level[int, int]) -> set[int]:
        """Which tables and views are not as they were at `mark`."""
        known = [(t, self.rows.state(t.number, mark)) for t in self._all() if t.number in self.rows.base]
        with baseline.unforced(self.connection, [table for table, _ in known]):
            tables = baseline.changed(self.connection, [pair for pair in known if pair[0].kind == "r"])
        return tables | views.changed(self.connection, [pair for pair in known if pair[0].kind == "m"])

    def _keep(self, numbers: set[int]) -> dict[int, int]:
        found = [self.catalog.tables[number] for number in sorted(numbers & self.catalog.tables.keys())]
        if not found:
            return {}
        self._copy += 1
        with baseline.unforced(self.connection, found):
            kept = baseline.keep(self.connection, [t for t in found if t.kind == "r"], self._copy)
        kept |= views.keep(self.connection, [t for t in found if t.kind == "m"], self._copy)
        self._stored.add(self._copy)
        return kept

    def _position(self, name: Name, mark: Level[Name, Position]) -> Position | None:
        return self.positions.state(name, mark) if name in self.positions.base else None

    def _discard(self) -> None:
        void = self._stored - set(self.rows.states())
        baseline.discard(self.connection, void)
        self._stored -= void
