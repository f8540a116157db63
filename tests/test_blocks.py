"""Blocks and decorators: the same lifecycle without a base class."""

from __future__ import annotations

from .suite import MODELS, RECORDER, SuiteTestCase


class BlockTests(SuiteTestCase):
    def test_nested_and_repeated_blocks(self) -> None:
        self.write(
            "script.py",
            """
            for _ in range(2):
                with test_database(Base.metadata) as db:
                    assert place(db.engine, "outer") == 1
                    with db.scope() as inner:
                        assert place(inner.engine, "inner") == 2
                        with test_database(Base.metadata) as same:
                            assert customers(same.engine) == ["inner", "outer"]
                            assert place(same.engine) == 3
                        assert inner.reset() is True
                        assert inner.reset() is False
                        assert customers(db.engine) == ["outer"]
                        assert place(db.engine) == 2
                    assert customers(db.engine) == ["outer"]
                    db.reset()
                    assert customers(db.engine) == []
            """,
            before=MODELS,
        )
        outcome = self.python("script.py")
        self.assertEqual((outcome.code, outcome.err), (0, ""))

    def test_one_block_object_may_be_entered_again_and_inside_itself(self) -> None:
        self.write(
            "script.py",
            """
            recorder = Recorder()
            block = test_database(recorder)
            for _ in range(2):
                with block:
                    recorder.rows.append("outer")
                    with block:
                        recorder.rows.append("inner")
                    assert recorder.rows == ["outer"]
                assert recorder.rows == []
            """,
            before=RECORDER,
        )
        outcome = self.python("script.py")
        self.assertEqual((outcome.code, outcome.err), (0, ""))

    def test_a_block_of_nothing_is_an_empty_database(self) -> None:
        self.write(
            "script.py",
            """
            for _ in range(2):
                with test_database() as db:
                    Base.metadata.create_all(db.engine)
                    assert place(db.engine) == 1
            """,
            before=MODELS,
        )
        outcome = self.python("script.py")
        self.assertEqual((outcome.code, outcome.err), (0, ""))

    def test_async_blocks(self) -> None:
        self.write(
            "script.py",
            """
            async def main():
                for _ in range(2):
                    async with test_database(Base.metadata) as db:
                        session = db.async_session()        # closed at the block's end
                        session.add(Order(customer="c"))
                        await session.commit()
                        async with db.scope():
                            assert place(db.engine) == 2
                        assert customers(db.engine) == ["c"]
            asyncio.run(main())
            """,
            before=MODELS,
        )
        outcome = self.python("-W", "error", "script.py")
        self.assertEqual((outcome.code, outcome.err), (0, ""))

    def test_an_existing_test_case_in_two_lines(self) -> None:
        self.write(
            "test_a.py",
            """
            def setUpModule():
                global module
                module = unittest.enterModuleContext(test_database(Base.metadata))
                place(module.engine, "module")
            class LegacyTests(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    cls.db = cls.enterClassContext(test_database(Base.metadata))
                    place(cls.db.engine, "class")
                def setUp(self):
                    self.enterContext(self.db.scope())
                def check(self):
                    self.assertEqual(customers(self.db.engine), ["class", "module"])
                    self.assertEqual(place(self.db.engine), 3)
                test_1 = test_2 = check
            class ZLaterTests(unittest.TestCase):
                def test_3(self): self.assertEqual(customers(module.engine), ["module"])
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 3)

    def test_a_fixture_a_layer_and_a_pool_thread(self) -> None:
        self.write(
            "test_a.py",
            """
            from concurrent.futures import ThreadPoolExecutor
            import fixtures
            class DatabaseFixture(fixtures.Fixture):
                def _setUp(self):
                    block = test_database(Base.metadata)
                    self.db = block.__enter__()
                    self.addCleanup(block.__exit__, None, None, None)
            class Layer:
                @classmethod
                def setUp(cls):
                    cls.block = test_database(Base.metadata)
                    cls.db = cls.block.__enter__()
                    place(cls.db.engine, "layer")
                @classmethod
                def testSetUp(cls):
                    cls.scope = cls.db.scope()
                    cls.scope.__enter__()
                @classmethod
                def testTearDown(cls): cls.scope.__exit__(None, None, None)
                @classmethod
                def tearDown(cls): cls.block.__exit__(None, None, None)
            class Tests(unittest.TestCase):
                def test_fixture(self):
                    for _ in range(2):
                        with DatabaseFixture() as fixture:
                            self.assertEqual(place(fixture.db.engine), 1)
                def test_layer(self):
                    Layer.setUp()
                    for _ in range(2):
                        Layer.testSetUp()
                        self.assertEqual(place(Layer.db.engine), 2)
                        Layer.testTearDown()
                    Layer.tearDown()
                def test_pool_thread(self):
                    def whole():
                        with test_database(Base.metadata) as db: return place(db.engine)
                    with ThreadPoolExecutor(2) as pool:
                        self.assertEqual([pool.submit(whole).result() for _ in range(4)], [1] * 4)
                        with test_database(Base.metadata) as db:
                            def scoped():
                                with db.scope(): return place(db.engine)
                            self.assertEqual([pool.submit(scoped).result() for _ in range(4)], [1] * 4)
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 3)

    def test_scopes_one_after_another(self) -> None:
        """Each knows what the outer one had written before the first of them."""
        self.write(
            "test_a.py",
            """
            class Tests(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    place(cls.engine, "class")
                def check(self):
                    place(self.engine, "test")
                    for number in range(3):
                        for inner in range(2):
                            with self.db.scope():
                                with self.engine.begin() as connection:
                                    connection.execute(text("DELETE FROM orders"))
                                self.assertEqual(place(self.engine, "scope"), 3)
                        self.assertEqual(customers(self.engine), ["class", "test"])
                        with self.db.scope(), self.db.scope():
                            with self.engine.begin() as connection:
                                connection.execute(text("UPDATE orders SET customer = 'x'"))
                        self.assertEqual(customers(self.engine), ["class", "test"])
                test_1 = test_2 = check
            """,
            before=MODELS,
        )
        for test_db in ("memory", "sqlite", "postgresql"):
            with self.subTest(test_db):
                self.assertPassed(self.unittest("test_a", TEST_DB=test_db), 2)

    def test_what_an_order_of_scopes_cannot_keep_is_refused(self) -> None:
        self.write(
            "test_a.py",
            """
            class OrderTests(unittest.TestCase):
                def setUp(self): self.recorder = Recorder(self.id())
                def test_reset_with_an_inner_scope_open(self):
                    with test_database(self.recorder) as db, db.scope():
                        with self.assertRaisesRegex(ScopeError, "cannot be reset while the scope at"):
                            db.reset()
                def test_out_of_order(self):
                    block = test_database(self.recorder)
                    db = block.__enter__()
                    self.recorder.rows.append("block")
                    inner = db.scope()
                    inner.__enter__()
                    self.recorder.rows.append("inner")
                    with self.assertRaisesRegex(ScopeError, "block at .* ended while the scope at"):
                        block.__exit__(None, None, None)
                    self.assertEqual(self.recorder.rows, [])
                    with self.assertRaisesRegex(ScopeError, "is over"): db.reset()
                def test_overlapping_threads(self):
                    import threading
                    errors = []
                    def other():
                        try:
                            with test_database(self.recorder): pass
                        except ScopeError as error: errors.append(str(error))
                    with test_database(self.recorder) as db:
                        with db.scope():
                            self.recorder.rows.append("mine")
                            thread = threading.Thread(target=other)
                            thread.start()
                            thread.join()
                            self.assertEqual(self.recorder.rows, ["mine"])
                    self.assertEqual(len(errors), 1)
                    self.assertIn("is open there in another thread", errors[0])
                def test_a_store_that_can_only_be_cleared(self):
                    held = {"old": 1}
                    clears = CallableStore(lambda: held.clear(), name="held")
                    with test_database(clears) as db:
                        held["new"] = 1
                        with self.assertRaisesRegex(ScopeError, "can only be cleared.*\\\\n.*is_empty="):
                            db.scope().__enter__()
                        self.assertEqual(held, {"old": 1, "new": 1})
                    self.assertEqual(held, {})
                    knows = CallableStore(lambda: held.clear(), is_empty=lambda: not held, name="knows")
                    with test_database(knows) as db, db.scope():
                        held["new"] = 1
                    self.assertEqual(held, {})
                def test_all_or_nothing(self):
                    class Unsaved(Recorder):
                        saves = 0
                        def save_data(self):
                            self.saves += 1
                            if self.saves > 1: raise StoreError("cannot be saved")
                            return []
                    outer = Recorder(self.id() + "outer")
                    with test_database(outer) as db:
                        outer.rows.append("outer")
                        with self.assertRaisesRegex(StoreError, "cannot be saved"):
                            with test_database(outer, Unsaved("unsaved")): self.fail()
                        self.assertEqual(outer.rows, ["outer"])
                        self.assertTrue(db.reset())
                def test_the_blocks_own_error_stays_first(self):
                    class Stuck(Recorder):
                        def reset_data(self, snapshot): raise StoreError("stuck")
                    with self.assertRaisesRegex(KeyError, "mine") as caught:
                        with test_database(Stuck(self.id())): raise KeyError("mine")
                    self.assertIn("stuck", str(caught.exception.__notes__))
            """,
            before=RECORDER,
        )
        self.assertPassed(self.unittest("test_a"), 6)

    def test_a_late_write_is_wiped_and_named(self) -> None:
        self.write(
            "test_a.py",
            """
            recorder = Recorder()
            class AFirstTests(DatabaseTestCase):
                stores = [recorder]
                def test_1(self): pass
            class BLateTests(unittest.TestCase):
                def test_2(self): recorder.rows.append("late")
            class CSecondTests(DatabaseTestCase):
                stores = [recorder]
                def test_3(self): self.assertEqual(recorder.rows, [])
            """,
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 3)
        self.assertIn(
            "LateWriteWarning: store 'recorder' was written to after test_a.AFirstTests", outcome.err
        )
        self.assertIn("Was it a test that does not declare this store?", outcome.err)


class DecoratorTests(SuiteTestCase):
    def test_functions_methods_and_async_functions(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(unittest.IsolatedAsyncioTestCase):
                @uses_database(Base.metadata)
                def test_1(self, db): self.assertEqual(place(db.engine), 1)
                @uses_database(Base.metadata)
                def test_2(self, db): self.assertEqual(place(db.engine), 1)
                @uses_database(Base.metadata)
                async def test_3(self, db):
                    async with db.async_session() as session:
                        session.add(Order(customer="c"))
                        await session.commit()
                    await asyncio.sleep(0)
                    self.assertEqual(customers(db.engine), ["c"])
                @uses_database(Base.metadata)
                def test_4(self): pass
                @uses_database(Base.metadata)
                async def test_5(self, db): self.assertEqual(customers(db.engine), [])
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a", PYTHONWARNINGS="error"), 5)

    def test_the_injected_parameter_is_hidden_and_the_rest_kept(self) -> None:
        self.write(
            "script.py",
            """
            import inspect
            @uses_database(Recorder())
            def test_it(first, db, *, last=None):
                '''Its own words.'''
                return first, db.stores[0].name, last
            assert str(inspect.signature(test_it)) == "(first, *, last=None)", inspect.signature(test_it)
            assert (test_it.__name__, test_it.__doc__) == ("test_it", "Its own words.")
            assert test_it(1, last=2) == (1, "recorder", 2)
            """,
            before=RECORDER,
        )
        outcome = self.python("script.py")
        self.assertEqual((outcome.code, outcome.err), (0, ""))

    def test_a_whole_class(self) -> None:
        self.write(
            "test_a.py",
            """
            def undecorated(cls):
                kept.append(cls)
                return cls
            kept = []
            @uses_database(Base.metadata)
            @undecorated
            class OrderTests(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    place(cls.engine, "class")
                def setUp(self): place(self.engine, "set up")
                def check(self):
                    self.assertIs(type(self).__mro__[-3], kept[0])
                    self.assertEqual(customers(self.engine), ["class", "set up"])
                    with self.db.scope(): self.assertEqual(place(self.engine), 3)
                test_1 = test_2 = check
            class InheritedTests(OrderTests):
                def test_3(self): self.check()
            @uses_database(Base.metadata)
            class AsyncTests(unittest.IsolatedAsyncioTestCase):
                async def test_4(self):
                    self.assertEqual(customers(self.engine), [])
                    self.db.async_session().add(Order(customer="c"))
            """,
            before=MODELS,
        )
        self.assertPassed(self.unittest("test_a"), 6)

    def test_what_cannot_be_decorated_is_refused(self) -> None:
        self.write(
            "test_a.py",
            """
            class Tests(unittest.TestCase):
                def test_no_test_case(self):
                    with self.assertRaisesRegex(ConfigurationError, "Plain is none"):
                        @uses_database(Recorder())
                        class Plain: pass
                def test_generator(self):
                    with self.assertRaisesRegex(ConfigurationError, "no test function"):
                        @uses_database(Recorder())
                        def numbers(): yield 1
            """,
            before=RECORDER,
        )
        self.assertPassed(self.unittest("test_a"), 2)
