"""Threads and event loops: what runs beside a test is given back like the rest, or refused."""

from __future__ import annotations

import unittest

from .suite import MODELS, SuiteTestCase

IN_THREADS = (
    MODELS
    + """
class Pause(threading.Barrier):
    '''Two tests are inside at once, or one waits for nothing.'''
    def meet(self):
        try:
            self.wait(2)
        except threading.BrokenBarrierError:
            pass

def in_threads(*suites):
    '''Run each suite in a thread of its own, with a result of its own; say how they ended.'''
    results = [unittest.TestResult() for _ in suites]
    threads = [threading.Thread(target=suite.run, args=(result,)) for suite, result in zip(suites, results)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    for result in results:
        print("ran", result.testsRun, "bad", len(result.errors) + len(result.failures))
        for _, text in result.errors + result.failures:
            print(text.splitlines()[-3:])
    results[0].stopTestRun()

load = unittest.defaultTestLoader.loadTestsFromTestCase
"""
)


class ThreadTests(SuiteTestCase):
    def test_pools_and_threads_of_the_code_under_test(self) -> None:
        self.write(
            "test_a.py",
            """
            from concurrent.futures import ThreadPoolExecutor
            class Tests(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    cls.pool = ThreadPoolExecutor(3)      # outlives each test, with its connections
                    cls.addClassCleanup(cls.pool.shutdown)
                def check(self):
                    self.assertEqual(customers(self.engine), [])
                    ids = list(self.pool.map(lambda _: place(self.engine), range(9)))
                    self.assertEqual(sorted(ids), list(range(1, 10)))
                test_a = test_b = test_c = check
            """,
            before=MODELS,
        )
        for database in ("memory", "sqlite", "postgresql"):
            with self.subTest(database):
                self.assertPassed(self.unittest("test_a", TEST_DB=database), 3)

    def test_classes_with_stores_of_their_own_may_run_in_threads(self) -> None:
        self.write(
            "run.py",
            """
            pause = Pause(2)
            class Common:
                def check(self):
                    pause.meet()
                    self.assertEqual(customers(self.engine), [])
                    self.assertEqual(place(self.engine), 1)
                    pause.meet()
                test_a = test_b = test_c = check
            class A(Common, DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, url="sqlite:///a_test.db")]
            class B(Common, DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, url="sqlite:///b_test.db")]
            in_threads(load(A), load(B))
            """,
            before=IN_THREADS,
        )
        outcome = self.python("run.py")
        self.assertEqual((outcome.code, outcome.out), (0, "ran 3 bad 0\n" * 2), outcome.err)

    def test_classes_on_one_store_in_two_threads_are_refused(self) -> None:
        self.write(
            "run.py",
            """
            pause = Pause(2)
            class A(DatabaseTestCase):
                metadata = Base.metadata
                def check(self):
                    self.assertEqual(customers(self.engine), [])
                    self.assertEqual(place(self.engine), 1)
                    pause.meet()
                    self.assertEqual(customers(self.engine), ["c"])
                test_a = test_b = check
            class B(A):
                pass
            in_threads(load(A), load(B))
            """,
            before=IN_THREADS,
        )
        outcome = self.python("run.py")
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertIn("ran 2 bad 0\n", outcome.out)
        self.assertIn("ran 0 bad 1\n", outcome.out)
        self.assertIn("is open there in another thread", outcome.out)

    def test_two_tests_of_one_class_at_once_are_refused(self) -> None:
        self.write(
            "run.py",
            """
            pause = Pause(2)
            class A(DatabaseTestCase):
                metadata = Base.metadata
                def test_a(self):
                    self.assertEqual(place(self.engine), 1)
                    pause.meet()                          # the other one is refused between these two
                    pause.meet()
                    self.assertEqual(customers(self.engine), ["c"])
                def test_b(self):
                    self.assertEqual(place(self.engine), 1)
                def run(self, result=None):
                    if self._testMethodName == "test_b": pause.meet()
                    try:
                        return super().run(result)
                    finally:
                        if self._testMethodName == "test_b": pause.meet()
            class Alone(unittest.TestSuite):
                '''Leaves the class's set-up to the one that did it.'''
                def _handleClassSetUp(self, test, result): pass
                def _tearDownPreviousClass(self, test, result): pass
            class First(unittest.TestSuite):
                def _handleClassSetUp(self, test, result): pass
                def _tearDownPreviousClass(self, test, result): pass
            A.setUpClass()
            in_threads(Alone([A("test_a")]), Alone([A("test_b")]))
            A.doClassCleanups()
            """,
            before=IN_THREADS,
        )
        outcome = self.python("run.py")
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertIn("ran 1 bad 0\nran 1 bad 1\n", outcome.out)
        self.assertIn("test_b cannot begin while __main__.A.test_a is running in another thread", outcome.out)


class LoopTests(SuiteTestCase):
    def test_an_async_engine_that_pools_lives_through_the_loops_of_several_tests(self) -> None:
        self.write(
            "test_a.py",
            """
            from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
            engine = None
            def application():
                return engine
            class Tests(AsyncDatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, engine=application)]
                async def check(self):
                    async def place_one():
                        async with AsyncSession(engine) as session:
                            session.add(Order(customer="c"))
                            await session.commit()
                    await asyncio.gather(*(place_one() for _ in range(5)))
                    async with AsyncSession(engine) as session:
                        self.assertEqual(sorted(await session.scalars(select(Order.id))), [1, 2, 3, 4, 5])
                test_a = test_b = test_c = check
            url = os.environ["URL"]
            if url == "private":
                from protean_testing.servers.postgresql import start_postgresql
                url = start_postgresql(tcp=True).create_database("shop_test")
                url = url.replace("+psycopg", "+" + os.environ["DRIVER"])
            engine = create_async_engine(url)
            """,
            before=MODELS,
        )
        for url, driver in (
            ("sqlite+aiosqlite:///loop_test.db", ""),
            ("private", "asyncpg"),
            ("private", "psycopg"),
        ):
            with self.subTest(url + driver):
                self.assertPassed(
                    self.python("-W", "error", "-m", "unittest", "test_a", URL=url, DRIVER=driver), 3
                )

    def test_trio_and_anyio_use_the_blocks(self) -> None:
        self.write(
            "run.py",
            """
            import anyio, trio
            @uses_database(Base.metadata)
            async def decorated(db):
                assert place(db.engine) == 1

            async def main():
                for _ in range(2):
                    async with test_database(Base.metadata) as db:
                        await anyio.to_thread.run_sync(place, db.engine)
                        async with db.scope() as inner:
                            async with anyio.create_task_group() as group:
                                for _ in range(3):
                                    group.start_soon(anyio.to_thread.run_sync, place, inner.engine)
                            assert len(customers(db.engine)) == 4
                        assert len(customers(db.engine)) == 1
                    await decorated()

            trio.run(main)
            anyio.run(main, backend="asyncio")
            anyio.run(main, backend="trio")
            """,
            before=MODELS,
        )
        outcome = self.python("-W", "error", "run.py")
        self.assertEqual((outcome.code, outcome.err), (0, ""))


if __name__ == "__main__":
    unittest.main()
