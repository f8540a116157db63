"""A role without superuser, as which tests connect to a private PostgreSQL server."""

from __future__ import annotations

from sqlalchemy import text

from ...errors import ConfigurationError
from .handle import DatabaseHandle

declared: set[str] = set()
"""Those of all stores that were made in this process: what makes a schema may grant to each of them."""


def make_roles(own: str, store: str, handle: DatabaseHandle) -> None:
    """Make the store's own role, and those that the schema may speak of."""
    is_private = handle.private and handle.url.get_backend_name() == "postgresql"
    for role in sorted(declared if is_private else {own} - {""}):
        make_role(role, store, handle)


def make_role(role: str, store: str, handle: DatabaseHandle) -> None:
    """Make the role on the server, unless it is there.

    Raises:
        ConfigurationError: It is a superuser, or this is no private PostgreSQL server.
    """
    if not handle.private or handle.url.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"store {store!r}: role={role!r} is for a private PostgreSQL server, not {handle.shown}.\n"
            'Let the store say  dialect="postgresql",  or give a URL with that role in place of role='
        )
    engine = handle.engine()
    name = engine.dialect.identifier_preparer.quote_identifier(role)
    with engine.begin() as connection:
        known = text("SELECT rolsuper FROM pg_roles WHERE rolname = :role")
        is_superuser = connection.scalar(known, {"role": role})
        if is_superuser:
            raise ConfigurationError(
                f"store {store!r}: role={role!r} is a superuser, whom nothing is forbidden. Name another one."
            )
        if is_superuser is None:
            connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
    handle.roles.add(role)
