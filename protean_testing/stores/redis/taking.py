"""Takes a place for this run: nothing of others is lost by that, and what a dead run left is cleared."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigurationError, UnsafeStoreError
from .data import Data
from .place import Place, in_use

_SHOWN = 3  # names of keys in a message


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


def refuse_keys_of_others(place: Place, data: Data, store: str, left: dict[str, Any] | None) -> None:
    """Refuse a place that holds keys.

    Parameters:
        left: What a dead run wrote down, where one left the place: its own keys do not count.

    Raises:
        UnsafeStoreError: Naming some of them, and the line that would allow it.
    """
    count = data.count() if left is None else len(data.values.kept(left))
    if not count:
        return
    names = data.values.names(limit=_SHOWN + 1) if left is None else data.values.kept(left)
    listed = ", ".join(repr(name.decode(errors="backslashreplace")) for name in names[:_SHOWN])
    raise UnsafeStoreError(
        f"refusing to use store {store!r}, {place}: it holds {count} {'key' if count == 1 else 'keys'} that "
        f"we did not make ({listed}{', ...' if len(names) > _SHOWN else ''}).\n"
        "Point it at an empty database, pass adopt=True to keep them as the baseline, or pass unsafe=True to "
        "clear them if losing them is fine."
    )


def take(place: Place, data: Data, store: str, *, adopt: bool, unsafe: bool) -> None:
    """Clear the place as far as that is allowed, and write down what was there before.

    Raises:
        UnsafeStoreError: Keys came since it was checked.
    """
    claim = place.claim
    if claim is not None:
        left = claim.facts if claim.left_over else None
        if not (adopt or unsafe):
            refuse_keys_of_others(place, data, store, left)
        if left is not None:
            theirs = set(data.values.kept(left))
            data.values.delete([name for name in data.values.names() if name not in theirs])
    if not adopt and data.count():
        data.clear()
    if claim is not None:
        claim.remember(kept=[name.decode("latin-1") for name in data.values.names()])
