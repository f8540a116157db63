"""The end of an async test in its own event loop, before the data is restored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any

from .core.leaks import report_leak, strictest
from .errors import LeakError, ScopeError
from .store import Store, ended_scope

PATIENCE = 6.0  # seconds for tasks to end by themselves once cancelled: SQLite waits 5 for a lock
AGAIN = 0.5  # seconds after each further cancellation
TRIES = 10

Step = Callable[[], Awaitable[object]]


def report_tasks(test: str, stores: Sequence[Store], names: str) -> None:
    """Report tasks that a test left running, as the stores that they may write to ask for it.

    Raises:
        LeakError: See `core.leaks.report_leak`.
    """
    ended_scope.set(test)
    shown = ", ".join(store.name for store in stores)
    report_leak(
        f"left {names} running, cancelled before the reset of {shown}.\n"
        "Wait for it in the test, or cancel it there:  task.cancel()",
        shown,
        strictest(store.on_leak for store in stores),
    )


async def end_tasks(
    report: Callable[[str], None], close: Step, before: Collection[asyncio.Task[Any]] = ()
) -> list[Exception]:
    """Cancel what the test left running in its loop, close its handles, and wait for the tasks.

    A task that writes in its ``finally`` may wait for the lock of a session that was left open. Cancelled
    again meanwhile, it would lose what its driver waits for (aiosqlite then hangs for ever): so once, and
    again only after a while, for a client whose own time limits have swallowed it.

    Parameters:
        report: Called with what it was.
        close: Closes the handles that were given out.
        before: Tasks that are not the test's, and go on.

    Returns:
        The errors of tasks that failed instead of ending, or do not end at all.
    """
    loop = asyncio.get_running_loop()
    left = asyncio.all_tasks(loop) - {asyncio.current_task(), *before}
    tasks = set(left)
    found: list[Exception] = []
    if tasks:
        names = ", ".join(sorted(f"{task.get_name()} ({_coroutine(task)})" for task in tasks))
        try:
            report(f"task{'s' * (len(tasks) > 1)} {names}")
        except LeakError as leak:
            found.append(leak)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)  # a task lets go of its handle before that is closed
    found += await await_all([close])
    for attempt in range(TRIES):
        if left:
            _, left = await asyncio.wait(left, timeout=AGAIN if attempt else PATIENCE)
        for task in left if attempt + 1 < TRIES else ():
            task.cancel()
    errors = [error for task in tasks - left if not task.cancelled() and (error := task.exception())]
    if left:
        names = ", ".join(sorted(task.get_name() + " " + repr(task.get_coro()) for task in left))
        errors.append(ScopeError(f"tasks of the test do not end, though they were cancelled: {names}"))
    return found + [error for error in errors if isinstance(error, Exception)]


async def await_all(steps: Iterable[Step]) -> list[Exception]:
    """Take every step, whatever happens to the others.

    Returns:
        What failed.
    """
    errors: list[Exception] = []
    for step in steps:
        try:
            await step()
        except Exception as error:
            errors.append(error)
    return errors


def _coroutine(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", task.get_coro()))
