"""The longer SQL statements, each in a file of its own."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def text(name: str) -> str:
    """The statement in ``<name>.sql``."""
    return (files(__name__) / f"{name}.sql").read_text(encoding="utf-8")
