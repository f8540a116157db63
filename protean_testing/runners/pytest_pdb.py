"""pytest with ``--pdb``: a failed test's data is restored after the debugger. Registered if it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from ..blocks import BLOCKS
from ..core.run import attempts, raise_all, run


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    ends: list[Callable[[], object]] = []
    blocks = getattr(getattr(item, "obj", None), BLOCKS, ())
    item.addfinalizer(partial(_end, item, ends, blocks))  # it comes before those of the fixtures
    for block in blocks:
        block.postponed = ends
    run.postponed = ends
    try:
        return (yield)
    finally:
        run.postponed = None


def _end(item: Any, ends: list[Callable[[], object]], blocks: tuple[Any, ...]) -> None:
    for block in blocks:
        block.postponed = None
    tear_down = getattr(item, "_explicit_tearDown", None)
    if tear_down is not None:  # pytest postpones a test case's as well, until its fixtures have ended
        item._explicit_tearDown = None
        ends.insert(0, tear_down)
    raise_all(attempts(ends), f"after {item.nodeid}")
