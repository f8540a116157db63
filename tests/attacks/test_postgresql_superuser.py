"""Attacks on a database of a superuser, on PostgreSQL 18."""

from __future__ import annotations

from .postgresql import EveryRole, PostgreSQLAttackTestCase


class SuperuserTests(EveryRole, PostgreSQLAttackTestCase):
    pass
