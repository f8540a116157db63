"""Integration tests on real stores: schema once per run, data restored after every test."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .blocks import end_run, test_database, uses_database
from .changes import Changes, Written
from .database import Database
from .errors import (
    ConfigurationError,
    LateWriteWarning,
    LeakError,
    LeakWarning,
    LostStoreError,
    OpenTransactionError,
    ProteanTestingError,
    ScopeError,
    StoreError,
    UnsafeStoreError,
)
from .hooks import Hook
from .store import EMPTY, Snapshot, Store
from .stores.callable import CallableStore
from .testcase import AsyncDatabaseTestCase, DatabaseTestCase

if TYPE_CHECKING:
    from .stores.message_db.store import MessageDBStore
    from .stores.redis import RedisStore
    from .stores.sql.alembic import alembic
    from .stores.sql.store import SQLAlchemyStore

__all__ = [
    "EMPTY",
    "AsyncDatabaseTestCase",
    "CallableStore",
    "Changes",
    "ConfigurationError",
    "Database",
    "DatabaseTestCase",
    "Hook",
    "LateWriteWarning",
    "LeakError",
    "LeakWarning",
    "LostStoreError",
    "OpenTransactionError",
    "ProteanTestingError",
    "ScopeError",
    "Snapshot",
    "Store",
    "StoreError",
    "UnsafeStoreError",
    "Written",
    "end_run",
    "test_database",
    "uses_database",
]

# Each needs a package of its own, so it is imported when it is first asked for.
_OPTIONAL = {
    "MessageDBStore": ("message_db.store", "postgresql"),
    "RedisStore": ("redis", "redis"),
    "SQLAlchemyStore": ("sql.store", "sqlalchemy"),
    "alembic": ("sql.alembic", "sqlalchemy"),
}

# What belongs to a framework or runner is imported from its own module.
_ELSEWHERE = {
    "AsyncDomainTestCase": "domain",
    "DatabaseFixture": "runners.fixtures",
    "DatabaseLayer": "runners.layers",
    "DatabaseResource": "runners.testresources",
    "DjangoTestCase": "django",
    "DomainTestCase": "domain",
    "StoreConformance": "conformance",
    "database_fixture": "runners.pytest",
    "django_database": "django",
    "domain_fixture": "runners.pytest",
    "test_domain": "domain",
    "uses_domain": "domain",
}

# `import *` asks for all of them.
if find_spec("psycopg") is not None:
    __all__ += ["MessageDBStore"]
if find_spec("redis") is not None:
    __all__ += ["RedisStore"]
if find_spec("sqlalchemy") is not None:
    __all__ += ["SQLAlchemyStore"]
if find_spec("alembic") is not None:
    __all__ += ["alembic"]


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        raise ImportError(
            f"{name} has a module of its own. Write:  from {__name__}.{_ELSEWHERE[name]} import {name}"
        )
    if name not in _OPTIONAL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _OPTIONAL[name]
    try:
        return getattr(import_module(f".stores.{module}", __name__), name)
    except ImportError as error:
        raise ImportError(
            f'{name} needs a package that is not installed: {error}.\npip install "protean-testing[{extra}]"'
        ) from error
