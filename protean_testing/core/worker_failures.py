"""What failed at the end of worker processes, for the process that started them and has the exit code."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Iterable

LONGEST = 8000  # characters of one failure; all of them must find room in a pipe that nobody reads yet


class Failures:
    """A way from workers to the process that made this before it started them; it may be sent to a worker."""

    def __init__(self) -> None:
        self._queue: multiprocessing.SimpleQueue[str] = multiprocessing.SimpleQueue()

    def send(self, errors: Iterable[Exception]) -> None:
        """Send on what failed, in a worker."""
        for error in errors:
            self._queue.put("".join(traceback.format_exception(error))[-LONGEST:])

    def received(self) -> list[Exception]:
        """Return what the workers sent, once they have ended."""
        found: list[Exception] = []
        while not self._queue.empty():
            try:
                raise WorkerError(f"at the end of a worker:\n{self._queue.get()}")
            except WorkerError as error:  # raised, as some runners print no error without a traceback
                found.append(error)
        return found


class WorkerError(Exception):
    """The end of a worker failed; the text is what it sent."""
