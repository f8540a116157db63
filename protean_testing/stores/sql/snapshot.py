"""What `SQLAlchemyStore.save_data` returns."""

from __future__ import annotations

from typing import NamedTuple

from ...store import Snapshot
from .backend import Backend
from .checkouts import Taken
from .handle import DatabaseHandle


class SQLSnapshot(NamedTuple):
    """What `SQLAlchemyStore.save_data` returns.

    Attributes:
        kept: The backend's own.
        taken: The connections that were checked out.
        handle, backend: Whose they are: a reset looks nothing up.
    """

    kept: Snapshot
    taken: Taken
    handle: DatabaseHandle
    backend: Backend
