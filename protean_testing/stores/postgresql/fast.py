"""The fast reset: it gives back what was noted as written, and costs by that, not by what is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from . import baseline, clearing, noting, sequences, sql
from .baseline import State
from .catalog import Table
from .connection import OURS, Connection, listed
from .data import Data, Mark
from .sequences import Name, Position

MANY_ROWS = 50  # in a table whose keys are worth noting
FEW_SEQUENCES = 16  # all of them are looked at after every test
SOME_SEQUENCES = 100  # those without values are put back after a rollback, too
VACUUM_EVERY = 200  # resets
VACUUM_ROWS = 10_000  # removed, after which it is time too


UNKNOWN = ("0", "true")
"""Any transaction may have happened."""

_LOOK = f"{OURS}.reset(0, $1, $2, 0, '{{}}', false, false)"


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
        self._seen: tuple[str, str] = UNKNOWN  # seen and pending, as protean_testing.reset wants to know
        self._now = UNKNOWN
        self._newest = 0  # as protean_testing.reset wants to know
        self._marks: list[Mark] = []
        self._keys_since: dict[int, int] = {}  # the first era in which all keys of a table were noted
        self._put: set[int] = set()  # tables with a function that puts rows back
        self._target: dict[int, tuple[State, bool]] = {}  # what stands in protean_testing.target
        self._place: dict[Name, Position] = {}  # and in protean_testing.position
        self._moved = False  # a sequence stands elsewhere there than when the schema was made
        self.altered = False
        self._aimed = False
        self._installed = False
        self._resets = 0
        self._dead: dict[int, tuple[int, int]] = {}  # how often a table was cleared, and of how many rows

    @property
    def innermost(self) -> Mark | None:
        """The mark that was saved last, of those that are valid."""
        return self._marks[-1] if self._marks else None

    # What is installed

    def install(self) -> None:
        """Put triggers on what is new. Inside a transaction."""
        if not self._installed:
            noting.install(self.connection)
            self._installed = True
        noting.note(self.connection, self.data.catalog)
        for number in self._keys_since:
            if number in self.data.catalog.tables:
                noting.touch(self.connection, self.data.catalog.tables[number])
        self._write_lists()
        self._aimed = False
        self.know_newest()
        self._seen = UNKNOWN
        self.altered = True

    def know_newest(self) -> None:
        """Whatever tables there are now, they are known. A superuser is told of changes instead."""
        if not self.connection.superuser:
            self._newest = self.connection.value("SELECT max(oid)::int8 FROM pg_class")

    def begin(self) -> None:
        """Take what is new as it is now: it belongs to every mark. Inside a transaction."""
        self.write_functions()
        self._look()
        self._note_keys(self.data.rows.base, self.data.era)
        self._aim(self._marks[-1] if self._marks else None)
        self._account()

    def damaged(self) -> bool:
        """Whether a test dropped one of our triggers or switched it off."""
        tables = self.data.catalog.tables
        expected = {(table.oid, noting.TRIGGER) for table in tables.values() if table.notable}
        expected |= {(tables[n].oid, f"{noting.TRIGGER}_keys") for n in self._keys_since if n in tables}
        return noting.damaged(self.connection, expected)

    def write_functions(self) -> None:
        """Write the functions for what there is now. Inside a transaction."""
        catalog = self.data.catalog
        base = self.data.positions.base
        places = {sequence: base[name] for name, sequence in catalog.sequences.items() if name in base}
        tables = self.data.tables(lambda table: table.kind == "r")
        self.connection.run(clearing.clear_function(tables, places))
        constants = {
            ":watched": bool(self._watched()),
            ":heirs": any(table.children for table in catalog.tables.values()),
            ":slow": bool(self._slow()),
            ":unlogged": any(sequence.unlogged for sequence in catalog.sequences.values()),
            ":cached": any(sequence.cached for sequence in catalog.sequences.values()),
            ":some": len(catalog.sequences) <= SOME_SEQUENCES,
            ":few": len(catalog.sequences) <= FEW_SEQUENCES,
        }
        text = sql.text("reset")
        for name, value in constants.items():
            text = text.replace(name, str(value).lower())
        self.connection.run(text)
        self._put &= catalog.tables.keys()
        for number in self._put:
            self.connection.run(clearing.put_function(catalog.tables[number]))
        self.connection.run(clearing.put_switch(self._put))

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
        if self.data.rows.top.owed or self.data.positions.top.owed or not self._save_quietly(era):
            with self.connection.raw.transaction():
                look = self._look()
                if changed := look.schema and accept_schema():
                    self.install()
                mark = self._save_written(look, era)
                if changed:
                    self.write_functions()
        else:
            mark = self.data.saved(set(), {}, {}, era)
        self._marks.append(mark)
        return mark

    def _save_quietly(self, era: int) -> bool:
        outcome, _ = self.connection.call(
            f"SELECT said, CASE said WHEN 'nothing' THEN setval('{OURS}.era', $3) END FROM {_LOOK} said",
            *self._seen,
            era,
        )
        return outcome == "nothing"

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
        moved: Collection[Any] = data.positions.dirty_since(mark.positions)
        newest = 0 if same_schema else self._newest
        single = mark is self._marks[-1] and not moved
        if single:
            said = self._call(mark, newest, dirty)
        else:
            with self.connection.raw.transaction():
                self._aim(mark, data.rows.kept_since(mark.rows))
                said = self._call(mark, newest, dirty)
                moved = data.moved(mark)  # also those that a single test can hide
                sequences.put_back(self.connection, moved)
        outcome, *rest = said
        if outcome == "schema":
            return Look(frozenset(), schema=True, views=True, everything=False, again=True)
        if outcome == "look":
            return self._read(rest[3])
        if rest:
            self._seen = (rest[0], rest[1])
        if not single or mark.rows.kept:
            self._ended(mark)
        mark.known = data.era
        if outcome == "reset":
            self._count(_numbers(rest[3]), int(rest[2]))
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
            self._account()
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

    def _call(self, mark: Mark, newest: int, dirty: set[int]) -> list[str]:
        held = bool(self._target or self._keys_since)
        array = "{" + ",".join(map(str, dirty)) + "}"
        (said,) = self.connection.call(
            f"SELECT {OURS}.reset($1, $2, $3, $4, $5, $6, $7)",
            mark.era, *self._seen, newest, array, held, self._moved,
        )  # fmt: skip
        return said.split()

    def _look(self) -> Look:
        """What happened since the last call. The transaction deals with all of it, and then `_account`s."""
        (said,) = self.connection.call(f"SELECT {_LOOK}", *self._seen)
        outcome, *rest = said.split()
        self._now = self._seen
        if outcome == "nothing":
            return self._read("0")
        self._now = (rest[0], rest[1])
        return self._read(rest[3])

    def _account(self) -> None:
        """What `_look` saw is dealt with, by this transaction."""
        seen, pending = self._now
        own = self.connection.value("SELECT pg_current_xact_id_if_assigned()::text")
        self._seen = (str(int(own) + 1) if own == seen else seen, pending)

    def _read(self, written: str) -> Look:
        noted = frozenset(_numbers(written))
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
                self.connection.run(clearing.put_switch(self._put))
                self.altered = True
        self._write_targets(target, whole)
        self._write_places(mark, whole)
        self._target, self._aimed = target, True

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

    def _write_places(self, mark: Mark | None, whole: bool) -> None:
        there = {} if whole else self._place
        self._place = {}
        changed = []
        for name, sequence in self.data.catalog.sequences.items():
            level = self.data.positions.top if mark is None else mark.positions
            place = self.data.position(name, level)
            if place is not None:
                self._place[name] = place
                if there.get(name) != place:
                    changed.append(sequence)
        if whole:
            self.connection.run(f"DELETE FROM {OURS}.position")
        elif changed:
            oids = listed(sequence.oid for sequence in changed)
            self.connection.run(f"DELETE FROM {OURS}.position WHERE sequence = ANY ({oids}::oid[])")
        self._moved = any(place != self.data.positions.base[name] for name, place in self._place.items())
        lines = [
            f"({number}, {s.oid}, {self._place[s.key][0]}, {self._place[s.key][1]}, {s.cached})"
            for s in changed
            for number in (*(s.tables or (noting.SENTINEL,)), "NULL")
        ]
        if lines:
            self.connection.run(f"INSERT INTO {OURS}.position VALUES {', '.join(lines)}")

    # Dead rows

    def _count(self, written: list[int], removed: int) -> None:
        """Every now and then clear away what resets leave behind, or they would become slower and slower."""
        self._resets += 1
        done = []
        for number in written:
            times, rows = self._dead.get(number, (0, 0))
            self._dead[number] = times + 1, rows + removed
            if times + 1 >= VACUUM_EVERY or rows + removed >= VACUUM_ROWS:
                del self._dead[number]
                if (table := self.data.catalog.tables.get(number)) is not None and table.kind == "r":
                    done.append(table.sql)
        if self._resets % VACUUM_EVERY == 0:
            done += [f"{OURS}.note", f"{OURS}.touched"]
        if done:
            self.connection.run(f"VACUUM (SKIP_LOCKED) {', '.join(done)}")


def _numbers(array: str) -> list[int]:
    """A SQL array as a list."""
    return [int(number) for number in array.strip("{}").split(",") if number]
