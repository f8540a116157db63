"""Judge whose the keys are after a run was killed: its own, those from before it, or others'.

Nothing of ours is in the database that could tell. A run writes down beside it that it was empty (or has a
copy of what was there), and its watchdog when it died. A key that was last touched before that is the
killed run's. When that was, the server knows to the second; for keys that were touched in the last seconds,
the watchdog has noted what they held. Whatever is in doubt is nobody's: it is refused, and never removed
without being asked.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from redis.exceptions import ResponseError

from ...errors import StoreError
from ...ownership import Left, Signs, all_left, new_marker
from ...ownership.clean import clean_line
from ...ownership.watching import uptime
from . import copies
from .address import Address
from .connection import Wire
from .tracking import swaps_in
from .values import Value, Values, parts

KIND = "redis"
_FACTS = {"server", "address", "db", "prefix", "swaps", "began", "host", "run", "own"}


@dataclass(frozen=True)
class Now:
    """A server at this moment.

    Attributes:
        server: What it calls itself, until it is started anew; empty if it does not say.
        swaps: How often databases were swapped.
        time: Its clock, in milliseconds since 1970.
    """

    server: str
    swaps: str
    time: int


def ask_now(wire: Wire) -> Now:
    """What the server says of itself."""
    about, statistics, clock = wire.attempt(("INFO", "server"), ("INFO", "commandstats"), ("TIME",))
    found = re.search(rb"run_id:(\w+)", about) if isinstance(about, bytes) else None
    now = 0 if isinstance(clock, ResponseError) else int(clock[0]) * 1000 + int(clock[1]) // 1000
    return Now(found[1].decode() if found else "", swaps_in(statistics).decode(), now)


def location_text(facts: Mapping[str, Any]) -> str:
    """What names a store's keys to all runs of this machine, whatever URL they have of the server."""
    return f"redis {facts['server'] or facts['address']} {facts['db']} {facts['prefix']}"


def new_facts(now: Now, address: Address, prefix: bytes, *, own: bool = False) -> dict[str, Any]:
    """What a run writes down about itself and its keys."""
    return {
        "kind": KIND,
        "server": now.server,
        "address": str(address),
        "db": address.db,
        "prefix": prefix.decode("latin-1"),
        "swaps": now.swaps,
        "began": now.time,
        "host": platform.node(),
        "run": str(new_marker("", ())),
        "own": own,
    }


def left_in(address: Address, prefix: bytes, now: Now) -> list[Left]:
    """Dead runs whose keys may be this store's too."""
    found = []
    for left in all_left(KIND):
        if not _FACTS <= left.facts.keys():
            continue  # of another version
        theirs = left.facts["prefix"].encode("latin-1")
        is_here = left.facts["address"] == str(address) or (left.facts["server"] or None) == now.server
        overlaps = theirs.startswith(prefix) or prefix.startswith(theirs)
        if is_here and overlaps and left.facts["db"] == address.db:
            found.append(left)
    return found


@dataclass
class Leftover:
    """What a dead run left.

    Attributes:
        left: Its record.
        values: Its keys.
        gone: Keys of its making, which are removed.
        back: Keys that were there before it, and are restored.
        unknown: Keys that may be anybody's.
        since: Keys that came when it was dead.
        why: Why nothing can be proven; empty if it can.
    """

    left: Left
    values: Values
    gone: list[bytes] = field(default_factory=list)
    back: dict[bytes, Value] = field(default_factory=dict)
    unknown: list[bytes] = field(default_factory=list)
    since: list[bytes] = field(default_factory=list)
    why: str = ""

    @property
    def text(self) -> str:
        """Names its database."""
        return location_text(self.left.facts)

    @property
    def run(self) -> str:
        """Who it was."""
        return str(self.left.facts["run"])

    def in_the_way(self, prefix: bytes) -> list[bytes]:
        """Those of a store's keys that are in doubt."""
        doubtful = [*self.unknown, *(self.back if self.why else ())]
        return [name for name in dict.fromkeys(doubtful) if name.startswith(prefix)]

    def settle(self, *, all_of_it: bool = False) -> bool:
        """Restore what was there before, see that it is, and remove what the run made.

        Parameters:
            all_of_it: Also what is in doubt.

        Returns:
            Whether nothing of the run is left.

        Raises:
            StoreError: A key was not restored. The copy stays.
        """
        if not all_of_it and (self.why or self.unknown):
            return not (self.unknown or self.back)
        doubtful = [name for name in (*self.unknown, *self.since) if name not in self.back]
        self.values.delete([*self.gone, *(doubtful if all_of_it else ())])
        back = self.back
        for some in parts(back):
            self.values.write({name: back[name] for name in some})  # what was to expire by now goes
            there = self.values.read(some)
            now = self.values.time()
            for name in some:
                found, expiry = there.get(name), back[name].expiry
                if found is None if not expiry or expiry > now else False:
                    raise StoreError(
                        f"key {shown(name)}, which was there before a run was killed, could not be restored. "
                        f"A copy of all keys stays in {self.left.file('copy')}."
                    )
        return True


def judge(wire: Wire, left: Left, now: Now) -> Leftover:
    """Tell what a dead run left from what is others'. Nothing is touched, not even when keys were last used.

    Raises:
        UnsafeStoreError: Its copy of what was there before is damaged.
    """
    found = Leftover(left, values := Values(wire, left.facts["prefix"].encode("latin-1")))
    before = copies.read(left.file("copy"))
    names = values.names()
    signs, found.why = _signs(left, now)
    mine: set[bytes] = set()
    if signs is not None and names:
        touched = _touched(wire, names)
        if isinstance(touched, str):
            found.why = touched
        else:
            mine, found.since = _of_the_run(wire, left, signs, touched, before)
    held = values.read(name for name in names if name in before)
    for name in names:
        if name in before:
            if values.same(held.get(name), before[name]):
                continue
            found.back[name] = before[name]
            if name not in mine:
                found.unknown.append(name)
        elif name in mine:
            found.gone.append(name)
        elif name not in found.since:
            found.unknown.append(name)
    there = set(names)
    for name, value in before.items():
        if name not in there and (value.expiry is None or value.expiry > now.time):
            found.back[name] = value
    return found


def _signs(left: Left, now: Now) -> tuple[Signs | None, str]:
    """The dead run's signs of life, if they prove something; else why not."""
    facts = left.facts
    if facts["host"] != platform.node():
        return None, "it ran on another machine"
    if not now.server or facts["server"] != now.server:
        return None, "the server was started anew since, or is another one"
    if facts["swaps"] != now.swaps:
        return None, "databases of the server were swapped since"
    signs = left.signs
    if signs is None or signs.server is None:
        return None, "it is not known when it died"
    passed = uptime() - signs.uptime
    if passed < 0:
        return None, "this machine was started anew since"
    if now.time - signs.server < (passed - 1) * 1000:
        return None, "the server's clock was set back since"
    return signs, ""


def _touched(wire: Wire, names: Iterable[bytes]) -> dict[bytes, int | None] | str:
    """In which second each key was last touched, or a little earlier; None if the server does not know.

    Returns:
        Why nothing is known, if the server does not say it of any.
    """
    found: dict[bytes, int | None] = {}
    for some in parts(names):
        replies = wire.attempt(
            *(("OBJECT", "IDLETIME", name) for name in some),
            *(("OBJECT", "REFCOUNT", name) for name in some),
            ("TIME",),
        )
        idle, counts, clock = replies[: len(some)], replies[len(some) : -1], replies[-1]
        for name, seconds, count in zip(some, idle, counts, strict=True):
            if isinstance(seconds, ResponseError):
                return f"the server does not say when its keys were last touched: {seconds}"
            known = isinstance(seconds, int) and count == 1  # numbers below 10,000 are shared by many keys
            found[name] = int(clock[0]) - seconds if known else None
    return found


def _of_the_run(
    wire: Wire, left: Left, signs: Signs, touched: dict[bytes, int | None], before: Collection[bytes]
) -> tuple[set[bytes], list[bytes]]:
    """The keys that a dead run wrote last, and those that came when it was dead."""
    assert signs.server is not None
    listed = {name.encode("latin-1"): digest for name, digest in (signs.keys or {}).items()}
    latest = max(signs.server, signs.looked or 0) // 1000 + 1  # the clock of touches is some ms late
    mine, since, noted = set(), [], []
    for name, second in touched.items():
        if name in listed:
            if second is None or second <= latest:
                noted.append(name)
        elif signs.complete:
            since.append(name)
        elif second is not None and left.facts["began"] // 1000 - 1 <= second <= signs.server // 1000 - 2:
            mine.add(name)
    for some in parts(noted):
        for name, dump in zip(some, wire.attempt(*(("DUMP", name) for name in some)), strict=True):
            if isinstance(dump, bytes) and hashlib.sha256(dump).hexdigest() == listed[name]:
                mine.add(name)
    _looked(wire, left, signs, mine)
    return mine, since


def _looked(wire: Wire, left: Left, signs: Signs, mine: set[bytes]) -> None:
    """Servers before 7.2 count our own look as a touch: write down that it was ours."""
    no_touch, clock = wire.attempt(("CLIENT", "NO-TOUCH", "ON"), ("TIME",))
    if isinstance(no_touch, ResponseError) and signs.keys:
        kept = {name: digest if name.encode("latin-1") in mine else "" for name, digest in signs.keys.items()}
        seen = replace(signs, keys=kept, looked=int(clock[0]) * 1000)
        path = left.file("signs")
        fresh = path.with_suffix(".looked")
        with suppress(OSError):
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps(asdict(seen)))
            fresh.replace(path)


def shown(name: bytes) -> str:
    """A key's name for messages."""
    return repr(name.decode(errors="backslashreplace"))


def clean_command(address: Address, prefix: bytes, *, unsafe: bool = False) -> str:
    """The line that clears what is refused."""
    url = address.plain
    if prefix and unsafe:
        url += f"{'&' if '?' in url else '?'}prefix={prefix.decode(errors='backslashreplace')}"
    return clean_line(url, unsafe=unsafe)
