"""Runs on a given Message DB, killed twenty times at random moments: what was there before is there."""

from __future__ import annotations

from .attack import SUITE
from .test_message_db import TEAR, MessageDBAttacks, setUpModule

__all__ = ["setUpModule"]

SOURCE = f"""
import os
import psycopg
from protean_testing import DatabaseTestCase
from protean_testing.stores.message_db.store import MessageDBStore
from tests.test_message_db import write

URL = os.environ["URL"]

if os.environ.get("CHAIN"):
    print("imported", flush=True)

class ChainTests(DatabaseTestCase):
    stores = [MessageDBStore(URL)]

    def check(self):
        write(URL, "ours-1")
        with psycopg.connect(URL) as connection:
            connection.execute({TEAR!r})
        write(URL, "ours-2")

for _number in range(5):
    setattr(ChainTests, f"test_{{_number}}", ChainTests.check)
"""


class MessageDBChainTests(MessageDBAttacks):
    def test_messages_of_before(self) -> None:
        self.write(f"{SUITE}.py", SOURCE)
        self.assertGreater(self.kill_often(20, 0.5, seed=1), 5)
        self.assertPassed(self.run_suite(), 5)
        self.assertEqual(self.content(), self.before)
        self.assertEqual([*(self.directory / "state").iterdir()], [])
