"""Message DB, as its own package installs it: given back by position, refused where that cannot be done."""

from __future__ import annotations

import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any

import psycopg

from protean_testing import (
    ConfigurationError,
    LeakError,
    LeakWarning,
    OpenTransactionError,
    Store,
    StoreError,
    UnsafeStoreError,
    test_database,
)
from protean_testing.conformance import StoreConformance
from protean_testing.core.run import run
from protean_testing.servers.postgresql import private_postgresql
from protean_testing.stores.message_db.install import VARIABLE, find, install
from protean_testing.stores.message_db.store import MessageDBStore

from .message_db import bring
from .suite import SuiteTestCase


def setUpModule() -> None:
    bring()


def new(name: str, *, installed: bool = True) -> str:
    """The URL of a database of its own, with an empty Message DB in it."""
    url = private_postgresql().create_database(name).replace("+psycopg", "")
    if installed:
        with psycopg.connect(url, autocommit=True) as connection:
            install(connection)
    return url


def insert(connection: Any, stream: str) -> int:
    """What Protean's adapter does. Returns the position in the stream."""
    connection.execute("SET search_path = message_store")  # the role message_store finds it by its name
    arguments = "gen_random_uuid()::varchar, %s, 'Placed', '{}'::jsonb"
    found = connection.execute(f"SELECT write_message({arguments})", [stream]).fetchone()
    return int(found[0])


def write(url: str, stream: str = "order-1") -> int:
    with psycopg.connect(url) as connection:
        return insert(connection, stream)


def messages(url: str) -> list[tuple[int, str, int]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT global_position, stream_name, position FROM message_store.messages ORDER BY 1"
        ).fetchall()


def all_of(url: str) -> list[Any]:
    """All messages, whole, and their sequence."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT m::text FROM message_store.messages m ORDER BY global_position")
        sequence = "SELECT last_value, is_called FROM message_store.messages_global_position_seq"
        return found.fetchall() + connection.execute(sequence).fetchall()


class GivenTests(unittest.TestCase):
    def setUp(self) -> None:
        self.url = new(f"events_{time.monotonic_ns()}_test")
        self.addCleanup(run.end)

    def test_messages_and_positions_are_given_back(self) -> None:
        for _ in range(2):
            with test_database(MessageDBStore(self.url)) as db:
                self.assertEqual(messages(self.url), [])
                self.assertEqual([write(self.url), write(self.url), write(self.url, "order-2")], [0, 1, 0])
                with db.scope():
                    write(self.url)
                    self.assertEqual(len(messages(self.url)), 4)
                self.assertEqual(
                    messages(self.url), [(1, "order-1", 0), (2, "order-1", 1), (3, "order-2", 0)]
                )
                self.assertEqual(write(self.url), 2)

    def test_a_position_that_a_failed_write_took(self) -> None:
        for _ in range(2):
            with test_database(MessageDBStore(self.url)) as db:
                with psycopg.connect(self.url) as connection:
                    connection.execute("SELECT nextval('message_store.messages_global_position_seq')")
                    connection.rollback()
                self.assertTrue(db.reset())
                self.assertFalse(db.reset())
                write(self.url)
                self.assertEqual(messages(self.url), [(1, "order-1", 0)])

    def test_what_was_there_before_stays(self) -> None:
        write(self.url)
        with test_database(MessageDBStore(self.url)):
            write(self.url)
        run.end()
        self.assertEqual(messages(self.url), [(1, "order-1", 0)])
        self.assertEqual(write(self.url), 1)

    def test_what_was_there_before_and_is_deleted_or_changed_comes_back(self) -> None:
        write(self.url)
        write(self.url)
        before = all_of(self.url)
        with test_database(MessageDBStore(self.url)) as db, psycopg.connect(self.url) as connection:
            connection.execute("DELETE FROM message_store.messages WHERE global_position = 1")
            connection.commit()
            self.assertTrue(db.reset())
            self.assertEqual(all_of(self.url), before)
            connection.execute("UPDATE message_store.messages SET data = '{\"a\": 1}'")
        run.end()
        self.assertEqual(all_of(self.url), before)

    def test_what_a_scope_changes_of_an_outer_one_is_restored(self) -> None:
        write(self.url)
        for store in (
            MessageDBStore(self.url),
            MessageDBStore(new(f"own_{time.monotonic_ns()}"), private=True),
        ):
            url = str(store._url)
            with test_database(store) as db, psycopg.connect(url, autocommit=True) as connection:
                write(url)
                with db.scope():
                    write(url, "order-2")
                    before = all_of(url)
                    for _ in range(2):
                        for statement in (
                            "UPDATE message_store.messages SET data = '{\"a\": 1}' WHERE global_position = 1",
                            "UPDATE message_store.messages SET data = data",
                            "DELETE FROM message_store.messages",
                            "TRUNCATE message_store.messages RESTART IDENTITY",
                            "UPDATE message_store.messages SET global_position = global_position + 10",
                            "DELETE FROM message_store.messages WHERE stream_name = 'order-2'",
                        ):
                            with self.subTest(statement), db.scope():
                                connection.execute(statement)
                                write(url, "order-3")
                            self.assertEqual(all_of(url), before)
                outer = all_of(url)
                with db.scope():
                    write(url, "other")
                    with db.scope():
                        connection.execute("DELETE FROM message_store.messages")
                    self.assertEqual(len(messages(url)), len(outer))
                self.assertEqual(all_of(url), outer)
            run.end()

    def test_what_both_scopes_change_is_an_error(self) -> None:
        write(self.url)
        before = all_of(self.url)
        change = "UPDATE message_store.messages SET data = '{{\"a\": {}}}'"
        with test_database(MessageDBStore(self.url)) as db:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(change.format(1))
                write(self.url)
                with self.assertRaisesRegex(StoreError, "changed .*, since they had been changed outside"):
                    with db.scope():
                        connection.execute(change.format(2))
        run.end()
        self.assertEqual(all_of(self.url), before)

    def test_an_open_writer_is_named_and_waited_for(self) -> None:
        connection = psycopg.connect(self.url)
        self.addCleanup(connection.close)
        with self.assertRaisesRegex(LeakError, rf"pid {connection.info.backend_pid}, idle in trans"):
            with test_database(MessageDBStore(self.url, on_leak="fail")):
                insert(connection, "a-1")
        run.end()
        with psycopg.connect(self.url) as connection:
            with test_database(MessageDBStore(self.url, wait=5)):
                insert(connection, "a-1")
                late = threading.Timer(0.2, connection.commit)
                late.start()
            late.join()
        self.assertEqual(messages(self.url), [])

    def test_a_writer_at_work_is_named_and_let_alone(self) -> None:
        with psycopg.connect(self.url) as connection:
            working = threading.Thread(target=lambda: connection.execute("SELECT pg_sleep(0.7)"))
            with self.assertRaisesRegex(
                OpenTransactionError, rf"pid {connection.info.backend_pid}, active: SELECT pg_sleep"
            ):
                with test_database(MessageDBStore(self.url, wait=0.1)):
                    insert(connection, "a-1")
                    working.start()
            working.join()
            connection.commit()
        run.end()
        self.assertEqual(messages(self.url), [])

    def test_a_writer_that_works_on_fails_one_scope_alone(self) -> None:
        with test_database(MessageDBStore(self.url, wait=0.2)) as db, psycopg.connect(self.url) as connection:
            working = threading.Thread(target=self.given_up, args=[connection])
            with self.assertRaisesRegex(
                OpenTransactionError, rf"pid {connection.info.backend_pid}, active: SELECT pg_sleep"
            ):
                with db.scope():
                    insert(connection, "a-1")
                    working.start()
            with self.assertWarnsRegex(LeakWarning, "left a transaction open"), db.scope():
                self.assertEqual(messages(self.url), [])
            working.join(10)
            self.assertFalse(working.is_alive())

    def given_up(self, connection: Any) -> None:
        with self.assertRaises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(60)")

    def test_two_stores_in_one_place_are_one(self) -> None:
        with test_database(MessageDBStore(self.url, name="a"), MessageDBStore(self.url, name="b")):
            write(self.url)
        self.assertEqual(messages(self.url), [])


class PrivateTests(unittest.TestCase):
    def test_it_is_installed_and_works_as_its_own_role(self) -> None:
        url = new(f"events_{time.monotonic_ns()}", installed=False)
        self.addCleanup(run.end)
        with test_database(MessageDBStore(url, private=True)):
            write(url.replace("postgres@", "message_store@"))
            with psycopg.connect(url) as connection:
                version = connection.execute("SELECT message_store.message_store_version()").fetchone()
            self.assertEqual(version, ("1.3.0",))
        self.assertEqual(messages(url), [])


class RefusedTests(unittest.TestCase):
    def setUp(self) -> None:
        self.addCleanup(run.end)

    def refused(self, store: Store, kind: type[Exception], message: str) -> None:
        with self.assertRaisesRegex(kind, message) as caught, test_database(store):
            self.fail("it was entered")
        self.assertNotIn("s3cret", str(caught.exception))

    def test_no_message_db(self) -> None:
        url = new(f"nothing_{time.monotonic_ns()}_test", installed=False)
        self.refused(MessageDBStore(url), ConfigurationError, "there is no Message DB in message_db://")

    def test_a_role_that_may_not_delete(self) -> None:
        url = new(f"roles_{time.monotonic_ns()}_test").replace("postgres@", "message_store@")
        self.refused(
            MessageDBStore(url),
            ConfigurationError,
            r"'message_store' may not delete.*\n.*\n  GRANT SELECT, DEL",
        )

    def test_messages_in_a_database_that_is_none_for_tests(self) -> None:
        url = new(f"live_{time.monotonic_ns()}")
        self.refused(MessageDBStore(url), UnsafeStoreError, 'does not contain "test".*\n.*unsafe=True')
        run.refused.clear()  # as in a run of its own
        write(url)
        self.refused(MessageDBStore(url), UnsafeStoreError, "unsafe=True")
        self.assertEqual(len(messages(url)), 1)
        run.refused.clear()
        with test_database(MessageDBStore(url, unsafe=True)):
            write(url)
        run.end()
        self.assertEqual(len(messages(url)), 1)

    def test_a_server_that_is_not_there(self) -> None:
        store = MessageDBStore("postgresql://ann:s3cret@127.0.0.1:1/events_test")
        self.refused(store, ConfigurationError, "cannot be reached at message_db://127.0.0.1:1/events_test")

    def test_a_package_that_is_not_there(self) -> None:
        url = new(f"events_{time.monotonic_ns()}", installed=False)
        store = MessageDBStore(url, private=True, package="/nowhere")
        self.refused(store, ConfigurationError, f"none in /nowhere.\nBring it with: npm install.*{VARIABLE}")


class FindTests(unittest.TestCase):
    def test_in_the_package_beside_it_or_above(self) -> None:
        package = Path(bring()[VARIABLE])
        database = package / "database"
        node_modules = package.parent.parent
        for given in (package, database, node_modules.parent):
            self.assertEqual(find(given).resolve(), database.resolve())
        with tempfile.TemporaryDirectory() as directory, self.assertRaises(ConfigurationError):
            find(directory)


class KilledTests(SuiteTestCase):
    def test_what_a_killed_run_left_is_cleared_and_no_more(self) -> None:
        url = new(f"killed_{time.monotonic_ns()}_test")
        write(url, "before-1")
        suite = """
            import os, signal, sys
            import psycopg
            from protean_testing import test_database
            from protean_testing.stores.message_db.store import MessageDBStore
            from tests.test_message_db import messages, write
            url = sys.argv[1]
            with test_database(MessageDBStore(url)):
                print(len(messages(url)))
                write(url)
                if sys.argv[2] == "die": os.kill(os.getpid(), signal.SIGKILL)
        """
        self.write("killed.py", suite)
        state = {"PROTEAN_TESTING_STATE": str(self.directory / "state")}
        self.assertEqual(self.python("killed.py", url, "die", **state).code, -9)
        self.assertEqual(len(messages(url)), 2)
        outcome = self.python("killed.py", url, "live", **state)
        self.assertEqual((outcome.code, outcome.out), (0, "1\n"), outcome.err)
        self.assertEqual(messages(url), [(1, "before-1", 0)])


class ConformanceTests(StoreConformance, unittest.TestCase):
    def setUp(self) -> None:
        self.url = new(f"conformance_{time.monotonic_ns()}_test")
        super().setUp()

    def make_store(self) -> MessageDBStore:
        return MessageDBStore(self.url)

    def write(self, store: Any, value: str) -> None:
        write(self.url, f"order-{value}")

    def read(self, store: Any) -> object:
        return messages(self.url)


del StoreConformance  # not a case of its own
