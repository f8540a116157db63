"""What works beside the tests of a scope, in threads of its own, and is still while data is restored."""

from __future__ import annotations

from typing import Protocol


class Companion(Protocol):
    """Kept by a scope until its end. Calls come from any thread, one at a time."""

    def pause(self, label: str) -> None:
        """Finish what was begun, and begin nothing new.

        Parameters:
            label: The test or scope that ends, for messages.

        Raises:
            LeakError: Something does not end.
        """

    def check(self) -> None:
        """Make sure that all is still.

        Raises:
            LeakError: What did not end at the last pause still has not.
        """

    def resume(self) -> None:
        """Go on. Harmless if it was not paused."""

    def close(self) -> None:
        """End it."""
