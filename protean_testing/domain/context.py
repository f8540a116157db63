"""The context of a domain, pushed for a test and popped whatever the test left on top of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from protean.utils.globals import _domain_context_stack

from ..core.leaks import counted, report_leak
from ..errors import LeakError
from ..store import OnLeak


@contextmanager
def pushed(domain: Any, on_leak: OnLeak) -> Iterator[None]:
    """Push the domain's context; at the end the contexts are those of the beginning.

    The functions that a domain registered with ``teardown_domain_context`` are called for this context and
    for those that were left open.

    Parameters:
        domain: The domain.
        on_leak: What follows where contexts were left open.

    Raises:
        LeakError: With ``"fail"``; as a note where the block has failed by itself.
    """
    before = _domain_context_stack._var.get([])
    ours = domain.domain_context()
    ours.push()
    try:
        yield
    except BaseException as failed:
        try:
            _pop(before, ours, on_leak)
        except LeakError as error:
            failed.add_note(str(error))
        raise
    else:
        _pop(before, ours, on_leak)


def _pop(before: list[Any], ours: Any, on_leak: OnLeak) -> None:
    names = []
    try:
        while (left := _domain_context_stack.top) is not None and left not in before:
            names += [] if left is ours else [left.domain.name]
            left.pop()
    finally:
        _domain_context_stack._var.set(before)
    if names:
        listed = ", ".join(repr(name) for name in reversed(names))
        report_leak(
            f"left {counted(len(names), 'domain context')} pushed in domain {ours.domain.name!r}: {listed}.\n"
            "They were popped. Use a block in the test:  with domain.domain_context(): ...",
            ours.domain.name,
            on_leak,
        )
