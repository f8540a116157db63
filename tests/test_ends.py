"""What ends with a test, a class or a block, and what says so where it is not there."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from functools import partial

from protean_testing import (
    CallableStore,
    ConfigurationError,
    Hook,
    RedisStore,
    SQLAlchemyStore,
    test_database,
    uses_database,
)
from protean_testing.domain import uses_domain
from protean_testing.domain.elasticsearch import ElasticsearchStore
from protean_testing.live import LiveServer
from protean_testing.stores.message_db.store import MessageDBStore

from .suite import MODELS, RECORDER, SuiteTestCase

ASYNC = """
class AsyncRecorder(Recorder):
    async def reset_data(self, snapshot):
        return Recorder.reset_data(self, snapshot)
"""


class RerunTests(SuiteTestCase):
    def run_program(self, source: str, *, code: int = 0, before: str = RECORDER, **variables: str) -> str:
        self.write("run.py", source, before=before)
        outcome = self.python("run.py", timeout=60, **variables)
        self.assertEqual(outcome.code, code, outcome.out + outcome.err)
        return outcome.out + outcome.err

    def test_an_instance_or_a_class_that_is_run_twice(self) -> None:
        self.run_program(
            """
            class Fails(Recorder):
                failing = True
                def save_data(self):
                    if self.failing: raise StoreError("not now")
                    return super().save_data()
            recorder = Recorder()
            class Own(DatabaseTestCase):
                stores = [recorder]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    recorder.rows.append("class")
                def test_a(self):
                    assert recorder.rows == ["class"], recorder.rows
                    recorder.rows.append("test")
            class Plain(DatabaseTestCase):
                stores = [recorder]
                def test_a(self):
                    assert recorder.rows == [], recorder.rows
                    recorder.rows.append("test")
            load = unittest.defaultTestLoader.loadTestsFromTestCase
            for cls in (Own, Plain, Own):
                result = unittest.TestResult()
                for _ in range(3):
                    load(cls).run(result)
                assert result.wasSuccessful() and result.testsRun == 3, result.errors
                assert recorder.rows == [], recorder.rows

            fails = Fails("flaky")
            class Flaky(DatabaseTestCase):
                stores = [fails]
                def test_a(self): pass
            case, first, second = Flaky("test_a"), unittest.TestResult(), unittest.TestResult()
            fails.failing = False
            Flaky.setUpClass()
            fails.failing = True
            case.run(first)
            fails.failing = False
            case.run(second)
            assert len(first.errors) == 1 and second.wasSuccessful(), (first.errors, second.errors)
            """
        )

    def test_a_suite_under_debug_that_raises_leaves_no_class_behind(self) -> None:
        self.run_program(
            """
            recorder = Recorder()
            class Raises(DatabaseTestCase):
                stores = [recorder]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    recorder.rows.append("class")
                def test_a(self): raise KeyError("mine")
            class RaisesInSetUpClass(Raises):
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    raise KeyError("mine")
            class Looks(DatabaseTestCase):
                stores = [recorder]
                def test_a(self): assert recorder.rows == [], recorder.rows
            load = unittest.defaultTestLoader.loadTestsFromTestCase
            for cls in (Raises, RaisesInSetUpClass):
                try: load(cls).debug()
                except KeyError: pass
                else: raise AssertionError("it does not raise")
                if cls is Raises: assert recorder.rows == [], recorder.rows
                load(Looks).debug()
                assert recorder.rows == []
            """
        )

    def test_a_leak_is_told_of_the_test_that_leaked_where_warnings_are_errors(self) -> None:
        self.write(
            "test_a.py",
            """
            class SyncTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_1_leaks(self):
                    self.kept = Session(self.engine)
                    self.kept.add(Order(customer="c")); self.kept.flush()
                def test_2_innocent(self): self.assertEqual(customers(self.engine), [])
            class TaskTests(AsyncDatabaseTestCase):
                metadata = Base.metadata
                async def test_1_leaks(self):
                    self.kept = self.db.async_session()
                    await self.kept.execute(select(Order))
                    self.task = asyncio.create_task(asyncio.sleep(60))
                    place(self.engine)
                async def test_2_innocent(self): self.assertEqual(customers(self.engine), [])
            """,
            before=MODELS,
        )
        for database in ("memory", "sqlite", "postgresql"):
            with self.subTest(database):
                outcome = self.python("-W", "error", "-m", "unittest", "-v", "test_a", TEST_DB=database)
                self.assertFailed(outcome, "errors=2")
                self.assertEqual(outcome.err.count("test_2_innocent) ... ok"), 2, outcome.err)
                self.assertIn("LeakError: test_a.SyncTests.test_1_leaks left ", outcome.err)
                self.assertIn("LeakError: test_a.TaskTests.test_1_leaks left task", outcome.err)

    def test_a_server_ends_with_the_test_that_began_it(self) -> None:
        self.write(
            "test_a.py",
            """
            import socket
            def pages(environ, start_response):
                start_response("200 OK", [])
                return [b"page"]
            ports = []
            class Tests(DatabaseTestCase):
                stores = [Recorder()]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    cls.kept = cls.db.serve(pages)
                def setUp(self): ports.append(self.db.serve(pages).port)
                def check(self):
                    before = threading.active_count()
                    ports.append(self.db.serve(pages).port)
                    socket.create_connection((self.kept.host, self.kept.port)).close()
                    for port in ports[:-2]:
                        with self.assertRaises(OSError): socket.create_connection(("127.0.0.1", port))
                    self.assertLess(before, 6)
                test_1 = test_2 = test_3 = test_4 = check
            """,
            before=RECORDER + "\nimport threading\n",
        )
        self.assertPassed(self.unittest("test_a"), 4)

    def test_a_forked_child_has_a_loop_of_its_own(self) -> None:
        said = self.run_program(
            """
            with test_database(AsyncRecorder("first")): pass
            from protean_testing.core.run_end import end_run
            end_run()
            pid = os.fork()
            if pid == 0:
                with test_database(AsyncRecorder("second")) as db: db.reset()
                print("the child is done", flush=True)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            """,
            before=RECORDER + ASYNC,
        )
        self.assertIn("the child is done", said)

    def test_what_is_bound_to_a_loop_leaves_it_before_its_executor(self) -> None:
        self.write(
            "test_a.py",
            """
            class Bound(Recorder):
                async def leave_loop(self):
                    self.log(await asyncio.to_thread(lambda: "left"))
            class Tests(AsyncDatabaseTestCase):
                stores = [Bound()]
                async def test_a(self): await asyncio.to_thread(lambda: None)
            """,
            before=RECORDER + "\nimport asyncio\n",
        )
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 1)
        self.assertEqual(outcome.count("left recorder"), 1)

    def test_an_async_session_of_a_sync_test_is_closed(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(DatabaseTestCase):
                metadata = Base.metadata
                def test_1(self):
                    async def main():
                        Tests.kept = self.db.async_session()
                        Tests.kept.add(Order(customer="c"))
                        await Tests.kept.flush()
                    asyncio.run(main())
                def test_2(self):
                    self.assertFalse(Tests.kept.sync_session.in_transaction())
                    self.assertEqual(customers(self.engine), [])
                    place(self.engine)
            """,
            before=MODELS,
        )
        for database in ("memory", "sqlite", "postgresql"):
            with self.subTest(database):
                outcome = self.unittest("test_a", TEST_DB=database)
                self.assertPassed(outcome, 2)
                self.assertNotIn("Leak", outcome.err)

    def test_a_task_that_writes_at_its_end_beside_a_session_that_was_left(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(AsyncDatabaseTestCase):
                metadata = Base.metadata
                async def test_1(self):
                    self.kept = self.db.async_session()
                    self.kept.add(Order(customer="c"))
                    await self.kept.flush()
                    async def work():
                        try: await asyncio.sleep(60)
                        finally:
                            async with self.db.async_engine.begin() as connection:
                                await connection.execute(text("INSERT INTO orders (customer) VALUES ('t')"))
                    self.task = asyncio.create_task(work())
                    await asyncio.sleep(0.01)
                async def test_2(self): self.assertEqual(customers(self.engine), [])
            """,
            before=MODELS,
        )
        for database in ("memory", "sqlite"):
            with self.subTest(database):
                self.assertPassed(self.unittest("test_a", timeout=60, TEST_DB=database), 2)

    def test_drop_comes_after_a_leak(self) -> None:
        self.run_program(
            """
            class Leaks(Recorder):
                def reset_data(self, snapshot):
                    super().reset_data(snapshot)
                    raise LeakError("left open")
            try:
                with test_database(Leaks(), drop=True): pass
            except LeakError: pass
            else: raise AssertionError("no error")
            assert "drop recorder" in open(os.environ["LOG"]).read()
            """
        )

    def test_threads_check_out_connections_while_scopes_begin_and_end(self) -> None:
        self.run_program(
            """
            from sqlalchemy import create_engine
            from sqlalchemy.pool import NullPool
            sys.setswitchinterval(1e-6)
            engine = create_engine("sqlite:///threads_test.db", poolclass=NullPool)
            with test_database(SQLAlchemyStore(Base.metadata, engine=engine)) as db:
                over = threading.Event()
                def work():
                    while not over.is_set():
                        with engine.connect() as connection: connection.execute(text("SELECT 1")).all()
                threads = [threading.Thread(target=work) for _ in range(4)]
                for thread in threads: thread.start()
                try:
                    for _ in range(100):
                        with db.scope(): pass
                finally:
                    over.set()
                    for thread in threads: thread.join()
            """,
            before=MODELS,
        )


class HandleTests(SuiteTestCase):
    def test_names_that_a_class_has_taken_stay_its_own(self) -> None:
        self.write(
            "test_a.py",
            """
            mine = object()
            class Mixin:
                def session(self): return "mine"
            class Tests(Mixin, DatabaseTestCase):
                metadata = Base.metadata
                engine = database_url = db = mine
                def check(self):
                    self.assertEqual(self.session(), "mine")
                    for name in ("engine", "database_url", "db"): self.assertIs(getattr(self, name), mine)
                test_1 = test_2 = check
            class SetTests(DatabaseTestCase):
                metadata = Base.metadata
                def setUp(self): self.engine = mine
                def test_1(self): self.assertIs(self.engine, mine)
            @uses_database(Base.metadata)
            class DecoratedTests(unittest.TestCase):
                engine = mine
                def test_1(self):
                    self.assertIs(self.engine, mine)
                    self.assertTrue(self.database_url)
            class ZLast(unittest.TestCase):
                def test_1(self):
                    for cls in (Tests, DecoratedTests): self.assertIs(cls.engine, mine)
                    self.assertEqual(Tests.session(None), "mine")
                    self.assertNotIn("engine", vars(SetTests))
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 5)

    def test_a_subclass_with_other_stores_has_no_handle_of_its_parent(self) -> None:
        self.write(
            "test_a.py",
            """
            class AParent(DatabaseTestCase):
                metadata = Base.metadata
                def test_1(self): self.assertTrue(self.engine)
            class Child(AParent):
                metadata = None
                stores = [CallableStore({}, name="cart")]
                def test_1(self):
                    self.assertFalse(hasattr(self, "engine"))
                    with self.assertRaisesRegex(ConfigurationError, "there is no Child.engine"): self.engine
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 2)
        self.assertPassed(self.unittest("test_a.Child", "test_a.AParent"), 2)

    def test_a_handle_that_is_not_there_says_why(self) -> None:
        self.write(
            "test_a.py",
            """
            class Early(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls): cls.url = cls.database_url
                def test_1(self): pass
            class OnlyRedis(DatabaseTestCase):
                stores = [CallableStore({}, name="cart")]
                def test_1(self): self.database_url
            @uses_database(Base.metadata)
            class Over(unittest.TestCase):
                def test_1(self): self.assertTrue(self.database_url)
            class ZLast(unittest.TestCase):
                def test_1(self): Over.engine
            """,
            before=MODELS,
        )
        outcome = self.unittest("test_a")
        self.assertFailed(
            outcome,
            "HandleError: there is no Early.database_url yet: it is there from super().setUpClass() on",
            "HandleError: there is no OnlyRedis.database_url: it stands for the one SQL store",
            "HandleError: there is no Over.engine any more",
            "errors=3",
        )
        self.write("test_b.py", "from test_a import Early\nEarly.database_url\n")
        self.assertFailed(self.python("test_b.py"), "At module level", "HandleError")

    def test_writes_before_super_are_told_as_what_they_are(self) -> None:
        self.write(
            "test_a.py",
            """
            class AFirst(DatabaseTestCase):
                metadata = Base.metadata
                def test_1(self): type(self).kept = self.engine
            class BEarly(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    place(AFirst.kept)
                    super().setUpClass()
                def test_1(self): self.assertEqual(customers(self.engine), [])
            """,
            before=MODELS,
        )
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 2)
        self.assertIn("before test_a.BEarly began", outcome.err)
        self.assertIn("before its super().setUpClass()", outcome.err)

    def test_a_store_of_somebody_may_have_a_kind(self) -> None:
        self.write(
            "test_a.py",
            """
            class Kind(Recorder):
                kind, needs_url = "database", True
            class Tests(DatabaseTestCase):
                stores = [Kind(), SQLAlchemyStore(Base.metadata)]
                def check(self):
                    self.assertEqual(place(self.engine), 1)
                    self.assertIn("sqlite", self.db.url)
                test_1 = test_2 = check
            """,
            before=MODELS + RECORDER,
        )
        self.assertPassed(self.unittest("test_a"), 2)


class ArgumentTests(unittest.TestCase):
    def refused(self, call: Callable[[], object], *texts: str) -> None:
        with self.assertRaises(ConfigurationError) as caught:
            call()
        for text in texts:
            self.assertIn(text, str(caught.exception))

    def test_values_are_checked_when_they_are_given(self) -> None:
        makers: dict[str, Callable[..., object]] = {
            "CallableStore": lambda **given: CallableStore({}, **given),
            "SQLAlchemyStore": lambda **given: SQLAlchemyStore(schema=lambda: None, **given),
            "RedisStore": lambda **given: RedisStore(**given),
            "MessageDBStore": lambda **given: MessageDBStore("postgresql://", private=True, **given),
            "ElasticsearchStore": lambda **given: ElasticsearchStore(lambda: None, **{"name": "e", **given}),
        }
        wrong: dict[str, tuple[object, ...]] = {
            "reset_after": ("module", None, 1),
            "on_leak": ("error", "FAIL", None, True),
            "verify": ("yes", 1, None),
            "name": (None, 3),
        }
        for store, make in makers.items():
            more: dict[str, tuple[object, ...]] = {"unsafe": ("no", 1)} if store != "CallableStore" else {}
            if store in ("SQLAlchemyStore", "RedisStore", "MessageDBStore"):
                more["wait"] = (-1, "2", None, True, float("nan"), float("inf"))
            if store == "SQLAlchemyStore":
                more |= {"reset": ("fats", None), "keep": ("yes", 0), "adopt": (1,), "empty": ("",)}
            for name, values in (wrong | more).items():
                for value in values:
                    with self.subTest(store, name=name, value=value):
                        self.refused(partial(make, **{name: value}), store, f"{name}={value!r}", "say ")
        self.refused(lambda: Hook(dict, around="module"), "Hook", "around='module'")
        self.refused(lambda: Hook({}), "Hook takes what is called")  # type: ignore[arg-type]
        self.refused(lambda: LiveServer(print, wait=-1), "wait=-1")
        self.refused(lambda: test_database(drop="yes"), "drop='yes'")  # type: ignore[arg-type]

    def test_a_decorator_without_its_parentheses_or_stores(self) -> None:
        class Tests(unittest.TestCase):
            pass

        def test_it() -> None:
            pass

        for target in (Tests, test_it):
            self.refused(partial(uses_database, target), f"@uses_database on {__name__}", "(Base.metadata)")
            self.refused(partial(uses_domain, target), f"@uses_domain on {__name__}", "(shop)")
        self.refused(lambda: uses_database(), "says no stores")


class OwnStoreTests(SuiteTestCase):
    def test_the_attributes_of_a_store_of_ones_own_are_checked(self) -> None:
        self.write(
            "test_a.py",
            """
            class Wrong(Recorder):
                reset_after = "module"
            class Tests(DatabaseTestCase):
                stores = [Wrong()]
                def test_1(self): pass
            """,
            before=RECORDER,
        )
        self.assertFailed(self.unittest("test_a"), "Wrong cannot have reset_after='module'")


if __name__ == "__main__":
    unittest.main()
