"""Write down when a run was last alive, and what its Redis database held when it died. It changes nothing.

A script of its own, started as ``python -I -S watchdog.py``: it needs the standard library alone, since it
must be ready before the first test. The first line of standard input is JSON: ``signs``, the file to write;
``lock``, a file that it keeps locked while it works; ``run``, the pid to watch; and for Redis ``redis``,
see `Server`. One line on standard output says that it is ready. A second line ends it: ``over`` (nothing is
left in the location) or ``left``. Without one, the end of that process is the run's death.

This process is nobody's child: neither code under test that waits for all children of the run, nor a
program that kills a run with all its descendants, is to meet it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # importing typing takes as long as all the rest
if TYPE_CHECKING:
    from typing import Any

BEAT = 1.0  # seconds between two signs of life
DEAD_WITHIN = 2.0  # seconds from the end of the pipe to the end of the process
LISTED_WITHIN = 1.0  # seconds after a death in which what is there is still the run's
LATE = 0.5  # seconds more than a beat after which this process was stopped, and does not know the moment
RECENT = 2  # seconds in which somebody else may have written what was there at a death
MOST_KEYS = 10_000
AT_ONCE = 500


def uptime() -> float:
    """Seconds of a clock that nobody sets, the same for all processes until the machine starts again."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Server:
    """A connection to a Redis, of the few commands that are needed here.

    Parameters:
        where: ``path``, or ``host`` and ``port``; ``login``, the arguments of AUTH; ``db``, ``name`` (of the
            connection), ``prefix`` and ``match`` (a pattern of keys; both latin-1), and ``client``, the
            server's number of a connection that ends with the run.
    """

    def __init__(self, where: dict[str, Any]) -> None:
        self._where = where
        self._is_alarmed = True
        self._pushed = False
        self._socket: socket.socket | None = None
        self._read = b""

    def follow(self) -> None:
        """Be told of writes. While the connection is there, they go to it, which takes no notice of them."""
        prefix = self._where["prefix"].encode("latin-1")
        only = ("PREFIX", prefix) if prefix else ()
        tracking = ("CLIENT", "TRACKING", "ON", "REDIRECT", self._where["client"], "BCAST", *only)
        try:
            hello, on = self.ask(("HELLO", 3), tracking)
            self._is_alarmed = hello is None or on != b"OK"
        except (OSError, ValueError):
            self.close()

    def alarmed(self) -> bool:
        """Whether something was written after the end of that connection, or that is not known."""
        if not self._is_alarmed:
            try:
                self.ask(("PING",))
            except (OSError, ValueError):
                self._pushed = True
            self._is_alarmed = self._pushed
        return self._is_alarmed

    def open(self) -> None:
        where = self._where
        if where.get("path"):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(2)
            self._socket.connect(where["path"])
        else:
            self._socket = socket.create_connection((where["host"], where["port"]), timeout=2)
        self._read = b""
        if where["login"]:
            self.ask(("AUTH", *where["login"]))
        self.ask(("SELECT", where["db"]), ("CLIENT", "SETNAME", where["name"]), ("CLIENT", "NO-TOUCH", "ON"))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Send the commands at once; None in place of an error."""
        if self._socket is None:
            self.open()
        assert self._socket is not None
        packed = []
        for command in commands:
            words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
            packed.append(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
        self._socket.sendall(b"".join(packed))
        return [self._reply() for _ in commands]

    def time(self) -> int | None:
        """The server's time in milliseconds since 1970; None if it does not answer."""
        try:
            (now,) = self.ask(("TIME",))
            return int(now[0]) * 1000 + int(now[1]) // 1000
        except (OSError, TypeError, ValueError):
            self.close()
            return None

    def recent(self, names: list[str], since: float) -> set[str]:
        """Those of the keys that were touched in the last seconds, or since then, as far as it is known."""
        found = set()
        for begin in range(0, len(names), AT_ONCE):
            some = names[begin : begin + AT_ONCE]
            idle = self.ask(*(("OBJECT", "IDLETIME", name.encode("latin-1")) for name in some))
            counts = self.ask(*(("OBJECT", "REFCOUNT", name.encode("latin-1")) for name in some))
            recent = max(RECENT, uptime() - since + 1)
            for name, seconds, count in zip(some, idle, counts, strict=True):
                if seconds is None or count != b"1" or int(seconds) <= recent:
                    found.add(name)
        return found

    def keys(self) -> tuple[dict[str, str], bool]:
        """The keys that are there with a hash of what they hold, and whether these are all."""
        until = time.monotonic() + LISTED_WITHIN
        found: dict[str, str] = {}
        cursor, match = b"0", self._where["match"].encode("latin-1")
        while True:
            (reply,) = self.ask(("SCAN", cursor, "MATCH", match, "COUNT", AT_ONCE))
            cursor, names = reply
            if names:
                dumps = self.ask(*(("DUMP", name) for name in names))
                found |= {
                    name.decode("latin-1"): hashlib.sha256(dump).hexdigest()
                    for name, dump in zip(names, dumps, strict=True)
                    if dump is not None
                }
            if cursor == b"0":
                return found, True
            if len(found) > MOST_KEYS or time.monotonic() > until:
                return found, False

    def _reply(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b">":
            self._pushed = True
            for _ in range(int(rest)):
                self._reply()
            return self._reply()  # what it came before
        if kind in (b"*", b"~"):
            return [self._reply() for _ in range(int(rest))]
        if kind == b"%":
            return [self._reply() for _ in range(2 * int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self._bytes(int(rest))
        return None if kind in (b"-", b"_") else rest

    def _line(self) -> bytes:
        while b"\r\n" not in self._read:
            self._receive()
        line, _, self._read = self._read.partition(b"\r\n")
        return line

    def _bytes(self, size: int) -> bytes:
        while len(self._read) < size + 2:
            self._receive()
        found, self._read = self._read[:size], self._read[size + 2 :]
        return found

    def _receive(self) -> None:
        assert self._socket is not None
        if not (data := self._socket.recv(1 << 16)):
            raise ConnectionError
        self._read += data


def main() -> None:
    if os.fork():
        os._exit(0)
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_IGN)
    os.umask(0o077)
    orders = b""
    while b"\n" not in orders:
        if not (data := os.read(0, 65536)):
            return
        orders += data
    line, _, orders = orders.partition(b"\n")
    given = json.loads(line)
    lock = os.open(given["lock"], os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    run, where = given["run"], given.get("redis")
    server = Server(where) if where else None
    alarm = Server(where) if where else None
    if alarm is not None:
        alarm.follow()

    def write(late: float = 0.0, **signs: Any) -> None:
        clock = server.time() if server else None
        now = {"uptime": uptime() - late, "server": clock and clock - int(late * 1000), **signs}
        fresh = f"{given['signs']}.new"
        with open(fresh, "w") as file:
            json.dump(now, file)
        os.replace(fresh, given["signs"])

    end = end_of(run)
    alive = uptime()
    write(dead=False)
    os.write(1, b"\n")
    os.close(1)
    wanted = [0, *end]
    while True:
        readable, _, _ = select.select(wanted, [], [], BEAT)
        if 0 in readable and not orders and (data := os.read(0, 4096)):
            orders += data
        if orders.startswith(b"over"):
            return
        if orders or readable:
            break
        before = uptime()
        if not lives(run):
            break
        alive = before
        if alarm is not None and alarm.alarmed():
            alarm.close()  # nobody reads what it is told
        write(dead=False)
    noticed = uptime()
    if not orders and noticed - alive > BEAT + LATE:
        noticed = alive  # somebody else may have written since
    keys: dict[str, Any] = {}
    if server is not None:
        try:
            found, keys["complete"] = server.keys()
            if not orders and alarm is not None and alarm.alarmed():
                doubtful = server.recent(list(found), alive)
                keys["complete"] = False
                noticed = alive
                found = {name: digest for name, digest in found.items() if name not in doubtful}
            keys["keys"] = found
        except (OSError, TypeError, ValueError):
            server.close()
    until = time.monotonic() + DEAD_WITHIN
    while not orders and lives(run):
        if time.monotonic() > until:
            return  # it closed the pipe, and goes on
        time.sleep(0.005)
    late = uptime() - noticed
    write(dead=True, late=late, **keys)


def end_of(run: int) -> list[int]:
    """A descriptor that can be read from once the run has ended, if the system has such a thing."""
    try:
        return [os.pidfd_open(run)]
    except (AttributeError, OSError):
        return []


def lives(run: int) -> bool:
    try:
        os.kill(run, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:  # one whose parent has not looked yet is dead
        with open(f"/proc/{run}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except FileNotFoundError:
        return sys.platform != "linux"
    except OSError:
        return True


if __name__ == "__main__":
    main()
