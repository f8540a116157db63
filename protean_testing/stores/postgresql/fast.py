"""The fast reset: it gives back what was noted as written, and costs by that, not by what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import baseline, clearing, noting, sequences, sql
from .baseline import State
from .catalog import Table
from .connection import OURS, Connection, listed
from .data import Data, Mark
from .sequences import Name, Position

MANY_ROWS = 50  # in a table whose keys are worth noting
FEW_SEQUENCES = 64  # all of them are looked at after every test
VACUUM_EVERY = 200  # resets
VACUUM_ROWS = 10_000  # removed, after which it is time too


@dataclass(frozen=True)
class Look:
    """What happened since the last call.

    Attributes:
        written: The numbers of the tables that were noted.
        schema: The schema may have been changed.
        views: A materialized view may have been refreshed.
        everything: The notes cannot be relied on.
        again: Where the schema was not changed after all, the reset can do its work.
    """

    written: frozenset[int]
    schema: bool
    views: bool
    everything: bool
    again: bool = False


class Fast:
    """Knows what was written, and gives it back in one call.

    Parameters:
        connection: The keeper's own.
        data: What was there at every mark, and the slower way for what this one cannot do.

    Attributes:
        altered: Something was installed since this was last set to False.
    """

    def __init__(self, connection: Connection, data: Data) -> None:
        self.connection = connection
        self.data = data
        self._seen: tuple[int, int | None, bool] = (0, None, True)  # as protean_testing.look wants to know
        self._newest: int | None = None
        self._marks: list[Mark] = []
        self._keys_since: dict[int, int] = {}  # the first era in which all keys of a table were noted
        self._put: set[int] = set()  # tables with a function that puts rows back
        self._target: dict[int, tuple[State, bool]] = {}  # what stands in protean_testing.target
        self._place: dict[Name, Position] = {}  # and in protean_testing.position
        self.altered = False
        self._aimed = False
        self._installed = False
        self._resets, self._removed = 0, 0
        self._to_vacuum: set[int] = set()

    @property
    def innermost(self) -> Mark | None:
        """The mark that was saved last, of those that are valid."""
        return self._marks[-1] if self._marks else None

    # What is installed

    def install(self) -> None:
        """Put triggers on what is new, write functions for what there is now. Inside a transaction."""
        if not self._installed:
            noting.install(self.connection)
            self._installed = True
        noting.note(self.connection, self.data.catalog)
        for number in self._keys_since:
            if number in self.data.catalog.tables:
                noting.touch(self.connection, self.data.catalog.tables[number])
        self._write_functions()
        self._write_lists()
        self._aimed = False
        self.know_newest()
        self._seen = (0, None, True)
        self.altered = True

    def know_newest(self) -> None:
        """Whatever tables there are now, they are known. A superuser is told of changes instead."""
        if not self.connection.superuser:
            self._newest = self.connection.value("SELECT max(oid)::int8 FROM pg_class")

    def begin(self) -> None:
        """Take what is new as it is now: it belongs to every mark. Inside a transaction."""
        self._note_keys(self.data.rows.base, self.data.era)
        self._aim(self._marks[-1] if self._marks else None)

    def damaged(self) -> bool:
        """Whether a test dropped one of our triggers or switched it off."""
        tables = self.data.catalog.tables
        expected = {(table.oid, noting.TRIGGER) for table in tables.values() if table.notable}
        expected |= {(tables[n].oid, f"{noting.TRIGGER}_keys") for n in self._keys_since if n in tables}
        return noting.damaged(self.connection, expected)

    def _write_functions(self) -> None:
        catalog = self.data.catalog
        self.connection.run(clearing.clear_function(self.data.tables(lambda table: table.kind == "r")))
        constants = {
            ":watched": bool(self._watched()),
            ":heirs": any(table.children for table in catalog.tables.values()),
            ":slow": bool(self._slow()),
            ":few": len(catalog.sequences) <= FEW_SEQUENCES,
        }
        text = sql.text("reset")
        for name, value in constants.items():
            text = text.replace(name, str(value).lower())
        self.connection.run(text)
        for number in self._put & catalog.tables.keys():
            self.connection.run(clearing.put_function(catalog.tables[number]))

    def _write_lists(self) -> None:
        catalog = self.data.catalog
        heirs = [
            f"({number}, {child})"
            for number, table in catalog.tables.items()
            if table.children
            for child in catalog.rows_of({number}) - {number}
        ]
        self.connection.run(f"DELETE FROM {OURS}.heir; DELETE FROM {OURS}.slow")
        if heirs:
            self.connection.run(f"INSERT INTO {OURS}.heir VALUES {', '.join(heirs)}")
        self.connection.run(f"INSERT INTO {OURS}.slow SELECT unnest({listed(self._slow())}::int[])")

    def _watched(self) -> list[Table]:
        """What has to be looked at whenever anything happened, since nothing tells that it was written."""
        superuser = self.connection.superuser
        return self.data.tables(lambda table: not table.notable and not (table.kind == "m" and superuser))

    def _slow(self) -> set[int]:
        """What is put back in the slower way."""
        loud = not self.connection.silent
        slow = self.data.tables(lambda table: loud or bool(table.loud) or table.forced or table.kind == "m")
        return {table.number for table in slow}

    # A level begins

    def save(self, accept_schema: Callable[[], bool]) -> Mark:
        """Begin a level.

        Parameters:
            accept_schema: Looks at the schema, and reads the catalog again where it was changed. Returns
                whether it was.

        Raises:
            psycopg.errors.LockNotAvailable: A transaction of the code under test is open.
        """
        era = self.data.era + 1
        if not self.data.rows.top.owed and not self.data.positions.top.owed and self._save_quietly(era):
            below, positions = self.data.rows.top, self.data.positions.top
            mark = self.data.saved(set(), {}, {}, era)
            if below.kept or positions.kept:
                with self.connection.raw.transaction():
                    self._aim(mark, set(below.kept))  # what was written at the level below is what comes back
        else:
            with self.connection.raw.transaction():
                look = self._look()
                if look.schema and accept_schema():
                    self.install()
                mark = self._save_written(look, era)
        self._marks.append(mark)
        return mark

    def _save_quietly(self, era: int) -> bool:
        quiet, *_ = self.connection.prepared(
            "SELECT quiet, CASE WHEN quiet THEN setval('protean_testing.era', %s) END "
            "FROM protean_testing.look(%s, %s, %s)",
            (era, *self._seen),
        )
        return bool(quiet)

    def _save_written(self, look: Look, era: int) -> Mark:
        data = self.data
        unknown = data.unknown()
        if look.everything:
            suspects = data.tables()
        else:
            numbers = data.catalog.rows_of(set(look.written)) | data.rows.top.owed | unknown
            suspects = self._suspects(numbers, look)
        owed = {table.number for table in suspects}
        by_key = set() if look.everything else {number for number in owed - unknown if self._by_key(number)}
        kept = self._keep_keys(by_key) | data.keep(owed - by_key)
        self.connection.run(f"SELECT setval('{OURS}.era', {era})")
        self._forget_notes()
        places = data.places()
        below = data.rows.top
        mark = data.saved(owed, kept, places, era)
        self._note_keys(kept, era)
        self._aim(mark, set(below.kept))
        return mark

    def _suspects(self, numbers: set[int], look: Look) -> list[Table]:
        """The tables of these numbers, and what may have been written without a note."""
        tables = self.data.catalog.tables
        found = {number: tables[number] for number in numbers & tables.keys() if tables[number].changeable}
        found |= {table.number: table for table in self._watched()}
        if look.views:
            found |= {view.number: view for view in self.data.catalog.views()}
        return list(found.values())

    def _by_key(self, number: int) -> bool:
        """Whether all keys of a table are known that were written since the innermost mark."""
        if (
            not self._marks
            or number not in self._keys_since
            or self._keys_since[number] > self._marks[-1].known
        ):
            return False
        if self.data.rows.state(number, self._marks[-1].rows) == baseline.EMPTY:
            return False
        return not self.connection.value(
            f"SELECT EXISTS (SELECT FROM {OURS}.touched WHERE number = {number} AND key IS NULL "
            f"AND era >= {self._marks[-1].era})"
        )

    def _keep_keys(self, numbers: set[int]) -> dict[int, State]:
        kept = {}
        for number in numbers:
            copy = self.data.next_copy()
            table, mark = self.data.catalog.tables[number], self._marks[-1]
            baseline.keep_keys(self.connection, table, copy, mark.era)
            kept[number] = (*self.data.rows.state(number, mark.rows), copy)
        return kept

    def _note_keys(self, numbers: Iterable[int], era: int) -> None:
        """Note keys from now on where there are many rows and a key."""
        for number in numbers:
            table = self.data.catalog.tables.get(number)
            if table is None or number in self._keys_since or self.data.counted.get(number, 0) < MANY_ROWS:
                continue
            if table.key and table.notable and not table.loud and not table.forced:
                noting.touch(self.connection, table)
                self._keys_since[number] = era
                self.altered = True

    # A level is given back

    def reset(self, mark: Mark, *, same_schema: bool = False) -> bool | Look:
        """Give back what was written since `mark`.

        Parameters:
            mark: One that is valid.
            same_schema: The schema was looked at just now, and is as it was.

        Returns:
            Whether anything was; or what to look at, and nothing is done yet.

        Raises:
            psycopg.errors.LockNotAvailable: A transaction of the code under test is in the way.
        """
        data = self.data
        dirty = data.rows.dirty_since(mark.rows) & data.catalog.tables.keys()
        moved = data.positions.dirty_since(mark.positions)
        newest = None if same_schema else self._newest
        parameters = (mark.era, *self._seen, newest, sorted(dirty))
        call = "SELECT * FROM protean_testing.reset(%s, %s, %s, %s, %s, %s)"
        if mark is self._marks[-1] and not moved:
            row = self.connection.prepared(call, parameters)
        else:
            with self.connection.raw.transaction():
                self._aim(mark, data.rows.kept_since(mark.rows))
                row = self.connection.prepared(call, parameters)
                known = (data.catalog.sequences.get(name) for name in moved)
                sequences.put_back(self.connection, {s: self._place[s.key] for s in known if s is not None})
        outcome, written, seen, own, pending, removed = row
        if outcome == "schema":
            return Look(frozenset(), schema=True, views=True, everything=False, again=True)
        if outcome == "look":
            return self._read(written)
        self._seen = (seen, own, pending)
        self._ended(mark)
        if outcome == "reset":
            self._count(written, removed)
        return outcome == "reset" or bool(moved)

    def reset_by_looking(self, mark: Mark, *, everything: bool) -> bool:
        """As `reset`, but what may have been written is compared; all that there is, if asked for.

        Raises:
            psycopg.errors.LockNotAvailable: A transaction of the code under test is in the way.
        """
        data = self.data
        with self.connection.raw.transaction():
            look = self._look()
            dirty = data.rows.dirty_since(mark.rows)
            suspects = data.tables()
            if not (everything or look.everything):
                suspects = self._suspects(data.catalog.rows_of(set(look.written) | dirty), look)
            changed = data.put_back(mark, suspects)
            self._forget_notes()
            self.connection.run(f"DELETE FROM {OURS}.touched WHERE era >= {mark.era}")
            self._aim(mark, data.rows.kept_since(mark.rows))
        self._seen = (0, None, True)
        self._ended(mark)
        return changed

    def forget(self, mark: Mark) -> None:
        """`mark` and the levels inside of it are over; the data is as it is."""
        numbers = self.data.rows.kept_since(mark.rows)
        del self._marks[self._marks.index(mark) :]
        below = self._marks[-1] if self._marks else None
        if below is not None:
            numbers |= set(below.rows.kept)
        self.data.forget(mark)
        with self.connection.raw.transaction():
            self._aim(below, numbers)

    def _ended(self, mark: Mark) -> None:
        del self._marks[self._marks.index(mark) + 1 :]
        self.data.ended(mark)

    # What the functions read

    def _look(self) -> Look:
        (written,) = self.connection.prepared(
            "SELECT written FROM protean_testing.look(%s, %s, %s)", self._seen
        )
        return self._read(written)

    def _read(self, written: list[int] | None) -> Look:
        noted = frozenset(written or ())
        return Look(
            written=frozenset(number for number in noted if number > 0),
            schema=noting.SCHEMA in noted or noting.SENTINEL not in noted or not self.connection.superuser,
            views=noting.VIEW in noted or not self.connection.superuser,
            everything=noting.SCHEMA in noted or noting.SENTINEL not in noted,
        )

    def _forget_notes(self) -> None:
        self.connection.run(f"DELETE FROM {OURS}.note; INSERT INTO {OURS}.note VALUES ({noting.SENTINEL})")

    def _aim(self, mark: Mark | None, numbers: set[int] | None = None) -> None:
        """Have `protean_testing.target` and `position` tell what there was at `mark`. Inside a transaction.

        Parameters:
            mark: None for what creating the schema left.
            numbers: The tables for which it may be something else than what they tell now.
        """
        data = self.data
        whole = numbers is None or not self._aimed
        self._aimed = False  # until it is written
        suspects = data.rows.base.keys() if numbers is None or whole else numbers | self._keys_since.keys()
        target = {} if whole else dict(self._target)
        for number in suspects & data.rows.base.keys():
            table = data.catalog.tables.get(number)
            state = data.rows.base[number] if mark is None else data.rows.state(number, mark.rows)
            if table is None or table.kind != "r" or state == baseline.EMPTY:
                target.pop(number, None)
                continue
            known = 0 if mark is None else mark.known
            target[number] = (state, number in self._keys_since and self._keys_since[number] <= known)
            if number not in self._put:
                self.connection.run(clearing.put_function(table))
                self._put.add(number)
                self.altered = True
        self._write_targets(target, whole)
        level = data.positions.top if mark is None else mark.positions
        places = {
            name: place
            for name in data.catalog.sequences
            if (place := data.position(name, level)) is not None
        }
        self._write_places(places, whole)
        self._target, self._place, self._aimed = target, places, True

    def _write_targets(self, target: dict[int, tuple[State, bool]], whole: bool) -> None:
        there = {} if whole else self._target
        gone = there.keys() - target.keys()
        changed = [(n, *what) for n, what in target.items() if there.get(n) != what]
        if whole:
            self.connection.run(f"DELETE FROM {OURS}.target")
        elif gone or changed:
            numbers = gone | {number for number, *_ in changed}
            self.connection.run(f"DELETE FROM {OURS}.target WHERE number = ANY ({listed(numbers)}::int[])")
        if changed:
            rows = ", ".join(f"({number}, {listed(state)}, {by_key})" for number, state, by_key in changed)
            self.connection.run(f"INSERT INTO {OURS}.target VALUES {rows}")

    def _write_places(self, places: dict[Name, Position], whole: bool) -> None:
        there = {} if whole else self._place
        changed = [
            self.data.catalog.sequences[name] for name, place in places.items() if there.get(name) != place
        ]
        if whole:
            self.connection.run(f"DELETE FROM {OURS}.position")
        elif changed:
            oids = listed(sequence.oid for sequence in changed)
            self.connection.run(f"DELETE FROM {OURS}.position WHERE sequence = ANY ({oids}::oid[])")
        rows = [
            f"({number}, {sequence.oid}, {places[sequence.key][0]}, {places[sequence.key][1]})"
            for sequence in changed
            for number in (*(sequence.tables or (noting.SENTINEL,)), "NULL")
        ]
        if rows:
            self.connection.run(f"INSERT INTO {OURS}.position VALUES {', '.join(rows)}")

    # Dead rows

    def _count(self, written: list[int], removed: int) -> None:
        """Every now and then clear away what resets leave behind, or they would become slower and slower."""
        self._resets += 1
        self._removed += removed
        self._to_vacuum.update(written)
        if self._resets < VACUUM_EVERY and self._removed < VACUUM_ROWS:
            return
        names = [self.data.catalog.tables[n].sql for n in self._to_vacuum & self.data.catalog.tables.keys()]
        names += [f"{OURS}.note", f"{OURS}.touched"]
        self._resets, self._removed, self._to_vacuum = 0, 0, set()
        self.connection.run(f"VACUUM (SKIP_LOCKED) {', '.join(names)}")
