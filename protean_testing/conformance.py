"""What every store must keep, as tests: for the stores of this library and for your own."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, Any

from .core.run_sync import run_sync
from .store import EMPTY, Store

if TYPE_CHECKING:
    Base = unittest.TestCase
else:
    Base = object  # a TestCase would be collected itself


class StoreConformance(Base):
    """Mix into a ``unittest.TestCase``, and say how to make, write and read the store.

    ::

        class QueueStoreTests(StoreConformance, unittest.TestCase):
            def make_store(self): return QueueStore(url)
            def write(self, store, value): ...      # really, as your application does
            def read(self, store): ...              # all that is there, as something to compare
    """

    def make_store(self) -> Store:
        """A store that is not in use yet."""
        raise NotImplementedError

    def make_elsewhere(self) -> Store | None:
        """A store in another place than that of `make_store`, if that makes several in one place."""
        return None

    def write(self, store: Any, value: str) -> None:
        """Write something that `value` tells from other writes."""
        raise NotImplementedError

    def read(self, store: Any) -> object:
        """Everything that is in the store now."""
        raise NotImplementedError

    def setUp(self) -> None:
        super().setUp()
        self.store = self.make_store()
        self.whose = self.store.identity(), self.store.location()
        self.first = self._create(self.store)

    def test_the_data_of_a_snapshot_comes_back(self) -> None:
        before = self.read(self.store)
        self.write(self.store, "one")
        self.assertNotEqual(self.read(self.store), before, "write() wrote nothing that read() sees")
        self._reset(self.first)
        self.assertEqual(self.read(self.store), before)

    def test_a_snapshot_stays_valid(self) -> None:
        before = self.read(self.store)
        for value in ("one", "two", "three"):
            self.write(self.store, value)
            self._reset(self.first)
            self.assertEqual(self.read(self.store), before, value)

    def test_a_reset_with_nothing_written_changes_nothing(self) -> None:
        before = self.read(self.store)
        self.assertFalse(self._reset(self.first), "a reset tells of a write where there was none")
        self.assertEqual(self.read(self.store), before)

    def test_an_inner_snapshot_keeps_what_the_outer_scope_wrote(self) -> None:
        self._needs_save()
        before = self.read(self.store)
        self.write(self.store, "outer")
        outer = self.read(self.store)
        inner = run_sync(self.store.save_data())
        for value in ("one", "two"):
            self.write(self.store, value)
            self._reset(inner)
            self.assertEqual(self.read(self.store), outer, value)
        run_sync(self.store.forget_data(inner))
        self.assertEqual(self.read(self.store), outer)
        self._reset(self.first)
        self.assertEqual(self.read(self.store), before)

    def test_inner_scopes_one_after_another(self) -> None:
        self._needs_save()
        self.write(self.store, "outer")
        outer = self.read(self.store)
        for value in ("one", "", "two", "three"):
            inner = run_sync(self.store.save_data())
            if value:
                self.write(self.store, value)
            self._reset(inner)
            run_sync(self.store.forget_data(inner))
            self.assertEqual(self.read(self.store), outer, value)

    def test_an_outer_reset_voids_inner_snapshots(self) -> None:
        self._needs_save()
        before = self.read(self.store)
        self.write(self.store, "outer")
        run_sync(self.store.save_data())
        self.write(self.store, "inner")
        self._reset(self.first)
        self.assertEqual(self.read(self.store), before)
        self.write(self.store, "again")
        self._reset(self.first)
        self.assertEqual(self.read(self.store), before)

    def test_forgetting_leaves_the_data(self) -> None:
        self._needs_save()
        before = self.read(self.store)
        inner = run_sync(self.store.save_data())
        self.write(self.store, "one")
        there = self.read(self.store)
        run_sync(self.store.forget_data(inner))
        self.assertEqual(self.read(self.store), there)
        self._reset(self.first)
        self.assertEqual(self.read(self.store), before)

    def test_dropping_twice_is_harmless(self) -> None:
        self.write(self.store, "one")
        self._reset(self.first)
        run_sync(self.store.drop_schema())
        run_sync(self.store.drop_schema())

    def test_its_name_and_identity_stay(self) -> None:
        self.assertTrue(self.store.name)
        self._is_the_same("create_schema()")
        self.write(self.store, "one")
        self._is_the_same("a write")
        self._reset(self.first)
        self._is_the_same("a reset")
        run_sync(self.store.drop_schema())
        self._is_the_same("drop_schema()")

    def test_its_location_is_that_of_its_data(self) -> None:
        for make in (self.make_store, self.make_elsewhere):
            other = make()
            if other is None:
                continue
            is_there = other.location() == self.store.location()
            if is_there:
                other.share(self.store)
            else:
                self.assertNotEqual(other.identity(), self.store.identity(), "of two locations")
                self._create(other)
            before = self.read(other)
            self.write(self.store, make.__name__)
            if is_there:
                now = self.read(self.store)
                self.assertEqual(self.read(other), now, "location() is equal for stores in two places")
            else:
                self.assertEqual(self.read(other), before, "location() is another one for the same place")
            self._reset(self.first)

    def _create(self, store: Store) -> Any:
        """What the store has saved when its schema was made."""
        run_sync(store.check())
        run_sync(store.create_schema())
        self.addCleanup(lambda: run_sync(store.close()))
        self.addCleanup(lambda: run_sync(store.drop_schema()))
        return run_sync(store.save_data())

    def _is_the_same(self, after: str) -> None:
        whose = self.store.identity(), self.store.location()
        self.assertEqual(whose, self.whose, f"identity() and location() are others after {after}")
        self.assertEqual(hash(whose), hash(self.whose), f"the same after {after}, but with another hash")

    def _reset(self, snapshot: Any) -> bool:
        return bool(run_sync(self.store.reset_data(snapshot)))

    def _needs_save(self) -> None:
        if self.first is EMPTY:
            self.skipTest("a store that can only be cleared has no inner scopes")
