"""Small things that new users met."""

from __future__ import annotations

import http.client
import unittest
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import urlsplit

from sqlalchemy import Column, Integer, MetaData, Table

from protean_testing import CallableStore, ConfigurationError, DatabaseTestCase, test_database


@lru_cache
def settings() -> list[int]:
    return []


class CallableStoreTests(unittest.TestCase):
    def test_a_cached_function_is_emptied(self) -> None:
        store = CallableStore(settings)
        self.assertEqual(store.name, "settings")
        with test_database(store):
            settings().append(1)
        self.assertEqual(settings(), [])

    def test_a_class_that_is_cleared_by_its_name(self) -> None:
        class Registry:
            names: ClassVar[list[str]] = []

            @classmethod
            def clear(cls) -> None:
                cls.names.clear()

        with test_database(CallableStore(Registry)):  # type: ignore[arg-type]
            Registry.names.append("one")
        self.assertEqual(Registry.names, [])

    def test_what_nobody_can_clear_is_refused_by_name_when_it_is_made(self) -> None:
        @dataclass
        class Basket:
            size: int = 0

        for thing, named in ((Basket(), "Basket"), ("cache", "str"), ((1, 2), "tuple"), (Basket, "Basket")):
            with self.subTest(named), self.assertRaisesRegex(ConfigurationError, f"cannot clear a .*{named}"):
                CallableStore(thing)  # type: ignore[arg-type]


def one(name: str) -> MetaData:
    metadata = MetaData()
    Table(name, metadata, Column("id", Integer, primary_key=True))
    return metadata


class SeveralMetadataTests(DatabaseTestCase):
    metadata = (one("orders"), one("stock"))

    def test_each_has_a_name_to_ask_for(self) -> None:
        self.assertEqual([store.name for store in self.db.stores], ["database", "database_2"])
        with self.db.store("database_2").engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO stock (id) VALUES (1)")


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class ChunkedRequestTests(unittest.TestCase):
    def test_a_body_in_chunks_is_decoded(self) -> None:
        def chunks() -> Iterator[bytes]:
            yield b"one,"
            yield b"two" * 1000

        with test_database(CallableStore({})) as db:
            where = urlsplit(db.serve(echo).url)
            connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=20)
            self.addCleanup(connection.close)
            connection.request("POST", "/", body=chunks())
            self.assertEqual(connection.getresponse().read(), b"one," + b"two" * 1000)
