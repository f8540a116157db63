"""What the fast reset has installed in the database, and what this process knows of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any

from . import baseline, change_log, clearing, large_objects, sql
from .baseline import State
from .catalog import Sequence, Table
from .connection import OURS, Connection, listed, literal
from .data import Data
from .sequences import Name, Position

MANY_ROWS = 50  # in a table whose keys are worth noting; a plain owner has no other way for any rows
FEW_SEQUENCES = 16  # all of them are looked at after every test
SOME_SEQUENCES = 100  # those without values are restored after a rollback, too
SEQUENCES_AFTER_SCOPE = 20  # that are all looked at after a scope in which nothing was unexplained
SEQUENCES_IN_TURN = 3  # of more: the tables whose sequences are, since a first look at one is dear
SEQUENCES_AT_SNAPSHOT = 200  # of which a snapshot reads each; of more, those that what was written explains


class Installed:
    """Triggers, functions, and what these read: `target` and `position` tell what there was at a snapshot.

    Attributes:
        newest: The newest relation that is known, as protean_testing.reset wants to know.
        altered: Something was installed since this was last set to False.
        renew: What is installed did not work, and is to be written again.
        watched: What has to be looked at whenever anything happened, since nothing tells that it was written.
    """

    def __init__(self, connection: Connection, data: Data) -> None:
        self._connection, self._data = connection, data
        self.newest = 0
        self.altered = False
        self.renew = False
        self.watched: list[Table] = []
        self._keys_since: dict[int, int] = {}  # the first snapshot since which all are logged
        self._puts: set[int] = set()  # tables with a function that puts rows back
        self._target: dict[int, tuple[State, bool]] = {}
        self._elsewhere: dict[Name, Position] = {}  # as `position` says, if not at first
        self._has_targets = False
        self._turn = 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction, after whose failure this knows again what there is."""
        keys, puts = copy(self._keys_since), copy(self._puts)
        try:
            with self._connection.raw.transaction():
                yield
        except BaseException:
            self._keys_since, self._puts, self._has_targets = keys, puts, False
            raise

    # Triggers and functions

    def install(self) -> None:
        """Put triggers on what is new, write functions for what there is now. Inside a transaction."""
        catalog = self._data.catalog
        if self._connection.value(f"SELECT to_regclass('{OURS}.change_log')") is None:
            change_log.install(self._connection)
        change_log.log_tables(self._connection, catalog)
        for number in self._keys_since.keys() & catalog.tables.keys():
            change_log.log_keys(self._connection, catalog.tables[number])
        if self.renew:
            self._puts.clear()
        self._know_watched()
        self._write_lists()
        self._write_functions()
        self.know_newest()
        self._has_targets = self.renew = False
        self.altered = True

    def state(self) -> dict[str, Any]:
        """What is there while no snapshot is saved, as JSON can hold it."""
        return {
            "keys_since": list(self._keys_since.items()),
            "puts": sorted(self._puts),
            "target": [[number, *what] for number, what in self._target.items()],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """An earlier run has installed it, and it aims at what creating the schema left."""
        self._keys_since = dict(state["keys_since"])
        self._puts = set(state["puts"])
        self._target = {number: (tuple(copies), by_key) for number, copies, by_key in state["target"]}
        self._has_targets = True
        self._know_watched()
        self.know_newest()

    def install_after_crash(self, snapshot_number: int) -> None:
        """Log keys from `snapshot_number` on: none tells of unlogged rows that were lost before."""
        self._keys_since = dict.fromkeys(self._keys_since, snapshot_number)
        self.install()

    def _know_watched(self) -> None:
        superuser = self._connection.superuser
        self.watched = self._data.tables(
            lambda table: not table.notable and table.kind != "l" and not (table.kind == "m" and superuser)
        )

    def know_newest(self) -> None:
        """Whatever tables there are now, they are known."""
        self.newest = self._connection.value("SELECT max(oid)::int8 FROM pg_class")

    def damaged(self, since: int = 0) -> bool:
        """Whether a test dropped one of our triggers or switched it off. See `change_log.damaged`."""
        tables = self._data.catalog.tables
        expected = {(table.oid, change_log.TRIGGER) for table in tables.values() if table.notable}
        expected |= {(tables[n].oid, f"{change_log.TRIGGER}_keys") for n in self._keys_since if n in tables}
        return change_log.damaged(self._connection, expected, since)

    def log_keys(self, numbers: Iterable[int], snapshot_number: int) -> None:
        """Note keys from now on where there are many rows and a key. Inside a transaction."""
        many = MANY_ROWS if self._connection.can_disable_triggers else 1
        for number in numbers:
            table = self._data.catalog.tables.get(number)
            if table is None or number in self._keys_since or self._data.counted.get(number, 0) < many:
                continue
            if table.key and table.notable and not table.always_firing and not table.forced:
                change_log.log_keys(self._connection, table)
                self._keys_since[number] = snapshot_number
                self.altered = True

    def all_keys_logged(self, number: int, snapshot_number: int) -> bool:
        """Whether every key of a table that was written since `snapshot_number` is known."""
        return self._keys_since.get(number, snapshot_number + 1) <= snapshot_number

    def _slow(self) -> set[int]:
        """What is restored in the slower way."""
        slow = self._data.tables(
            lambda table: (
                bool(table.always_firing)
                or table.forced
                or table.kind == "m"
                or self._identified(table)
                or any(table.oid in oids for oids in self._connection.not_held.values())
            )
        )
        numbers = {table.number for table in slow}
        return (
            numbers
            if self._connection.can_disable_triggers
            else numbers | self._data.catalog.reaching_always_firing()
        )

    def _identified(self, table: Table) -> bool:
        """A plain owner cannot update a column that is GENERATED ALWAYS AS IDENTITY."""
        keys = {column for column, _ in table.key}
        return not self._connection.can_disable_triggers and bool(keys) and not table.identities <= keys

    def _write_functions(self) -> None:
        catalog, run = self._data.catalog, self._connection.run
        base = self._data.positions.base
        locations = {sequence: base[name] for name, sequence in catalog.sequences.items() if name in base}
        run(clearing.clear_function(self._data.tables(lambda table: table.kind == "r"), locations))
        constants = {
            ":watched": bool(self.watched),
            ":children": any(table.children for table in catalog.tables.values()),
            ":slow": bool(self._slow()),
            ":owner": not self._connection.can_disable_triggers,
            ":unlogged": any(sequence.unlogged for sequence in catalog.sequences.values()),
            ":cached": any(sequence.cached for sequence in catalog.sequences.values()),
            ":few": len(catalog.sequences) <= FEW_SEQUENCES,
            ":some": len(catalog.sequences) <= SOME_SEQUENCES,
        }
        text = sql.text("reset")
        for name, value in constants.items():
            text = text.replace(name, str(value).lower())
        text = text.replace("':cycles'", listed(catalog.cycles()))
        for name in ("evaluating", "reading"):
            switch = "" if self._connection.can_disable_triggers else getattr(self._connection, name)
            text = text.replace(f":{name}", clearing.performed(switch))
        text = text.replace(":large", str(catalog.large_objects)).replace(":mine", large_objects.MINE)
        if not self._connection.can_disable_triggers:
            run(sql.text("owner"))
        run(text)
        self._puts &= catalog.tables.keys()
        for number in self._puts:
            run(clearing.put_function(catalog.tables[number], self._connection))
        run(clearing.put_switch(self._puts))

    def _write_lists(self) -> None:
        catalog, run = self._data.catalog, self._connection.run
        children = [
            f"({number}, {child})"
            for number, table in catalog.tables.items()
            if table.children
            for child in catalog.rows_of({number}) - {number}
        ]
        run(f"DELETE FROM {OURS}.inheritance_child; DELETE FROM {OURS}.slow")
        if children:
            run(f"INSERT INTO {OURS}.inheritance_child VALUES {', '.join(children)}")
        if not self._connection.can_disable_triggers:
            self._write_parts()
        run(f"INSERT INTO {OURS}.slow SELECT unnest({listed(self._slow())}::int[])")
        run(f"DELETE FROM {OURS}.sequence")
        self.know_sequences()

    def know_sequences(self, altered: Collection[int] | None = None) -> None:
        """Know what sequences look like, which shows whether one was altered or only moved.

        Parameters:
            altered: The oids of relations; only sequences among them, or of them, are known anew.
        """
        catalog = self._data.catalog
        oids = listed(
            sequence.oid
            for sequence in catalog.sequences.values()
            if altered is None
            or sequence.oid in altered
            or any(catalog.tables[number].oid in altered for number in sequence.tables)
        )
        self._connection.run(
            f"INSERT INTO {OURS}.sequence SELECT oid, {OURS}.looks(oid) FROM unnest({oids}::oid[]) oid "
            "ON CONFLICT (oid) DO UPDATE SET looks = excluded.looks"
        )

    def _write_parts(self) -> None:
        lines, catalog = [], self._data.catalog
        neighbours = catalog.neighbours()
        for table in self._data.tables(lambda table: table.kind == "r"):
            clear, put = map(literal, clearing.parts(table))
            whole = not table.key and catalog.referring({table.number}) == {table.number}
            lines.append(f"({table.number}, {clear}, {put}, {whole}, {listed(neighbours[table.number])})")
        self._connection.run(f"DELETE FROM {OURS}.part")
        if lines:
            self._connection.run(f"INSERT INTO {OURS}.part VALUES {', '.join(lines)}")

    # What there was at the innermost snapshot

    @property
    def has_targets(self) -> bool:
        """Whether `target` and `position` tell of the innermost snapshot."""
        return self._has_targets

    @property
    def moved(self) -> bool:
        """Whether a sequence stands elsewhere in `position` than when the schema was made."""
        return bool(self._elsewhere)

    def others(self, more: Iterable[Name], *, everywhere: bool) -> str:
        """The sequences to look at although nobody wrote to their tables, as an array's text; empty for all.

        Those of no table are always among them: a transaction that writes may take a number from one.
        Of the others, which hardly anything moves without a write to their table, some are looked at in turn.
        """
        catalog = self._data.catalog
        if everywhere or len(catalog.sequences) <= SEQUENCES_AFTER_SCOPE:
            return "{}"
        chosen = {sequence.oid for sequence in catalog.of_no_table}
        numbers = list(catalog.by_table)
        chosen.update(
            sequence.oid
            for number in numbers[self._turn : self._turn + SEQUENCES_IN_TURN]
            for sequence in catalog.by_table[number]
        )
        self._turn = self._turn + SEQUENCES_IN_TURN if self._turn + SEQUENCES_IN_TURN < len(numbers) else 0
        chosen |= {catalog.sequences[name].oid for name in more if name in catalog.sequences}
        return "{" + ",".join(map(str, chosen)) + "}"

    def suspects(self, written: Iterable[int], more: Iterable[Name], *, everywhere: bool) -> list[Sequence]:
        """The sequences that a snapshot has to read: those that may have been moved since the one before."""
        catalog = self._data.catalog
        if everywhere or not self._has_targets or len(catalog.sequences) <= SEQUENCES_AT_SNAPSHOT:
            return list(catalog.sequences.values())
        of_tables = [sequence for number in written for sequence in catalog.by_table.get(number, ())]
        known = [catalog.sequences[name] for name in more if name in catalog.sequences]
        return list({one.oid: one for one in (*catalog.of_no_table, *of_tables, *known)}.values())

    @property
    def held(self) -> bool:
        """Whether `target` has lines, or `changed_key` may have some."""
        return bool(self._target or self._keys_since)

    def has_same_targets(self, snapshot_number: int) -> bool:
        """Whether `target` is the same for a snapshot at which all was as at that one, states apart."""
        return self._has_targets and all(since <= snapshot_number for since in self._keys_since.values())

    def uncertain(self, numbers: set[int]) -> set[int]:
        """The tables whose states `set_targets` has to be told, if those of `numbers` may have changed."""
        tables, base = self._data.catalog.tables, self._data.rows.base
        asked = numbers | self._keys_since.keys() if self._has_targets else base.keys()
        return {number for number in asked if number in tables and number in base}

    def uncertain_sequences(self, names: Iterable[Name]) -> set[Name]:
        """The same for sequences."""
        base = self._data.positions.base
        return {name for name in names if name in base} if self._has_targets else set(base)

    def set_targets(
        self, states: Mapping[int, State], locations: Mapping[Name, Position], known: int
    ) -> None:
        """Tell what there was at a snapshot. Inside a transaction.

        Parameters:
            states: Of all tables that `uncertain` names.
            locations: Of all sequences that `uncertain_sequences` names.
            known: The number of the latest one at which all was as at the snapshot.
        """
        target: dict[int, tuple[State, bool]] = {}
        lines: list[str] = []
        puts = set(self._puts)
        for number, state in states.items():
            table = self._data.catalog.tables.get(number)
            if table is None or table.kind != "r" or state == baseline.EMPTY:
                continue
            target[number] = (state, self.all_keys_logged(number, known))
            if number not in puts:
                puts.add(number)
                lines.append(clearing.put_function(table, self._connection))
        if puts != self._puts:
            self._puts = puts
            lines.append(clearing.put_switch(puts))
            self.altered = True
        lines += self._target_lines(states.keys(), target)
        lines += self._position_lines(locations)
        if lines:
            self._connection.run("; ".join(lines))
        self._has_targets = True

    def _target_lines(self, asked: Collection[int], target: dict[int, tuple[State, bool]]) -> Iterator[str]:
        there = {number: self._target[number] for number in asked if number in self._target}
        if not self._has_targets:
            there = {}
            self._target = {}
            yield f"DELETE FROM {OURS}.target"
        changed = {number: what for number, what in target.items() if there.get(number) != what}
        gone = (there.keys() - target.keys()) | (changed.keys() & there.keys())
        if gone:
            yield f"DELETE FROM {OURS}.target WHERE number = ANY ({listed(gone)}::int[])"
        if changed:
            rows = (f"({number}, {listed(state)}, {by_key})" for number, (state, by_key) in changed.items())
            yield f"INSERT INTO {OURS}.target VALUES {', '.join(rows)}"
        for number in gone:
            self._target.pop(number, None)
        self._target |= target

    def _position_lines(self, locations: Mapping[Name, Position]) -> Iterator[str]:
        sequences, base = self._data.catalog.sequences, self._data.positions.base
        there = self._elsewhere
        if not self._has_targets:
            self._elsewhere = {}
            yield f"DELETE FROM {OURS}.position"
        changed = {
            sequences[name]: at
            for name, at in locations.items()
            if name in sequences and not (self._has_targets and at == there.get(name, base.get(name)))
        }
        if not changed:
            return
        if self._has_targets:
            oids = listed(sequence.oid for sequence in changed)
            yield f"DELETE FROM {OURS}.position WHERE sequence = ANY ({oids}::oid[])"
        rows = (
            f"({number}, {one.oid}, {last}, {called}, {one.cached})"
            for one, (last, called) in changed.items()
            for number in (*(one.tables or (change_log.SENTINEL,)), "NULL")
        )
        yield f"INSERT INTO {OURS}.position VALUES {', '.join(rows)}"
        for one, at in changed.items():
            self._elsewhere.pop(one.key, None)
            if at != base.get(one.key, at):
                self._elsewhere[one.key] = at
