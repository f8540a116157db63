"""A domain in memory through every face: all that it holds is given back, and the domain itself."""

from __future__ import annotations

import asyncio
import traceback
import unittest
import warnings
from datetime import UTC, datetime
from typing import Any

from protean import Domain
from protean.fields import String
from protean.utils.globals import _domain_context_stack, _uow_context_stack, current_domain, current_uow

from protean_testing import (
    CallableStore,
    ConfigurationError,
    Hook,
    LeakError,
    LeakWarning,
    ScopeError,
    StoreError,
    test_database,
)
from protean_testing.domain import AsyncDomainTestCase, DomainTestCase, test_domain, uses_domain

from .library import (
    AddAuthor,
    Author,
    AuthorAdded,
    Shelf,
    Visit,
    held,
    leave_a_transaction_open,
    library,
    write,
)
from .suite import SuiteTestCase

EMPTY = {
    "authors": [],
    "books": 0,
    "loans": [],
    "shelves": [],
    "markers": 0,
    "events": [],
    "visits": 0,
    "groups": [],
    "announcements": [],
}


class LibraryTestCase(DomainTestCase):
    domain = library
    traverse = False


class GivenBackTests(LibraryTestCase):
    def check(self) -> None:
        self.assertEqual(held(), EMPTY)
        write()
        now = held()
        self.assertEqual([key for key, value in now.items() if value == EMPTY[key]], [])
        self.assertEqual(now["loans"], [(1, "n")])  # the counter begins anew

    test_1 = test_2 = check

    def test_dead_letters_and_positions(self) -> None:
        broker: Any = library.brokers["default"]
        self.assertEqual((broker._dead_letter_queue, broker._consumer_positions), ({}, {}))
        broker._max_retries = 0
        self.addCleanup(setattr, broker, "_max_retries", 3)
        broker.publish("returns", {"name": "n"})
        identifier, _ = broker.get_next("returns", "desk")
        broker.nack("returns", identifier, "desk")
        self.assertTrue(broker.get_dlq_messages("desk"))

    test_dead_letters_and_positions_again = test_dead_letters_and_positions

    def test_a_subtest_is_no_scope_but_may_have_one(self) -> None:
        for name in "ab":
            with self.subTest(name), self.db.scope():
                write(name)
                self.assertEqual(held()["authors"], [name])

    def test_events_and_commands_are_processed_at_once(self) -> None:
        self.assertEqual(
            [library.config[key] for key in ("event_processing", "command_processing")], ["sync"] * 2
        )


class NestedTests(LibraryTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        write("class")
        cls.before = held()

    def check(self) -> None:
        self.assertEqual(held()["authors"], ["class"])
        write("test")
        with self.db.scope():
            write("outer")
            with self.db.scope():
                write("inner")
                self.assertEqual(held()["authors"], ["class", "inner", "outer", "test"])
            self.assertEqual(held()["authors"], ["class", "outer", "test"])
            self.assertEqual([number for number, _ in held()["loans"]], [1, 2, 3])
        now = held()
        self.assertEqual((now["authors"], now["visits"]), (["class", "test"], 2))
        self.assertEqual(len(now["events"]), 6)
        self.db.reset()
        self.assertEqual(held()["authors"], ["class"])

    test_1 = test_2 = check

    def test_a_changed_record_of_the_class(self) -> None:
        authors = library.repository_for(Author)
        author = authors.query.all().first
        self.assertEqual(author.name, "class")
        author.name = "changed"
        authors.add(author)
        library.cache_for(Visit).flush_all()

    test_a_changed_record_of_the_class_again = test_a_changed_record_of_the_class


class StateTests(LibraryTestCase):
    def test_clock_enrichers_configuration_and_teardown_functions(self) -> None:
        class Stopped:
            def now(self) -> datetime:
                return datetime(2001, 1, 1, tzinfo=UTC)

        self.assertNotIsInstance(library.clock, Stopped)
        self.assertEqual((library._event_enrichers, library._aggregate_enrichers), ([], []))
        self.assertEqual(library.config["custom"], {})
        self.assertEqual(library.teardown_domain_context_functions, [])
        library.clock = Stopped()
        library.register_event_enricher(lambda event, aggregate: {"by": "test"})
        library.register_aggregate_enricher(lambda aggregate: None)
        library.config["custom"]["a"] = 1
        library.config["event_processing"] = "async"
        library.teardown_domain_context(lambda error: None)

    test_clock_and_enrichers_again = test_clock_enrichers_configuration_and_teardown_functions

    def test_what_a_test_registers(self) -> None:
        self.assertEqual([name for name in library.registry.aggregates if "Passing" in name], [])

        @library.aggregate
        class Passing:
            name = String()

        library.init(traverse=False)
        library.repository_for(Passing).add(Passing(name="p"))
        self.assertEqual(library.repository_for(Passing).query.all().total, 1)

    test_what_a_test_registers_again = test_what_a_test_registers


class InitializedAgainTests(LibraryTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        write("class")
        cls.providers = library.providers._providers

    def check(self) -> None:
        self.assertIs(library.providers._providers, self.providers)
        self.assertEqual(held()["authors"], ["class"])
        library.init(traverse=False)
        self.assertEqual(held()["authors"], [])
        write("new")

    test_1 = test_2 = check


class ContextTests(LibraryTestCase):
    on_leak = "reset"
    other = Domain(root_path=__file__, name="Other", config={})

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.depth = len(_domain_context_stack._var.get([]))

    def check(self) -> None:
        self.assertEqual(current_domain.name, "Library")
        self.assertEqual(len(_domain_context_stack._var.get([])), self.depth + 1)
        self.other.domain_context().push()
        library.domain_context().push()
        self.other.domain_context().push()

    test_1 = test_2 = check

    def test_popping_too_much_is_put_right_too(self) -> None:
        while (top := _domain_context_stack.top) is not None:
            top.pop()

    test_popping_too_much_again = test_popping_too_much_is_put_right_too


class UnitOfWorkTests(LibraryTestCase):
    on_leak = "reset"

    def check(self) -> None:
        self.assertFalse(current_uow)
        self.assertEqual(held()["loans"], [])
        leave_a_transaction_open("a")
        leave_a_transaction_open("b")
        self.assertTrue(current_uow)

    test_1 = test_2 = check


class FacesTests(unittest.TestCase):
    """Blocks and decorators, in an order that changes nothing."""

    def setUp(self) -> None:
        self.assertIsNone(library.providers._providers)  # as it was before anything began
        self.assertEqual(_domain_context_stack._var.get([]), [])
        self.assertEqual(_uow_context_stack._var.get([]), [])

    tearDown = setUp

    def test_block(self) -> None:
        with test_domain(library, traverse=False) as db:
            self.assertEqual(held(), EMPTY)
            write()
            with db.scope():
                write("m")
            self.assertEqual(held()["authors"], ["n"])
            self.assertTrue(db.reset())
            self.assertEqual(held(), EMPTY)

    def test_blocks_in_blocks_and_beside_databases(self) -> None:
        cache = {"a": 1}
        with test_domain(library, traverse=False), test_database(CallableStore(cache)):
            cache.clear()
            write("outer")
            with test_domain(library, traverse=False):
                self.assertEqual(held()["authors"], ["outer"])
                write("inner")
            self.assertEqual(held()["authors"], ["outer"])
            with test_domain(library, traverse=False, config={"snapshot_threshold": 3}):
                self.assertEqual((held()["authors"], library.config["snapshot_threshold"]), ([], 3))
                write("other")
            self.assertEqual((held()["authors"], library.config["snapshot_threshold"]), (["outer"], 10))
        self.assertEqual(cache, {"a": 1})

    def test_a_block_that_is_entered_again(self) -> None:
        block = test_domain(library, traverse=False)
        for _ in range(2):
            with block:
                self.assertEqual(held(), EMPTY)
                write()

    def test_the_blocks_own_failure_comes_first(self) -> None:
        with self.assertRaisesRegex(ZeroDivisionError, "of its own"), test_domain(library, traverse=False):
            write()
            raise ZeroDivisionError("of its own")

    def test_async_block(self) -> None:
        async def main() -> None:
            async with test_domain(library, traverse=False):
                await asyncio.gather(self._writes("a"), self._writes("b"))
                self.assertEqual(held()["authors"], ["a", "b"])

        asyncio.run(main())

    async def _writes(self, name: str) -> None:
        await asyncio.sleep(0)
        write(name)

    @uses_domain(library, traverse=False)
    def test_function(self, db: Any) -> None:
        self.assertEqual(held(), EMPTY)
        write()
        with db.scope():
            write("m")

    @uses_domain(library, traverse=False)
    def test_function_without_a_handle(self) -> None:
        self.assertEqual(held(), EMPTY)
        write()

    def test_async_function(self) -> None:
        @uses_domain(library, traverse=False)
        async def function(db: Any) -> list[str]:
            await self._writes("a")
            names: list[str] = held()["authors"]
            return names

        self.assertEqual(asyncio.run(function()), ["a"])
        self.assertEqual(asyncio.run(function()), ["a"])


@uses_domain(library, traverse=False)
class DecoratedTests(unittest.TestCase):
    db: Any

    def check(self) -> None:
        self.assertEqual(held(), EMPTY)
        write()
        with self.db.scope():
            write("m")

    test_1 = test_2 = check


class AsyncTests(AsyncDomainTestCase):
    on_leak = "reset"
    domain = library
    traverse = False

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        write("class")

    async def asyncSetUp(self) -> None:
        self.assertEqual(current_domain.name, "Library")

    async def check(self) -> None:
        self.assertEqual(held()["authors"], ["class"])
        await asyncio.gather(*(self._write(name) for name in "ab"))
        async with self.db.scope():
            await self._write("c")
        self.assertEqual(held()["authors"], ["a", "b", "class"])
        library.domain_context().push()

    async def _write(self, name: str) -> None:
        await asyncio.sleep(0)
        self.assertEqual(current_domain.name, "Library")
        write(name)

    test_1 = test_2 = check

    async def test_helpers(self) -> None:
        write("a")
        self.assertEventRaised(AuthorAdded, name="a")
        author = library.repository_for(Author).query.filter(name="a").all().first
        self.projection(Shelf, author.id).has(name="a")

    def test_sync_beside_async(self) -> None:
        self.assertEqual(held()["authors"], ["class"])
        write()


class HelperTests(LibraryTestCase):
    def test_process(self) -> None:
        outcome = self.process(AddAuthor(name="a"))
        self.assertTrue(outcome.succeeded)
        self.assertIn(AuthorAdded, outcome.events)
        self.assertTrue(self.process(AddAuthor(name="x" * 51)).failed)

    def test_events_and_streams(self) -> None:
        write("a")
        self.assertEqual(self.assertEventRaised(AuthorAdded, name="a").name, "a")
        self.assertStream("library::author", [AuthorAdded])
        with self.assertRaisesRegex(
            AssertionError, r"no AuthorAdded\(name='b'\) was raised, but .*AuthorAdded"
        ):
            self.assertEventRaised(AuthorAdded, name="b")
        with self.assertRaisesRegex(AssertionError, "stream 'library::author' should have nothing, but has"):
            self.assertStream("library::author", [])

    def test_published(self) -> None:
        write("a")
        self.assertEqual(self.assertPublished("announcements", name="a"), {"name": "a"})
        self.assertEqual(self.published("announcements"), [{"name": "a"}])
        with self.assertRaisesRegex(AssertionError, "no message with name='b' is in stream 'announcements'"):
            self.assertPublished("announcements", name="b")
        self.assertEqual(self.published("nothing"), [])

    def test_projections_in_the_database_and_in_the_cache(self) -> None:
        write("a")
        author = library.repository_for(Author).query.all().first
        self.projection(Shelf, author.id).has(name="a")
        self.projection(Visit, "a").has(count=1)
        self.assertTrue(self.projection(Shelf, "none").not_found)
        self.assertTrue(self.projection(Visit, "none").not_found)

    def test_queries_cannot_be_counted_in_memory(self) -> None:
        with (
            self.assertRaisesRegex(ConfigurationError, "'memory', which sends no SQL"),
            self.assertQueryCount(0),
        ):
            pass


class LeakTests(unittest.TestCase):
    def leak(self, on_leak: Any) -> None:
        with test_domain(library, traverse=False, on_leak=on_leak):
            leave_a_transaction_open("a")

    def test_fail_names_what_was_left_and_all_is_clean(self) -> None:
        with self.assertRaisesRegex(
            LeakError,
            r"the block at test_domain.py:\d+ left open in domain 'Library', and rolled back: "
            r"1 unit of work \(1 Loan\).\n.*with UnitOfWork",
        ):
            self.leak("fail")
        with test_domain(library, traverse=False):
            self.assertEqual(held(), EMPTY)

    def test_warn(self) -> None:
        with self.assertWarnsRegex(
            LeakWarning, "left open in domain 'Library', and rolled back: 1 unit of work"
        ):
            self.leak("warn")

    def test_reset(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.leak("reset")


class BadInputTests(unittest.TestCase):
    def refused(self, config: Any, message: str) -> None:
        with (
            self.assertRaisesRegex(ConfigurationError, message),
            test_domain(library, config=config, traverse=False),
        ):
            self.fail("it was entered")
        self.assertIsNone(library.providers._providers)

    def test_an_unknown_section(self) -> None:
        self.refused({"database": {}}, "no section 'database'. Did you mean 'databases'?")

    def test_adapters_by_class_path(self) -> None:
        path = "protean.adapters.event_store.message_db.MessageDBStore"
        self.refused({"event_store": {"provider": path}}, "none of memory, message_db. .*not by a class path")
        path = "protean.adapters.broker.redis.RedisBroker"
        self.refused({"brokers": {"default": {"provider": path}}}, "broker 'default' .*short names")
        self.refused({"caches": {"default": {"provider": "redi"}}}, "Did you mean 'redis'?")

    def test_an_adapter_that_protean_does_not_know(self) -> None:
        self.refused(
            {"databases": {"default": {"provider": "oracle"}}},
            "'Library' could not be initialized.*\n.*oracle",
        )

    def test_a_server_that_cannot_be_reached_shows_no_password(self) -> None:
        url = "postgresql://ann:s3cret%21@127.0.0.1:1/library_test"
        config = {"databases": {"default": {"provider": "postgresql", "database_uri": url}}}
        try:
            with test_domain(library, config=config, traverse=False):
                self.fail("it was entered")
        except ConfigurationError as error:
            text = "".join(traceback.format_exception(error))
            self.assertIn("127.0.0.1", text)
            self.assertNotIn("s3cret", text)
        else:
            self.fail("it was not refused")

    def test_an_unmanaged_database_without_a_url(self) -> None:
        self.refused(
            {"databases": {"default": {"provider": "sqlite", "managed": False}}},
            "not managed and has no database_uri",
        )


class FailureTests(unittest.TestCase):
    def test_one_stores_failure_stops_none_of_the_others(self) -> None:
        def broken() -> None:
            raise StoreError("stuck", store="queue")

        class StuckTests(LibraryTestCase):
            stores = [CallableStore(broken, name="queue"), Hook(lambda: warnings.catch_warnings())]

            def test_1(self) -> None:
                write()
                self.fail("of its own")

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(StuckTests).run(result)
        self.assertEqual(len(result.failures), 1)
        self.assertIn("of its own", result.failures[0][1])
        self.assertTrue(all("stuck" in text for _, text in result.errors), result.errors)
        with test_domain(library, traverse=False):
            self.assertEqual(held(), EMPTY)

    def test_a_store_that_can_only_be_cleared_forbids_scopes_inside(self) -> None:
        with test_domain(library, traverse=False), test_database(CallableStore(lambda: None)) as db:
            with self.assertRaises(ScopeError), db.scope():
                pass

    def test_a_class_must_name_its_domain(self) -> None:
        class NamelessTests(DomainTestCase):
            def test_1(self) -> None: ...

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(NamelessTests).run(result)
        self.assertIn("must declare domain, a protean.Domain", result.errors[0][1])


class CollectionTests(SuiteTestCase):
    SUITE = """
        from protean_testing.domain import *
        from tests.library import library
        class ATests(DomainTestCase):
            domain = library
            traverse = False
            def test_it(self): self.process
    """

    def test_only_real_tests_are_collected(self) -> None:
        self.write("test_a.py", self.SUITE)
        self.assertPassed(self.unittest("test_a"), 1)
        outcome = self.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_a.py")
        self.assertRegex(outcome.out, "(?m)^1 passed")
        outcome = self.python("-m", "nose2", "test_a")
        self.assertPassed(outcome, 1)
