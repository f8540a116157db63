"""A fixture for users of ``fixtures`` and testtools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fixtures import Fixture

from ..blocks import test_database
from ..database import Database
from ..hooks import Hook
from ..store import Store

if TYPE_CHECKING:
    from sqlalchemy import MetaData


class DatabaseFixture(Fixture):
    """``self.db = self.useFixture(DatabaseFixture(Base.metadata)).db``: a block round the test.

    Parameters:
        what: As for `test_database`.

    Attributes:
        db: The handle, while the fixture is in use.
    """

    db: Database

    def __init__(self, *what: MetaData | Store | Hook) -> None:
        super().__init__()
        self._what = what

    def _setUp(self) -> None:
        block = test_database(*self._what)
        self.db = block.__enter__()
        self.addCleanup(block.__exit__, None, None, None)

    def reset(self) -> None:
        self.db.reset()
