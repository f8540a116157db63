"""Push the context of a domain for a test, and pop it whatever the test left on top of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from protean.utils.globals import _domain_context_stack

from ..core.leaks import counted, report_leak
from ..errors import LeakError
from ..store import OnLeak


class pushed(AbstractContextManager[None]):
    """Push the domain's context; at the end the contexts are those of the beginning.

    The functions that a domain registered with ``teardown_domain_context`` are called for this context and
    for those that were left open.

    Parameters:
        domain: The domain.
        on_leak: What follows if contexts were left open.

    Raises:
        LeakError: With ``"fail"``; as a note if the block has failed by itself.
    """

    def __init__(self, domain: Any, on_leak: OnLeak) -> None:
        self._domain, self._on_leak = domain, on_leak

    def __enter__(self) -> None:
        self._before = _domain_context_stack._var.get([])
        self._ours = self._domain.domain_context()
        self._ours.push()

    def __exit__(self, kind: object, failed: BaseException | None, trace: object) -> None:
        now = _domain_context_stack._var.get([])
        if [*self._before, self._ours] == now:
            self._ours.pop()
            return
        try:
            self._pop()
        except LeakError as error:
            if failed is None:
                raise
            failed.add_note(str(error))

    def _pop(self) -> None:
        names = []
        try:
            while (left := _domain_context_stack.top) is not None and left not in self._before:
                names += [] if left is self._ours else [left.domain.name]
                left.pop()
        finally:
            _domain_context_stack._var.set(self._before)
        if names:
            listed = ", ".join(repr(name) for name in reversed(names))
            report_leak(
                f"left {counted(len(names), 'domain context')} pushed in domain {self._domain.name!r}: "
                f"{listed}.\nThey were popped. Use a block in the test:  with domain.domain_context(): ...",
                self._domain.name,
                self._on_leak,
            )
