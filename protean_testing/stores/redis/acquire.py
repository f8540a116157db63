"""Acquire a database for this run: nothing of others is lost, and what a killed run left is settled first."""

from __future__ import annotations

from collections.abc import Callable, Collection

from redis.exceptions import NoPermissionError

from ... import ownership
from ...errors import ConfigurationError, UnsafeStoreError
from . import copies, live
from .data import Data
from .handle import RedisHandle, in_use
from .ownership import Leftover, Now, ask_now, clean_command, judge, left_in, location_text, new_facts, shown
from .values import Values, parts, pattern

_SHOWN = 3  # names of keys in a message
_COUNTED = 10_000  # keys of others that are counted for a message
_SIZE = 4096  # bytes of an average key, of as many as may be copied


def refuse_overlap(handle: RedisHandle, store: str) -> None:
    """Refuse a database whose keys another store of this process has too.

    Raises:
        ConfigurationError: Naming both databases.
    """
    for other in in_use:
        if other is not handle and other.overlaps(handle):
            raise ConfigurationError(
                f"store {store!r}, {handle}, overlaps with {other} of another store: resetting one "
                "would reset the other.\nGive each a database, or a prefix with which no other begins."
            )


def look(handle: RedisHandle, data: Data, store: str, *, adopt: int | None, unsafe: bool) -> None:
    """Refuse a database that `acquire` would refuse. Nothing is touched.

    Parameters:
        adopt: How many keys may be copied; None if none are adopted.

    Raises:
        UnsafeStoreError: Another run is at work in it, or it holds keys that are not known to be of ours.
    """
    now, found = _begin(handle, store)
    ownership.left_over(location_text(new_facts(now, handle.address, handle.prefix)), name=str(handle))
    live.refuse_live_runs(handle.wire, handle.address.db, handle.prefix, str(handle), named=False)
    if unsafe:
        return
    judged = _judged(handle, found, now, store)
    if adopt is None:
        _refuse_keys_of_others(handle, data, judged, store)
    else:
        refuse_too_many(handle, store, adopt, {name for leftover in judged for name in leftover.gone})


def _begin(handle: RedisHandle, store: str) -> tuple[Now, list[ownership.Left]]:
    """What the server says of itself, and the dead runs whose keys may be this store's."""
    now = ask_now(handle.wire)
    handle.server = now.server
    _refuse_other_url(handle, store)
    return now, left_in(handle.address, handle.prefix, now)


def _judged(handle: RedisHandle, found: list[ownership.Left], now: Now, store: str) -> list[Leftover]:
    """What dead runs left, if it is in no doubt."""
    judged = [judge(handle.wire, left, now) for left in found]
    for leftover in judged:
        names = leftover.in_the_way(handle.prefix)
        if names:
            why = leftover.why or "they were touched since"
            raise ownership.refusal(
                store,
                handle,
                f"a run that was killed ({leftover.run}) left it, and it cannot be proven of {_count(names)} "
                f"that they are of its making, since {why}: {_listed(names)}.",
                f"If they may go:  {clean_command(handle.address, handle.prefix)}",
            )
    return judged


def refuse_too_many(handle: RedisHandle, store: str, limit: int, going: Collection[bytes] = ()) -> None:
    """Refuse to copy more keys than `limit`, of `_SIZE` on average. They are counted without reading them.

    Parameters:
        going: Keys that will not be there any more.

    Raises:
        UnsafeStoreError: With the line that allows it.
    """
    most = limit + len(going)
    (count,) = (None,) if handle.prefix else handle.wire.attempt(("DBSIZE",))
    names = (
        [] if isinstance(count, int) and count > most else Values(handle.wire, handle.prefix).names(most + 1)
    )
    there = count if isinstance(count, int) else len(names)
    size = 0
    if there <= most:
        for some in parts(name for name in names if name not in going):
            sizes = handle.wire.attempt(*(("MEMORY", "USAGE", name) for name in some))
            size += sum(one for one in sizes if isinstance(one, int))  # it may be gone, or we may not ask
        if size <= limit * _SIZE:
            return
    large = f"{size >> 10} kB of keys" if size else f"{there - len(going)} keys"
    needed = max(2 * limit, there, size // _SIZE + 1)
    raise ownership.refusal(
        store,
        handle,
        f"adopt=True copies every key that is there, and there are {large}"
        f"{' or more' if handle.prefix and not size else ''}.",
        f"If that may take its time and memory, say RedisStore(..., adopt=True, copy_limit={needed:_}). "
        "Else give it an empty database, or a prefix with fewer keys.",
    )


def acquire(
    handle: RedisHandle,
    data: Data,
    store: str,
    report: Callable[[str, str], None],
    *,
    adopt: bool,
    unsafe: bool,
) -> None:
    """Restore what was there before a killed run, remove what it made, and write down what is there now.

    Parameters:
        report: Called with what the user of the server may not do, and what that means here.

    Raises:
        UnsafeStoreError: As of `look`. The database is not acquired.
    """
    if handle.private:
        if not adopt and data.count():
            data.clear()
        return
    now, found = _begin(handle, store)
    facts = new_facts(now, handle.address, handle.prefix)
    text = location_text(facts)
    handle.acquired = ownership.acquire(text, name=str(handle))
    if not handle.acquired.left_over:  # another run has settled it meanwhile
        found = [left for left in found if location_text(left.facts) != text]
    settled = False
    try:
        _refuse_other_runs(handle, report)
        for leftover in [] if unsafe else _judged(handle, found, now, store):
            _settle(leftover, text)
        settled = True
        if unsafe:
            if data.count():
                data.clear()
            for left in found:
                if location_text(left.facts) != text and left.facts["prefix"].startswith(facts["prefix"]):
                    ownership.acquire(location_text(left.facts)).release()  # it may go, as the user said
        elif not adopt:
            _refuse_keys_of_others(handle, data, [], store)
        copy = handle.acquired.file("copy")
        names = data.values.names()
        if names:
            copies.write(copy, data.values, names)
        else:
            copy.unlink(missing_ok=True)
        handle.acquired.remember(**facts)
        watch(handle.acquired, handle)
    except BaseException:
        if handle.acquired.left_over and not settled:
            handle.acquired.abandon()
        else:
            handle.acquired.release()
        raise


def _refuse_other_url(handle: RedisHandle, store: str) -> None:
    """Refuse a database that another store of this process has by another URL of the server."""
    for other in in_use:
        if other is not handle and other.is_on_server_of(handle) and other.shares_keys(handle):
            raise ConfigurationError(
                f"store {store!r}, {handle}, is in the same database as {other} of another store: resetting "
                "one would reset the other.\nGive both the same URL."
            )


def _refuse_other_runs(handle: RedisHandle, report: Callable[[str, str], None]) -> None:
    if not handle.introduce():
        report("CLIENT SETNAME", "runs of other machines do not see that this one is in the database")
    if not live.refuse_live_runs(handle.wire, handle.address.db, handle.prefix, str(handle), named=True):
        report(
            "CLIENT LIST",
            "other runs in the database are not seen, and a MULTI that a test leaves open is not found",
        )
    (idle,) = handle.wire.attempt(("OBJECT", "IDLETIME", handle.prefix + b"?"))
    if isinstance(idle, NoPermissionError) and "to run" in str(idle):
        report("OBJECT IDLETIME", "if a run is killed, what it left is refused, and cleared by hand")


def watch(acquired: ownership.Acquired, handle: RedisHandle) -> None:
    """Have it noted what the keys hold if this run is killed."""
    acquired.watch(
        redis=handle.address.for_watchdog(
            name=live.WATCHDOG,
            prefix=handle.prefix.decode("latin-1"),
            match=pattern(handle.prefix).decode("latin-1"),
            client=handle.sign_of_life(),
        )
    )


def _settle(leftover: Leftover, text: str) -> None:
    """Settle what a dead run left, whose database was acquired meanwhile; `text` is the one that is ours."""
    facts = leftover.left.facts
    if leftover.text == text:
        leftover.settle()
        return
    theirs = ownership.acquire(leftover.text)
    settled = theirs.left_over and theirs.facts == facts and leftover.settle()
    theirs.release() if settled else theirs.abandon()


def _refuse_keys_of_others(handle: RedisHandle, data: Data, judged: list[Leftover], store: str) -> None:
    gone = {name for leftover in judged for name in leftover.gone}
    names: list[bytes] = []
    if handle.prefix or data.count() > len(gone):
        few = data.values.names(len(gone) + _COUNTED + 1)
        names = [name for name in few if name not in gone]
    if not names:
        return
    since = {name for leftover in judged for name in leftover.since}
    clear = clean_command(handle.address, handle.prefix, unsafe=not since.issuperset(names))
    raise UnsafeStoreError(
        f"refusing to use store {store!r}, {handle}: it holds {_count(names)} that we did not make "
        f"({_listed(names)}).\n"
        "Point it at an empty database, pass adopt=True to keep them as the baseline, or pass unsafe=True to "
        f"clear them if losing them is fine. To see them all, and clear them once:  {clear}"
    )


def _count(names: list[bytes]) -> str:
    if len(names) > _COUNTED:
        return f"more than {_COUNTED} keys"
    return f"{len(names)} key{'s' * (len(names) != 1)}"


def _listed(names: list[bytes]) -> str:
    return ", ".join(map(shown, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
