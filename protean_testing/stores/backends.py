"""Choose the backend of a SQL database by its dialect, and import no other."""

from __future__ import annotations

from .keeper import Database, Keeper


def backend_for(database: Database) -> Keeper:
    """Return the one that restores a database of this dialect; any dialect has the generic one."""
    match database.url.get_backend_name():
        case "sqlite":
            from .sqlite import SQLiteKeeper

            return SQLiteKeeper(database)
        case "postgresql":
            from .postgresql import PostgreSQLKeeper

            return PostgreSQLKeeper(database)
        case _:
            from .generic import GenericKeeper

            return GenericKeeper(database)
