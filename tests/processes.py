"""The processes of a run, also those that are not its children."""

from __future__ import annotations

from contextlib import suppress

import psutil


def watchdogs(run: int) -> list[psutil.Process]:
    """The processes that watchdog the private servers of a run."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue  # it ended, or is another user's
        if words[-1:] == [str(run)] and any(word.endswith("watchdog.py") for word in words):
            found.append(process)
    return found


def of_run(run: int) -> list[psutil.Process]:
    """What a run has started and is still there: its children, its watchdogs, and theirs."""
    found: dict[int, psutil.Process] = {}
    for root in [psutil.Process(run), *watchdogs(run)]:
        with suppress(psutil.NoSuchProcess):  # it has just ended
            found |= {process.pid: process for process in [root, *root.children(recursive=True)]}
    found.pop(run, None)
    return list(found.values())
