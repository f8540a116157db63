"""What was written to keys, with their values: dumps are compared, and read as what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from redis.exceptions import ResponseError

from ...changes import KEPT, Written, compared
from .connection import Command, Wire
from .values import Value

_LARGEST = 1_000_000
"""Bytes of a dump that is read."""

_LOOKED_AT = b"protean_testing:look"
"""A key that is there within one transaction, so that nobody sees it: it shows what another one held."""

_KINDS = {
    "string": (0,),
    "list": (1, 10, 14, 18),
    "set": (2, 11, 20),
    "sorted set": (3, 5, 12, 17),
    "hash": (4, 9, 13, 16, 22, 23, 24, 25),
    "stream": (15, 19, 21),
}
_KIND_OF = {byte: kind for kind, bytes_ in _KINDS.items() for byte in bytes_}
"""By the first byte of a dump."""

_READ: dict[str, tuple[Any, ...]] = {
    "string": ("GET",),
    "list": ("LRANGE", 0, -1),
    "set": ("SMEMBERS",),
    "sorted set": ("ZRANGE", 0, -1, "WITHSCORES"),
    "hash": ("HGETALL",),
    "stream": ("XRANGE", "-", "+"),
}


def differences(
    wire: Wire, prefix: bytes, pairs: Mapping[bytes, tuple[Value | None, Value | None]]
) -> Iterator[Written]:
    """What was written to each key; of a stream the entries are compared.

    Parameters:
        prefix: Of the keys that are ours.
        pairs: What each held, and holds; another value.
    """
    some = dict(list(pairs.items())[:KEPT])
    now = _held(wire, {name: value for name, (_, value) in some.items() if value}, None)
    then = _held(wire, {name: value for name, (value, _) in some.items() if value}, prefix + _LOOKED_AT)
    for name, (before, after) in pairs.items():
        shown = name.decode(errors="backslashreplace")
        old, new = (_or_size(held.get(name), value) for held, value in ((then, before), (now, after)))
        if all(value is None or _kind(value) == "stream" for value in (before, after)) and name in some:
            entries = old or {}, new or {}
            if all(isinstance(one, dict) for one in entries):
                yield compared(shown, *entries, kind="stream", row=lambda key, row: {"id": key, **row})
                continue
        rows = [{"value": value} for value in (old, new)]
        if before and after and old == new:
            rows = [{**row, "expiry": one.expiry} for row, one in zip(rows, (before, after), strict=True)]
        yield Written(
            shown,
            [rows[1]] if before is None else [],
            [(rows[0], rows[1])] if before and after else [],
            [rows[0]] if after is None else [],
            kind="key",
        )


def _kind(value: Value) -> str | None:
    return _KIND_OF.get(value.payload[0])


def _or_size(held: Any, value: Value | None) -> Any:
    return f"<{len(value.payload)} bytes>" if held is None and value else held


def _held(wire: Wire, values: Mapping[bytes, Value], other: bytes | None) -> dict[bytes, Any]:
    """What keys hold, as Python has it.

    Parameters:
        values: Their dumps.
        other: A key to read the dumps by; None: the keys themselves hold them.
    """
    names = [name for name, value in values.items() if _kind(value) and len(value.payload) <= _LARGEST]
    commands: list[Command] = []
    for name in names:
        verb, *rest = _READ[_kind(values[name]) or ""]
        if other is None:
            commands.append((verb, name, *rest))
        else:
            restore = ("RESTORE", other, 0, values[name].payload, "REPLACE")
            commands += [("MULTI",), restore, (verb, other, *rest), ("UNLINK", other), ("EXEC",)]
    replies = wire.attempt(*commands) if commands else []
    if other is not None:
        replies = [done if isinstance(done, ResponseError) else done[1] for done in replies[4::5]]
    return {
        name: _read(_kind(values[name]) or "", reply)
        for name, reply in zip(names, replies, strict=True)
        if not isinstance(reply, ResponseError) and reply is not None
    }


def _read(kind: str, reply: Any) -> Any:
    match kind:
        case "list":
            return [_text(one) for one in reply]
        case "set":
            return sorted(map(_text, reply), key=str)
        case "sorted set":
            return {_text(name): float(score) for name, score in zip(reply[::2], reply[1::2], strict=True)}
        case "hash":
            return _fields(reply)
        case "stream":
            return {_text(number): _fields(fields or ()) for number, fields in reply}
    return _text(reply)


def _fields(flat: Any) -> dict[Any, Any]:
    return dict(zip(map(_text, flat[::2]), map(_text, flat[1::2]), strict=True))


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
