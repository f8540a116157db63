"""Connect to a Message DB as a role that may delete messages, with our own settings and time limits."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigurationError
from ..driver_errors import said
from ..sql.urls import parsed_url


def connected(name: str, given: str, wait: float, place: str) -> Any:
    """A new connection.

    Parameters:
        name: The store's.
        given: Its URL.
        wait: Seconds to wait for the server.
        place: The URL for messages.

    Raises:
        ConfigurationError: It cannot be reached.
    """
    from ..postgresql.connection import connect, patience_for, psycopg

    url = parsed_url(given)
    patience = patience_for(url, wait)
    try:
        connection = connect(url, patience)
        connection.execute(
            "SET search_path = pg_catalog; SET synchronous_commit = off; SET lock_timeout = '10s'; "
            "SET default_transaction_isolation = 'read committed'"
        )
        patience.answered()
        return connection
    except psycopg.Error as error:
        text = said(error, given)
    raise ConfigurationError(f"store {name!r} cannot be reached at {place}: {text}")
