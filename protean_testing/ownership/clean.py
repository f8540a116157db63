"""The protocol of the command that removes what killed runs left.

Each kind of store has a class `Leftovers` in a module of its own, which `python -m protean_testing clean`
finds by the scheme of the URL.
"""

from __future__ import annotations

import shlex
from typing import Protocol


class Leftovers(Protocol):
    """What killed runs left in the location of one URL. Each kind of store has one, beside its ownership."""

    def __init__(self, url: str, *, unsafe: bool = False) -> None:
        """Connect to nothing yet.

        Parameters:
            url: As the user wrote it, with the password. It is in no message.
            unsafe: A name that is no test's is accepted.

        Raises:
            ConfigurationError: The URL cannot be read.
        """

    def refuse_in_use(self) -> None:
        """Refuse a location that a live run uses, or whose name is not plainly a test's. Called first.

        Raises:
            UnsafeStoreError: Naming that run, or the name.
            ConfigurationError: Nothing answers there.
        """

    def listed(self) -> list[str]:
        """Name all that would be removed or restored, in a line each; nothing if there is nothing."""

    def remove(self) -> None:
        """Restore what was there before the killed run, and remove what was listed."""

    def close(self) -> None:
        """Let the location and its connections go."""


def clean_line(url: str, *, unsafe: bool = False) -> str:
    """The command that removes what killed runs left, for messages.

    Parameters:
        url: The location, without its password.
        unsafe: Whether its name is no test's.
    """
    return f"python -m protean_testing clean {shlex.quote(url)}{' --unsafe' if unsafe else ''}"
