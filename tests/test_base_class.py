"""DatabaseTestCase: real commits, and the same data at the start of every test."""

from __future__ import annotations

from .suite import MODELS, RECORDER, SuiteTestCase


class BaseClassTests(SuiteTestCase):
    def test_commits_are_real_and_gone_after_the_test(self) -> None:
        self.write(
            "test_a.py",
            """
            class OrderTests(DatabaseTestCase):
                metadata = Base.metadata
                def check(self):
                    self.assertEqual(place(self.engine), 1)     # identities are at their start as well
                    with self.db.session() as session:
                        self.assertEqual(session.scalars(select(Order.customer)).all(), ["c"])
                test_1 = test_2 = test_3 = check
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 3)

    def test_writes_of_other_connections_threads_and_engines_count(self) -> None:
        self.write(
            "test_a.py",
            """
            from sqlalchemy import create_engine
            class OrderTests(DatabaseTestCase):
                metadata = Base.metadata
                def check(self):
                    self.assertEqual(customers(self.engine), [])
                    thread = threading.Thread(target=place, args=[self.engine, "thread"])
                    thread.start()
                    thread.join()
                    application = create_engine(self.database_url)
                    place(application, "engine")
                    self.assertEqual(customers(self.engine), ["engine", "thread"])
                    application.dispose()
                test_1 = test_2 = check
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 2)

    def test_rows_of_the_class_are_there_for_each_of_its_tests_and_for_no_other(self) -> None:
        self.write(
            "test_a.py",
            """
            class ReportTests(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    with cls.session() as session:
                        session.add_all(Order(customer=f"c{n}") for n in range(3))
                        session.commit()
                def check(self):
                    self.assertEqual(customers(self.engine), ["c0", "c1", "c2"])
                    self.assertEqual(place(self.engine), 4)
                    with self.session() as session:
                        session.execute(text("DELETE FROM orders WHERE id < 3"))
                        session.execute(text("UPDATE orders SET customer = 'x'"))
                        session.commit()
                test_1 = test_2 = check

            class ZOtherTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_none(self):
                    self.assertEqual(customers(self.engine), [])
                    self.assertEqual(place(self.engine), 1)
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 3)

    def test_the_data_is_given_back_whatever_fails(self) -> None:
        self.write(
            "test_a.py",
            """
            class FailingTests(DatabaseTestCase):
                metadata = Base.metadata
                def setUp(self):
                    super().setUp()
                    self.assertEqual(customers(self.engine), [])
                    place(self.engine)
                    if "set_up" in self.id(): raise ValueError("setUp fails")
                def tearDown(self):
                    if "tear_down" in self.id(): raise ValueError("tearDown fails")
                    super().tearDown()
                def test_1_set_up(self): pass
                def test_2_body(self): self.fail("body fails")
                def test_3_tear_down(self): pass
                def test_4_cleanup(self): self.addCleanup(lambda: 1 / 0)
                def test_5_skip(self): self.skipTest("later")
                @unittest.expectedFailure
                def test_6_expected(self): self.fail()
                @unittest.skip("always")
                def test_7_skipped(self): pass
                def test_8_sub_tests(self):
                    for n in range(3):
                        with self.subTest(n=n), self.db.scope():
                            self.assertEqual(place(self.engine), 2)
                            self.assertEqual(n, 1)
                def test_9_last(self): self.assertEqual(customers(self.engine), ["c"])
            """,
            before=MODELS,
        )
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, "FAILED (failures=3, errors=3, skipped=2, expected failures=1)")

    def test_cleanups_of_the_test_still_see_its_data(self) -> None:
        self.write(
            "test_a.py",
            """
            class OrderTests(DatabaseTestCase):
                metadata = Base.metadata
                def setUp(self):
                    self.addCleanup(lambda: self.assertEqual(customers(self.engine), ["c"]))
                def test_1(self): place(self.engine)
                def test_2(self): self.assertEqual(place(self.engine), 1)
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 2)

    def test_a_forgotten_super_never_leaks_silently(self) -> None:
        self.write(
            "test_a.py",
            """
            class ForgetfulTests(DatabaseTestCase):
                metadata = Base.metadata
                def setUp(self): pass
                def tearDown(self): pass
                @classmethod
                def tearDownClass(cls): pass
                def check(self): self.assertEqual(place(self.engine), 1)
                test_1 = test_2 = check

            class LaterTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_1(self): self.assertEqual(customers(self.engine), [])

            class NeverPreparedTests(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls): pass
                def test_1(self): self.fail("must not run")
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a.ForgetfulTests", "test_a.LaterTests"), 3)
        outcome = self.unittest("test_a.NeverPreparedTests")
        self.assertFailed(
            outcome, "NeverPreparedTests.setUpClass does not call super().setUpClass()", "errors=1"
        )
        self.assertNotIn("must not run", outcome.err)

    def test_a_mixin_without_super_is_named(self) -> None:
        self.write(
            "test_a.py",
            """
            class WebMixin:
                @classmethod
                def setUpClass(cls): cls.app = object()

            class Web(WebMixin):
                @classmethod
                def setUpClass(cls): super().setUpClass()

            class PlaceTests(Web, DatabaseTestCase):
                metadata = Base.metadata
                def test_1(self): self.fail("must not run")
            """,
            before=MODELS,
        )
        self.assertFailed(
            self.unittest("test_a"),
            "test_a.WebMixin.setUpClass does not call super().setUpClass(), so the stores of test_a.Place",
        )

    def test_set_up_class_of_the_base_called_by_its_name(self) -> None:
        self.write(
            "test_a.py",
            """
            class ShopTestCase(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    place(cls.engine, "of the class")

            class ByNameTests(ShopTestCase):
                @classmethod
                def setUpClass(cls):
                    ShopTestCase.setUpClass()
                def check(self):
                    self.assertEqual(customers(self.engine), ["of the class"])
                    self.assertEqual(place(self.db.engine), 2)
                test_1 = test_2 = check

            class ByNameAgainTests(ByNameTests): pass

            class EmptyTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_1(self): self.assertEqual(customers(self.engine), [])

            class OtherStoresTests(ByNameTests):
                metadata = None
                stores = [SQLAlchemyStore(empty=True)]
            """,
            before=MODELS,
        )
        classes = [f"test_a.{name}Tests" for name in ("ByName", "ByNameAgain", "Empty")]
        self.assertPassed(self.unittest(*classes), 5)
        self.assertPassed(self.unittest(*reversed(classes)), 5)
        self.assertFailed(
            self.unittest("test_a.OtherStoresTests"), "ByNameTests.setUpClass does not call super()"
        )

    def test_debug_frames_the_test_as_run_does(self) -> None:
        self.write(
            "test_a.py",
            """
            class OrderTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_passes(self): self.assertEqual(place(self.engine), 1)
                def test_raises(self):
                    place(self.engine)
                    raise KeyError("from the test")
            OrderTests("test_passes").debug()
            try: OrderTests("test_raises").debug()
            except KeyError as error: print(error)
            OrderTests("test_passes").debug()
            print(OrderTests("test_passes").run().wasSuccessful())
            """,
            before=MODELS,
        )
        outcome = self.python("test_a.py")
        self.assertEqual((outcome.code, outcome.out), (0, "'from the test'\nTrue\n"), outcome.err)

    def test_mixins_and_multiple_inheritance(self) -> None:
        self.write(
            "test_a.py",
            """
            class PlacesMixin:
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    place(cls.engine, "mixin")
                def setUp(self):
                    super().setUp()
                    self.placed = place(self.engine, "set up")
            class PlainTestCase(unittest.TestCase):
                def setUp(self):
                    super().setUp()
                    self.plain = True
            class MixedTests(PlacesMixin, DatabaseTestCase, PlainTestCase):
                metadata = Base.metadata
                def check(self):
                    self.assertTrue(self.plain)
                    self.assertEqual(self.placed, 2)
                    self.assertEqual(customers(self.engine), ["mixin", "set up"])
                test_1 = test_2 = check
            class InheritedTests(MixedTests):
                def test_3(self): self.assertEqual(place(self.engine), 3)
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 5)

    def test_handles_are_plain_attributes_that_a_suite_may_overwrite(self) -> None:
        self.write(
            "test_a.py",
            """
            from sqlalchemy import create_engine
            class OrderTests(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    cls.application = create_engine(cls.database_url)
                    cls.addClassCleanup(cls.application.dispose)
                def setUp(self):
                    self.engine = self.application
                    self.session = Session(self.engine)
                    self.addCleanup(self.session.close)
                def check(self): self.assertEqual(place(self.engine), 1)
                test_1 = test_2 = check
            class TwoDatabasesTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, name="shop"),
                          SQLAlchemyStore(empty=True, name="warehouse")]
                def test_each_by_its_name(self):
                    self.assertFalse(hasattr(type(self), "engine"))
                    place(self.db.store("shop").engine)
                    with self.assertRaisesRegex(ConfigurationError, "shop.*warehouse"): self.db.engine
                    with self.assertRaisesRegex(ConfigurationError, "no store 'shp'"): self.db.store("shp")
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 3)

    def test_handles_of_an_ended_class_say_so(self) -> None:
        self.write(
            "test_a.py",
            """
            kept = []
            class FirstTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_1(self): kept.append(self.db)
            class SecondTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_2(self):
                    with self.assertRaisesRegex(ScopeError, "FirstTests is over"): kept[0].session()
                    with self.assertRaisesRegex(ScopeError, "FirstTests is over"): kept[0].reset()
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 2)

    def test_sessions_given_out_are_closed_at_the_end_of_their_own_scope(self) -> None:
        self.write(
            "test_a.py",
            """
            class OrderTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_1(self):
                    outer = self.db.session()
                    with self.db.scope():
                        inner = self.db.session()
                        order = Order(customer="c")
                        inner.add(order)
                        inner.commit()
                        self.assertIn(order, inner)
                    self.assertNotIn(order, inner)
                    outer.add(order2 := Order(customer="d"))
                    outer.flush()
                    type(self).left = outer, order2
                def test_2(self):
                    outer, order = self.left
                    self.assertNotIn(order, outer)
                    self.assertEqual(place(self.engine), 1)
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a", PYTHONWARNINGS="error"), 2)

    def test_a_class_may_be_a_story(self) -> None:
        self.write(
            "test_a.py",
            """
            class StoryTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, reset_after="class")]
                def test_1_begins(self):
                    place(self.engine, "first")
                    with self.db.scope(): place(self.engine, "scoped")
                def test_2_goes_on(self):
                    self.assertEqual(customers(self.engine), ["first"])
                    place(self.engine, "second")
                def test_3_ends(self):
                    self.assertEqual(customers(self.engine), ["first", "second"])
            class ZAfterTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_clean(self): self.assertEqual(place(self.engine), 1)
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 4)

    def test_hooks_frame_the_test_and_the_reset(self) -> None:
        self.write(
            "test_a.py",
            """
            from contextlib import contextmanager
            happened = []
            @contextmanager
            def context(name):
                happened.append(f"enter {name}")
                yield
                happened.append(f"leave {name}")
            class HookTests(DatabaseTestCase):
                stores = [Hook(lambda: context("class"), around="class"), Hook(lambda: context("one")),
                          CallableStore(lambda: happened.append("clear")), Hook(lambda: context("two"))]
                def setUp(self): happened.append("set up")
                def test_1(self): happened.append("test")
            class AfterTests(unittest.TestCase):
                def test_2(self):
                    self.assertEqual(happened[:9], ["enter class", "enter one", "enter two", "set up", "test",
                        "clear", "leave two", "leave one", "clear"])
                    self.assertEqual(happened[-1], "leave class")
            loader = unittest.defaultTestLoader
            def load_tests(loader, tests, pattern):
                return unittest.TestSuite(map(loader.loadTestsFromTestCase, [HookTests, AfterTests]))
            """,
            before=RECORDER,
        )
        self.assertPassed(self.unittest("test_a"), 2)

    def test_a_reset_that_fails_is_the_tests_error_and_is_tried_again(self) -> None:
        self.write(
            "test_a.py",
            """
            class Stuck(Recorder):
                fails = 0
                def reset_data(self, snapshot):
                    if self.fails:
                        self.fails -= 1
                        raise StoreError("stuck", store=self.name)
                    return super().reset_data(snapshot)
            stuck, other = Stuck("stuck"), Recorder("other")
            class StuckTests(DatabaseTestCase):
                stores = [other, stuck]
                def check(self):
                    self.assertEqual((stuck.rows, other.rows), ([], []))
                    stuck.rows.append(1)
                    other.rows.append(1)
                def test_1(self): self.check(); stuck.fails = 1         # healed before the next test
                def test_2(self): self.check(); stuck.fails = 2         # still stuck there
                def test_3(self): self.fail("must not run")
                def test_4(self): self.check()
            """,
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertFailed(
            outcome, "errors=3", "is not clean: its reset after test_a.StuckTests.test_2 failed"
        )
        self.assertNotIn("must not run", outcome.err)

    def test_errors_of_several_stores_are_raised_together_behind_the_tests_own(self) -> None:
        self.write(
            "test_a.py",
            """
            class Stuck(Recorder):
                def reset_data(self, snapshot): raise StoreError(f"{self.name} is stuck", store=self.name)
            fine = Recorder("fine")
            class StuckTests(DatabaseTestCase):
                stores = [Stuck("one"), fine, Stuck("two")]
                def test_1(self):
                    fine.rows.append(1)
                    self.fail("of its own")
            class ZTests(DatabaseTestCase):
                stores = [fine]
                def test_2(self): self.assertEqual(fine.rows, [])
            """,
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, "of its own", "ExceptionGroup: 2 errors after test_a.StuckTests.test_1")
        self.assertLess(outcome.err.index("two is stuck"), outcome.err.index("one is stuck"))
        self.assertRegex(outcome.err, r"test_2 \(test_a.ZTests|Ran 2 tests")

    def test_a_class_must_declare_what_it_is_about(self) -> None:
        self.write(
            "test_a.py",
            """
            class NothingTests(DatabaseTestCase):
                def test_1(self): pass
            class BothTests(DatabaseTestCase):
                metadata, stores = Base.metadata, []
                def test_1(self): pass
            class BaseTests(DatabaseTestCase):
                stores = [Base]
                def test_1(self): pass
            """,
            before=MODELS,
        )
        outcome = self.unittest("test_a")
        self.assertFailed(
            outcome,
            "test_a.NothingTests must declare metadata or stores",
            "test_a.BothTests must declare metadata or stores",
            "is neither SQLAlchemy metadata nor a store. Pass its .metadata.",
        )
        self.assertEqual(outcome.ran, 0)

    def test_the_end_of_a_class_resets_once_whatever_it_finds(self) -> None:
        self.write(
            "test_a.py",
            """
            recorder = Recorder()
            class TidyTests(DatabaseTestCase):
                stores = [recorder]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    recorder.rows.append("of the class")
                def test_1(self): recorder.rows.append("of the test")
                def test_2(self): self.assertEqual(recorder.rows, ["of the class"])
                @classmethod
                def tearDownClass(cls):
                    recorder.rows.append("of its end")
                    super().tearDownClass()
                    recorder.log("class")
            class UntidyTests(DatabaseTestCase):
                stores = [recorder]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    recorder.log("next")
                    cls.db.scope().__enter__()
                def test_1(self):
                    self.assertEqual(recorder.rows, [])
                    recorder.rows.append("of the test")
            class ZuluTests(DatabaseTestCase):
                stores = [recorder]
                def test_1(self): self.assertEqual(recorder.rows, [])
            """,
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, "test_a.UntidyTests ended while the scope at test_a.py:", "errors=1)")
        log = [line.split()[0] for line in outcome.log]
        until = log[: log.index("next")]
        self.assertEqual(until, ["create", "reset", "reset", "class", "reset", "reset"])


class AsyncBaseClassTests(SuiteTestCase):
    def test_async_tests_are_framed_alike(self) -> None:
        self.write(
            "test_a.py",
            """
            class AsyncOrderTests(AsyncDatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    place(cls.engine, "class")
                async def asyncSetUp(self):
                    self.mine = self.db.async_session()
                async def check(self):
                    async with self.db.async_session() as session:
                        session.add(Order(customer="async"))
                        await session.commit()
                        query = select(Order.id).where(Order.customer == "async")
                        self.assertEqual(await session.scalar(query), 2)
                    async with self.db.scope():
                        self.assertEqual(place(self.engine, "scoped"), 3)
                    self.assertEqual(customers(self.engine), ["async", "class"])
                    self.mine.add(Order(customer="uncommitted"))
                    await self.mine.flush()         # left open: closed before the reset
                test_1 = test_2 = check
                def test_sync_beside_async(self): self.assertEqual(customers(self.engine), ["class"])
            """,
            before=MODELS,
        )
        for variables in ({}, {"TEST_DB": "postgresql"}):
            with self.subTest(variables):
                self.assertPassed(self.unittest("test_a", PYTHONWARNINGS="error", **variables), 3)

    def test_async_clients_of_redis(self) -> None:
        self.write(
            "test_a.py",
            """
            import redis.asyncio
            from protean_testing import RedisStore
            class AsyncRedisTests(AsyncDatabaseTestCase):
                stores = [RedisStore()]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    cls.db.store("redis").client.set("class", 1)
                async def check(self):
                    store = self.db.store("redis")
                    async with redis.asyncio.Redis.from_url(store.url) as mine:
                        self.assertEqual(await mine.xlen("events"), 0)
                        await mine.xadd("events", {"order": "1"})
                        await mine.xgroup_create("events", "workers", id="0")
                        await mine.incr("class")
                    self.assertEqual(await store.async_client().get("class"), b"2")
                test_1 = test_2 = check
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 2)

    def test_tasks_left_by_a_test_are_ended_before_the_reset(self) -> None:
        self.write(
            "test_a.py",
            """
            recorder = Recorder()
            async def writes_for_ever(on_cancel=None):
                while True:
                    recorder.rows.append("task")
                    try: await asyncio.sleep(0)
                    except asyncio.CancelledError:
                        recorder.rows.append("at its end")
                        if on_cancel: raise on_cancel
                        raise
            class TaskTests(AsyncDatabaseTestCase):
                stores = [recorder]
                async def test_1(self):
                    self.task = asyncio.create_task(writes_for_ever())
                    await asyncio.sleep(0.01)
                    self.assertIn("task", recorder.rows)
                async def test_2(self): self.assertEqual(recorder.rows, [])
                async def test_3(self):
                    self.task = asyncio.create_task(writes_for_ever(ValueError("failed in the task")))
                    await asyncio.sleep(0.01)
                async def test_4(self): self.assertEqual(recorder.rows, [])
            """,
            before=RECORDER + "\nimport asyncio\n",
        )
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, "ValueError: failed in the task", "errors=1")
        self.assertEqual(outcome.ran, 4)

    def test_a_task_that_swallows_its_cancellation_hangs_nothing(self) -> None:
        self.write(
            "test_a.py",
            """
            from protean_testing import async_cleanup
            async_cleanup.PATIENCE = async_cleanup.AGAIN = 0.05
            async def stubborn(times):
                while times:
                    try: await asyncio.sleep(60)
                    except asyncio.CancelledError: times -= 1
            class TaskTests(AsyncDatabaseTestCase):
                stores = [Recorder()]
                async def test_1(self):
                    self.task = asyncio.create_task(stubborn(2))
                    await asyncio.sleep(0)
                async def test_2(self):
                    self.task = asyncio.create_task(stubborn(11), name="the stubborn one")
                    await asyncio.sleep(0)
            """,
            before=RECORDER + "\nimport asyncio\n",
        )
        outcome = self.unittest("test_a", timeout=30)
        self.assertFailed(outcome, "tasks of the test do not end", "the stubborn one", "errors=1")

    def test_contexts_reach_the_test_and_its_tasks(self) -> None:
        self.write(
            "test_a.py",
            """
            from contextlib import contextmanager
            from contextvars import ContextVar
            current = ContextVar("current", default=None)
            @contextmanager
            def context():
                token = current.set("application")
                yield
                current.reset(token)
            class ContextTests(AsyncDatabaseTestCase):
                stores = [Hook(context), Recorder()]
                async def asyncSetUp(self): self.assertEqual(current.get(), "application")
                async def test_async(self): self.assertEqual(current.get(), "application")
                def test_sync(self): self.assertEqual(current.get(), "application")
            class SyncTests(DatabaseTestCase):
                stores = [Hook(context)]
                def setUp(self): self.assertEqual(current.get(), "application")
                def test_it(self): self.assertEqual(current.get(), "application")
            class ForgetfulTests(AsyncDatabaseTestCase):
                stores = [Hook(context)]
                def setUp(self): pass
                async def test_it(self): pass
            """,
            before=RECORDER,
        )
        self.assertPassed(self.unittest("test_a.ContextTests", "test_a.SyncTests"), 3)
        self.assertFailed(self.unittest("test_a.ForgetfulTests"), "An async setUp must call super().setUp()")
