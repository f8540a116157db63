"""The guard of one server, as the run sees it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from typing import Any

from ..errors import ConfigurationError
from . import guard
from .entries import new_entry, reap, reap_entry

ANSWER_WITHIN = 60.0  # seconds
STOP_WITHIN = 30.0  # seconds


class _Process(subprocess.Popen[bytes]):
    def __del__(self) -> None:
        """Say nothing of a process that still runs: a guard is meant to outlive the run."""


class Guard:
    """A process of its own, see `guard`, that ends what it started when this run is over.

    Attributes:
        entry: Where what it is to remove is written down.
    """

    def __init__(self) -> None:
        reap()
        self._run = os.getpid()
        self.entry, lock = new_entry()
        try:
            self._process = _Process(
                [sys.executable, "-I", "-S", guard.__file__, str(self.entry), str(lock)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[lock],
                start_new_session=True,
                cwd="/",
            )
        except OSError:
            self.entry.unlink()
            raise
        finally:
            os.close(lock)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout

    def ask(self, **question: Any) -> None:
        """Put a question or an order, see `guard.main`."""
        try:
            self._questions.write(json.dumps(question).encode() + b"\n")
            self._questions.flush()
        except BrokenPipeError:
            pass  # there will be no answer

    def answer(self, *, within: float = ANSWER_WITHIN) -> dict[str, Any] | None:
        """The next answer, or None if there is none `within` so many seconds.

        Raises:
            ConfigurationError: The guard has ended.
        """
        if not select.select([self._answers], [], [], within)[0]:
            return None
        if line := self._answers.readline():
            return dict(json.loads(line))
        raise ConfigurationError(
            f"the process that guards a private server ended: {sys.executable} -I -S {guard.__file__}"
        )

    def stop(self) -> None:
        """End what it started, wait for that, and remove the directories. In a forked child: nothing."""
        if os.getpid() != self._run:
            return
        self._questions.close()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        reap_entry(self.entry, own=True)  # where it was killed
