"""What was written since each snapshot, and where the state of a thing at one is found. No SQL here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Thing = TypeVar("Thing")  # a table or a sequence, by its number
State = TypeVar("State")  # how to get at a state that was kept


@dataclass(eq=False)
class Changes(Generic[Thing, State]):
    """What happened since one snapshot, up to the next one.

    Attributes:
        dirty: Written since the snapshot was saved or last reset.
        owed: Those of them whose state has to be kept when the next inner snapshot is saved.
        kept: Their state when the last inner one was saved.
    """

    dirty: set[Thing] = field(default_factory=set)
    owed: set[Thing] = field(default_factory=set)
    kept: dict[Thing, State] = field(default_factory=dict)

    def clear(self) -> None:
        """Nothing has happened since."""
        self.dirty, self.owed, self.kept = set(), set(), {}


class History(Generic[Thing, State]):
    """The changes since all snapshots that are saved.

    Parameters:
        changes: Gives them, those since the outermost snapshot first.

    Attributes:
        base: The states that creating the schema left.
    """

    def __init__(self, changes: Callable[[], Sequence[Changes[Thing, State]]]) -> None:
        self.base: dict[Thing, State] = {}
        self._changes = changes

    def save(self, new: Iterable[Thing], kept: dict[Thing, State]) -> None:
        """Another snapshot follows. `new` was written since the innermost; `kept` has all that is owed."""
        top = self._changes()[-1]
        top.dirty |= set(new)
        top.owed = set()
        top.kept |= kept

    def dirty_since(self, snapshot: Changes[Thing, State]) -> set[Thing]:
        """All that was written since a snapshot, and is known."""
        return set[Thing]().union(*(changes.dirty for changes in self._since(snapshot)))

    def state(self, thing: Thing, snapshot: Changes[Thing, State]) -> State:
        """The state of `thing` at a snapshot: the nearest that was kept before it."""
        found = self._changes()
        for changes in reversed(found[: found.index(snapshot)]):
            if thing in changes.kept:
                return changes.kept[thing]
        return self.base[thing]

    def state_now(self, thing: Thing) -> State:
        """The state of what was not written since one was kept last."""
        top = self._changes()[-1]
        return top.kept[thing] if thing in top.kept else self.state(thing, top)

    def kept_since(self, snapshot: Changes[Thing, State]) -> set[Thing]:
        """All whose state is another one at an inner snapshot than at `snapshot`, as far as is known."""
        return set[Thing]().union(*(changes.kept for changes in self._since(snapshot)))

    def replace(self, snapshot: Changes[Thing, State], states: Mapping[Thing, State]) -> None:
        """These are the states at `snapshot`, for which those that were kept cannot be restored."""
        found = self._changes()
        below = found[found.index(snapshot) - 1]
        below.kept |= states
        below.dirty |= states.keys()

    def forget(self, snapshot: Changes[Thing, State]) -> None:
        """What was written since a snapshot and inner ones counts as written since the one before."""
        found = self._changes()
        below = found[found.index(snapshot) - 1]
        written = self.dirty_since(snapshot)
        below.dirty |= written
        below.owed |= written.union(*(changes.owed for changes in self._since(snapshot)))

    def _since(self, snapshot: Changes[Thing, State]) -> Sequence[Changes[Thing, State]]:
        found = self._changes()
        return found[found.index(snapshot) :]
