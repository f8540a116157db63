"""Remember what each key held at each snapshot: the arithmetic of nested scopes, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .settings import Settings
from .values import Value


@dataclass(eq=False)
class Snapshot:
    """A moment to restore.

    Attributes:
        size: How many keys there were.
        before: What the keys held that were found written since, up to the next snapshot (None: nothing).
        waiting: The clients that subscribed or waited for a key then.
        settings: Those of the server.
    """

    size: int
    before: dict[bytes, Value | None] = field(default_factory=dict)
    waiting: frozenset[int] = frozenset()
    settings: Settings = field(default_factory=dict)


class Journal:
    """The data at the last look, and the way back to every snapshot.

    Attributes:
        now: What every key held at the last look.
        silent: The keys among them whose changes the server does not always send.
        snapshots: Outermost first.
    """

    def __init__(self) -> None:
        self.now: dict[bytes, Value] = {}
        self.silent: set[bytes] = set()
        self.snapshots: list[Snapshot] = []

    def found(self, fresh: Mapping[bytes, Value | None]) -> None:
        """These keys hold something else than before."""
        for name, value in fresh.items():
            if self.snapshots:
                self.snapshots[-1].before.setdefault(name, self.now.get(name))
            self._put(name, value)

    def push(self) -> Snapshot:
        self.snapshots.append(Snapshot(len(self.now)))
        return self.snapshots[-1]

    def before(self, snapshot: Snapshot) -> dict[bytes, Value | None]:
        """What the keys that were found written since held at `snapshot`."""
        held: dict[bytes, Value | None] = {}
        for later in self.snapshots[self.snapshots.index(snapshot) :]:
            held = later.before | held
        return held

    def back_to(self, snapshot: Snapshot, restored: Mapping[bytes, Value | None]) -> None:
        """All is as at `snapshot` again, `restored` among it. Newer snapshots are void."""
        for name, value in restored.items():
            self._put(name, value)
        del self.snapshots[self.snapshots.index(snapshot) + 1 :]
        snapshot.before = {}

    def empty(self, snapshot: Snapshot) -> None:
        """There is nothing, as at `snapshot`. Newer snapshots are void."""
        self.now, self.silent = {}, set()
        self.back_to(snapshot, {})

    def forget(self, snapshot: Snapshot) -> None:
        """`snapshot` and newer ones are void; what was written since belongs to the one before."""
        held = self.before(snapshot)
        del self.snapshots[self.snapshots.index(snapshot) :]
        if self.snapshots:
            self.snapshots[-1].before = held | self.snapshots[-1].before

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
