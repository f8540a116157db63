"""Remove what killed runs left: ``python -m protean_testing clean URL`` lists it, and asks."""

from __future__ import annotations

from typing import Protocol


class Leftovers(Protocol):
    """What killed runs left in the place of one URL. Each kind of store has one, beside its ownership."""

    def refuse_in_use(self) -> None:
        """Refuse a place that a live run uses, or whose name is not plainly a test's.

        Raises:
            UnsafeStoreError: Naming that run, or the name.
        """

    def listed(self) -> list[str]:
        """Name all that would be removed or restored, in a line each; nothing if there is nothing."""

    def remove(self) -> None:
        """Restore what was there before the killed run, and remove what was listed."""
