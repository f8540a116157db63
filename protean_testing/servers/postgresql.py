"""Start a private PostgreSQL, and create and drop databases on it."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..clock import monotonic
from ..errors import ConfigurationError, StoreError
from ..waiting import DEADLINE, Patience, connected, limit
from . import binaries as find
from .extra import expect, library
from .once import Once
from .process import WatchedProcess
from .template import initialized

READY_WITHIN = 60.0  # seconds
PORT = 5432  # a part of the socket's name
TRIES = 3  # for a TCP port, which another process may take first
_BRIEF = 2.0  # seconds, for the question whether it still answers
ALONE = 0x70726F74  # the advisory lock round CREATE and DROP DATABASE

SETTINGS = {
    "fsync": "off",  # this data does not outlive the run
    "max_prepared_transactions": "10",
    "max_wal_size": "1GB",  # initdb derives a smaller one from the small segments
    "timezone": "UTC",
    "log_timezone": "UTC",
}
HBA = "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


class PrivatePostgreSQL:
    """A running server, reached by a socket in a directory of mode 0700, or by TCP with a password.

    Attributes:
        version: Of the server, as in ``"18.6"``.
        seconds: From the call that started it to its first answer.
        origin: Where its programs came from, for messages.
        log: What it wrote.
        stopped: True after `stop`.
    """

    version: str
    seconds: float

    def __init__(self, process: WatchedProcess, origin: str, port: int | None) -> None:
        self.origin = origin
        self.log = process.log
        self.stopped = False
        self._process = process
        self._port = port
        self._password = secrets.token_urlsafe(24)

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str | None = None) -> str:
        """The SQLAlchemy URL of a database, for the driver psycopg 3.

        Parameters:
            database: Its name.
            user: The role to connect as.
            password: The role's, needed by TCP; that of ``postgres`` is known.
        """
        name = quote(database, safe="")
        if self._port is None:
            where = (
                f"host={self._process.sockets}&port={PORT}"  # a PGPORT of the environment says nothing then
            )
            return f"postgresql+psycopg://{quote(user, safe='')}@/{name}?{where}"
        if password is None and user == "postgres":
            password = self._password
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password is not None else "")
        return f"postgresql+psycopg://{login}@127.0.0.1:{self._port}/{name}"

    def create_database(self, name: str) -> str:
        """Create an empty database. Returns its URL.

        Raises:
            StoreError: It exists already, or the server does not answer.
        """
        statement = "CREATE DATABASE {}"
        if int(self.version.partition(".")[0]) >= 15:
            statement += " STRATEGY file_copy"  # with fsync off, five times faster than through the log
        self._execute(statement, name)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it. Harmless if there is none.

        Raises:
            StoreError: The server does not answer.
        """
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def stop(self) -> None:
        """End the server and remove its files. Harmless when repeated; nothing in a forked child."""
        self._process.stop()
        self.stopped = True

    def _connect(self, seconds: float = DEADLINE) -> Any:
        """A connection, each of whose calls has an end: after a while, unless the server is still at work."""
        psycopg = library("psycopg")
        parameters = {
            "host": str(self._process.sockets), "port": self._port or PORT, "user": "postgres",
            "dbname": "postgres", "connect_timeout": round(seconds),
        }  # fmt: skip
        connection = connected(psycopg, parameters, autocommit=True)
        works = self._answers if seconds == DEADLINE else bool
        limit(connection, Patience(object(), least=seconds), psycopg.OperationalError, works)
        return connection

    def _answers(self) -> bool:
        try:
            with self._connect(_BRIEF) as connection:
                connection.execute("SELECT 1")
        except library("psycopg").Error:
            return False
        return True

    def _execute(self, statement: str, name: str) -> None:
        """Execute a statement about the database `name` while no other of these is on."""
        sql = library("psycopg.sql")
        try:
            with self._connect() as connection:
                connection.execute("SELECT pg_advisory_lock(%s)", (ALONE,))
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
        except library("psycopg").Error as error:
            what = statement.partition(" {")[0]
            raise StoreError(
                f"{what} {name!r} failed on the private PostgreSQL: {error}", store=name
            ) from error

    def _await(self, began: float) -> bool:
        """Wait for the first answer. False if the server ended instead."""
        library("psycopg")
        while not self._ready():
            if self._process.ended(within=0.002) is not None:
                return False
            if monotonic() > began + READY_WITHIN:
                raise ConfigurationError(
                    f"PostgreSQL of {self.origin} did not answer within {READY_WITHIN:.0f} s."
                )
        with self._connect() as connection:
            if self._port is not None:
                hashed = connection.pgconn.encrypt_password(
                    self._password.encode(), b"postgres", b"scram-sha-256"
                )
                sql = library("psycopg.sql")
                connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(hashed.decode()))
            connection.execute("SELECT 1")
            number = connection.info.server_version
        self.version = f"{number // 10000}.{number % 10000}"
        self.seconds = monotonic() - began
        return True

    def _ready(self) -> bool:
        """Whether the server says so in its lock file, which costs less than to be turned away."""
        try:
            return (self._process.files / "data" / "postmaster.pid").read_text().rstrip().endswith("ready")
        except FileNotFoundError:
            return False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.origin}>"


def start_postgresql(
    *, binaries: Path | None = None, settings: Mapping[str, str] | None = None, tcp: bool = False
) -> PrivatePostgreSQL:
    """Start a server of its own. It ends with this process at the latest, however that ends.

    Parameters:
        binaries: The directory of its programs; otherwise see `binaries.postgresql`.
        settings: Lines of its configuration, over those in `SETTINGS`. (``fsync = on`` costs what it costs
            only on a disk: set TMPDIR, or the data may be kept in memory.)
        tcp: Listen on 127.0.0.1 too, with a random password, and say so in `url`.

    Raises:
        ConfigurationError: No server is found, a library is missing, or it does not start; the message
            has what to install, or the end of the log.
    """
    began = monotonic()
    expect("psycopg")
    found = find.postgresql(binaries)
    try:
        for _ in range(TRIES if tcp else 1):
            port = int(library("port_for").select_random()) if tcp else None
            process = initialized(found)
            try:
                _configure(process, port, settings or {})
                process.start([found.brought_to(process), "-D", process.files / "data"], stop=signal.SIGQUIT)
                server = PrivatePostgreSQL(process, found.origin, port)
                if server._await(began):
                    return server
                said = process.said()
            except BaseException:
                process.stop()
                raise
            process.stop()
            if "could not create any TCP/IP sockets" not in said:
                break
    except (OSError, library("psycopg").Error) as error:
        raise ConfigurationError(f"PostgreSQL of {found.origin} could not be started: {error}") from error
    raise ConfigurationError(f"PostgreSQL of {found.origin} did not start:\n{said}")


def _configure(process: WatchedProcess, port: int | None, settings: Mapping[str, str]) -> None:
    data = process.files / "data"
    (data / "pg_hba.conf").write_text(HBA)
    ours = {
        "unix_socket_directories": str(process.sockets),
        "unix_socket_permissions": "0700",
        "listen_addresses": "" if port is None else "127.0.0.1",
        "port": str(port or PORT),
    }
    with open(data / "postgresql.conf", "a") as file:
        for name, value in {**SETTINGS, **settings, **ours}.items():
            quoted = value.replace("\\", "\\\\").replace("'", "''")
            file.write(f"{name} = '{quoted}'\n")


private_postgresql = Once(start_postgresql)
"""This process's own server, started by the first call."""
