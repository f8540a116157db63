"""What the keys hold, and what they held at each mark: the arithmetic of nested scopes, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .values import Value


@dataclass(eq=False)
class Mark:
    """A moment to go back to.

    Attributes:
        size: How many keys there were.
        before: What the keys held that were found written since, up to the next mark (None: nothing).
        waiting: The clients that subscribed or waited for a key then.
    """

    size: int
    before: dict[bytes, Value | None] = field(default_factory=dict)
    waiting: frozenset[int] = frozenset()


class Journal:
    """The data at the last look, and the way back to every mark.

    Attributes:
        now: What every key held at the last look.
        silent: The keys among them whose changes are not always told.
        marks: Outermost first.
    """

    def __init__(self) -> None:
        self.now: dict[bytes, Value] = {}
        self.silent: set[bytes] = set()
        self.marks: list[Mark] = []

    def found(self, fresh: Mapping[bytes, Value | None]) -> None:
        """These keys hold something else than before."""
        for name, value in fresh.items():
            if self.marks:
                self.marks[-1].before.setdefault(name, self.now.get(name))
            self._put(name, value)

    def push(self) -> Mark:
        self.marks.append(Mark(len(self.now)))
        return self.marks[-1]

    def before(self, mark: Mark) -> dict[bytes, Value | None]:
        """What the keys that were found written since held at `mark`."""
        held: dict[bytes, Value | None] = {}
        for later in self.marks[self.marks.index(mark) :]:
            held = later.before | held
        return held

    def back_to(self, mark: Mark, restored: Mapping[bytes, Value | None]) -> None:
        """All is as at `mark` again, `restored` among it. Newer marks are void."""
        for name, value in restored.items():
            self._put(name, value)
        del self.marks[self.marks.index(mark) + 1 :]
        mark.before = {}

    def empty(self, mark: Mark) -> None:
        """There is nothing, as at `mark`. Newer marks are void."""
        self.now, self.silent = {}, set()
        self.back_to(mark, {})

    def forget(self, mark: Mark) -> None:
        """`mark` and newer ones are void; what was written since belongs to the one before."""
        held = self.before(mark)
        del self.marks[self.marks.index(mark) :]
        if self.marks:
            self.marks[-1].before = held | self.marks[-1].before

    def _put(self, name: bytes, value: Value | None) -> None:
        if value is None:
            self.now.pop(name, None)
            self.silent.discard(name)
            return
        self.now[name] = value
        if value.is_telling:
            self.silent.discard(name)
        else:
            self.silent.add(name)
