"""What every source of a schema can do: make it in a database, and say what it depends on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine, MetaData
    from sqlalchemy.ext.asyncio import AsyncEngine


class Location(Protocol):
    """A database, as what makes its schema sees it: `DatabaseHandle`."""

    url: URL

    def engine(self) -> Engine: ...

    def async_engine(self) -> AsyncEngine: ...

    def is_at(self, engine: Engine) -> bool: ...

    def has(self, engine: Engine) -> bool: ...

    def limited(self) -> AbstractContextManager[None]: ...


class Source(ABC):
    """Knows by itself what the schema is made from; two that are made from the same are equal."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """The files and directories that it depends on."""

    @abstractmethod
    def make(self, name: str, handle: Location) -> None:
        """Make the schema.

        Parameters:
            name: The store's.
            handle: Where to make it.
        """

    def differences(self, engine: Engine, metadata: Iterable[MetaData]) -> list[str] | None:
        """What the models have otherwise than the database, a line each; None if this cannot tell."""
        return None
