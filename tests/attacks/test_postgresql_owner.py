"""Attacks on a database of a plain owner, on PostgreSQL 18."""

from __future__ import annotations

from .postgresql import EveryRole, PostgreSQLAttackTestCase


class OwnerTests(EveryRole, PostgreSQLAttackTestCase):
    role = "owner"
