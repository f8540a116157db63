"""An empty database of this run's own, on the server of a given one."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import URL, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ..errors import ConfigurationError


def empty_beside(url: URL) -> tuple[URL, Callable[[], None]]:
    """Create the database ``<name>_empty`` beside `url`; one that is there is used, if its keeper allows.

    Returns:
        Its URL, and what drops it at the end. One that is neither new nor left by a run of ours stays.

    Raises:
        ConfigurationError: The role may not create databases.
    """
    beside = url.set(database=f"{url.database}_empty")
    if url.get_backend_name() == "sqlite":
        return beside, lambda: None  # a file comes and goes with its keeper
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = engine.dialect.identifier_preparer.quote_identifier(str(beside.database))
    force = " WITH (FORCE)" if engine.dialect.name == "postgresql" else ""

    def drop() -> None:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name}{force}"))

    if _is_there(beside):
        return beside, drop if _left_over(beside) else lambda: None
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except DBAPIError as error:
        raise ConfigurationError(
            f"a store with empty=True needs a database of its own, and {name} could not be created: "
            f"{type(error.orig).__name__}.\nLet the role create databases, or give that store its own url=."
        ) from None
    return beside, drop


def _is_there(url: URL) -> bool:
    try:
        create_engine(url, poolclass=NullPool).connect().close()
    except DBAPIError:
        return False
    return True


def _left_over(url: URL) -> bool:
    """Whether a run of ours has marked it."""
    inspector = inspect(create_engine(url, poolclass=NullPool))
    return "protean_testing" in inspector.get_schema_names() or inspector.has_table("protean_testing")
