"""A MariaDB server from the system's binaries, for the tests of one module."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import pymysql

PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


class MariaDB:
    """A running server, reached by a socket in a directory of its own."""

    def __init__(self) -> None:
        self.server = shutil.which("mariadbd", path=PATH)
        install = shutil.which("mariadb-install-db", path=PATH)
        if self.server is None or install is None:
            why = "no MariaDB server is installed here: apt-get install mariadb-server"
            if os.environ.get("CI"):
                raise AssertionError(why)
            raise unittest.SkipTest(why)
        self.user = "mysql" if os.getuid() == 0 else getpass.getuser()
        memory = Path("/dev/shm")
        roomy = memory.is_dir() and shutil.disk_usage(memory).free > 1_000_000_000
        self.directory = Path(tempfile.mkdtemp(prefix="maria_", dir=memory if roomy else "/tmp"))
        shutil.chown(self.directory, self.user)
        self.socket = self.directory / "s"
        subprocess.run(
            [install, "--no-defaults", f"--user={self.user}", f"--datadir={self.directory / 'data'}",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._start()

    def _start(self) -> None:
        assert self.server is not None
        log = self.directory / "log"
        self.process = subprocess.Popen(
            [self.server, "--no-defaults", f"--user={self.user}", f"--datadir={self.directory / 'data'}",
             f"--log-error={log}", f"--socket={self.socket}", "--skip-networking",
             "--innodb-flush-log-at-trx-commit=0",
             f"--pid-file={self.directory / 'pid'}", "--innodb-buffer-pool-size=32M",
             "--innodb-log-file-size=8M",
             # A server that starts removes the temporary tables of all others in the same directory.
             f"--tmpdir={self.directory}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(3000):  # a minute: a machine may be busy
            try:
                self.connect("mysql").close()
                return
            except pymysql.OperationalError:
                time.sleep(0.02)
            if self.process.poll() is not None:
                break
        self.process.kill()
        raise AssertionError(f"the server did not start ({self.process.wait()}):\n{log.read_text()[-2000:]}")

    def url(self, database: str, user: str = "root", password: str = "") -> str:
        """For SQLAlchemy."""
        login = f"{user}:{password}" if password else user
        return f"mysql+pymysql://{login}@localhost/{database}?unix_socket={self.socket}"

    def connect(self, database: str, user: str = "root") -> pymysql.Connection:
        return pymysql.connect(
            unix_socket=str(self.socket), user=user, database=database, autocommit=True, ssl_disabled=True
        )

    def create(self, database: str) -> str:
        """The URL of a new and empty database."""
        with self.connect("mysql") as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{database}`")
            cursor.execute(f"CREATE DATABASE `{database}`")
        return self.url(database)

    def restart(self) -> None:
        """End it in order, and start it anew."""
        self.process.terminate()
        self.process.wait()
        self._start()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)
