"""A store of the user's own, sync and async."""

from __future__ import annotations

from protean_testing import EMPTY, Snapshot, Store


class Folder(Store):
    name = "folder"
    reset_after = "class"

    def save_data(self) -> Snapshot:
        return EMPTY

    def reset_data(self, snapshot: Snapshot) -> bool:
        return snapshot is EMPTY


class Queue(Store):
    async def create_schema(self) -> None: ...

    async def save_data(self) -> Snapshot:
        return 1

    async def reset_data(self, snapshot: Snapshot) -> bool:
        return True


stores: list[Store] = [Folder(), Queue()]
