"""Snapshot and restore the keys of one database, or those there with one prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from redis.exceptions import NoPermissionError, ResponseError

from ...changes import Written
from . import settings, transactions
from .connection import Wire, checked
from .differences import differences
from .journal import Journal, Snapshot
from .settings import Settings
from .tracking import Tracking
from .transactions import OpenMulti
from .values import Value, Values

MOST = 10_000
"""Keys that are compared to list what was written."""


class TooManyKeys(Exception):
    """A snapshot would copy more keys than it may; its argument says how many."""


class Data:
    """Read what was written since the last time, and everything only if that is not known.

    Parameters:
        wire: The connection for everything.
        listener: A second one, which hears what was written.
        db: The number of the database.
        prefix: Only the keys that begin with it are ours.
        wait: Seconds to wait for a transaction of the code under test.
        report: Called with what the user of the server may not do, and what that means here.

    Attributes:
        limit: How many keys that were written since the last snapshot a new one copies at most.
        is_own_server: Nobody but this run uses the server.
        altered: Settings of the server that differed at the last reset, and the commands that undo it.
    """

    def __init__(
        self,
        wire: Wire,
        listener: Wire,
        db: int,
        prefix: bytes,
        wait: float,
        report: Callable[[str, str], None],
    ) -> None:
        self.values = Values(wire, prefix)
        self._wire = wire
        self._db = db
        self._prefix = prefix
        self._wait = wait
        self._report = report
        self._tracking = Tracking(wire, listener, prefix)
        self._journal = Journal()
        self._is_deaf = False
        self._clients = b""
        self._listener_then = 0  # when they were listed: a reset may have begun with another one since
        self._reported: set[int] = set()
        self.limit: int | None = None
        self.is_own_server = False
        self.altered: Settings = {}
        self._settings: Settings = {}
        self._calls: list[bytes] | None = None

    def save(self) -> Snapshot:
        """A snapshot of what is there now.

        Raises:
            TooManyKeys: They would be held in memory, each of them.
        """
        count, _ = self._ask(end=False)
        if count or self._journal.now or self._tracking.written is not None:
            names = self._candidates()
            if self.limit is not None and len(names) - len(self._journal.now) > self.limit:
                self._tracking.end()  # else they would not be asked for again
                raise TooManyKeys(len(names))
            self._journal.found(self._changed(self._read(names)))
        self._tracking.settled()
        snapshot = self._journal.push()
        if self._calls != self._tracking.calls:
            self._settings, self._calls = settings.read(self._wire), self._tracking.calls
        snapshot.settings = self._settings
        snapshot.waiting = frozenset(transactions.waiting(self._clients, self._db, ()))
        return snapshot

    def reset(self, snapshot: Snapshot) -> tuple[bool, list[OpenMulti]]:
        """Make all as at `snapshot`.

        Returns:
            Whether anything was otherwise, and the transactions that were left open.
        """
        count, ended = self._ask(end=True, is_brief=snapshot is self._journal.snapshots[-1])
        if self._calls != self._tracking.calls or snapshot.settings is not self._settings:
            self._restore_settings(snapshot)
        changed = self._empty(snapshot, count) if snapshot.size == 0 else self._restore(snapshot)
        self._tracking.settled()
        return changed, ended

    def _restore_settings(self, snapshot: Snapshot) -> None:
        """Restore settings of a server that is ours alone; those of another one may be others' work."""
        now, self._calls = settings.read(self._wire), self._tracking.calls
        self.altered = settings.changed(snapshot.settings, now)
        if self.altered and self.is_own_server:
            self._tracking.end()  # as a replica it may have got another one's data
            self._wire.call(*self.altered.values())
            now = settings.read(self._wire)
        then = snapshot.settings
        # What stays is reported once; a user's rules may be worded otherwise now.
        for one in self._journal.snapshots:
            same = {name for name in self.altered if one.settings.get(name) == then.get(name)}
            kept = {name: command for name, command in one.settings.items() if name not in same}
            one.settings = kept | {name: now[name] for name in same & now.keys()}
        self._settings = snapshot.settings

    def written_since(self, snapshot: Snapshot) -> Iterator[Written]:
        """What was written to each key since `snapshot`; open transactions are not waited for."""
        self._tracking.ask()
        now, told = self._journal.now, self._tracking.written
        names = now.keys() | set(self.values.names()) if told is None else told | self._journal.silent
        if len(names) > MOST:
            yield Written("*", kind="keys", remark=f"{len(names)} may have been written, too many to list")
            return
        self._journal.found(self._changed(self._read(names)))
        self._tracking.settled()
        pairs = {
            name: (value, now.get(name))
            for name, value in sorted(self._journal.before(snapshot).items())
            if not self.values.same(value, now.get(name))
        }
        yield from differences(self._wire, self._prefix, pairs)

    def left_waiting(self, snapshot: Snapshot) -> list[str]:
        """Clients that subscribe or wait for a key, and did not at `snapshot`, as of the last reset."""
        may = snapshot.waiting | self._reported | {self._listener_then}
        found = transactions.waiting(self._clients, self._db, may)
        self._reported |= found.keys()
        return list(found.values())

    def invalidate(self) -> None:
        """Rely on nothing that the server has sent: the next reset compares every key, and the settings."""
        self._tracking.end()
        self._calls = None

    def reset_all(self) -> None:
        """Make all as at the first snapshot."""
        if self._journal.snapshots:
            self.reset(self._journal.snapshots[0])

    def forget(self, snapshot: Snapshot) -> None:
        if snapshot in self._journal.snapshots:
            self._journal.forget(snapshot)

    def depth(self, snapshot: Snapshot | None = None) -> int:
        """How many snapshots there are, or are older than this one."""
        return len(self._journal.snapshots) if snapshot is None else self._journal.snapshots.index(snapshot)

    def clear(self) -> None:
        """Delete everything."""
        if self._prefix:
            self.values.delete(self.values.names())
        else:
            self.values.flush()

    def count(self) -> int:
        """How many keys there are."""
        if not self._prefix:
            (count,) = self._wire.attempt(("DBSIZE",))
            if not isinstance(count, ResponseError):
                return int(count)
        return len(self.values.names())

    def _ask(self, *, end: bool, is_brief: bool = False) -> tuple[int, list[OpenMulti]]:
        """Ask in one round trip what was written, and see that no transaction is open.

        Returns:
            How many keys there are (1 for some), and the transactions that were ended.
        """
        if self._prefix:
            self._tracking.ask()
            return 1, []  # clients of others may be in this database
        # What settings a test has changed that wrote nothing is found after the next one that writes.
        is_brief &= self._tracking.written is None and self._calls is not None
        ask = self._wire.attempt if is_brief else self._tracking.ask
        clients, count = ask(("CLIENT", "LIST"), ("DBSIZE",))
        if isinstance(clients, ResponseError) and str(clients).startswith("BUSY "):
            raise clients
        ended: list[OpenMulti] = []
        if isinstance(clients, NoPermissionError):
            self._report("CLIENT LIST", "a MULTI that a test leaves open is not found")
        else:
            (self._clients,) = checked([clients])
            self._listener_then = self._tracking.listener_number
            found = transactions.open_multis(self._clients, self._db)
            ended = transactions.wait_until_closed(found, self._wire, self._db, self._wait, end=end)
            if found:
                self._tracking.ask()  # what they have written meanwhile
                return self.count(), ended
        return self.count() if isinstance(count, ResponseError) else count, ended

    def _candidates(self) -> set[bytes]:
        """The keys that may have been written since the last time."""
        written = self._written()
        if written is None:
            return self._journal.now.keys() | set(self.values.names())
        return written | self._journal.silent

    def _read(self, names: set[bytes]) -> dict[bytes, Value | None]:
        return dict.fromkeys(names) | self.values.read(names)

    def _written(self) -> set[bytes] | None:
        """The keys that were written; if that is not known, it will be from now on."""
        written = self._tracking.written
        if written is None and not self._is_deaf:
            refused = self._tracking.begin()
            if refused is not None:
                self._is_deaf = True
                self._report("CLIENT TRACKING", "each reset looks at every key, unless its scope began empty")
        return written

    def _changed(self, fresh: dict[bytes, Value | None]) -> dict[bytes, Value | None]:
        now = self._journal.now
        return {name: value for name, value in fresh.items() if not self.values.same(value, now.get(name))}

    def _empty(self, snapshot: Snapshot, count: int) -> bool:
        if self._prefix:
            written = self._written()
            names = self.values.names() if written is None else written | self._journal.now.keys()
            changed = self.values.delete(names) > 0
        else:
            changed = count > 0
            if changed:
                (reply,) = self._tracking.ask(("FLUSHDB", "ASYNC"))
                if self._calls != self._tracking.calls:
                    self._restore_settings(snapshot)
                if isinstance(reply, ResponseError):
                    self.values.flush()
            self._tracking.end()
        self._journal.empty(snapshot)
        return changed

    def _restore(self, snapshot: Snapshot) -> bool:
        fresh = self._read(self._candidates())
        now = self._journal.now
        wanted = {name: now.get(name) for name in fresh} | self._journal.before(snapshot)
        wrong = {
            name: value
            for name, value in wanted.items()
            if not self.values.same(value, fresh[name] if name in fresh else now.get(name))
        }
        gone = [name for name, value in wrong.items() if value and value.expiry and name in fresh]
        if gone:  # a key that was to expire by now, and did, is right
            time = self.values.time()
            for name in gone:
                value = wrong[name]
                if fresh[name] is None and value is not None and (value.expiry or time) < time:
                    del wrong[name]
        looks = self.values.write(wrong)
        self._journal.back_to(snapshot, wanted | looks)
        return bool(wrong)
