"""Servers that a run is given, and what their own logs say of it."""

from __future__ import annotations

import re
from collections import Counter

import psycopg
import redis

from protean_testing.servers.postgresql import start_postgresql
from protean_testing.servers.redis import start_redis

EVERYTHING = {"log_statement": "all", "log_line_prefix": "%d "}
DONE = {
    "create": re.compile(r"^\s+CREATE TABLE orders \(", re.MULTILINE),
    "drop": re.compile(r"DROP table IF EXISTS .*public\.orders"),
    "reset": re.compile(r"SELECT protean_testing\.reset\(\$1"),
    "create database": re.compile(r"LOG:  statement: CREATE DATABASE "),
    "drop database": re.compile(r"LOG:  statement: DROP DATABASE "),
}

THINGS = {
    "database": "SELECT datname FROM pg_database WHERE datname !~ '^(postgres|template|shop_test$)'",
    "schema": "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information|public)'",
    "table": "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    "role": "SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres)'",
    "event trigger": "SELECT evtname FROM pg_event_trigger",
}


class Servers:
    """A PostgreSQL and a Redis with an empty database for the runs, which they must leave empty.

    Attributes:
        variables: What a run must find in its environment to use them.
    """

    def __init__(self) -> None:
        self._postgresql, self._redis = start_postgresql(settings=EVERYTHING), start_redis()
        self._url = self._postgresql.create_database("shop_test")
        self.variables = {
            "TEST_INFRA": "full",
            "DATABASE_URL": self._url,
            "REDIS_URL": self._redis.url(1),
        }
        self._read = 0
        self.counted()

    def counted(self) -> Counter[str]:
        """How often PostgreSQL was told to do what, by its own log, since the last call."""
        with self._postgresql.log.open(errors="replace") as log:
            log.seek(self._read)
            text = log.read()
            self._read = log.tell()
        return Counter({name: len(pattern.findall(text)) for name, pattern in DONE.items()})

    def left(self) -> list[str]:
        """What is in them that was not in the beginning."""
        found = []
        with psycopg.connect(self._url.replace("+psycopg", "")) as connection:
            for kind, query in THINGS.items():
                found += [f"{kind} {name}" for (name,) in connection.execute(query)]  # type: ignore[call-overload]
        with redis.Redis.from_url(self._redis.url()) as client:
            found += [f"keys in Redis: {name}" for name in client.info("keyspace")]
        return found

    def stop(self) -> None:
        self._postgresql.stop()
        self._redis.stop()
