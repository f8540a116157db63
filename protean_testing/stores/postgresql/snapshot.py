"""A moment to go back to, with all that has to be remembered for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .baseline import State
from .history import Changes
from .schema import Schema
from .sequences import Name, Position


@dataclass(eq=False, kw_only=True)
class Snapshot:
    """What `PostgreSQLBackend.save` returns.

    Attributes:
        number: Greater than that of every snapshot before it.
        known: The number of the latest one at which all was as at the snapshot.
        rows: What was written since.
        positions: Which sequences were moved since.
        schema: The schema it stands in.
        quick: A reset since has looked at no more than what the change log says.
        hidden: So has one of an inner snapshot, which is forgotten; or an inner one was saved after something
            that the change log does not account for.
        unexplained: Something happened since that the change log does not account for.
        holders: The sessions that held locks, once everything was looked at.
    """

    number: int = 0
    known: int = 0
    rows: Changes[int, State] = field(default_factory=Changes)
    positions: Changes[Name, Position] = field(default_factory=Changes)
    schema: Schema = field(default_factory=lambda: Schema({}))
    quick: bool = False
    hidden: bool = False
    unexplained: bool = False
    holders: frozenset[int] | None = None

    @property
    def is_dirty(self) -> bool:
        """Whether something that was written when an inner one was saved is to be restored."""
        return bool(self.rows.dirty or self.positions.dirty)

    @property
    def may_hide(self) -> bool:
        """Whether there may be more to restore than the change log says."""
        return self.quick or self.hidden
