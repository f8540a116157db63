"""Everything that is in a database, and what its server knows beside: for `verify`."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from .connection import Wire
from .values import Values


def look(wire: Wire, values: Values) -> dict[str, list[Any]]:
    """Keys, functions, settings and users. Keys with a time to live are left out: they go by themselves."""
    held = values.read(values.names())
    found: dict[str, list[Any]] = {
        f"key {name!r}": [value.payload] for name, value in held.items() if value.expiry is None
    }
    functions, settings, users = wire.attempt(("FUNCTION", "LIST"), ("CONFIG", "GET", "*"), ("ACL", "LIST"))
    for library in _allowed(functions):
        found[f"library of functions {library[1]!r}"] = [repr(library)]
    pairs = _allowed(settings)
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        found[f"setting {name.decode()}"] = [value]
    for user in _allowed(users):
        found[f"user {user.split()[1]!r}"] = [user]
    return found


def _allowed(reply: Any) -> list[Any]:
    """Nothing if the server does not know the command, or our user may not say it."""
    return [] if isinstance(reply, ResponseError) else list(reply)
