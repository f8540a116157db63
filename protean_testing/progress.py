"""Show on a terminal what a run waits for, if that takes long."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer

SILENT = 1.0  # seconds; what is done by then needs no line


@contextmanager
def progress(doing: str) -> Iterator[None]:
    """Say on standard error what is done, if it is a terminal and that takes more than a second.

    Parameters:
        doing: Such as ``making the schema of 'shop'``.
    """
    if not _is_terminal():
        yield
        return
    timer = Timer(SILENT, _say, [f"protean_testing: {doing} ...\n"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _is_terminal() -> bool:
    with suppress(AttributeError, OSError, ValueError):  # there is none, or a test has closed it
        return os.isatty(sys.__stderr__.fileno())  # type: ignore[union-attr]
    return False


def _say(line: str) -> None:
    with suppress(OSError):  # to the terminal itself: a runner may have replaced sys.stderr
        os.write(2, line.encode(errors="replace"))
