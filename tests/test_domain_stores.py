"""The same tests of a domain on every kind of adapter there is, each on the real thing."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

from sqlalchemy import text

from protean_testing.domain import AsyncDomainTestCase, DomainTestCase, drain_async, test_domain

from .library import AddAuthor, Author, Loan, held, leave_a_transaction_open, library, write
from .message_db import bring

SQLITE = {"databases": {"default": {"provider": "sqlite"}}}
POSTGRESQL = {"databases": {"default": {"provider": "postgresql"}}}
REDIS = {
    "brokers": {"default": {"provider": "redis"}},
    "caches": {"default": {"provider": "redis"}},
    "idempotency": {"provider": "redis"},
}
PUBSUB = {"brokers": {"default": {"provider": "redis_pubsub"}}}
FULL = {**POSTGRESQL, **REDIS, "event_store": {"provider": "message_db"}}
OUTBOX = {"server": {"default_subscription_type": "stream"}}
BY_THE_ENGINE = {"event_processing": "async", "command_processing": "async"}


def setUpModule() -> None:
    bring()


class GivenBack:
    """Mixed into a class for each kind: what `write` leaves is in every adapter, and then in none."""

    domain = library
    traverse = False
    on_leak = "reset"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        with test_domain_is_empty():
            write("class")
        cls.before = held()

    def check(self) -> None:
        self.assertEqual(held(), self.before)
        write("test")
        with self.db.scope():
            write("scope")
            self.assertEqual(held()["authors"], ["class", "scope", "test"])
            self.assertEqual([number for number, _ in held()["loans"]], [1, 2, 3])
        now = held()
        self.assertEqual(now["authors"], ["class", "test"])
        self.assertEqual(now["loans"], [(1, "class"), (2, "test")])
        self.assertEqual((now["visits"], len(now["events"]), now["markers"]), (2, 6, 2))

    test_1 = test_2 = check

    def test_a_unit_of_work_left_open(self) -> None:
        self.assertEqual(held()["loans"], [(1, "class")])
        leave_a_transaction_open("open")
        leave_a_transaction_open("nested")

    test_a_unit_of_work_left_open_again = test_a_unit_of_work_left_open

    def test_a_unit_of_work_that_failed(self) -> None:
        self.assertEqual(held()["authors"], ["class"])
        self.assertTrue(self.process(AddAuthor(name="x" * 51)).failed)
        write("after")
        self.assertEqual(held()["loans"], [(1, "class"), (2, "after")])

    test_a_unit_of_work_that_failed_again = test_a_unit_of_work_that_failed

    def test_initialized_again(self) -> None:
        providers = library.providers._providers
        library.init(traverse=False)
        self.assertIsNot(library.providers._providers, providers)
        write("new")

    test_initialized_again_and_again = test_initialized_again

    def test_closed(self) -> None:
        self.assertEqual(held()["visits"], 1)
        write("test")
        library.close()  # as the engine does at its end

    test_closed_again = test_closed


class SessionLeftOpen:
    """Mixed into a class on a SQL database."""

    def check_session(self) -> None:
        self.assertEqual(held()["loans"], [(1, "class")])
        session = library.providers["default"].get_connection()
        session.execute(text("INSERT INTO loan (reader, _version) VALUES ('open', 0)"))
        type(self).kept = session

    test_a_session_left_open = test_a_session_left_open_again = check_session


class test_domain_is_empty:
    """A block at whose start the domain holds nothing at all."""

    def __enter__(self) -> None:
        now = held()
        assert not any(now.values()), now

    def __exit__(self, *error: object) -> None: ...


class MemoryTests(GivenBack, DomainTestCase):
    pass


class SQLiteTests(SessionLeftOpen, GivenBack, DomainTestCase):
    config = SQLITE


class SQLiteFileTests(SessionLeftOpen, GivenBack, DomainTestCase):
    directory = tempfile.TemporaryDirectory()
    path = Path(directory.name) / "library_test.db"
    config = {"databases": {"default": {"provider": "sqlite", "database_uri": f"sqlite:///{path}"}}}


class PostgreSQLTests(SessionLeftOpen, GivenBack, DomainTestCase):
    config = POSTGRESQL

    def test_rows_are_where_another_connection_sees_them(self) -> None:
        write("test")
        with self.engine.connect() as connection:
            self.assertEqual(connection.scalar(text('SELECT count(*) FROM "author"')), 2)


class PostgreSQLSchemaTests(GivenBack, DomainTestCase):
    config = {"databases": {"default": {"provider": "postgresql", "schema": "shelves"}}}

    def test_tables_are_in_it(self) -> None:
        with self.engine.connect() as connection:
            self.assertEqual(connection.scalar(text("SELECT count(*) FROM shelves.author")), 1)


class RedisTests(GivenBack, DomainTestCase):
    config = REDIS

    def check_idempotency(self) -> None:
        """A key that stayed would make the next test's command be skipped without a word."""
        first = library.process(AddAuthor(name="once"), idempotency_key="key")
        self.assertEqual(library.process(AddAuthor(name="once"), idempotency_key="key"), first)
        self.assertEqual(held()["authors"], ["class", "once"])

    test_idempotency = test_idempotency_again = check_idempotency

    def check_traces(self) -> None:
        client: Any = library.brokers["default"]
        self.assertEqual(client._client.xlen("protean:traces"), self.traces())
        write("test")
        self.assertGreater(client._client.xlen("protean:traces"), self.traces())

    def traces(self) -> int:
        return 2  # of the class: its command, and the event of that

    test_traces = test_traces_again = check_traces


class RedisPubSubTests(GivenBack, DomainTestCase):
    config = PUBSUB


class FullInfrastructureTests(GivenBack, DomainTestCase):
    config = {**FULL, **OUTBOX}

    def check_outbox(self) -> None:
        outbox = library._get_outbox_repo("default")
        self.assertEqual(outbox.query.all().total, self.rows())
        write("test")
        self.assertGreater(outbox.query.all().total, self.rows())

    def rows(self) -> int:
        return 2  # of the class: an author was added, and a card was issued

    test_outbox = test_outbox_again = check_outbox


class EngineTests(DomainTestCase):
    """Commands and events go through the event store and the engine."""

    domain = library
    traverse = False
    config = {**FULL, **BY_THE_ENGINE}

    def check(self) -> None:
        self.assertEqual(held()["authors"], [])
        outcome = self.process(AddAuthor(name="a"), until=lambda: bool(held()["shelves"]))
        self.assertTrue(outcome.succeeded)
        self.assertEqual((held()["authors"], held()["shelves"]), (["a"], ["a"]))
        self.assertPublished("announcements", name="a")
        self.assertEqual(held()["visits"], 0)  # a Redis cache is open again

    test_1 = test_2 = check


class OutboxEngineTests(EngineTests):
    """Events go through the outbox, the broker and the engine."""

    config = {**FULL, **OUTBOX, "event_processing": "async"}


class AsyncEngineTests(AsyncDomainTestCase):
    domain = library
    traverse = False
    config = {**POSTGRESQL, **REDIS, **BY_THE_ENGINE}

    async def check(self) -> None:
        self.assertEqual(held()["authors"], [])
        library.process(AddAuthor(name="a"))
        for _ in range(2):
            await drain_async()
        self.assertEqual((held()["authors"], held()["shelves"]), (["a"], ["a"]))

    test_1 = test_2 = check


class TwoDatabasesTests(DomainTestCase):
    """Each aggregate where it belongs, both given back; and one that is not ours to touch."""

    domain = library
    traverse = False
    config = {"databases": {"default": {"provider": "postgresql"}, "second": {"provider": "sqlite"}}}

    def check(self) -> None:
        self.assertEqual(
            sorted(store.name for store in self.db.stores if hasattr(store, "url")), ["default", "second"]
        )
        with self.db.store("second").engine.begin() as connection:
            connection.execute(text("CREATE TABLE mine (a int)"))
        write()

    test_1 = test_2 = check


class UnmanagedTests(unittest.TestCase):
    def test_its_rows_stay(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            url = f"sqlite:///{directory}/others.db"
            entry = {"provider": "sqlite", "database_uri": url}
            with test_domain(
                library, traverse=False, config={"databases": {"default": {**entry, "managed": False}}}
            ):
                library.providers["default"]._create_database_artifacts()
                loans = library.repository_for(Loan)
                loans.add(Loan(reader="kept"))
            with test_domain(
                library, traverse=False, config={"databases": {"default": {**entry, "managed": "false"}}}
            ):
                self.assertEqual(library.repository_for(Loan).query.all().total, 1)
                self.assertEqual(library.repository_for(Author).query.all().total, 0)
