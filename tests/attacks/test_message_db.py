"""Attacks on a given Message DB: its messages, their sequence, and runs that are killed or that meet."""

from __future__ import annotations

import re
import shlex
import time
from typing import Any

import psycopg

from protean_testing.servers.postgresql import private_postgresql

from ..message_db import bring
from ..suite import Outcome
from ..test_message_db import all_of, new, write
from .attack import HELPERS, SUITE, AttackTestCase, await_watchdogs, watchdogs

SOURCE = """
import ast, os, sys, time, unittest
import psycopg
from protean_testing import DatabaseTestCase
from protean_testing.stores.message_db.store import MessageDBStore
from tests.test_message_db import write
{helpers}

URL = os.environ["URL"]

class AttackTests(DatabaseTestCase):
    stores = [MessageDBStore(URL, **ast.literal_eval(os.environ.get("OPTIONS", "{{}}")))]

    def test_it(self):
        for _ in range(3):
            write(URL, "ours-1")
        with psycopg.connect(URL) as connection:
            connection.execute(os.environ.get("DO", "SELECT"))
        ready()
"""
TEAR = (
    "DELETE FROM message_store.messages WHERE global_position = 1;"
    "UPDATE message_store.messages SET data = '{\"a\": 1}' WHERE global_position = 2"
)


def setUpModule() -> None:
    bring()


class MessageDBAttacks(AttackTestCase):
    """Has a database with two messages of somebody, one of which a failed write has gone before."""

    database = "attacked_{}_test"

    def setUp(self) -> None:
        super().setUp()
        self.url = new(self.database.format(time.monotonic_ns()))
        self.variables["URL"] = self.url
        self.write(f"{SUITE}.py", SOURCE.format(helpers=HELPERS.replace("sleep(60)", "sleep(900)")))
        write(self.url, "theirs-1")
        write(self.url, "theirs-2")
        self.ask("SELECT nextval('message_store.messages_global_position_seq')")
        self.before = self.content()
        self.addCleanup(await_watchdogs, self.directory)

    def ask(self, query: str, url: str | None = None) -> list[Any]:
        with psycopg.connect(url or self.url, autocommit=True) as connection:
            cursor = connection.execute(query)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def content(self) -> Any:
        schemas = self.ask("SELECT nspname, nspowner, nspacl::text FROM pg_namespace ORDER BY 1")
        tables = self.ask(
            "SELECT oid, relname, relacl::text FROM pg_class "
            "WHERE relnamespace = 'message_store'::regnamespace ORDER BY 1"
        )
        return all_of(self.url), schemas, tables

    def runs(self, **variables: str) -> Outcome:
        outcome = self.run_suite(**variables)
        self.assertPassed(outcome, 1)
        return outcome

    def clear(self, said: str) -> str:
        """Run the line of a refusal, with the password. Returns what it listed."""
        found = re.search(r"python -m protean_testing (clean .*)$", said, re.MULTILINE)
        assert found is not None, said
        shown = shlex.split(found[1])[1]
        self.assertTrue(shown.startswith("message_db://"), shown)
        url = self.variables["URL"].replace("postgresql:", "message_db:")
        done = self.python("-m", "protean_testing", "clean", url, "--yes", **self.variables)
        self.assertEqual(done.code, 0, done.out + done.err)
        return done.out


class TestNamedTests(MessageDBAttacks):
    """The database is one for tests by its name."""

    def test_a_killed_run_that_deleted_and_changed_messages(self) -> None:
        self.kill_suite(DO=TEAR)
        self.assertNotEqual(all_of(self.url), self.before[0])
        self.runs()
        self.assertEqual(self.content(), self.before)

    def test_a_run_that_deleted_and_changed_messages(self) -> None:
        self.runs(DO=TEAR)
        self.assertEqual(self.content(), self.before)
        self.runs(DO="TRUNCATE message_store.messages RESTART IDENTITY")
        self.assertEqual(self.content(), self.before)

    def test_messages_that_came_since(self) -> None:
        self.kill_suite(DO=TEAR)
        time.sleep(0.3)
        write(self.url, "mine-1")
        before = all_of(self.url)
        outcome = self.run_suite()
        self.assertRefused(outcome, "1 message that came since", "'mine-1'", "clean message_db://")
        self.assertEqual(all_of(self.url), before)
        said = self.clear(outcome.err)
        self.assertIn("restore 2 messages", said)
        self.assertIn("remove 3 messages that", said)
        self.assertIn("remove 1 message that came", said)
        self.assertEqual(self.content(), self.before)
        self.runs()

    def test_more_messages_than_are_copied(self) -> None:
        said = self.run_suite(OPTIONS="{'copy_limit': 1}")
        self.assertRefused(said, "more than 1 messages", "copy_limit=")
        self.assertEqual(self.content(), self.before)
        self.kill_suite(OPTIONS="{'copy_limit': 2}", DO=TEAR)
        self.assertPassed(self.run_suite(OPTIONS="{'copy_limit': 2}"), 1)
        self.assertEqual(self.content(), self.before)

    def test_messages_that_came_while_its_watchdog_was_stopped(self) -> None:
        process = self.start_suite()
        time.sleep(2.5)
        (watchdog,) = watchdogs(self.directory)
        watchdog.suspend()
        process.kill()
        process.wait()
        write(self.url, "mine-1")
        time.sleep(4)
        watchdog.resume()
        self.assertRefused(self.run_suite(), "mine-1")
        self.assertEqual(self.ask("SELECT count(*) FROM message_store.messages")[0][0], 6)

    def test_messages_that_came_since_and_unsafe(self) -> None:
        self.kill_suite(DO=TEAR)
        time.sleep(0.3)
        write(self.url, "mine-1")
        self.runs(OPTIONS="{'unsafe': True}")
        streams = self.ask("SELECT stream_name FROM message_store.messages ORDER BY global_position")
        self.assertEqual(streams, [("theirs-1",), ("theirs-2",), ("mine-1",)])

    def test_tables_of_another_store_in_the_same_database(self) -> None:
        self.write(
            f"{SUITE}.py",
            """
            import os, psycopg
            from sqlalchemy import Column, Integer, MetaData, Table
            from protean_testing import DatabaseTestCase, SQLAlchemyStore
            from protean_testing.stores.message_db.store import MessageDBStore
            from tests.test_message_db import write

            URL = os.environ["URL"]
            ORDERS = Table("orders", MetaData(), Column("id", Integer, primary_key=True))
            STORE = SQLAlchemyStore(ORDERS.metadata, url=URL.replace(":", "+psycopg:", 1), name="db")

            class FirstTests(DatabaseTestCase):
                stores = [STORE]

                def test_it(self):
                    with self.db.session() as session:
                        session.execute(ORDERS.insert())
                        session.commit()

            class SecondTests(FirstTests):
                stores = [STORE, MessageDBStore(URL)]

                def check(self):
                    write(URL, "ours-1")
                    with psycopg.connect(URL) as connection:
                        found = connection.execute("SELECT count(*) FROM message_store.messages").fetchone()
                        self.assertEqual(found, (3,))
                        connection.execute("DELETE FROM message_store.messages WHERE global_position = 1")

                test_first = test_second = check
            """,
        )
        self.assertPassed(self.run_suite(), 4)
        self.assertEqual(self.content(), self.before)

    def test_a_copy_of_the_database(self) -> None:
        self.kill_suite()
        copy = self.database.format(time.monotonic_ns())
        original = psycopg.conninfo.conninfo_to_dict(self.url)["dbname"]
        admin = private_postgresql().create_database(f"admin_{time.monotonic_ns()}").replace("+psycopg", "")
        for _ in range(50):  # until the server has seen that the killed run is gone
            try:
                self.ask(f'CREATE DATABASE "{copy}" TEMPLATE "{original}"', admin)
                break
            except psycopg.errors.ObjectInUse:
                time.sleep(0.1)
        url = self.url.replace(str(original), copy)
        write(url, "mine-1")
        before = all_of(url)
        self.assertRefused(self.run_suite(URL=url), "a copy of the one that it used", "4 messages")
        self.assertEqual(all_of(url), before)
        self.runs()
        self.assertEqual(self.content(), self.before)

    def test_the_state_is_gone(self) -> None:
        self.kill_suite(DO=TEAR)
        before = all_of(self.url)
        outcome = self.run_suite(PROTEAN_TESTING_STATE=str(self.directory / "state_of_another"))
        self.assertRefused(outcome, "not known when it died", "'ours-1'")
        self.assertEqual(all_of(self.url), before)
        self.clear(outcome.err)
        self.assertEqual(self.content(), self.before)

    def test_two_runs_at_once(self) -> None:
        process = self.start_suite()
        for state in ("state", "state_of_another"):
            outcome = self.run_suite(PROTEAN_TESTING_STATE=str(self.directory / state))
            self.assertFailed(outcome, f"in use by pid {process.pid}")
            self.assertEqual(outcome.ran, 0)
        url = self.url.replace("postgresql:", "message_db:")
        done = self.python("-m", "protean_testing", "clean", url, "--yes", **self.variables)
        self.assertEqual(done.code, 1)
        self.assertIn("in use", done.err)
        self.assertEqual(len(all_of(self.url)), 6)

    def test_a_role_that_may_make_no_schema(self) -> None:
        database = psycopg.conninfo.conninfo_to_dict(self.url)["dbname"]
        role = f"limited_{time.monotonic_ns()}"
        self.ask(
            f"CREATE ROLE {role} LOGIN PASSWORD 'tomsecret' IN ROLE message_store;"
            f"GRANT DELETE, UPDATE ON message_store.messages TO {role};"
            f"GRANT UPDATE ON SEQUENCE message_store.messages_global_position_seq TO {role};"
            f'REVOKE CREATE ON DATABASE "{database}" FROM PUBLIC'
        )
        url = self.url.replace("postgres@", f"{role}:tomsecret@")
        before = self.content()
        self.runs(URL=url)
        self.assertEqual(self.content(), before)
        outcome = self.run_suite(URL=url, DO=TEAR)
        self.assertFailed(outcome, "1 messages that were there before are gone")
        self.assertNotIn("tomsecret", outcome.err)


class OtherNameTests(MessageDBAttacks):
    """The database is none for tests by its name."""

    database = "attacked_{}"

    def test_its_name(self) -> None:
        for state in ("state", "state_of_another"):
            outcome = self.run_suite(PROTEAN_TESTING_STATE=str(self.directory / state))
            self.assertRefused(outcome, 'does not contain "test"', "unsafe=True")
        self.assertEqual(self.content(), self.before)
        self.kill_suite(OPTIONS="{'unsafe': True}", DO=TEAR)
        self.assertRefused(self.run_suite(), 'does not contain "test"')
        self.runs(OPTIONS="{'unsafe': True}")
        self.assertEqual(self.content(), self.before)
