"""How many statements a test executes, and which."""

from __future__ import annotations

from .suite import MODELS, SuiteTestCase

SUITE = """
import threading
from sqlalchemy import create_engine

class QueryTests(AsyncDatabaseTestCase):
    metadata = Base.metadata

    def count(self, engine):
        with engine.connect() as connection:
            return connection.execute(text("SELECT count(*) FROM orders")).scalar()

    def test_whichever_engine_sends_them(self):
        theirs, elsewhere = create_engine(self.database_url), create_engine("sqlite://")
        with self.assertQueries(4) as found:
            self.count(self.engine)
            self.count(theirs)
            thread = threading.Thread(target=self.count, args=[theirs])
            thread.start()
            thread.join()
            with self.session() as session:
                session.add_all([Order(customer="Ann")])
                session.commit()
            with elsewhere.connect() as connection:
                connection.execute(text("SELECT 1"))
        self.assertEqual(found[:3], ["SELECT count(*) FROM orders"] * 3)
        self.assertTrue(found[3].startswith("INSERT INTO orders"))
        theirs.dispose()

    async def test_async(self):
        with self.assertQueries(1):
            async with self.db.async_session() as session:
                await session.execute(text("SELECT 1"))

    def test_the_message(self):
        with self.assertRaises(AssertionError) as raised:
            with self.assertQueries(1):
                for _ in range(3):
                    self.count(self.engine)
                with self.engine.begin() as connection:
                    connection.execute(text("DELETE\\n  FROM orders"))
        self.assertEqual(
            str(raised.exception),
            "4 statements, not 1:\\n  3 times: SELECT count(*) FROM orders\\n  DELETE FROM orders",
        )
        with self.db.queries() as found:
            pass
        self.count(self.engine)
        self.assertEqual(found, [])

    def test_an_error_in_the_block_is_the_tests(self):
        with self.assertRaisesRegex(ValueError, "mine"), self.assertQueries(7):
            raise ValueError("mine")

    def test_scopes_are_not_counted(self):
        with self.assertQueries(1):
            with self.db.scope():
                self.count(self.engine)
"""


class QueryTests(SuiteTestCase):
    def test_on_sqlite_and_postgresql(self) -> None:
        self.write("test_a.py", SUITE, before=MODELS)
        for test_db in ("memory", "sqlite", "postgresql"):
            with self.subTest(test_db):
                self.assertPassed(self.unittest("test_a", TEST_DB=test_db), 5)
