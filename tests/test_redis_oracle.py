"""The oracle on every Redis here, and that it sees a reset that is broken. Longer: see `oracle_redis`."""

from __future__ import annotations

from typing import Any
from unittest import mock

from protean_testing.stores.redis import values
from protean_testing.stores.redis.journal import Journal
from protean_testing.stores.redis.tracking import Tracking
from protean_testing.stores.redis.values import Value

from .oracle_redis import SYSTEM, Difference, search
from .redis_servers import RedisTestCase

CASES = 120


class OracleTests(RedisTestCase):
    def test_no_difference(self) -> None:
        self.assertGreater(search(self.server, CASES), 0)


class SystemOracleTests(OracleTests):
    binary = SYSTEM


class BrokenResetTests(RedisTestCase):
    """Each part of the reset is taken away in turn, and the oracle finds out."""

    def broken(self, target: Any, name: str, broken: Any) -> None:
        with mock.patch.object(target, name, broken), self.assertRaises(Difference):
            search(self.server, 400, shrink=False)

    def test_without_looking_at_groups(self) -> None:
        self.broken(Value, "is_telling", True)

    def test_without_times_to_live(self) -> None:
        written = values._written
        self.broken(
            values, "_written", lambda name, value: written(name, value and value._replace(expiry=None))
        )

    def test_without_the_keys_of_outer_scopes(self) -> None:
        self.broken(Journal, "before", lambda journal, snapshot: {})

    def test_with_a_scope_that_forgets_too_much(self) -> None:
        def forget(journal: Journal, snapshot: Any) -> None:
            del journal.snapshots[journal.snapshots.index(snapshot) :]

        self.broken(Journal, "forget", forget)

    def test_with_flushes_that_go_unnoticed(self) -> None:
        listen = Tracking._listen
        self.broken(Tracking, "_listen", lambda tracking: listen(tracking) or True)
