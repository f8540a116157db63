"""A PostgreSQL server that writes down what is created and dropped in it, and a given database there."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar

import psycopg

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql

from .suite import SuiteTestCase


class ServerLogTestCase(SuiteTestCase):
    """Has a server for the class, and in it for each test an empty database ``shop_test``, the given one."""

    server: ClassVar[PrivatePostgreSQL]
    settings: ClassVar[dict[str, str]] = {}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_postgresql(settings={"log_statement": "ddl", **cls.settings})
        cls.addClassCleanup(cls.server.stop)

    def setUp(self) -> None:
        super().setUp()
        self.url = self.server.create_database("shop_test")
        self.addCleanup(self.server.drop_database, "shop_test")
        self.state = self.enterContext(tempfile.TemporaryDirectory(prefix="state_"))
        self.statements()

    def environment(self, **variables: str) -> dict[str, str]:
        ours = {"TEST_DB": "postgresql", "DATABASE_URL": self.url, "PROTEAN_TESTING_STATE": self.state}
        return super().environment(**{**ours, **variables})

    def statements(self) -> Counter[str]:
        """How often the server was told to create or drop what, since the last call. A table by its name."""
        text = self.server.log.read_text()
        new, self._read = text[getattr(self, "_read", 0) :], len(text)
        what = r"statement:\s+(?:(CREATE TABLE \w+)|((?:CREATE|DROP) DATABASE))"
        return Counter(table or database for table, database in re.findall(what, new))

    def databases(self) -> list[str]:
        """Those beside the given one and the server's own."""
        query = (
            "SELECT datname FROM pg_database WHERE datname !~ '^(postgres|template.|shop_test)$' ORDER BY 1"
        )
        with psycopg.connect(self.server.url().replace("+psycopg", "")) as connection:
            return [name for (name,) in connection.execute(query)]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What a query finds in the given database."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            found = connection.execute(query.encode())
            return found.fetchall() if found.description else []

    def tables(self) -> list[object]:
        """The tables of the given database, ours too."""
        return [
            name
            for (name,) in self.rows(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384 ORDER BY 1"
            )
        ]

    def files(self) -> list[str]:
        """The records of who uses what."""
        return sorted(path.name for path in Path(self.state).iterdir())
