"""Integration tests on real stores: schema once per run, data given back after every test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .context import test_database, uses_database
from .database import Database
from .errors import (
    ConfigurationError,
    LateWriteWarning,
    LeakError,
    LeakWarning,
    OpenTransactionError,
    ProteanTestingError,
    ScopeError,
    StoreError,
    UnsafeStoreError,
)
from .hooks import Hook
from .store import EMPTY, Mark, Store
from .stores.memory import CallableStore
from .testcase import AsyncDatabaseTestCase, DatabaseTestCase

if TYPE_CHECKING:
    from .stores.redis import RedisStore as RedisStore
    from .stores.sqlalchemy import SQLAlchemyStore as SQLAlchemyStore

__all__ = [
    "EMPTY",
    "AsyncDatabaseTestCase",
    "CallableStore",
    "ConfigurationError",
    "Database",
    "DatabaseTestCase",
    "Hook",
    "LateWriteWarning",
    "LeakError",
    "LeakWarning",
    "Mark",
    "OpenTransactionError",
    "ProteanTestingError",
    "ScopeError",
    "Store",
    "StoreError",
    "UnsafeStoreError",
    "test_database",
    "uses_database",
]

_OPTIONAL = {"SQLAlchemyStore": ("sqlalchemy", "sqlalchemy"), "RedisStore": ("redis", "redis")}


def __getattr__(name: str) -> Any:
    """The stores that need another package are imported when they are first asked for."""
    if name not in _OPTIONAL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _OPTIONAL[name]
    from importlib import import_module

    try:
        return getattr(import_module(f".stores.{module}", __name__), name)
    except ImportError as error:
        raise ImportError(
            f'{name} needs a package that is not installed: {error}.\npip install "protean-testing[{extra}]"'
        ) from error
