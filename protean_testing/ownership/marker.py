"""The ownership marker: what a run writes into a database before it touches it, for the run after it."""

from __future__ import annotations

import json
import os
import platform
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import psutil

RUN = uuid.uuid4().hex
"""This process, among all runs of all machines."""

os.register_at_fork(after_in_child=lambda: globals().update(RUN=uuid.uuid4().hex))


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What one run wrote down. It proves nothing in a location whose identity is another one.

    Attributes:
        identity: Names the location itself, so that a copy of it has another one: PostgreSQL's system
            identifier and database oid, the device and inode of a file.
        run: The run that wrote it.
        host, pid, started, since: That run's process, for messages and to see whether it is alive.
        was_empty: Whether nothing was there when the run began.
        before: Identities of what was there when the run began.
        made: Identities of what creating the schema made; nothing else is removed without being asked.
        ended: The run came to its end, and left what it had made to be used again (a kept schema). What came
            since then is the user's.
        facts: What the store needs beside that, to restore what was there before (JSON values).
    """

    identity: str
    run: str
    host: str
    pid: int
    started: float
    since: str
    was_empty: bool
    before: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()
    ended: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}"

    @property
    def is_this_run(self) -> bool:
        """Whether this process wrote it."""
        return self.run == RUN

    def came_since(self, identity: str) -> bool:
        """Whether something that this run has not made came since it began, and nobody knows by whom."""
        return not self.ended and identity not in self.before and identity not in self.made

    def having_made(self, made: Iterable[str]) -> Marker:
        """Return the marker with more of what creating the schema made."""
        return replace(self, made=self.made | frozenset(made))

    def to_json(self) -> str:
        """Write it as text, to be stored in the location."""
        return json.dumps(asdict(self) | {"before": sorted(self.before), "made": sorted(self.made)})

    @classmethod
    def from_json(cls, text: str) -> Marker | None:
        """Read it again; None if it is no marker, or one of an older version."""
        try:
            found = json.loads(text)
            return cls(**{**found, "before": frozenset(found["before"]), "made": frozenset(found["made"])})
        except (ValueError, TypeError, KeyError):
            return None


def new_marker(
    identity: str,
    before: Iterable[str],
    *,
    made: Iterable[str] = (),
    was_empty: bool | None = None,
    **facts: Any,
) -> Marker:
    """Describe this run, about to begin in a location.

    Parameters:
        identity: Of the location.
        before: Identities of what is there now.
        made: Of what an earlier run has made, which this one uses again.
        was_empty: Whether nothing of anybody's is there; left out, whether `before` is empty.
        facts: See `Marker.facts`.
    """
    before = frozenset(before)
    me = psutil.Process()
    return Marker(
        identity=identity,
        run=RUN,
        host=platform.node(),
        pid=me.pid,
        started=me.create_time(),
        since=datetime.now().astimezone().isoformat(timespec="seconds"),
        was_empty=not before if was_empty is None else was_empty,
        before=before,
        made=frozenset(made),
        facts=facts,
    )
