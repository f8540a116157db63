"""A context to enter around every test, such as an application's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from .errors import ConfigurationError
from .store import ResetAfter, validate


@dataclass(frozen=True)
class Hook:
    """Enters a context before the test and leaves it after the stores were reset.

    Stands in ``stores`` beside them; hooks are entered in the order of that list and left in reverse.

    Parameters:
        context: Called without arguments for a context manager, anew each time: ``app.app_context``.
        around: ``"test"``, or ``"class"`` to keep one context for all tests of a class.
    """

    context: Callable[[], AbstractContextManager[Any]]
    around: ResetAfter = "test"

    def __post_init__(self) -> None:
        validate(self, around=self.around)
        if not callable(self.context):
            raise ConfigurationError(
                f"Hook takes what is called for a context, anew for each test, not {self.context!r}: "
                "Hook(app.app_context), or Hook(lambda: ...)"
            )
