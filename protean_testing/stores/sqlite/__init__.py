"""SQLite: in memory that all connections share, in a file, or in an application's private memory."""

from .keeper import SQLiteKeeper

__all__ = ["SQLiteKeeper"]
