"""One server process with its guard, as the run sees them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from . import guard
from .directories import make_directories, new_entry, process, reap, reap_entry, roots, write_down

ANSWER_WITHIN = 60.0  # seconds
STOP_WITHIN = 30.0  # seconds
KEPT_ENVIRONMENT = ("PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class _Guard(subprocess.Popen[bytes]):
    def __del__(self) -> None:
        """Say nothing of a process that still runs: the guard is meant to outlive the run."""


class GuardedProcess:
    """A program in directories of its own, which does not outlive this run.

    Parameters:
        program: What will be started.
        identities: What it may run as, see `guard.become`; the first that can be had is taken.
        refused: What to say where none can be had.

    Attributes:
        files: Its directory for data and log.
        sockets: Its directory for sockets, which has a short path.
        log: Where its output goes.
        identity: What it runs as.
        reached: Whether that identity can execute `program` where it is.

    Raises:
        ConfigurationError: No identity can be had, or no directory.
    """

    def __init__(self, program: Path, identities: Sequence[str] = ("same",), *, refused: str = "") -> None:
        reap()
        self._run = os.getpid()
        self._entry, lock = new_entry()
        try:
            self._guard = _Guard(
                [sys.executable, "-I", "-S", guard.__file__, str(self._entry), str(lock)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[lock],
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(lock)
        try:
            usable = roots()
            answer = self._ask(look=list(identities), paths=[str(program), *usable])
            if answer["identity"] is None:
                raise ConfigurationError(refused)
            self.identity: str = answer["identity"]
            self.reached = str(program) in answer["reached"]
            self.files, self.sockets = make_directories(
                self._entry, [root for root in usable if root in answer["reached"]]
            )
            self.log = self.files / "log"
        except BaseException:
            self.stop()
            raise

    def _give(self) -> None:
        """Make the program the owner of its directories, where it runs as another user."""
        if self.identity != "nobody":
            return
        user = guard.other_user()
        for path in (self.files, self.sockets):
            os.chown(path, user.pw_uid, user.pw_gid)
            for directory, names, files in os.walk(path):
                for name in (*names, *files):
                    os.chown(os.path.join(directory, name), user.pw_uid, user.pw_gid, follow_symlinks=False)

    def start(self, argv: Sequence[str | Path], *, stop: signal.Signals) -> None:
        """Start the program.

        Parameters:
            argv: What to start; no secrets, every user of the machine can read them.
            stop: The signal that ends it at once.
        """
        self._give()
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        pid = self._ask(
            argv=[str(word) for word in argv],
            env={**environment, "LC_ALL": "C", "TZ": "UTC"},
            log=str(self.log),
            directory=str(self.files),
            identity=self.identity,
            stop=int(stop),
        )["pid"]
        write_down(self._entry, server=process(pid), stop=int(stop))

    def ended(self, *, within: float = 0.0) -> int | None:
        """The program's exit code, if it ends `within` so many seconds; negative, if a signal ended it."""
        answers = self._guard.stdout
        assert answers is not None
        if not select.select([answers], [], [], within)[0]:
            return None
        line = answers.readline()
        return int(json.loads(line)["ended"]) if line else -signal.SIGKILL

    def said(self) -> str:
        """The end of the program's output, for messages."""
        try:
            return self.log.read_text(errors="replace")[-2000:].strip()
        except OSError:
            return ""

    def stop(self) -> None:
        """End the program, wait for that, and remove its directories. In a forked child: nothing."""
        if os.getpid() != self._run:
            return
        assert self._guard.stdin is not None and self._guard.stdout is not None
        self._guard.stdin.close()
        try:
            self._guard.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._guard.stdout.close()
        reap_entry(self._entry, own=True)

    def _ask(self, **question: Any) -> dict[str, Any]:
        asked, answers = self._guard.stdin, self._guard.stdout
        assert asked is not None and answers is not None
        try:
            asked.write(json.dumps(question).encode() + b"\n")
            asked.flush()
        except BrokenPipeError:
            pass
        if select.select([answers], [], [], ANSWER_WITHIN)[0] and (line := answers.readline()):
            return dict(json.loads(line))
        raise ConfigurationError(
            f"the guard of a private server ended at once: {sys.executable} -I -S {guard.__file__}"
        )
