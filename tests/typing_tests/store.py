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

    def left_open(self, snapshot: Snapshot) -> list[str]:
        return ["a file"]

    def dump_data(self) -> dict[str, list[bytes]]:
        return {"one.txt": [b"1"]}


class Queue(Store):
    async def create_schema(self) -> None: ...

    async def save_data(self) -> Snapshot:
        return 1

    async def reset_data(self, snapshot: Snapshot) -> bool:
        return True

    async def forget_data(self, snapshot: Snapshot) -> None: ...

    async def dump_data(self) -> dict[str, list[int]]:
        return {"orders": [1, 2]}


stores: list[Store] = [Folder(), Queue()]
