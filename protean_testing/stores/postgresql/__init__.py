"""PostgreSQL 15 and later, through psycopg 3."""

from __future__ import annotations

from .backend import PostgreSQLBackend

__all__ = ["PostgreSQLBackend"]
