"""A TCP proxy in a process of its own. Stopped by a signal, it accepts connections and forwards nothing."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import unittest
from contextlib import suppress
from pathlib import Path

import psutil


class Proxy:
    """Forwards to a server.

    Parameters:
        target: ``host:port``, or the path of a socket.

    Attributes:
        port: On 127.0.0.1.
        pid: Whom to stop.
    """

    def __init__(self, test: unittest.TestCase, target: str) -> None:
        process = subprocess.Popen([sys.executable, __file__, target], stdout=subprocess.PIPE, text=True)
        self.pid = process.pid
        test.addCleanup(process.wait)
        test.addCleanup(process.kill)
        assert process.stdout is not None
        test.addCleanup(process.stdout.close)
        self.port = int(process.stdout.readline())


def stop(pid: int) -> None:
    """Stop a process and all below it, as a debugger or a full disk would."""
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)


def resume(pid: int) -> None:
    """Undo `stop`."""
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


def main(target: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                near, _ = listener.accept()
                far = _connected(target)
                selector.register(near, selectors.EVENT_READ, far)
                selector.register(far, selectors.EVENT_READ, near)
                continue
            one, other = key.fileobj, key.data
            assert isinstance(one, socket.socket)
            if one.fileno() < 0:
                continue
            data = b""
            with suppress(OSError):
                data = one.recv(65536)
                other.sendall(data)
            if not data:
                for end in (one, other):
                    with suppress(KeyError, ValueError):  # closed with its other end a moment ago
                        selector.unregister(end)
                    end.close()


def _connected(target: str) -> socket.socket:
    if Path(target).exists():
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(target)
        return connection
    host, _, port = target.rpartition(":")
    return socket.create_connection((host, int(port)))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpgid(0, 0)
    main(sys.argv[1])
