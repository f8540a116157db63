"""The context of a domain, pushed for a test and popped whatever the test left on top of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from protean.utils.globals import _domain_context_stack


@contextmanager
def pushed(domain: Any) -> Iterator[None]:
    """Push the domain's context; at the end the contexts are those of the beginning.

    The functions that a domain registered with ``teardown_domain_context`` are called for this context and
    for those that were left open.
    """
    before = _domain_context_stack._var.get([])
    ours = domain.domain_context()
    ours.push()
    try:
        yield
    finally:
        try:
            while (left := _domain_context_stack.top) is not None and left not in before:
                left.pop()
        finally:
            _domain_context_stack._var.set(before)
