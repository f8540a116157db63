# ruff: noqa: E501 -- lines of the suites that are written here
"""A role without superuser for row level security and grants; ids that begin elsewhere in each table."""

from __future__ import annotations

from .mariadb_server import MariaDB
from .suite import MODELS, SuiteTestCase

POLICIES = """
CREATE TABLE notes (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, tenant text NOT NULL, body text);
CREATE TABLE secrets (id int);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (tenant = current_setting('app.tenant', true));
GRANT SELECT, INSERT ON notes TO app;
"""

ROLES = """
import unittest
from pathlib import Path
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from protean_testing import AsyncDatabaseTestCase, DatabaseTestCase, SQLAlchemyStore

SCHEMA = Path(__file__).with_name("policies.sql")

class AppTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=SCHEMA, dialect="postgresql", role="app", on_leak="fail")]

    def insert(self, tenant):
        with self.db.session() as session:
            session.execute(text("SELECT set_config('app.tenant', :t, true)"), {"t": tenant})
            session.execute(text("INSERT INTO notes (tenant) VALUES (:t)"), {"t": tenant})
            found = session.execute(text("SELECT id, tenant FROM notes")).all()
            session.commit()
        return found

    def check(self):
        self.assertEqual(self.insert("one"), [(1, "one")])
        self.assertEqual(self.insert("two"), [(2, "two")])
        with self.engine.connect() as connection, self.assertRaisesRegex(ProgrammingError, "permission denied"):
            connection.execute(text("SELECT * FROM secrets"))
        self.assertEqual(self.db.connect().execute("SELECT session_user, count(*) FROM notes").fetchone(), ("app", 0))
        self.assertIn("//app@", self.database_url)
    test_1 = test_2 = check

class AdministratorTests(DatabaseTestCase):
    '''The same schema, seen by its owner.'''
    stores = [SQLAlchemyStore(schema=SCHEMA, dialect="postgresql")]
    def test_it(self):
        with self.engine.begin() as connection:
            connection.execute(text("INSERT INTO notes (tenant) VALUES ('one'), ('two')"))
            self.assertEqual(connection.scalar(text("SELECT count(*) FROM notes")), 2)

class ReaderTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(schema=SCHEMA, dialect="postgresql", role="reader")]
    def test_it(self):
        with self.engine.connect() as connection, self.assertRaisesRegex(ProgrammingError, "permission denied"):
            connection.execute(text("SELECT * FROM notes"))

class AsyncTests(AsyncDatabaseTestCase):
    stores = [SQLAlchemyStore(schema=SCHEMA, dialect="postgresql", role="app")]
    async def test_it(self):
        async with self.db.async_session() as session:
            self.assertEqual(await session.scalar(text("SELECT session_user")), "app")
        connection = await self.db.async_connect()
        self.assertEqual(await (await connection.execute("SELECT session_user")).fetchone(), ("app",))
"""

IDS = """
import sqlalchemy as sa
metadata = sa.MetaData()
for name in ("orders", "customers"):
    sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer),
             sqlite_autoincrement=True)
sa.Table("small", metadata, sa.Column("id", sa.SmallInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
         sa.Column("n", sa.Integer), sqlite_autoincrement=True)

class IdTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(metadata, stagger=True, **WHERE)]
    def ids(self):
        with self.engine.begin() as connection:
            return [connection.execute(table.insert().values(n=1)).inserted_primary_key[0]
                    for table in metadata.sorted_tables]
    def check(self):
        self.assertEqual(self.ids(), [1001, 2001, 3001])
        self.assertEqual(self.ids(), [1002, 2002, 3002])
    test_1 = test_2 = check

    def test_a_schema_that_a_test_has_broken(self):
        with self.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE orders"))
"""


class RoleTests(SuiteTestCase):
    def test_policies_and_grants_hold(self) -> None:
        self.write("policies.sql", POLICIES)
        self.write("test_it.py", ROLES)
        self.assertPassed(self.unittest("test_it"), tests=5)

    def test_what_cannot_be_is_refused(self) -> None:
        for arguments, says in {
            "role='app'": 'Let the store say  dialect="postgresql"',
            "role='postgres', dialect='postgresql'": "is a superuser, whom nothing is forbidden",
        }.items():
            source = f"with test_database(SQLAlchemyStore(Base.metadata, {arguments})): pass"
            self.write("it.py", source, before=MODELS)
            self.assertFailed(self.python("it.py"), says)


class StaggerTests(SuiteTestCase):
    def suite(self, where: str = "") -> None:
        self.write("test_it.py", f"WHERE = dict({where})\n{IDS}", before=MODELS)

    def test_sqlite_and_postgresql(self) -> None:
        self.suite()
        for place in ("memory", "sqlite", "postgresql"):
            done = self.unittest("test_it", TEST_DB=place)
            self.assertPassed(done, tests=3)
            self.assertNotIn("no effect", done.err)

    def test_mariadb(self) -> None:
        server = MariaDB()
        self.addCleanup(server.stop)
        self.suite(f"url={server.url('shop_test')!r}")
        self.assertPassed(self.unittest("test_it"), tests=3)

    def test_tables_without_a_counter_are_told(self) -> None:
        source = (
            "with test_database(SQLAlchemyStore(Base.metadata, stagger=True)) as db: print(place(db.engine))"
        )
        self.write("it.py", source, before=MODELS)
        done = self.python("it.py")
        self.assertEqual(done.out, "2001\n")
        self.assertIn("stagger=True of store 'database' has no effect on 'items'", done.err)
        self.assertNotIn("'orders'", done.err)
