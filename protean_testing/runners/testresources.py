"""A resource for users of testresources: made for the tests that need it, reset between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testresources import TestResourceManager

from ..blocks import test_database
from ..database import Database
from ..hooks import Hook
from ..store import Store

if TYPE_CHECKING:
    from sqlalchemy import MetaData


class DatabaseResource(TestResourceManager):  # type: ignore[misc]
    """``resources = [("db", DatabaseResource(Base.metadata))]`` in a ``ResourcedTestCase``.

    Parameters:
        what: As for `test_database`.
    """

    def __init__(self, *what: MetaData | Store | Hook) -> None:
        super().__init__()
        self._block = test_database(*what)

    def make(self, dependency_resources: Any) -> Database:
        return self._block.__enter__()

    def clean(self, resource: Database) -> None:
        self._block.__exit__(None, None, None)

    def isDirty(self) -> bool:
        return True  # the reset itself sees whether anything was written

    def _reset(self, resource: Database, dependency_resources: Any) -> Database:
        resource.reset()
        resource.follow()
        return resource
