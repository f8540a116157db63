"""Start the watchdog of one server, and talk to it."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
from typing import Any

from ..errors import ConfigurationError
from . import watchdog
from .registry import new_entry, remove_stale, remove_stale_entry

ANSWER_WITHIN = 60.0  # seconds
STOP_WITHIN = 30.0  # seconds


class Watchdog:
    """A process of its own, see `watchdog`, that ends what it started when this run is over.

    Attributes:
        entry: Where what it is to remove is written down.
    """

    def __init__(self) -> None:
        remove_stale()
        self._run = os.getpid()
        self.entry, lock = new_entry()
        asked, self._questions = os.pipe()
        self._answers, answered = os.pipe()
        self._read, self._stopped = b"", False
        try:
            self._starter = subprocess.Popen(  # it ends at once, and leaves the watchdog
                [sys.executable, "-I", "-S", watchdog.__file__, str(self.entry), str(lock), str(self._run)],
                stdin=asked,
                stdout=answered,
                stderr=subprocess.DEVNULL,
                pass_fds=[lock],
                start_new_session=True,
                cwd="/",
            )
        except OSError:
            self.entry.unlink()
            raise
        finally:
            for descriptor in (lock, asked, answered):
                os.close(descriptor)
        atexit.register(self._replace)

    def ask(self, **question: Any) -> None:
        """Put a question or an order, see `watchdog.main`."""
        try:
            os.write(self._questions, json.dumps(question).encode() + b"\n")
        except BrokenPipeError:
            pass  # there will be no answer

    def answer(self, *, within: float = ANSWER_WITHIN) -> dict[str, Any] | None:
        """The next answer, or None if there is none `within` so many seconds.

        Raises:
            ConfigurationError: The watchdog has ended.
        """
        self._starter.wait()
        while b"\n" not in self._read:
            if not select.select([self._answers], [], [], within)[0]:
                return None
            if not (data := os.read(self._answers, 65536)):
                raise ConfigurationError(
                    "the process that watches a private server has ended: "
                    f"{sys.executable} -I -S {watchdog.__file__}"
                )
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return dict(json.loads(line))

    def stop(self) -> None:
        """End what it started, wait for that, and remove the directories. In a forked child: nothing."""
        if os.getpid() != self._run or self._stopped:
            return
        self._stopped = True
        self.ask(over=True)  # a forked child may keep the pipe open
        os.close(self._questions)
        self._starter.wait()
        while select.select([self._answers], [], [], STOP_WITHIN)[0] and os.read(self._answers, 65536):
            pass  # the end of the pipe is its end
        os.close(self._answers)
        self._replace()
        atexit.unregister(self._replace)

    def _replace(self) -> None:
        """Do what the watchdog would have done, if it was killed: one that lives holds its lock."""
        if os.getpid() == self._run:
            remove_stale_entry(self.entry, own=True)
