"""A store of the user's own, sync and async."""

from __future__ import annotations

from protean_testing import EMPTY, Mark, Store


class Folder(Store):
    name = "folder"
    reset_after = "class"

    def save_data(self) -> Mark:
        return EMPTY

    def reset_data(self, mark: Mark) -> bool:
        return mark is EMPTY


class Queue(Store):
    async def create_schema(self) -> None: ...

    async def save_data(self) -> Mark:
        return 1

    async def reset_data(self, mark: Mark) -> bool:
        return True


stores: list[Store] = [Folder(), Queue()]
