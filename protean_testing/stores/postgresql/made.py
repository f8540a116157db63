"""Find out what making a schema made, by comparing what is there before and after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...ownership import Marker
from . import content, fingerprint
from .catalogs import Address
from .connection import Connection


class Made:
    """What is there before more is made. Whatever comes after that was made by what makes the schema."""

    def __init__(self, connection: Connection) -> None:
        self._present = fingerprint.present(connection)
        self._versions = content.versions(connection)

    def added_to(self, marker: Marker, connection: Connection, *, adopted: bool) -> Marker:
        """The marker with what was made since.

        If migrations have moved a database on that was migrated before, nothing is added: dropping it would
        leave a database that says it has what it has not.
        """
        moved_on = not self._versions.items() <= content.versions(connection).items()
        if moved_on and not adopted:
            return marker
        there = fingerprint.present(connection)
        made = {f"{classid}:{objid}" for classid, objid in there - self._present}
        there_now = {f"{classid}:{objid}" for classid, objid in there}
        return replace(marker, made=frozenset(marker.made & there_now | made))


def moved(marker: Marker, pairs: Mapping[Address, Address]) -> Marker:
    """The marker where what was at the first address is at the second one: it was made again."""
    keys = {f"{was[0]}:{was[1]}": f"{at[0]}:{at[1]}" for was, at in pairs.items()}
    made, there = (frozenset(keys.get(key, key) for key in found) for found in (marker.made, marker.before))
    return replace(marker, made=made, before=there)
