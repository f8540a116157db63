"""Choose the backend of a SQL database by its dialect, and import no other."""

from __future__ import annotations

from .backend import Backend, Database


def backend_for(database: Database) -> Backend:
    """Return the one that restores a database of this dialect; any dialect has the generic one."""
    match database.url.get_backend_name():
        case "sqlite":
            from ..sqlite import SQLiteBackend

            return SQLiteBackend(database)
        case "postgresql":
            from ..postgresql import PostgreSQLBackend

            return PostgreSQLBackend(database)
        case _:
            from ..generic.backend import GenericBackend

            return GenericBackend(database)
