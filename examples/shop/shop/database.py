"""The shop's own engine and Redis client, made by `configure`, and its transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

from .errors import ChangedMeanwhile, NotConfigured

if TYPE_CHECKING:
    from redis import Redis

_engine: Engine | None = None
_redis: "Redis | None" = None


def configure(database_url: str, redis_url: str | None = None) -> None:
    """Open the shop on a database, and on a Redis where its events and its dashboard are wanted."""
    global _engine, _redis
    close()
    _engine = create_engine(database_url)
    if _engine.dialect.name == "sqlite":
        prepare_sqlite(_engine)
    if redis_url is not None:
        from redis import Redis  # here: who wants none starts quicker

        _redis = Redis.from_url(redis_url, decode_responses=True)


def close() -> None:
    """Give back every connection."""
    global _engine, _redis
    if _engine is not None:
        _engine.dispose()
    if _redis is not None:
        _redis.close()
    _engine = _redis = None


def engine() -> Engine:
    if _engine is None:
        raise NotConfigured("call shop.configure(database_url) first")
    return _engine


def redis() -> Any:  # its own types leave open whether it answers with str or bytes
    if _redis is None:
        raise NotConfigured("call shop.configure(database_url, redis_url) first")
    return _redis


_sessions = sessionmaker(expire_on_commit=False)


@contextmanager
def reading() -> Iterator[Session]:
    """A session to look at things."""
    with _sessions(bind=engine()) as session:
        yield session


@contextmanager
def transaction() -> Iterator[Session]:
    """A session whose changes are committed at the end, or rolled back where something is raised."""
    with _sessions(bind=engine().execution_options(shop_writes=True)) as session:
        try:
            with session.begin():
                yield session
        except StaleDataError as error:
            raise ChangedMeanwhile("it was changed by somebody else; read it again") from error


def prepare_sqlite(engine: Engine) -> None:
    """Foreign keys on; who is going to write waits for the other writer at once, not in the middle."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's BEGIN below, not the driver's
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA busy_timeout = 30000")  # milliseconds
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("shop_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
