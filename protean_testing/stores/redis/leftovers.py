"""List and remove what killed runs left in a Redis database, for the command ``clean``."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit

from ... import ownership
from . import live, server
from .address import from_url
from .handle import RedisHandle
from .ownership import Leftover, ask_now, judge, left_in, location_text, new_facts, shown
from .values import Values

_WAIT = 5.0  # seconds
_SHOWN = 100  # keys of one kind


class Leftovers:
    """See `ownership.clean.Leftovers`. A ``prefix=`` in the URL's query means the keys that begin with it.

    A Redis database has no name that says that it is a test's. So only what runs have written down is
    cleared; ``unsafe`` is all that is there.
    """

    def __init__(self, url: str, *, unsafe: bool = False) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        prefix = query.pop("prefix", "")
        base = url.partition("?")[0]
        self._handle = RedisHandle(from_url(f"{base}?{urlencode(query)}" if query else base), prefix, _WAIT)
        self._unsafe = unsafe
        self._found: list[Leftover] = []
        self._others: list[bytes] = []

    def refuse_in_use(self) -> None:
        handle = self._handle
        server.check(handle, "redis")
        facts = new_facts(ask_now(handle.wire), handle.address, handle.prefix)
        ownership.left_over(location_text(facts), name=str(handle))
        live.refuse_live_runs(handle.wire, handle.address.db, handle.prefix, str(handle), named=False)

    def listed(self) -> list[str]:
        handle = self._handle
        now = ask_now(handle.wire)
        found = left_in(handle.address, handle.prefix, now)
        self._found = [judge(handle.wire, left, now) for left in found]
        lines = [line for leftover in self._found for line in _lines(leftover)]
        if self._unsafe:
            known = {name for one in self._found for name in (*one.gone, *one.back, *one.unknown, *one.since)}
            self._others = [name for name in Values(handle.wire, handle.prefix).names() if name not in known]
            lines += _some("remove", self._others, "no run of these tests is known to have made it")
        elif not lines:
            self.remove()
        return lines

    def remove(self) -> None:
        for leftover in self._found:
            acquired = ownership.acquire(leftover.text)
            settled = False
            try:
                settled = leftover.settle(all_of_it=True)
            finally:
                acquired.release() if settled else acquired.abandon()
        Values(self._handle.wire, self._handle.prefix).delete(self._others)

    def close(self) -> None:
        self._handle.close()


def _lines(leftover: Leftover) -> Iterator[str]:
    run = leftover.run
    why = leftover.why or "touched since"
    unknown = set(leftover.unknown)
    yield from _some("restore", [*leftover.back], f"it was there before {run}")
    yield from _some("remove", leftover.gone, f"made by {run}")
    doubtful = [name for name in leftover.unknown if name not in leftover.back]
    yield from _some("remove", doubtful, f"not known whose, after {run}: {why}")
    since = [name for name in leftover.since if name not in unknown]
    yield from _some("remove", since, f"it came after {run} was killed")


def _some(what: str, names: list[bytes], why: str) -> Iterator[str]:
    for name in names[:_SHOWN]:
        yield f"{what} key {shown(name)} ({why})"
    if len(names) > _SHOWN:
        yield f"{what} {len(names) - _SHOWN} more keys ({why})"
