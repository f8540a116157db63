"""What was written to stores: counted, with the values, and listed within bounds and without secrets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

from .errors import ConfigurationError, ScopeError, redacted

Row: TypeAlias = Mapping[str, Any]

LISTED = "_protean_testing_listed"
"""An attribute of errors that say themselves what was written."""

KEPT = 100
"""Rows of which the values are kept, for each way in which a table was written; the others are counted."""

_LINES, _ROWS, _WIDTH, _VALUE = 30, 5, 240, 80
"""Lines of a list, rows of one table in it, characters of a line and of a value."""

_NAMES = (
    "passw|passphrase|pwd|secret|token|credential|cookie|authoriz|auth(?!or)|(?:api|private|access)[_-]?key"
    r"|session[_-]?(?:id|key|data)|salt|\bpin\b|otp\b|cvv|ssn\b"
)
_SECRET = re.compile(_NAMES, re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"""((?:{_NAMES})[\w-]*\\?["']?\s*[:=]\s*)(\\?"[^"]*"|\\?'[^']*'|[^\s&,;}})\]]+)""", re.IGNORECASE
)


@dataclass(frozen=True, eq=False)
class Written:
    """What was inserted, updated and deleted in one place: a table, a key, a stream.

    Attributes:
        name: The table's name, with its schema if that is not the default one; a key, a category of streams.
        inserted, deleted: The rows, of many the first ones.
        updated: Each as it was and as it is.
        kind: What messages call it.
        key: The columns that tell its rows apart.
        more: How many further ones were inserted, updated and deleted.
        remark: Why it cannot be said what was written there.
        store: The store's name; it is filled in.
    """

    name: str
    inserted: Sequence[Row] = ()
    updated: Sequence[tuple[Row, Row]] = ()
    deleted: Sequence[Row] = ()
    kind: str = "table"
    key: Sequence[str] = ()
    more: tuple[int, int, int] = (0, 0, 0)
    remark: str = ""
    store: str = ""

    @property
    def numbers(self) -> tuple[int, int, int]:
        """How many were inserted, updated and deleted."""
        listed = len(self.inserted), len(self.updated), len(self.deleted)
        return listed[0] + self.more[0], listed[1] + self.more[1], listed[2] + self.more[2]

    @property
    def count(self) -> int | None:
        """All of these together; None if it is not known."""
        return None if self.remark else sum(self.numbers)


class Changes(Sequence[Written]):
    """What was written to the stores of a handle, until a moment; what was not committed by then is not.

    Attributes:
        unknown: The names of the stores that cannot say, which are those that can only be cleared.
    """

    def __init__(
        self, written: Iterable[Written] | None = None, unknown: Sequence[str] = (), stores: int = 1
    ) -> None:
        self._found: Sequence[Written] | None = None
        if written is not None:
            found = (one for one in written if one.count != 0)
            self._found = sorted(found, key=lambda one: (one.store, one.name))
        self.unknown, self._stores = unknown, stores

    def become(self, other: Changes) -> None:
        """Be what was found at the end of a block."""
        self._found, self.unknown, self._stores = other._found, other.unknown, other._stores

    def counts(self, store: str | None = None) -> dict[str, int | None]:
        """How many rows, keys and messages were inserted, updated or deleted, by table, key or stream.

        What several stores have under one name is told apart by theirs: ``"warehouse.order"``.

        Parameters:
            store: Only those of the store of that name.
        """
        chosen = [one for one in self._all if store in (None, one.store)]
        often = Counter(one.name for one in chosen)
        return {one.name if often[one.name] == 1 else f"{one.store}.{one.name}": one.count for one in chosen}

    def differences(self, expected: Mapping[str, int]) -> list[str]:
        """A line for each count that is another one than expected; all that is not named is expected as 0.

        Parameters:
            expected: By name, or by the store's name, a dot, and that.
        """
        wrong, named = [], set()
        for name, number in expected.items():
            found = self._named(name)
            named.update(found)
            if len(found) > 1:
                wrong.append(
                    f"{name} is in several stores: {', '.join(f'{one.store}.{name}' for one in found)}"
                )
            elif (count := found[0].count if found else 0) != number:
                wrong.append(f"{name}: {'not known' if count is None else count}, not {number}")
        for one in self._all:
            if one not in named:
                wrong.append(f"{one.name}: {'not known' if one.count is None else one.count}, not 0")
        return wrong

    def listed(self) -> str:
        """The list that messages have: bounded in lines and length, and without secrets."""
        lines = [line for one in self._all for line in _listed(one, is_alone=self._stores == 1)]
        if len(lines) > _LINES:
            lines[_LINES - 1 :] = [f"  ... and {len(lines) - _LINES + 1} more lines"]
        if self.unknown:
            lines.append(f"  not known of {', '.join(map(repr, self.unknown))}")
        return "\n".join(lines) or "  nothing"

    def note(self, error: BaseException, who: str, failed: Sequence[str]) -> None:
        """Say under the traceback of an error what it is, unless its message does.

        Parameters:
            who: Has written it.
            failed: Why it is not known of some stores.
        """
        if getattr(error, LISTED, False):
            return
        lines = [f"  not known: {_cut(line, _WIDTH)}" for line in failed]
        if self or self.unknown:
            lines.insert(0, self.listed())
        if lines:
            error.add_note("\n".join([f"protean_testing: {who} had committed, when it failed:", *lines]))
        else:
            error.add_note(f"protean_testing: {who} had committed nothing when it failed.")

    def _named(self, name: str) -> list[Written]:
        return [one for one in self._all if name in (one.name, f"{one.store}.{one.name}")]

    @property
    def _all(self) -> Sequence[Written]:
        if self._found is None:
            raise ScopeError(
                "what was written is known at the end of the block:  with db.changes() as changes: ..."
            )
        return self._found

    @overload
    def __getitem__(self, which: str | int) -> Written: ...

    @overload
    def __getitem__(self, which: slice) -> Sequence[Written]: ...

    def __getitem__(self, which: str | int | slice) -> Written | Sequence[Written]:
        """By its name (what was not written has nothing in it), or by its number."""
        if not isinstance(which, str):
            return self._all[which]
        found = self._named(which)
        if len(found) > 1:
            names = " and ".join(repr(f"{one.store}.{which}") for one in found)
            raise ConfigurationError(f"several stores have {which!r}: say {names}.")
        return found[0] if found else Written(which)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return "<Changes: not looked at yet>" if self._found is None else f"<Changes:\n{self.listed()}>"


def compared(
    name: str, then: Mapping[Any, Any], now: Mapping[Any, Any], *, kind: str, row: Callable[[Any, Any], Row]
) -> Written:
    """What was written to something whose entries are all in memory.

    Parameters:
        then, now: What is compared, by its key.
        row: What is shown of a key and its value.
    """
    inserted = [row(key, now[key]) for key in now if key not in then]
    updated = [
        (row(key, then[key]), row(key, now[key])) for key in now if key in then and then[key] != now[key]
    ]
    deleted = [row(key, then[key]) for key in then if key not in now]
    more = tuple(max(0, len(rows) - KEPT) for rows in (inserted, updated, deleted))
    return Written(name, inserted[:KEPT], updated[:KEPT], deleted[:KEPT], kind, more=more)  # type: ignore[arg-type]


def _listed(one: Written, *, is_alone: bool) -> Iterator[str]:
    """The lines about one table."""
    name = one.name if one.name.isprintable() else repr(one.name)
    whose = "" if is_alone else f" of store {one.store!r}"
    ways = zip(one.numbers, ("inserted", "updated", "deleted"), strict=True)
    said = one.remark or ", ".join(f"{number} {way}" for number, way in ways if number)
    yield _cut(f'  {one.kind} "{_cut(name, _VALUE)}"{whose}: {said}', _WIDTH)
    hides = one.kind != "table" and _SECRET.search(one.name) is not None
    lines = [f"+ {_shown(row, hides)}" for row in one.inserted[:_ROWS]]
    lines += [f"~ {_changed(*pair, one.key, hides)}" for pair in one.updated[:_ROWS]]
    lines += [f"- {_shown(row, hides)}" for row in one.deleted[:_ROWS]]
    for line in lines[:_ROWS]:
        yield f"    {_cut(line, _WIDTH)}"
    if (left := sum(one.numbers) - len(lines[:_ROWS])) > 0 and not one.remark:
        yield f"    ... and {left} more"


def _changed(then: Row, now: Row, key: Sequence[str], hides: bool) -> str:
    """What an update has changed, behind the key of the row."""
    names = [name for name in now if name not in then or then[name] != now[name]] or list(now)
    changes = (
        f"{name!r}: {_value(name, then.get(name), hides)} -> {_value(name, now[name], hides)}"
        for name in names
    )
    which = {name: now[name] for name in key if name in now}
    return f"{_shown(which, hides)} {', '.join(changes)}" if which else ", ".join(changes)


def _shown(row: Row, hides: bool) -> str:
    return f"{{{', '.join(f'{name!r}: {_value(name, value, hides)}' for name, value in row.items())}}}"


def _value(name: object, value: Any, hides: bool = False) -> str:
    """A value, cut to a length, and left out if its name is that of a secret."""
    if hides or _SECRET.search(str(name)):
        return "***"
    if isinstance(value, Mapping):
        return _cut(_shown(value, hides=False), 2 * _VALUE)
    if isinstance(value, list | tuple):
        return _cut(f"[{', '.join(_value('', one) for one in value[: _ROWS * 2])}]", 2 * _VALUE)
    try:
        if isinstance(value, str | bytes) and len(value) > _VALUE:
            return f"{_masked(value[:_VALUE])}... ({len(value)} long)"
        return _cut(_masked(value), 2 * _VALUE)
    except Exception:  # a repr of the user's
        return f"<{type(value).__name__}>"


def _masked(value: Any) -> str:
    """Without the secrets that a text of names and values has: JSON, a URL, a header."""
    return _ASSIGNED.sub(r"\1***", redacted(repr(value)))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
