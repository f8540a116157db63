"""Record the statements that reach a database, whichever engine sends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any

from sqlalchemy import Engine, event


class Queries(list[str]):
    """The statements that were executed on a database inside of the block, in their order.

    An ``executemany`` is one, BEGIN and COMMIT of a driver are none. Threads and async engines count as well;
    another process does not.

    Parameters:
        is_there: Whether an engine leads to the database.
    """

    def __init__(self, is_there: Callable[[Engine], bool]) -> None:
        super().__init__()
        self._is_there = is_there

    def __enter__(self) -> Queries:
        event.listen(Engine, "before_cursor_execute", self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        event.remove(Engine, "before_cursor_execute", self._record)

    def _record(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if self._is_there(connection.engine):
            self.append(statement)

    def listed(self) -> str:
        """A line for each, in their order; what was executed more than once stands at its first place."""
        times = Counter(self)
        lines = {one: f"{times[one]} times: " if times[one] > 1 else "" for one in self}
        return "\n".join(f"  {often}{' '.join(one.split())}" for one, often in lines.items())
