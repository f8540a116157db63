"""Runs the shop's commands, each in a process of its own.

Python imports half a second before a command begins. Here one process does that for all of them, and each
command is a fork of it, with an environment, standard streams and connections of its own. It ends with us.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Self

PROJECT = Path(__file__).parents[1]
ENDS_WITHIN = 120  # seconds


class Command:
    """A command that runs."""

    def __init__(self, given: str) -> None:
        self._ended, self.end = socket.socketpair()
        self._ended.settimeout(ENDS_WITHIN)
        self.streams = [tempfile.TemporaryFile() for _ in range(3)]
        self.streams[0].write(given.encode())
        self.streams[0].seek(0)

    def outcome(self) -> tuple[int, list[str], str]:
        """Its exit code, the lines of its output, and what it complained of."""
        try:
            code = self._ended.recv(8)
            for stream in self.streams:
                stream.seek(0)
            _, output, complaints = (stream.read().decode() for stream in self.streams)
            return int(code or -1), output.splitlines(), complaints
        finally:
            self._ended.close()
            for stream in self.streams:
                stream.close()


class Commands:
    """Use it as ``with Commands() as commands: commands.start("revenue", DATABASE_URL=url).outcome()``."""

    def __enter__(self) -> Self:
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.commands", str(theirs.fileno())],
                cwd=PROJECT,
                env={**os.environ, "PYTHONUTF8": "1"},
                pass_fds=[theirs.fileno()],
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self._process.wait(timeout=ENDS_WITHIN)

    def start(self, *arguments: str, given: str = "", **variables: str) -> Command:
        command = Command(given)
        with command.end:
            descriptors = [*(stream.fileno() for stream in command.streams), command.end.fileno()]
            socket.send_fds(self._requests, [json.dumps([arguments, variables]).encode()], descriptors)
            self._requests.recv(1)
        return command


def serve(requests: socket.socket) -> None:
    """Fork for every request, until nobody can send one any more."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, 2**16, 4)
        if not request:
            return
        if os.fork() == 0:
            arguments, variables = json.loads(request)
            run(arguments, variables, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(b".")


def run(arguments: list[str], variables: dict[str, str], descriptors: list[int]) -> None:
    from shop import cli

    code = 1
    try:
        *streams, end = descriptors
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        os.environ.update(variables)
        sys.argv = ["shop.cli", *arguments]
        code = cli.main()
    except SystemExit as error:  # by argparse
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(end, str(code).encode())
        os._exit(code)


if __name__ == "__main__":
    import psycopg  # noqa: F401
    import redis  # noqa: F401
    from sqlalchemy.orm import configure_mappers

    import shop.cli  # noqa: F401

    configure_mappers()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C ends the tests, and they end this
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        serve(requests)
