"""What killed runs left in a SQLite file, and beside it."""

from __future__ import annotations

from ...errors import ConfigurationError
from ..sql.urls import parsed_url
from .file_ownership import TestFile
from .location import location_of
from .worker_file import files_of_workers


class Leftovers:
    """See `ownership.clean.Leftovers`."""

    def __init__(self, url: str, *, unsafe: bool = False) -> None:
        file = location_of(parsed_url(url), "database").file
        if file is None:
            raise ConfigurationError("memory is gone with its run: there is nothing to remove.")
        self._given = TestFile.at(file, unsafe=unsafe)
        self._workers = [TestFile.at(own, private=True) for own in files_of_workers(file)]

    def refuse_in_use(self) -> None:
        """See `ownership.clean.Leftovers.refuse_in_use`."""
        self._given.refuse_in_use()

    def listed(self) -> list[str]:
        """See `ownership.clean.Leftovers.listed`."""
        self._workers = [worker for worker in self._workers if not worker.is_in_use]
        lines = self._given.left_over()
        return lines + [f"the file of a dead worker, {worker.file}, is removed" for worker in self._workers]

    def remove(self) -> None:
        """See `ownership.clean.Leftovers.remove`."""
        for left in (self._given, *self._workers):
            left.remove_left_over()

    def close(self) -> None:
        """See `ownership.clean.Leftovers.close`."""
