"""Make a PostgreSQL data directory once per user and version, and copy it for every run."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from ..clock import monotonic, now, sleep
from ..errors import ConfigurationError
from .binaries import Found
from .process import WatchedProcess
from .registry import cache

WITHIN = 300.0  # seconds, for initdb on a very busy machine, or for another run to make the template
UNUSED_FOR = 30 * 24 * 3600.0  # seconds until the template of another version is removed
REFUSED = (
    "PostgreSQL does not run as root, and this process may neither make a user namespace nor become the "
    "user nobody.\nRun the tests as an ordinary user, or set DATABASE_URL to a test database."
)


def postgresql_process(found: Found, template: Path | None = None) -> WatchedProcess:
    """A place for a PostgreSQL program, which runs as somebody else if it would refuse to run as we do.

    Parameters:
        found: The server.
        template: What to copy into it.
    """
    import pwd

    identities: tuple[str, ...] = ("same",)
    if os.geteuid() == 0:
        identities = ("namespace", "nobody")
    else:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:  # a container's made-up user, whom initdb looks up in vain
            identities = ("namespace", "same")

    def prepare(files: Path) -> None:
        if template is not None:
            copy(template, files / "data")

    return WatchedProcess(found.program, identities, prepare=prepare, refused=REFUSED)


def initialized(found: Found) -> WatchedProcess:
    """A place with a new data directory: a copy of the template, which is made if there is none.

    Raises:
        ConfigurationError: It cannot be made.
    """
    about = found.program.stat()
    key = "\n".join((str(found.program), str(about.st_mtime_ns), str(about.st_size), *_options(18)))
    template = cache() / "templates" / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not template.exists():
        template.parent.mkdir(mode=0o700, exist_ok=True)
        release = _locked(template.with_suffix(".lock"))
        if not template.exists():
            return _make(found, template, release)
        release()
    os.utime(template)
    return postgresql_process(found, template)


def _locked(path: Path) -> Callable[[], None]:
    """Take a lock among all runs of this user. Returns what releases it, from whatever thread.

    Raises:
        ConfigurationError: Another run has held it for too long.
    """
    import fcntl

    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def release() -> None:
        fcntl.flock(lock, fcntl.LOCK_UN)  # closing does not suffice: a forked child may have the file open
        os.close(lock)

    until = monotonic() + WITHIN
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return release
        except OSError:
            if monotonic() > until:
                os.close(lock)
                raise ConfigurationError(f"another run held {path} for {WITHIN:.0f} s. Try again.") from None
        sleep(0.02)


def copy(template: Path, data: Path) -> None:
    """Copy a data directory. Its files belong to this user afterwards, and nobody else can read them."""
    shutil.copytree(template, data, copy_function=_copy_file)
    for directory, _, _ in os.walk(data):
        os.chmod(directory, 0o700)


def _copy_file(source: str, target: str) -> None:
    """Copy a file of at most a few megabytes in half the time that shutil takes for all that it looks at."""
    with open(source, "rb", 0) as file:
        content = file.read()
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", 0) as file:
        file.write(content)


def _make(found: Found, template: Path, finished: Callable[[], None]) -> WatchedProcess:
    """Make a data directory, and the template from it while it is used."""
    process = None
    partial = template.with_suffix(".partial")
    try:
        process = postgresql_process(found)
        data = process.files / "data"
        output = subprocess.run(
            [found.program, "--version"], capture_output=True, text=True, check=True
        ).stdout
        options = _options(int(re.search(r"\d+", output)[0]))  # type: ignore[index]
        initdb = found.brought_to(process).with_name("initdb")
        process.start([initdb, "-D", data, *options], stop=signal.SIGTERM)
        if process.ended(within=WITHIN) != 0:
            raise ConfigurationError(f"initdb of {found.origin} failed:\n{process.said()}")
        _clear(template.parent, partial)
        copy(data, partial)
    except BaseException:
        if process is not None:
            process.stop()
        finished()
        raise
    Thread(target=_keep, args=(partial, template, finished), name="protean_testing template").start()
    return process


def _keep(partial: Path, template: Path, finished: Callable[[], None]) -> None:
    """Give a copy the template's name once all of it is on the disk: what has that name is whole."""
    try:
        for directory, _, names in os.walk(partial):
            for name in names:
                with open(os.path.join(directory, name), "rb") as file:
                    os.fsync(file)
        partial.rename(template)
    except OSError:
        pass  # the cache directory was emptied; the next run makes it
    finally:
        finished()


def _options(major: int) -> list[str]:
    """What initdb is told. Nothing depends on the machine's own locales, time zone or settings."""
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "-N", "--wal-segsize=1", "--no-clean"]
    if major >= 14:
        options += ["--no-instructions"]
    if major >= 17:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        options += ["--locale=C", f"--lc-ctype={'UTF-8' if sys.platform == 'darwin' else 'C.UTF-8'}"]
    if major >= 18:
        options += ["--no-data-checksums"]
    return options


def _clear(directory: Path, partial: Path) -> None:
    """Remove what a killed run left half made, and templates that nobody used for long."""
    for path in directory.iterdir():
        if path == partial or (not path.suffix and path.stat().st_mtime < now() - UNUSED_FOR):
            shutil.rmtree(path, ignore_errors=True)
