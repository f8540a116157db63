"""How often schema was made and dropped and data reset in this run, and how long that took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from ..clock import perf_counter


class Figures:
    """Counts and seconds of one run.

    Attributes:
        servers: What was started, the seconds until it answered, and those that the run waited for it.
        created: Schemas, where each is, and the seconds to make it.
        resets: The seconds of each reset of a store.
        dropped: The seconds to drop everything, once that is done.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.servers: list[tuple[str, float, float]] = []
        self.created: list[tuple[str, str, float]] = []
        self.resets: list[float] = []
        self.dropped: float | None = None
        self._began: float | None = None
        self._ended: float | None = None

    def begin(self) -> None:
        if self._ended is not None:
            self._clear()
        if self._began is None:
            self._began = perf_counter()

    def started(self, server: str, seconds: float, waited: float) -> bool:
        """Note a server that was started for the run; a second mention changes nothing, and returns False."""
        if (server, seconds) in [known[:2] for known in self.servers]:
            return False
        self.servers.append((server, seconds, waited))
        return True

    def end(self) -> None:
        self._ended = perf_counter()

    @contextmanager
    def dropping(self) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.dropped = perf_counter() - start

    @property
    def together(self) -> float:
        """The seconds of all that was done, and of waiting for servers."""
        ours = sum(waited for _, _, waited in self.servers) + sum(seconds for *_, seconds in self.created)
        return ours + sum(self.resets) + (self.dropped or 0)

    def summary(self) -> str:
        """One line: what was started, created, reset and dropped, and its part of the run's time."""
        if self._began is None or self._ended is None:
            return "nothing was used"
        parts = [f"{server} up in {seconds:.2f} s" for server, seconds, _ in self.servers]
        for name, place in dict.fromkeys(created[:2] for created in self.created):
            where = f" ({place})" if place else ""
            times = [created[2] for created in self.created if created[:2] == (name, place)]
            schemas = (
                f"schema of {name!r} created once"
                if len(times) == 1
                else f"{len(times)} schemas of {name!r} created"
            )
            parts.append(f"{schemas} in {sum(times):.2f} s{where}")
        if self.resets:
            parts.append(
                f"{len(self.resets)} resets, median {1000 * median(self.resets):.2f} ms, "
                f"{sum(self.resets):.2f} s in all"
            )
        parts.append(f"dropped in {self.dropped or 0:.2f} s")
        whole = self._ended - self._began
        parts.append(f"together {100 * self.together / whole if whole else 0:.0f}% of {whole:.2f} s")
        return "; ".join(parts)
