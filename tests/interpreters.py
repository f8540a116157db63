"""Start Python programs in a process of their own, without the half second that their imports take.

A server process has imported the third-party packages (never ours) and forks for each program. The fork is
made a child of this process, so that whoever looks at processes, parents, signals and exit codes sees what
``subprocess`` would have given. Where a program needs more than that, it is started by ``subprocess``.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

IMPORTED = [
    "asyncio",
    "filelock",
    "importlib.metadata",
    "psutil",
    "psycopg",
    "redis",
    "redis.asyncio",
    "sqlalchemy",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "unittest",
]
"""Imported by the server; a module may add to it before its first program."""

SERVER = """
import array, faulthandler, gc, json, os, runpy, site, socket, sys, types, warnings

def serve(connection):
    while True:
        text, ancillary, _, _ = connection.recvmsg(1 << 20, socket.CMSG_SPACE(12))
        if not text:
            os._exit(0)
        fds = array.array("i")
        fds.frombytes(ancillary[0][2])
        reader, writer = os.pipe()
        between = os.fork()
        if not between:
            program = os.fork()
            if not program:
                return json.loads(text), fds
            os.write(writer, str(program).encode())
            os._exit(0)
        os.waitpid(between, 0)
        for fd in fds:
            os.close(fd)
        connection.send(os.read(reader, 99))
        os.close(reader), os.close(writer)

def begin(request, fds):
    while os.getppid() != request["parent"]:
        pass
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.closerange(3, 512)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    if "PYTHONFAULTHANDLER" in os.environ:
        faulthandler.enable()
    sys.orig_argv = argv = request["argv"]
    while argv[1] == "-W":
        sys.warnoptions.append(argv[2])
        argv = [argv[0], *argv[3:]]
    warnings._processoptions(sys.warnoptions)
    sys.argv = argv[1:] if argv[1] not in ("-m", "-c") else [argv[1], *argv[3:]]
    first = {"-m": os.getcwd(), "-c": ""}.get(argv[1], os.path.dirname(os.path.abspath(argv[1])))
    sys.path[:1] = [first] + [one for one in request["env"].get("PYTHONPATH", "").split(os.pathsep) if one]
    site.execsitecustomize()
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if argv[1] in ("-m", "-c"):
        return argv[1], argv[2], main.__dict__
    main.__file__ = argv[1]
    with open(argv[1]) as script:
        return argv[1], script.read(), main.__dict__

for name in sys.argv[2:]:
    __import__(name)
gc.collect()
gc.freeze()
kind, what, names = begin(*serve(socket.socket(fileno=int(sys.argv[1]))))
if kind == "-m":
    runpy._run_module_as_main(what)
else:
    exec(compile(what, "<string>" if kind == "-c" else kind, "exec"), names)
"""

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2): it becomes the parent of those whose parent has ended
_prctl = getattr(ctypes.CDLL(None), "prctl", None)
_lock = threading.Lock()
_server: socket.socket | None = None
_processes: list[subprocess.Popen[bytes]] = []


class Program(subprocess.Popen[str]):
    """A running ``python -m NAME``, ``python -c CODE`` or ``python FILE``, any of them after ``-W``.

    Anything else is run as `subprocess` does.
    """

    def _execute_child(self, args: Any, *rest: Any) -> None:  # type: ignore[override]
        _, preexec, _, pass_fds, cwd, env, _, _, shell, *pipes = rest[:15]
        _, gid, gids, uid, umask, session, group = rest[15:]
        special = preexec or pass_fds or shell or gid or gids or uid or umask >= 0 or group >= 0
        if special or not _is_served(args, env):
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        request = {
            "argv": [str(one) for one in args],
            "cwd": str(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
            "parent": os.getpid(),
            "session": session,
        }
        own = (pipes[0], pipes[3], pipes[5])
        with _lock:
            self.pid = _started(
                json.dumps(request).encode(), [fd if fd != -1 else number for number, fd in enumerate(own)]
            )
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self._child_created = True


def run(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with ``capture_output=True, text=True``."""
    timeout = options.pop("timeout")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Program(arguments, text=True, **pipes, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _is_served(args: Any, env: Any) -> bool:
    if _prctl is None or not sys.platform.startswith("linux") or isinstance(args, str):
        return False
    served = len(args) > 1 and (args[1] in ("-m", "-c", "-W") or not str(args[1]).startswith("-"))
    if "pytest" in args and "protean" in IMPORTED:  # of whose plugin pytest warns, if it is imported already
        return False
    return (
        args[0] == sys.executable
        and served
        and _startup(os.environ) == _startup(os.environ if env is None else env)
    )


def _startup(env: Mapping[str, str]) -> dict[str, str]:
    """What Python reads while it starts; the rest is set anew for each program."""
    anew = ("PYTHONPATH", "PYTHONFAULTHANDLER")
    return {name: value for name, value in env.items() if name.startswith("PYTHON") and name not in anew}


def _started(request: bytes, fds: list[int]) -> int:
    assert _prctl is not None
    _prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        return _asked(request, fds) or _asked(request, fds)
    finally:
        _prctl(_SUBREAPER, 0, 0, 0, 0)


def _asked(request: bytes, fds: list[int]) -> int:
    """The process that the server has started; 0 if there is no server any more: a test may have ended it."""
    global _server
    if _server is None:
        _server = _new_server()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
    try:
        _server.sendmsg([request], [rights])
        if answer := _server.recv(99):
            return int(answer)
    except BrokenPipeError:
        pass
    _server = None
    return 0


def _new_server() -> socket.socket:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        command = [sys.executable, "-c", SERVER, str(its.fileno()), *IMPORTED]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        nothing = subprocess.DEVNULL
        _processes.append(
            subprocess.Popen(command, pass_fds=[its.fileno()], env=env, stdin=nothing, stdout=nothing)
        )
    ours.settimeout(120)
    atexit.register(ours.close)  # which ends that process
    return ours
