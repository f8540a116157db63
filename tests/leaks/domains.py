"""What can be left in and around a Protean domain."""

from __future__ import annotations

from itertools import count
from typing import Any

from protean import Domain
from sqlalchemy import text

from protean_testing.domain import DomainTestCase

from ..library import Loan, Visit, held, leave_a_transaction_open, library
from . import KEPT, Leaking, go_on, leaves, more_or_changed

SQLITE = {"databases": {"default": {"provider": "sqlite"}}}
POSTGRESQL = {"databases": {"default": {"provider": "postgresql", "testing": {"wait": 0.3}}}}
REDIS = {"brokers": {"default": {"provider": "redis"}}, "caches": {"default": {"provider": "redis"}}}
other = Domain(root_path=__file__, name="Other", config={})


class Domains(Leaking):
    domain = library
    traverse = False
    on_leak = "fail"

    def held(self) -> Any:
        return held()

    def in_domain(self, work: Any) -> Any:
        def run() -> None:
            with library.domain_context():
                work()

        return run


class MemoryDomainLeaks(Domains, DomainTestCase):
    @leaves("domain 'Library'", "1 unit of work (1 Loan)")
    def test_a_unit_of_work(self) -> None:
        KEPT.append(leave_a_transaction_open("a"))

    @leaves("2 domain contexts pushed in domain 'Library': 'Other', 'Library'")
    def test_contexts(self) -> None:
        other.domain_context().push()
        library.domain_context().push()

    @leaves("'state of Library'", "thread 'worker' running, which wrote", "default, rows of 'loan': ")
    def test_a_thread_and_a_repository(self) -> None:
        go_on(self.in_domain(lambda: library.repository_for(Loan).add(Loan(reader="a"))))

    @leaves("'state of Library'", "thread 'worker' running, which wrote", "broker default, key '_messages'")
    def test_a_thread_and_a_broker(self) -> None:
        go_on(self.in_domain(lambda: library.brokers["default"].publish("returns", {"name": "a"})))

    @leaves(
        "'state of Library'",
        "thread 'worker' running, which wrote",
        more_or_changed("cache default, key 'visit:::a'"),
    )
    def test_a_thread_and_a_cache(self) -> None:
        numbers = count()
        go_on(self.in_domain(lambda: library.cache_for(Visit).add(Visit(reader="a", count=next(numbers)))))


class SQLiteDomainLeaks(Domains, DomainTestCase):
    config = SQLITE

    @leaves("domain 'Library'", "the session of provider 'default' (1 loan)")
    def test_a_session(self) -> None:
        session = library.providers["default"].get_connection()
        model = library.repository_for(Loan)._database_model
        session.add(loan := model.from_entity(Loan(reader="a")))
        session.flush()
        KEPT.append((session, loan))


class PostgreSQLDomainLeaks(Domains, DomainTestCase):
    config = POSTGRESQL

    @leaves("'default'", "a connection, taken at", "domains.py")
    def test_a_connection(self) -> None:
        KEPT.append(library.providers["default"]._engine.connect())

    @leaves("'default'", "idle in transaction", "on author")
    def test_a_transaction(self) -> None:
        connection = library.providers["default"]._engine.connect()
        connection.execute(text("UPDATE author SET name = 'b'"))
        KEPT.append(connection)


class RedisDomainLeaks(Domains, DomainTestCase):
    config = REDIS

    @leaves("'redis of broker default'", "client ", ": 1 subscriptions")
    def test_a_subscription(self) -> None:
        broker: Any = library.brokers["default"]
        KEPT.append(broker._client.pubsub())
        KEPT[-1].subscribe("orders")
        KEPT[-1].get_message(timeout=1)

    @leaves(
        "'redis of broker default'", "thread 'worker' running, which wrote", more_or_changed("key b'returns'")
    )
    def test_a_thread(self) -> None:
        go_on(self.in_domain(lambda: library.brokers["default"].publish("returns", {"name": "a"})))
