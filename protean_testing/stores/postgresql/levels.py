"""What was written at which level, and where the state of a table at a snapshot is found. No SQL here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Thing = TypeVar("Thing")  # a table or a sequence, by its number
State = TypeVar("State")  # how to get at a state that was kept


@dataclass(eq=False)
class Level(Generic[Thing, State]):
    """What happened since one snapshot, up to the next one.

    Attributes:
        dirty: Written since the snapshot was saved or last reset.
        owed: Those of them whose state has to be kept when the next inner level begins.
        kept: Their state when the last inner level began.
    """

    dirty: set[Thing] = field(default_factory=set)
    owed: set[Thing] = field(default_factory=set)
    kept: dict[Thing, State] = field(default_factory=dict)


class Levels(Generic[Thing, State]):
    """The snapshots of one database, outermost first; level 0 is what creating the schema left."""

    def __init__(self) -> None:
        self.base: dict[Thing, State] = {}
        self._levels: list[Level[Thing, State]] = [Level()]

    @property
    def top(self) -> Level[Thing, State]:
        """The innermost level: its own snapshot, and what was written since."""
        return self._levels[-1]

    def save(self, new: Iterable[Thing], kept: dict[Thing, State]) -> Level[Thing, State]:
        """Begin a level. `new` was written since the last look; `kept` is the state of all that is owed."""
        self.top.dirty |= set(new)
        self.top.owed = set()
        self.top.kept |= kept
        self._levels.append(Level())
        return self.top

    def dirty_since(self, snapshot: Level[Thing, State]) -> set[Thing]:
        """All that was written since `snapshot`, at whatever level."""
        return set[Thing]().union(*(level.dirty for level in self._since(snapshot)))

    def state(self, thing: Thing, snapshot: Level[Thing, State]) -> State:
        """The state of `thing` at `snapshot`: the nearest that was kept below it."""
        for level in reversed(self._levels[: self._levels.index(snapshot)]):
            if thing in level.kept:
                return level.kept[thing]
        return self.base[thing]

    def state_now(self, thing: Thing) -> State:
        """The state of `thing` when the innermost level was begun last: for what was not written since."""
        return self.top.kept[thing] if thing in self.top.kept else self.state(thing, self.top)

    def kept_since(self, snapshot: Level[Thing, State] | None) -> set[Thing]:
        """All whose state is another one at an inner level than at `snapshot`, as far as is known.

        Parameters:
            snapshot: None for what creating the schema left.
        """
        levels = self._levels if snapshot is None else self._since(snapshot)
        return set[Thing]().union(*(level.kept for level in levels))

    def reset(self, snapshot: Level[Thing, State]) -> None:
        """All is as at `snapshot` again; newer snapshots are void."""
        del self._levels[self._levels.index(snapshot) + 1 :]
        snapshot.dirty, snapshot.owed, snapshot.kept = set(), set(), {}

    def forget(self, snapshot: Level[Thing, State]) -> None:
        """`snapshot` and newer ones are void; what was written since belongs to the level below."""
        written = self.dirty_since(snapshot)
        owed = written.union(*(level.owed for level in self._since(snapshot)))
        del self._levels[self._levels.index(snapshot) :]
        self.top.dirty |= written
        self.top.owed |= owed

    def states(self) -> list[State]:
        """Every state that is kept somewhere."""
        return [*self.base.values(), *(state for level in self._levels for state in level.kept.values())]

    def _since(self, snapshot: Level[Thing, State]) -> list[Level[Thing, State]]:
        return self._levels[self._levels.index(snapshot) :]
