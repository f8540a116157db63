"""Start one server for a run and end it when the run is over, however that ends.

A script of its own, started as ``python -I -S watchdog.py ENTRY LOCK RUN``: it needs the standard library
alone. ENTRY is the file in which the run writes what it owns, LOCK a descriptor that holds a lock on it
(whoever can take that lock knows that this watchdog is gone), RUN the pid of the run. Standard input is a
pipe from the run. Lines of JSON come in: what is to be looked at, what is to be started, that all is over.
One line goes out for each of the first two, and one when the server has ended. The end of that pipe is the
end of the run; a forked child of the run may hold it open, so the run is looked at too.

This process is nobody's child: code under test that waits for all children of the run must not wait for it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # importing typing takes as long as all the rest
if TYPE_CHECKING:
    import pwd
    from typing import Any

try:
    import ctypes
except ImportError:  # a Python built without libffi: no namespace, and no signal when the watchdog dies
    ctypes = None  # type: ignore[assignment]

LOOK_AT_RUN = 0.2  # seconds
STOP_WITHIN = 5.0  # seconds until a server that was asked to stop is killed

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def other_user() -> pwd.struct_passwd:
    """The user that a server runs as, since it refuses to run as root: ``nobody``."""
    import pwd

    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        return next(entry for entry in pwd.getpwall() if entry.pw_uid)


def become(identity: str) -> None:
    """Give up being root: ``namespace`` (root's files stay ours) or ``nobody``; ``same`` changes nothing."""
    user = other_user() if identity != "same" else None
    if user is not None and identity == "namespace":
        uid, gid = os.geteuid(), os.getegid()
        if ctypes is None or ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
            raise PermissionError("no user namespace may be made here")
        for name, value in (
            ("setgroups", "deny"),
            ("uid_map", f"{user.pw_uid} {uid} 1"),
            ("gid_map", f"{user.pw_gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(value)
    elif user is not None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)


def die_with(watchdog: int, signum: int) -> None:
    """Have the kernel send `signum` to this process when the watchdog dies. Call it after `become`."""
    prctl(PR_SET_PDEATHSIG, signum)
    if os.getppid() != watchdog:
        os._exit(1)


def prctl(option: int, value: int) -> None:
    """Where there is such a call, which is on Linux."""
    if ctypes is not None and sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def look(identities: list[str], paths: list[str]) -> dict[str, Any]:
    """The first identity that can be had, and which of `paths` it reaches.

    Each is tried in a child, since there is no way back from any.
    """
    for identity in identities:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                become(identity)
                reached = [path for path in paths if os.access(path, os.R_OK | os.X_OK)]
                os.write(writer, json.dumps({"identity": identity, "reached": reached}).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader, "rb") as answers:
            answer = answers.read()
        os.waitpid(child, 0)
        if answer:
            return dict(json.loads(answer))
    return {"identity": None, "reached": []}


def start(what: dict[str, Any]) -> int:
    """Start the server. Returns its pid."""
    watchdog = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(signum, signal.SIG_DFL)
        log = os.open(what["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.umask(0o077)
        os.chdir(what["directory"])
        become(what["identity"])
        die_with(watchdog, what["stop"])
        os.execve(what["argv"][0], what["argv"], what["env"])
    except BaseException as error:
        os.write(2, f"{what['argv'][0]}: {error}\n".encode())
    finally:
        os._exit(127)


def ended(server: int) -> int | None:
    """The server's exit code, once it has ended. Orphans of its children are waited for as well."""
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == server:
                return os.waitstatus_to_exitcode(found[1])
    except ChildProcessError:
        pass
    return None


def stop(server: int, signum: int) -> None:
    """Signal the server, wait for it and all that it started, and kill what does not end by itself.

    They are waited for before their files are removed: a PostgreSQL that misses one leaves shared memory.
    """
    if server:
        os.kill(server, signum)
    until = time.monotonic() + STOP_WITHIN
    try:
        while True:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.005)
            if time.monotonic() > until:
                for pid in children():
                    os.kill(pid, signal.SIGKILL)
                until += STOP_WITHIN
    except ChildProcessError:
        pass  # none is left


def children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:
        return []


def say(**answer: Any) -> None:
    try:
        os.write(1, json.dumps(answer).encode() + b"\n")
    except BrokenPipeError:
        pass  # the run is gone, which the loop notices


def remove(directories: list[str], *, within: float = STOP_WITHIN) -> bool:
    """Remove directories, again if somebody was still writing. Returns whether they are gone."""
    import shutil  # late, too: nobody waits for it then

    until = time.monotonic() + within
    while left := list(filter(os.path.exists, directories)):
        for directory in left:
            shutil.rmtree(directory, ignore_errors=True)
        if time.monotonic() > until:
            return False
    return True


def end_of(run: int) -> set[int]:
    """A descriptor that can be read from once the run has ended, if the system has such a thing."""
    try:
        return {os.pidfd_open(run)}
    except (AttributeError, OSError):
        return set()


def lives(run: int) -> bool:
    try:
        os.kill(run, 0)
    except ProcessLookupError:
        return False
    return True


def main(entry: str, lock: int, run: int) -> None:
    if os.fork():
        os._exit(0)
    os.set_inheritable(lock, False)  # the server must not hold it
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(1))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.umask(0o077)
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # a server's orphans become ours

    server, signum, pending = 0, 0, b""
    try:
        end = end_of(run)
        while lives(run) and not over:
            readable, _, _ = select.select([0, wake, *end], [], [], LOOK_AT_RUN)
            if not end.isdisjoint(readable):
                break
            if wake in readable:
                os.read(wake, 4096)
            if server and (code := ended(server)) is not None:
                server = 0
                say(ended=code)
            if 0 not in readable:
                continue
            if not (data := os.read(0, 65536)):
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in map(json.loads, lines):
                if "over" in line:
                    over.append(1)
                elif "look" in line:
                    say(**look(line["look"], line["paths"]))
                else:
                    signum = line["stop"]
                    server = start(line)
                    say(pid=server)
    finally:
        stop(server, signum)
        lines = os.pread(lock, 65536, 0).split(b"\n")[:-1]
        if remove([path for line in lines for path in json.loads(line).get("directories", ())]):
            try:
                os.unlink(entry)
            except FileNotFoundError:
                pass  # somebody emptied the cache directory


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
