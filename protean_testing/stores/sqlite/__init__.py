"""SQLite: in memory that all connections share, in a file, or in an application's private memory."""

from .backend import SQLiteBackend

__all__ = ["SQLiteBackend"]
