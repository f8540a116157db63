"""Attacks on a database of a role that may switch off triggers, on PostgreSQL 15 where that is installed."""

from __future__ import annotations

from ..oracle.postgresql import VERSIONS
from .postgresql import EveryRole, PostgreSQLAttackTestCase


class GrantedTests(EveryRole, PostgreSQLAttackTestCase):
    version, role = VERSIONS[0], "granted"
