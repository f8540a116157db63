"""Where a process has the database that a URL gives: there, or in a worker at a place of its own."""

from __future__ import annotations

import os
from collections.abc import Hashable

from sqlalchemy import URL

from ...ownership.marker import RUN
from ...workers import Worker, worker
from .worker_database import Own, derived_name, worker_database_name

_SERVER = ("host", "hostaddr", "port", "service", "unix_socket", "read_default_file", "read_default_group")
_given: dict[Hashable, URL] = {}
_owns: dict[Hashable, Own] = {}  # one for each place, whoever asks
os.register_at_fork(after_in_child=_owns.clear)


def worker_url(url: URL) -> URL:
    """Where this process has the database that `url` gives: there, or in a worker at a place of its own."""
    me = worker()
    if me is None or _key(url) in _given or not url.database or me.has(url.database):
        return url
    match url.get_backend_name():
        case "postgresql" | "mysql" | "mariadb":
            own = url.set(database=worker_database_name(url.database, me))
        case "sqlite":
            from ..sqlite.worker_file import worker_file

            own = worker_file(url, me)
        case _:
            return url
    if own != url:
        _given[_key(own)] = url
    return own


def empty_url(url: URL) -> URL:
    """Where this process has an empty database beside `url`, of PostgreSQL or MySQL, for itself alone."""
    me = worker() or Worker(RUN[:10], "run", os.getpid())
    own = url.set(database=derived_name(str(url.database), me.run, f"{me.label}_empty"))
    if _key(own) not in _owns:
        _owns[_key(own)] = _own(url, own, me, empty=True)
    return own


def worker_database_of(url: URL) -> Own | None:
    """This process's own database at `url`; None if a database was given that is used as it is."""
    if _key(url) in _owns:
        return _owns[_key(url)]
    given, me = _given.get(_key(url)), worker()
    if given is None or me is None:
        return None
    return _owns.setdefault(_key(url), _own(given, url, me))


def _own(given: URL, url: URL, me: Worker, *, empty: bool = False) -> Own:
    match given.get_backend_name():
        case "postgresql":
            from ..postgresql.empty import Empty
            from ..postgresql.worker_database import Clone

            return (Empty if empty else Clone)(given, str(url.database), me)
        case "sqlite":
            from ..sqlite.worker_file import WorkerFile

            return WorkerFile(given, url)
        case _:
            from ..generic.worker_database import WorkerDatabase

            return WorkerDatabase(given, url)


def _key(url: URL) -> Hashable:
    """A server may be told by the query as well: ``?host=/run/postgresql``, ``?port=5433``."""
    handle = {name: url.query[name] for name in _SERVER if name in url.query}
    return (url.get_backend_name(), url.host, url.port, url.database, tuple(sorted(handle.items())))
