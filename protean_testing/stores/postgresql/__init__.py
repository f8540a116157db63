"""PostgreSQL 15 and later, through psycopg 3."""

from __future__ import annotations

from .keeper import PostgreSQLKeeper

__all__ = ["PostgreSQLKeeper"]
