"""Takes a place for this run: nothing of others is lost, and what a killed run left is settled first."""

from __future__ import annotations

from collections.abc import Callable, Collection

from redis.exceptions import NoPermissionError

from ... import ownership
from ...errors import ConfigurationError, UnsafeStoreError
from . import copies, live
from .data import Data
from .owning import Leftover, ask_now, clean_command, judge, left_in, new_facts, place_text, shown
from .place import Place, in_use
from .values import Values, parts, pattern

_SHOWN = 3  # names of keys in a message
_COUNTED = 10_000  # keys of others that are counted for a message
_SIZE = 4096  # bytes of an average key, of as many as may be copied


def refuse_overlap(place: Place, store: str) -> None:
    """Refuse a place whose keys another store of this process has too.

    Raises:
        ConfigurationError: Naming both places.
    """
    for other in in_use:
        if other is not place and other.overlaps(place):
            raise ConfigurationError(
                f"store {store!r}, {place}, overlaps with {other} of another store: resetting one "
                "would reset the other.\nGive each a database, or a prefix with which no other begins."
            )


def look(place: Place, data: Data, store: str, *, adopt: int | None, unsafe: bool) -> None:
    """Refuse a place that `take` would refuse. Nothing is touched.

    Parameters:
        adopt: How many keys may be copied; None where none are adopted.

    Raises:
        UnsafeStoreError: Another run is at work in it, or it holds keys that are not known to be of ours.
    """
    now = ask_now(place.wire)
    place.server = now.server
    _refuse_other_url(place, store)
    ownership.left_over(place_text(new_facts(now, place.address, place.prefix)), name=str(place))
    live.refuse_live_runs(place.wire, place.address.db, place.prefix, str(place), named=False)
    if not unsafe:
        judged = [judge(place.wire, left, now) for left in left_in(place.address, place.prefix, now)]
        _refuse_doubtful(place, judged, store)
        if adopt is None:
            _refuse_keys_of_others(place, data, judged, store)
        else:
            going = {name for leftover in judged for name in leftover.gone}
            refuse_too_many(place, store, adopt, going)


def refuse_too_many(place: Place, store: str, limit: int, going: Collection[bytes] = ()) -> None:
    """Refuse to copy more keys than `limit`, of `_SIZE` on average. They are counted without reading them.

    Parameters:
        going: Keys that will not be there any more.

    Raises:
        UnsafeStoreError: With the line that allows it.
    """
    most = limit + len(going)
    (count,) = (None,) if place.prefix else place.wire.attempt(("DBSIZE",))
    names = (
        [] if isinstance(count, int) and count > most else Values(place.wire, place.prefix).names(most + 1)
    )
    there = count if isinstance(count, int) else len(names)
    size = 0
    if there <= most:
        for some in parts(name for name in names if name not in going):
            sizes = place.wire.attempt(*(("MEMORY", "USAGE", name) for name in some))
            size += sum(one for one in sizes if isinstance(one, int))  # it may be gone, or we may not ask
        if size <= limit * _SIZE:
            return
    large = f"{size >> 10} kB of keys" if size else f"{there - len(going)} keys"
    needed = max(2 * limit, there, size // _SIZE + 1)
    raise ownership.refusal(
        store,
        place,
        f"adopt=True copies every key that is there, and there are {large}"
        f"{' or more' if place.prefix and not size else ''}.",
        f"If that may take its time and memory, say RedisStore(..., adopt=True, copy_limit={needed:_}). "
        "Else give it an empty database, or a prefix with fewer keys.",
    )


def take(
    place: Place, data: Data, store: str, tell: Callable[[str, str], None], *, adopt: bool, unsafe: bool
) -> None:
    """Restore what was there before a killed run, remove what it made, and write down what is there now.

    Parameters:
        tell: Called with what the user of the server may not do, and what that means here.

    Raises:
        UnsafeStoreError: As of `look`. The place is not taken.
    """
    if place.private:
        if not adopt and data.count():
            data.clear()
        return
    now = ask_now(place.wire)
    found = left_in(place.address, place.prefix, now)
    facts = new_facts(now, place.address, place.prefix)
    text = place_text(facts)
    place.server = now.server
    _refuse_other_url(place, store)
    place.claim = ownership.claim(text, name=str(place))
    if not place.claim.left_over:  # another run has settled it meanwhile
        found = [left for left in found if place_text(left.facts) != text]
    settled = False
    try:
        _meet_other_runs(place, tell)
        judged = [] if unsafe else [judge(place.wire, left, now) for left in found]
        _refuse_doubtful(place, judged, store)
        for leftover in judged:
            _settle(leftover, text)
        settled = True
        if unsafe:
            if data.count():
                data.clear()
            for left in found:
                if place_text(left.facts) != text and left.facts["prefix"].startswith(facts["prefix"]):
                    ownership.claim(place_text(left.facts)).release()  # it may go, as the user said
        elif not adopt:
            _refuse_keys_of_others(place, data, [], store)
        copy = place.claim.file("copy")
        names = data.values.names()
        if names:
            copies.write(copy, data.values, names)
        else:
            copy.unlink(missing_ok=True)
        place.claim.remember(**facts)
        watch(place.claim, place)
    except BaseException:
        if place.claim.left_over and not settled:
            place.claim.abandon()
        else:
            place.claim.release()
        raise


def _refuse_other_url(place: Place, store: str) -> None:
    """Refuse a place that another store of this process has by another URL of the server."""
    for other in in_use:
        if other is not place and other.is_on_server_of(place) and other.shares_keys(place):
            raise ConfigurationError(
                f"store {store!r}, {place}, is in the same database as {other} of another store: resetting "
                "one would reset the other.\nGive both the same URL."
            )


def _meet_other_runs(place: Place, tell: Callable[[str, str], None]) -> None:
    if not place.introduce():
        tell("CLIENT SETNAME", "runs of other machines do not see that this one is in the database")
    if not live.refuse_live_runs(place.wire, place.address.db, place.prefix, str(place), named=True):
        tell(
            "CLIENT LIST",
            "other runs in the database are not seen, and a MULTI that a test leaves open is not found",
        )
    (idle,) = place.wire.attempt(("OBJECT", "IDLETIME", place.prefix + b"?"))
    if isinstance(idle, NoPermissionError) and "to run" in str(idle):
        tell("OBJECT IDLETIME", "if a run is killed, what it left is refused, and cleared by hand")


def watch(claim: ownership.Claim, place: Place) -> None:
    """Have it noted what the keys hold if this run is killed."""
    claim.watch(
        redis=place.address.for_watchdog(
            name=live.WATCHDOG,
            prefix=place.prefix.decode("latin-1"),
            match=pattern(place.prefix).decode("latin-1"),
            client=place.sign_of_life(),
        )
    )


def _settle(leftover: Leftover, text: str) -> None:
    """Settle what a dead run left, with its own place taken meanwhile: `text` is the one that is ours."""
    facts = leftover.left.facts
    if leftover.text == text:
        leftover.settle()
        return
    theirs = ownership.claim(leftover.text)
    settled = theirs.left_over and theirs.facts == facts and leftover.settle()
    theirs.release() if settled else theirs.abandon()


def _refuse_doubtful(place: Place, judged: list[Leftover], store: str) -> None:
    for leftover in judged:
        names = leftover.in_the_way(place.prefix)
        if names:
            why = leftover.why or "they were touched since"
            raise ownership.refusal(
                store,
                place,
                f"a run that was killed ({leftover.run}) left it, and it cannot be proven of {_count(names)} "
                f"that they are of its making, since {why}: {_listed(names)}.",
                f"If they may go:  {clean_command(place.address, place.prefix)}",
            )


def _refuse_keys_of_others(place: Place, data: Data, judged: list[Leftover], store: str) -> None:
    gone = {name for leftover in judged for name in leftover.gone}
    names: list[bytes] = []
    if place.prefix or data.count() > len(gone):
        few = data.values.names(len(gone) + _COUNTED + 1)
        names = [name for name in few if name not in gone]
    if not names:
        return
    since = {name for leftover in judged for name in leftover.since}
    clear = clean_command(place.address, place.prefix, unsafe=not since.issuperset(names))
    raise UnsafeStoreError(
        f"refusing to use store {store!r}, {place}: it holds {_count(names)} that we did not make "
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
