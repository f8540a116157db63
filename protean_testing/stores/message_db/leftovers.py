"""List and remove what killed runs left in a Message DB, for the command ``clean``."""

from __future__ import annotations

from typing import Any

from ... import ownership
from ...errors import UnsafeStoreError
from . import before
from .position import MESSAGES
from .store import MessageDBStore


class Leftovers:
    """See `ownership.clean.Leftovers`. The URL is that of the database, with the scheme ``message_db``."""

    def __init__(self, url: str, *, unsafe: bool = False) -> None:
        self._store = MessageDBStore(f"postgresql:{url.partition(':')[2]}", unsafe=unsafe)
        self._connection: Any = None
        self._found: before.Leftover | None = None

    def refuse_in_use(self) -> None:
        self._store.refuse_name()
        self._connection = self._store.connect()
        if not before.take_lock(self._connection):
            raise UnsafeStoreError(f"{self._store.location()} is in use by a run that is alive.")

    def listed(self) -> list[str]:
        found = self._found = before.judge(self._connection)
        if found is None:
            return []
        lines = [
            (found.changed, "restore {} that were there before " + str(found.marker)),
            (found.ours, f"remove {{}} that {found.marker} wrote"),
            (
                found.unknown,
                f"remove {{}} that came after {found.marker} began, not known whose: "
                f"{found.why or 'it was dead'} (streams {', '.join(map(repr, found.streams))})",
            ),
        ]
        said = [text.format(before.counted(count)) for count, text in lines if count]
        return said or [f"remove schema {before.SCHEMA}, with a copy of the messages, which are as they were"]

    def remove(self) -> None:
        if self._found is not None:
            with self._connection.transaction():
                self._connection.execute(f"LOCK TABLE {MESSAGES} IN SHARE ROW EXCLUSIVE MODE")
                self._found.settle(self._connection, all_of_it=True)
            handle = before.identity(self._connection)
            ownership.acquire(f"{before.KIND} {handle}").release()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
