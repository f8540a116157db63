"""One server process: its watchdog, its directories, and the user that it runs as."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import ConfigurationError
from .directories import make_directories, roots
from .registry import process, write_down
from .watchdog import other_user
from .watched import ANSWER_WITHIN, Watchdog

KEPT_ENVIRONMENT = ("PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class WatchedProcess:
    """A program in directories of its own, which does not outlive this run.

    Parameters:
        program: What will be started.
        identities: What it may run as, see `watchdog.become`; the first that can be had is taken.
        prepare: Fills the directory for data; called again if another directory is needed.
        refused: What to say where no identity can be had.

    Attributes:
        files: Its directory for data and log.
        sockets: Its directory for sockets, which has a short path.
        identity: What it runs as.
        reached: Whether that identity can execute `program` where it is.

    Raises:
        ConfigurationError: No identity can be had, or no directory.
    """

    def __init__(
        self,
        program: Path,
        identities: Sequence[str] = ("same",),
        *,
        prepare: Callable[[Path], object] = bool,
        refused: str = "",
    ) -> None:
        self._watchdog = Watchdog()
        try:
            usable = roots()
            self._watchdog.ask(look=list(identities), paths=[str(program), *usable])
            self.files, self.sockets = make_directories(self._watchdog.entry, usable)
            prepare(self.files)  # while the watchdog looks
            answer = self._watchdog.answer()
            if answer is None or answer["identity"] is None:
                raise ConfigurationError(refused)
            self.identity: str = answer["identity"]
            self.reached = str(program) in answer["reached"]
            reached = [
                root for root in usable if root in answer["reached"] and (self.reached or _executes(root))
            ]
            if not {str(self.files.parent), str(self.sockets.parent)} <= set(reached):
                for directory in {self.files, self.sockets}:
                    shutil.rmtree(directory)
                self.files, self.sockets = make_directories(self._watchdog.entry, reached)
                prepare(self.files)
        except BaseException:
            self.stop()
            raise

    @property
    def log(self) -> Path:
        """The file that its output goes to."""
        return self.files / "log"

    def start(self, argv: Sequence[str | Path], *, stop: signal.Signals) -> None:
        """Start the program.

        Parameters:
            argv: What to start; no secrets, every user of the machine can read them.
            stop: The signal that ends it at once.
        """
        self._give()
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        self._watchdog.ask(
            argv=[str(word) for word in argv],
            env={**environment, "LC_ALL": "C", "TZ": "UTC"},
            log=str(self.log),
            directory=str(self.files),
            identity=self.identity,
            stop=int(stop),
        )
        started = self._watchdog.answer()
        assert started is not None, f"no answer within {ANSWER_WITHIN} s"
        write_down(self._watchdog.entry, server=process(started["pid"]), stop=int(stop))

    def ended(self, *, within: float = 0.0) -> int | None:
        """The program's exit code, if it ends `within` so many seconds; negative, if a signal ended it."""
        answer = self._watchdog.answer(within=within)
        return None if answer is None else int(answer["ended"])

    def said(self) -> str:
        """The end of the program's output, for messages."""
        try:
            return self.log.read_text(errors="replace")[-2000:].strip()
        except OSError:
            return ""

    def stop(self) -> None:
        """End the program, wait for that, and remove its directories. In a forked child: nothing."""
        self._watchdog.stop()

    def _give(self) -> None:
        """Make the program the owner of its directories, if it runs as another user."""
        if self.identity != "nobody":
            return
        user = other_user()
        for path in (self.files, self.sockets):
            os.chown(path, user.pw_uid, user.pw_gid)
            for directory, names, files in os.walk(path):
                for name in (*names, *files):
                    os.chown(os.path.join(directory, name), user.pw_uid, user.pw_gid, follow_symlinks=False)


def _executes(root: str) -> bool:
    """True where programs may be started from a directory: memory is often mounted ``noexec``."""
    return not os.statvfs(root).f_flag & getattr(os, "ST_NOEXEC", 0)
