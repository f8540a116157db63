"""Private servers as every kind of user: root, root without privileges, an ordinary user; no other's."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import unittest
from pathlib import Path

import psutil
import psycopg

from protean_testing.servers import binaries

from .test_servers_end import PRELUDE, ROOT, RunsTestCase, new_directory

STRANGER = 54321  # a user id that nobody has
NOBODY = pwd.getpwnam("nobody").pw_uid

BECOME = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
what = json.loads(sys.argv[1])
NEWNS, BIND, REC, PRIVATE = 0x20000, 4096, 16384, 1 << 18
executable = what["executable"]
if libc.unshare(NEWNS) == 0:  # otherwise (an ordinary container) they are hoped to be in reach as they are
    assert libc.mount(b"none", b"/", None, REC | PRIVATE, None) == 0
    for source, target in what["mounts"]:
        assert libc.mount(source.encode(), target.encode(), None, BIND | REC, None) == 0, (source, target)
    executable = what["mounted"]
    os.environ["PYTHONPATH"] = what["path"]
    os.environ["LD_LIBRARY_PATH"] = what["mounts"][0][1] + "/lib"  # where Python is a shared library
os.setgroups([]); os.setgid(what["uid"]); os.setuid(what["uid"])
os.chdir("/")
os.execv(executable, [executable, "-c", what["script"]])
"""

REFUSE = """
import ctypes, platform
def refuse(*names):
    '''Let the kernel refuse these calls, as a container's does.'''
    numbers = {"x86_64": {"unshare": 272, "setuid": 105, "setgid": 106, "setgroups": 116},
               "aarch64": {"unshare": 97, "setuid": 146, "setgid": 144, "setgroups": 159}}[platform.machine()]
    class Filter(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                    ("k", ctypes.c_uint)]
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filters", ctypes.POINTER(Filter))]
    steps = [(0x20, 0, 0, 0)]  # load the call's number
    for name in names:
        steps += [(0x15, 0, 1, numbers[name]), (0x06, 0, 0, 0x50000 | 1)]  # EPERM
    steps.append((0x06, 0, 0, 0x7FFF0000))
    filters = (Filter * len(steps))(*steps)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    assert libc.prctl(22, 2, ctypes.byref(Program(len(steps), filters)), 0, 0) == 0
"""

START = """
servers = start_postgresql(), start_redis()
assert query(servers[0]) == 42
redis.Redis.from_url(servers[1].url()).ping()
tell(*servers, identity=servers[0]._process.identity, reached=servers[0]._process.reached,
     uids=[os.stat(s._process.files).st_uid for s in servers],
     data=servers[0]._process.files.as_posix() + "/data")
"""


def visible_to(uid: int, path: str) -> bool:
    """Whether a user can look into a directory."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.listdir(path)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class UsersTestCase(RunsTestCase):
    def copied_binaries(self, mode: int, uid: int) -> Path:
        """The server's programs in a directory that is closed to others."""
        program = binaries.postgresql().program
        closed = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="closed_")))
        package = program.parent.parent
        shutil.copytree(package, closed / package.parent.name / package.name, symlinks=True)
        libraries = package.parent.with_suffix(".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, closed / libraries.name)
        os.chmod(closed, mode)
        os.chown(closed, uid, uid)
        return closed / package.parent.name / package.name / "bin"

    def assertStops(self, run: subprocess.Popen[str], told: dict[str, object]) -> None:
        run.kill()
        run.wait(30)
        self.assertGone(told)


class ThisUserTests(UsersTestCase):
    def test_directories_are_closed_to_others(self) -> None:
        with self.servers() as (run, told):
            for directory in told["directories"]:
                self.assertEqual(stat.S_IMODE(os.stat(directory).st_mode), 0o700)
                self.assertEqual(os.stat(directory).st_uid, os.geteuid())
            cache = self.cache / "protean_testing"
            for path in (cache, cache / "servers", cache / "templates"):
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700)
            self.assertStops(run, told)

    def test_deep_temporary_directory(self) -> None:
        deep = Path(self.enterContext(tempfile.TemporaryDirectory())) / ("d" * 70) / ("e" * 70)
        deep.mkdir(parents=True)
        self.assertGreater(len(str(deep)), 150)
        run = self.start(START + "time.sleep(60)", TMPDIR=str(deep))
        told = self.told(run)
        self.assertTrue(told["data"].startswith(str(deep)))
        self.assertEqual(len(told["directories"]), 4)
        self.assertStops(run, told)

    def test_odd_temporary_directory(self) -> None:
        odd = Path(self.enterContext(tempfile.TemporaryDirectory())) / "it's, ü"
        odd.mkdir()
        run = self.start(START + "time.sleep(60)", TMPDIR=str(odd))
        told = self.told(run)
        self.assertTrue(told["data"].startswith(str(odd)))
        self.assertStops(run, told)

    def test_temporary_directory_is_respected(self) -> None:
        with tempfile.TemporaryDirectory() as own:
            run = self.start(START + "time.sleep(60)", TMPDIR=own)
            told = self.told(run)
            self.assertTrue(all(path.startswith(own) for path in told["directories"]))
            self.assertStops(run, told)

    def test_cache_directory_of_somebody_else(self) -> None:
        """As with ``sudo``, which keeps HOME: the files then are in the temporary directory."""
        with tempfile.TemporaryDirectory() as own:
            script = "from protean_testing.servers.registry import cache; tell(cache=str(cache()))"
            home = "/proc/1/nowhere" if os.geteuid() else self.homes_of(STRANGER)
            told = self.run_to_end(script, XDG_CACHE_HOME=home, TMPDIR=own)[0]
            self.assertEqual(told["cache"], f"{own}/protean_testing-{os.geteuid()}")
            self.assertEqual(stat.S_IMODE(os.stat(told["cache"]).st_mode), 0o700)

    def homes_of(self, uid: int) -> str:
        home = self.enterContext(tempfile.TemporaryDirectory())
        os.chown(home, uid, uid)
        return home


@unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
class RootTests(UsersTestCase):
    def test_in_a_namespace(self) -> None:
        run = self.start(START + "time.sleep(60)")
        told = self.told(run)
        self.assertEqual((told["identity"], told["uids"]), ("namespace", [0, 0]))
        self.assertEqual(os.stat(told["data"]).st_uid, 0)
        self.assertStops(run, told)

    def test_in_a_namespace_with_programs_that_are_out_of_its_reach(self) -> None:
        programs = self.copied_binaries(0o700, STRANGER)
        run = self.start(START + "time.sleep(60)", PROTEAN_TESTING_POSTGRESQL=str(programs))
        told = self.told(run)
        self.assertEqual((told["identity"], told["reached"]), ("namespace", False))
        self.assertStops(run, told)

    def test_where_no_namespace_can_be_made(self) -> None:
        run = self.start(REFUSE + "refuse('unshare')\n" + START + "time.sleep(60)")
        told = self.told(run)
        self.assertEqual(told["identity"], "nobody")
        self.assertNotIn(0, told["uids"][:1])
        postgres = [pid for pid, _, argv in told["processes"] if "/postgres" in argv[0]]
        self.assertTrue(postgres)
        for pid in postgres:
            self.assertNotIn(0, psutil.Process(pid).uids())
        with psycopg.connect(told["urls"][0].replace("+psycopg", "")) as connection:
            connection.execute("SELECT 1")
        self.assertStops(run, told)

    def test_where_no_namespace_can_be_made_with_programs_out_of_reach(self) -> None:
        programs = self.copied_binaries(0o700, 0)
        script = REFUSE + "refuse('unshare')\n" + START + "time.sleep(60)"
        run = self.start(script, PROTEAN_TESTING_POSTGRESQL=str(programs))
        told = self.told(run)
        self.assertEqual((told["identity"], told["reached"]), ("nobody", False))
        self.assertStops(run, told)

    def test_where_root_can_be_nobody_else(self) -> None:
        script = f"""
            {REFUSE.replace(chr(10), chr(10) + " " * 12)}
            refuse("unshare", "setuid", "setgid", "setgroups")
            try: start_postgresql()
            except ConfigurationError as error: tell(error=str(error))
        """
        told = self.run_to_end(script)[0]
        self.assertIn("PostgreSQL does not run as root", told["error"])
        self.assertIn("set DATABASE_URL", told["error"])
        self.assertEqual(self.entries(), [])

    def test_nobody_else_can_connect(self) -> None:
        for prelude in ("", REFUSE + "refuse('unshare')\n"):
            with self.subTest(prelude):
                run = self.start(prelude + START + "time.sleep(60)")
                told = self.told(run)
                for directory in told["directories"]:
                    self.assertTrue(visible_to(0, directory))
                    self.assertFalse(visible_to(STRANGER, directory))
                self.assertStops(run, told)


@unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else; else all tests run as one")
class OrdinaryUserTests(UsersTestCase):
    def as_user(self, uid: int) -> None:
        self.uid = uid
        self.home = Path(self.enterContext(new_directory()))
        os.chown(self.home, uid, uid)
        self.cache = self.home / ".cache"

    def start_as_user(self, script: str, **variables: str) -> subprocess.Popen[str]:
        """Start a run as this ordinary user, to whom Python and this project are shown elsewhere (they may
        be in root's home)."""
        shown = Path(tempfile.mkdtemp(prefix="shown_"))
        self.addCleanup(shown.rmdir)  # never what is in them: a mount may be
        shown.chmod(0o755)
        sources = {"base": sys.base_prefix, "packages": sysconfig.get_path("purelib"), "project": str(ROOT)}
        for name in sources:
            (shown / name).mkdir()
            self.addCleanup((shown / name).rmdir)
        executable = Path(os.path.realpath(sys.executable))
        what = {
            "uid": self.uid,
            "executable": sys.executable,
            "mounts": [(source, str(shown / name)) for name, source in sources.items()],
            "mounted": str(shown / "base" / executable.relative_to(os.path.realpath(sys.base_prefix))),
            "path": f"{shown / 'project'}:{shown / 'packages'}",
            "script": PRELUDE + textwrap.dedent(script),
        }
        return self.start_process([sys.executable, "-c", BECOME, json.dumps(what)], **variables)

    def test_ordinary_user(self) -> None:
        self.as_user(NOBODY)
        run = self.start_as_user(START + "time.sleep(60)", HOME=str(self.home))
        told = self.told(run)
        self.assertEqual((told["identity"], told["uids"]), ("same", [NOBODY, NOBODY]))
        self.assertStops(run, told)

    def test_made_up_user_without_a_home(self) -> None:
        """As in containers that start with a user id of which the system knows nothing."""
        self.as_user(STRANGER)
        cache = Path(tempfile.gettempdir(), f"protean_testing-{STRANGER}")
        self.addCleanup(shutil.rmtree, cache, ignore_errors=True)
        script = "del os.environ['XDG_CACHE_HOME']\n" + START + "time.sleep(60)"
        run = self.start_as_user(script, HOME="/nonexistent")
        told = self.told(run)
        self.assertEqual((told["identity"], told["uids"]), ("namespace", [STRANGER, STRANGER]))
        self.assertEqual(len(list((cache / "servers").iterdir())), 2)
        self.assertStops(run, told)
        self.assertEqual(list((cache / "servers").iterdir()), [])

    def test_made_up_user_where_no_namespace_can_be_made(self) -> None:
        self.as_user(STRANGER)
        script = """
            refuse("unshare")
            try: start_postgresql()
            except ConfigurationError as error: tell(error=str(error))
        """
        run = self.start_as_user(REFUSE + textwrap.dedent(script), HOME=str(self.home))
        self.assertIn(f"effective user ID {STRANGER}: user does not exist", self.told(run)["error"])
        run.wait(30)
        self.assertEqual(self.entries(), [])

    def test_cache_directory_made_by_somebody_else(self) -> None:
        self.as_user(STRANGER)
        cache = Path(tempfile.gettempdir(), f"protean_testing-{STRANGER}")
        cache.mkdir(mode=0o777)
        self.addCleanup(cache.rmdir)
        script = """
            del os.environ['XDG_CACHE_HOME']
            try: start_redis()
            except ConfigurationError as error: tell(error=str(error))
        """
        run = self.start_as_user(script, HOME="/nonexistent")
        self.assertIn("is somebody else's", self.told(run)["error"])


if __name__ == "__main__":
    unittest.main()
