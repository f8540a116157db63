"""A PostgreSQL data directory made once per user and version, and copied for every run."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from ..errors import ConfigurationError
from .binaries import Found
from .entries import cache
from .extra import library
from .process import GuardedProcess

WITHIN = 300.0  # seconds, for initdb on a very busy machine, or for another run to make the template
UNUSED_FOR = 30 * 24 * 3600.0  # seconds until the template of another version is removed
REFUSED = (
    "PostgreSQL does not run as root, and this process may neither make a user namespace nor become the "
    "user nobody.\nRun the tests as an ordinary user, or set DATABASE_URL to a test database."
)


def postgresql_process(found: Found) -> GuardedProcess:
    """A place for a PostgreSQL program, which runs as somebody else where it would refuse to run as we do."""
    import pwd

    identities: tuple[str, ...] = ("same",)
    if os.geteuid() == 0:
        identities = ("namespace", "nobody")
    elif os.geteuid() not in {user.pw_uid for user in pwd.getpwall()}:
        identities = ("namespace", "same")  # a container's made-up user, whom initdb looks up in vain
    return GuardedProcess(found.program, identities, refused=REFUSED)


def template(found: Found) -> Path:
    """The data directory to copy; made now where this user has none for this server.

    Raises:
        ConfigurationError: It cannot be made.
    """
    about = found.program.stat()
    key = "\n".join((str(found.program), str(about.st_mtime_ns), str(about.st_size), *_options(18)))
    path = cache() / "templates" / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        filelock = library("filelock")
        try:
            with filelock.FileLock(f"{path}.lock", timeout=WITHIN):
                if not path.exists():
                    _clear(path.parent)
                    _make(found, path)
        except filelock.Timeout:
            raise ConfigurationError(f"another run held {path}.lock for {WITHIN:.0f} s. Try again.") from None
    os.utime(path)
    return path


def copy(template: Path, data: Path) -> None:
    """Copy a data directory. Its files belong to this user afterwards."""
    shutil.copytree(template, data, copy_function=shutil.copyfile)
    for directory, _, _ in os.walk(data):
        os.chmod(directory, 0o700)


def _make(found: Found, path: Path) -> None:
    """Make the template under another name first: what is found under its own is whole."""
    process = postgresql_process(found)
    try:
        initdb = found.brought_to(process).with_name("initdb")
        made = process.files / "data"
        output = subprocess.run(
            [found.program, "--version"], capture_output=True, text=True, check=True
        ).stdout
        options = _options(int(re.search(r"\d+", output)[0]))  # type: ignore[index]
        process.start([initdb, "-D", made, *options], stop=signal.SIGTERM)
        if process.ended(within=WITHIN) != 0:
            raise ConfigurationError(f"initdb of {found.origin} failed:\n{process.said()}")
        partial = path.with_suffix(".partial")
        copy(made, partial)
        for directory, _, names in os.walk(partial):
            for name in names:
                with open(os.path.join(directory, name), "rb") as file:
                    os.fsync(file)
        partial.rename(path)
    finally:
        process.stop()


def _options(major: int) -> list[str]:
    """What initdb is told. Nothing depends on the machine's own locales, time zone or settings."""
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "-N", "--wal-segsize=1"]
    if major >= 14:
        options += ["--no-instructions"]
    if major >= 17:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        options += ["--locale=C.UTF-8"]
    if major >= 18:
        options += ["--no-data-checksums"]
    return options


def _clear(directory: Path) -> None:
    """Remove what a killed run left half made, and templates that nobody used for long."""
    for path in directory.iterdir():
        if path.suffix == ".partial" or (not path.suffix and path.stat().st_mtime < time.time() - UNUSED_FOR):
            shutil.rmtree(path, ignore_errors=True)
