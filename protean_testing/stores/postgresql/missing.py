"""A given database that is not there: created for the run, and dropped with it if it is as it was created."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from typing import Any

from sqlalchemy import URL

from ...errors import ConfigurationError
from ...ownership import is_test_name
from ..sql.urls import shown
from .administration import Administration
from .connection import connect, patience_for, psycopg, quoted
from .likeness import digest

_MARK = "made by protean_testing: "


class Missing:
    """See `missing`.

    Parameters:
        url: Where it was expected.
        store: What messages call the store.
    """

    def __init__(self, url: URL, store: str) -> None:
        self._url, self._name, self._store = url, str(url.database), store

    def create(self) -> None:
        """Create it, and write down in it that it is ours.

        Raises:
            StoreError: It cannot be created.
        """
        administration = Administration(self._url, self._store)
        with closing(administration), administration.translating("create the database of"):
            with suppress(psycopg.errors.DuplicateDatabase):
                administration.create(self._name, like="")
                administration.write_comment(self._name, _facts(administration, self._name))


def missing(url: URL, store: str) -> Missing | None:
    """What creates the database of `url`; None if it is there, or the server cannot be reached.

    Raises:
        ConfigurationError: It is not there, and is not to be created or cannot be.
    """
    administration, name = Administration(url, store), str(url.database)
    with closing(administration):
        try:
            if administration.is_there(name):
                return None
            may, role = administration.row(
                "SELECT rolsuper OR rolcreatedb, rolname FROM pg_roles WHERE rolname = current_user"
            )
        except psycopg.Error:
            return None
    if may and is_test_name(name):
        return Missing(url, store)
    options = {"-h": url.host or url.query.get("host"), "-p": url.port or url.query.get("port")}
    options["-U"] = url.username
    command = " ".join(["createdb", *(f"{one} {value}" for one, value in options.items() if value), name])
    allow = f"\nOr let it be created for the run:  ALTER ROLE {quoted(role)} CREATEDB"
    raise ConfigurationError(
        f"store {store!r}: there is no database {name!r} on the server ({shown(url)}).\nCreate it:  {command}"
        f"{allow if not may else ''}"
    )


def is_created(url: URL) -> bool:
    """Whether the comment on the database says that a run has created it."""
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    with suppress(psycopg.Error), connect(url, patience_for(url)) as connection:
        found = connection.execute(query).fetchone()
        return found is not None and str(found[0]).startswith(_MARK)
    return False


def drop_created(url: URL, store: str) -> None:
    """Drop the database if it is this very one that a run has created, and holds what it held then."""
    administration, name = Administration(url, store), str(url.database)
    with closing(administration), suppress(psycopg.Error, ValueError):
        if administration.comment(name) == _facts(administration, name):
            administration.drop(name)


def _facts(administration: Administration, name: str) -> str:
    """Name this very database, which no copy of it is, and what it holds."""
    server: Any = None
    with suppress(psycopg.errors.InsufficientPrivilege):
        server = administration.row("SELECT system_identifier::text FROM pg_control_system()")[0]
    oid = administration.row("SELECT oid::text FROM pg_database WHERE datname = %s", name)[0]
    return _MARK + json.dumps([server, oid, digest(administration.content(name))])
