"""One snapshot of a database: an image, and the tables that differ from it."""

from __future__ import annotations

from dataclasses import dataclass

from .image import Image
from .rows import IMAGE, Rows, Tables, quoted


@dataclass(eq=False)
class Snapshot:
    """What was in a database at one moment.

    Attributes:
        image: A copy of all that was there then, or at an older moment.
        tables: Those of the schema.
        layers: The tables whose rows are not those of the image, and where they are; None if it had no rows.
        header: What an application may write into the database's header.
        before: The snapshot which the database was known to be like until this one was taken.
        written: The tables that had changed since then; None if that is not known.
    """

    image: Image
    tables: Tables
    layers: dict[str, str | None]
    header: tuple[int, ...]
    before: Snapshot | None = None
    written: frozenset[str] | None = None
    rows: Rows | None = None

    @property
    def filled(self) -> dict[str, str]:
        """The tables that held rows, and where these are."""
        sources = {name: f"{IMAGE}.{quoted(name)}" for name in self.image.filled} | self.layers
        return {name: source for name, source in sources.items() if source}

    def written_since(self, older: Snapshot) -> set[str] | None:
        """The tables that differ between the two, or may; None if that is not known."""
        found: set[str] = set()
        one: Snapshot | None = self
        while one is not older:
            if one is None or one.written is None:
                return None
            found |= one.written
            one = one.before
        return found
