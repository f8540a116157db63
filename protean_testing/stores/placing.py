"""Where a process has the database that a URL gives: there, or in a worker at a place of its own."""

from __future__ import annotations

import os
from collections.abc import Hashable

from sqlalchemy import URL

from ..workers import Worker, worker
from .own import Own, own_name

_given: dict[Hashable, URL] = {}
_owns: dict[Hashable, Own] = {}  # one for each place, whoever asks
os.register_at_fork(after_in_child=_owns.clear)


def worker_url(url: URL) -> URL:
    """Where this process has the database that `url` gives: there, or in a worker at a place of its own."""
    me = worker()
    if me is None or _key(url) in _given or not url.database or me.has(url.database):
        return url
    match url.get_backend_name():
        case "postgresql":
            own = url.set(database=own_name(url.database, me))
        case "sqlite":
            from .sqlite.own import own_file

            own = own_file(url, me)
        case _:
            return url
    if own != url:
        _given[_key(own)] = url
    return own


def own_of(url: URL) -> Own | None:
    """This worker's own database at `url`; None where a database was given that is used as it is."""
    given, me = _given.get(_key(url)), worker()
    if given is None or me is None:
        return None
    if _key(url) not in _owns:
        _owns[_key(url)] = _own(given, url, me)
    return _owns[_key(url)]


def _own(given: URL, url: URL, me: Worker) -> Own:
    if url.get_backend_name() == "sqlite":
        from .sqlite.own import OwnFile

        return OwnFile(given, url)
    from .postgresql.cloning import Clone

    return Clone(given, str(url.database), me)


def _key(url: URL) -> Hashable:
    return (url.get_backend_name(), url.host, url.port, url.database)
