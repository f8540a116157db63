"""An empty database of a run's own beside a given one: no schema is made in it, and nobody shares it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .worker_database import Clone


class Empty(Clone):
    """A database that goes as a whole, like a worker's own; one that a killed run left goes with the next."""

    why = "a store with empty=True has a database of its own"

    @contextmanager
    def making(self, definition: Any, **options: Any) -> Iterator[None]:
        """See Own.making."""
        self.reserve(self._administration.store)
        yield

    def share(self, *arguments: Any) -> None:
        """See Own.share: there is no schema to copy."""
