"""Alembic's migrations by the project's own env.py, in the store's database and in no other."""

from __future__ import annotations

import asyncio
import logging.config
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, event

from ...errors import ConfigurationError
from .source import Location, Source
from .urls import async_url, readable, shown, sync_url

try:
    from alembic import command
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
except ImportError as missing:
    raise ConfigurationError("alembic(...) needs Alembic. Install it with: pip install alembic") from missing

_URL = "sqlalchemy.url"


@dataclass(frozen=True)
class Migrations(Source):
    """See `alembic`."""

    path: str
    revision: str
    section: str

    @property
    def inputs(self) -> tuple[str, ...]:
        with _same_process():
            script = self._script(self._config())
        places = (script.dir, *(script.version_locations or ()))
        return self.path, *dict.fromkeys(os.path.abspath(place) for place in places)

    def make(self, name: str, handle: Location) -> None:
        config = self._config()
        with _same_process():
            env = Path(self._script(config).dir, "env.py")
            is_async = env.exists() and "async_engine" in env.read_text(encoding="utf-8")
            config.url = readable((async_url if is_async else sync_url)(handle.url)).replace("%", "%%")
            config.set_main_option(_URL, config.url)
            with self._only_there(name, handle) as threads, handle.engine().connect() as connection:
                config.attributes["connection"] = connection

                def upgrade() -> None:
                    threads.add(get_ident())
                    command.upgrade(config, self.revision)

                _without_loop(upgrade)
                connection.commit()

    def differences(self, engine: Engine, metadata: Iterable[MetaData]) -> list[str]:
        given = list(metadata)
        schemas = {table.schema for one in given for table in one.tables.values()}
        options = {
            "include_schemas": schemas > {None},
            "include_name": lambda name, kind, parents: kind != "schema" or name in schemas,
        }
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts=options)
            return [_line(one) for found in compare_metadata(context, given) for one in _each(found)]  # type: ignore[arg-type]

    def _config(self) -> _Config:
        config = _Config(self.path, ini_section=self.section)
        # Flask-Migrate's file lies among its migrations.
        where = config.get_main_option("script_location") or ""
        beside = Path(self.path).parent / where
        if ":" not in where and not os.path.isabs(where) and not (where and os.path.isdir(where)):
            if beside.joinpath("" if where else "env.py").exists():
                # Alembic itself looks in the current directory, which may be another one.
                config.set_main_option("script_location", str(beside).replace("%", "%%"))
        return config

    def _script(self, config: Config) -> ScriptDirectory:
        try:
            return ScriptDirectory.from_config(config)
        except CommandError as error:
            raise ConfigurationError(f"{self!r}: {error}") from None

    @contextmanager
    def _only_there(self, name: str, handle: Location) -> Iterator[set[int]]:
        """Refuse to go on where env.py connects to another database; dispose the engines that it leaves.

        What other threads connect to is theirs. Yields the set that is to hold the thread which runs env.py.
        """
        engines: dict[Engine, None] = {}
        threads: set[int] = set()

        def see(connection: Connection) -> None:
            engine = connection.engine
            if get_ident() not in threads:
                return
            if not handle.is_at(engine):
                engine.dispose()
                raise ConfigurationError(
                    f"store {name!r}: env.py of {self!r} connects to {shown(engine.url)}, which is not the "
                    "store's database. Nothing was done there.\nTake the URL from the configuration there:  "
                    'config.get_main_option("sqlalchemy.url")  or the connection:  '
                    'config.attributes["connection"]'
                )
            if not handle.has(engine):
                engines[engine] = None

        event.listen(Engine, "engine_connect", see)
        try:
            yield threads
        finally:
            event.remove(Engine, "engine_connect", see)
            for engine in engines:
                engine.dispose(close=not engine.dialect.is_async)  # its event loop is over

    def __repr__(self) -> str:
        return f"alembic({os.path.relpath(self.path)!r})"


def alembic(
    config: str | os.PathLike[str] = "alembic.ini", *, revision: str = "head", section: str = "alembic"
) -> Source:
    """The schema is what Alembic's migrations make: ``SQLAlchemyStore(schema=alembic("alembic.ini"))``.

    The project's own env.py is run, in this process: with the store's URL in place of ``sqlalchemy.url``, and
    a connection in ``config.attributes["connection"]`` for one that takes it. Where it connects to another
    database all the same, nothing is run.

    Parameters:
        config: The path of ``alembic.ini``.
        revision: Where to upgrade to; ``"heads"`` if there are several.
        section: The section of the file.

    Raises:
        ConfigurationError: There is no such file, or no migrations where it says.
    """
    path = os.path.abspath(config)
    if not os.path.isfile(path):
        raise ConfigurationError(
            f"alembic({os.fspath(config)!r}): there is no such file in {Path.cwd()}. Beside a module it is  "
            f"alembic(Path(__file__).with_name({os.path.basename(path)!r}))"
        )
    found = Migrations(path, revision, section)
    found.inputs  # noqa: B018  # says what is wrong, if something is
    return found


class _Config(Config):
    """A configuration whose URL stays the store's, whatever env.py sets."""

    url = ""

    def set_section_option(self, section: str, name: str, value: str) -> None:
        super().set_section_option(section, name, self.url if name == _URL and self.url else value)


@contextmanager
def _same_process() -> Iterator[None]:
    """Keep what env.py and Alembic change for a program of their own: the path, and all logging."""
    path, configure = sys.path[:], logging.config.fileConfig
    logging.config.fileConfig = lambda *arguments, **options: None
    try:
        yield
    finally:
        sys.path[:], logging.config.fileConfig = path, configure


def _without_loop(call: Any) -> None:
    """In a thread of its own where an event loop runs: an async env.py begins one."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is None:
        call()
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(call).result()


def _each(found: Any) -> list[Any]:
    """Changes of one column come in a list."""
    return found if isinstance(found, list) else [found]


def _line(difference: Any) -> str:
    """One difference: ``add column orders.total``, ``modify type orders.total: INTEGER() -> TEXT()``."""
    kind, *rest = difference
    said = kind.replace("_", " ")
    if kind.startswith("modify"):
        schema, table, column, _, there, wanted = rest
        return f"{said} {'.'.join(filter(None, (schema, table, column)))}: {there!r} -> {wanted!r}"
    if kind.endswith("column"):
        schema, table, column = rest
        return f"{said} {'.'.join(filter(None, (schema, table, column.name)))}"
    what = rest[0]
    on = getattr(getattr(what, "table", None), "fullname", "")
    return f"{said} {getattr(what, 'fullname', None) or what.name or ''}{f' on {on}' if on else ''}"
