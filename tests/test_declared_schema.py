"""The schema is what was declared, in every mode and store, and the user's MetaData stays as it was given."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import ClassVar

from .mariadb_server import MariaDB
from .server_log import ServerLogTestCase

DECLARED = """
import atexit, enum, os, sys, unittest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateSequence, CreateTable
from protean_testing import DatabaseTestCase, SQLAlchemyStore, test_database, uses_database

class Kind(enum.Enum):
    book, toy = "book", "toy"

NAMES = {"ix": "ix_%(column_0_label)s", "uq": "uq_%(table_name)s_%(column_0_name)s",
         "ck": "ck_%(table_name)s_%(constraint_name)s", "pk": "pk_%(table_name)s",
         "fk": "fk_%(table_name)s_%(column_0_name)s"}
metadata = sa.MetaData(naming_convention=NAMES)
numbers = sa.Sequence("numbers", start=7, metadata=metadata)
one = sa.Table(
    "one", metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.String(50), unique=True, comment="where to write"),
    sa.Column("kind", sa.Enum(Kind, native_enum=False, create_constraint=True, name="kind")),
    sa.Column("native", sa.Enum("a", "b", name="letter", create_constraint=True)),
    sa.Column("flag", sa.Boolean(create_constraint=True, name="flag")),
    sa.Column("price", sa.Integer),
    sa.Column("twice", sa.Integer, sa.Computed("price * 2")),
    sa.Column("two_id", sa.Integer, sa.ForeignKey("two.id", use_alter=True)),
    sa.UniqueConstraint("price", "flag"),
    sa.CheckConstraint("email <> ''", name="email"),
    sa.CheckConstraint("price > 0", name="price"),
    sa.Index("ix_price", "price", "flag"),
    comment="a table",
)
two = sa.Table("two", metadata, sa.Column("id", sa.Integer, primary_key=True),
               sa.Column("one_id", sa.ForeignKey("one.id", deferrable=True, initially="DEFERRED")
                         if "MARIA" not in os.environ else sa.ForeignKey("one.id")),
               sa.Column("three_id", sa.ForeignKey("three.id")))
# a cycle that nobody has marked
three = sa.Table("three", metadata, sa.Column("id", sa.Integer, primary_key=True),
                 sa.Column("two_id", sa.ForeignKey("two.id")))
sa.event.listen(one, "after_create", sa.DDL("CREATE INDEX declared ON one (id, price)"))

def text():
    found = []
    for dialect in (postgresql.dialect(), sqlite.dialect(), mysql.dialect()):
        for table in metadata.tables.values():
            found.append(str(CreateTable(table).compile(dialect=dialect)))
            found += sorted(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
            compiler = dialect.ddl_compiler(dialect, None)
            found += [str(compiler.process(one)) for one in table._sorted_constraints
                      if not isinstance(one, sa.PrimaryKeyConstraint)]
        if dialect.supports_sequences:
            found.append(str(CreateSequence(numbers).compile(dialect=dialect)))
    return "\\n".join(found)

BEFORE = text()
assert BEFORE.count("CHECK (price > 0)") == 6, BEFORE   # in its table and alone

def write(*words):
    with open(os.environ["LOG"], "a") as log:
        print(*words, file=log)

@atexit.register
def at_the_end():
    write("the same" if text() == BEFORE else "changed")

WRONG = [
    {"email": "twice"},
    {"kind": "?"},
    {"flag": 5},
    {"price": 0},
    {"email": ""},
    {"native": "?"},
    {"price": 3, "flag": True},
    {"two_id": 99},
]

class Declared:
    def look(self, engine):
        self.assertEqual(text(), BEFORE)
        with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA foreign_keys = ON")
            first = sa.text("INSERT INTO one (email, price, flag) VALUES ('twice', 3, :flag)")
            connection.execute(first, {"flag": True})
        for values in WRONG:
            names = ", ".join(values)
            places = ", ".join(f":{name}" for name in values)
            with self.subTest(values), self.assertRaises(sa.exc.DBAPIError), engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA foreign_keys = ON")
                connection.execute(sa.text(f"INSERT INTO one ({names}) VALUES ({places})"), values)
        inspector = sa.inspect(engine)
        self.assertLessEqual({"ix_price", "declared"}, {one["name"] for one in inspector.get_indexes("one")})
        if engine.dialect.name in ("postgresql", "sqlite"):
            checks = {"ck_one_price", "ck_one_email", "ck_one_kind"}
            checks |= {"ck_one_flag", "ck_one_letter"} if engine.dialect.name == "sqlite" else set()
            self.assertEqual({one["name"] for one in inspector.get_check_constraints("one")}, checks)
        for table, count in (("one", 1), ("two", 2), ("three", 1)):
            self.assertEqual(len(inspector.get_foreign_keys(table)), count, table)
        if engine.dialect.name == "postgresql":
            self.assertEqual(inspector.get_table_comment("one"), {"text": "a table"})
            self.assertIn("numbers", inspector.get_sequence_names())
        write("looked at", engine.url.database)

MADE = os.environ.get("MADE", "SQLAlchemyStore(metadata)")

class DeclaredTests(DatabaseTestCase, Declared):
    stores = [eval(MADE)]
    def test_1(self): self.look(self.db.engine)
    def test_2(self): self.look(self.db.engine)
    def test_3_breaks_it(self):
        if "BREAK" in os.environ:
            with self.db.engine.begin() as connection:
                connection.exec_driver_sql(os.environ["BREAK"])
    def test_4(self): self.look(self.db.engine)

class BlockTests(unittest.TestCase, Declared):
    def test_block(self):
        with test_database(eval(MADE)) as db:
            self.look(db.engine)
"""
TESTS = 5

DJANGO = """
import os, sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=[], TEST_RUNNER="protean_testing.django.Runner",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    if "START_METHOD" in os.environ:
        import multiprocessing
        multiprocessing.set_start_method(os.environ["START_METHOD"])
    execute_from_command_line(sys.argv)
"""


class DeclaredSchemaTests(ServerLogTestCase):
    maria: ClassVar[MariaDB]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.maria = MariaDB()
        cls.addClassCleanup(cls.maria.stop)

    def setUp(self) -> None:
        super().setUp()
        self.write("test_declared.py", DECLARED)

    def assertDeclared(self, *command: str, times: int = 4, ends: int = 1, **variables: str) -> list[str]:
        """A run sees every constraint, and says at its end that the MetaData is as it was."""
        outcome = self.python(*(command or ("-m", "unittest", "test_declared")), **variables)
        self.assertEqual(outcome.code, 0, outcome.out + outcome.err)
        self.assertEqual(outcome.count("the same"), ends, outcome.log)
        looked = [line for line in outcome.log if line.startswith("looked at")]
        self.assertEqual(len(looked), times, outcome.log)
        self.assertEqual(outcome.count("changed"), 0)
        return looked

    def everywhere(self) -> dict[str, dict[str, str]]:
        return {
            "PostgreSQL": {},
            "SQLite file": {"TEST_DB": "sqlite", "DATABASE_URL": f"sqlite:///{self.directory}/shop_test.db"},
            "SQLite in memory": {"TEST_DB": "memory", "DATABASE_URL": ""},
            "MariaDB": {
                "MARIA": self.maria.create("shop_test"),
                "MADE": "SQLAlchemyStore(metadata, url=os.environ['MARIA'])",
            },
        }

    def test_alone_as_a_worker_and_kept(self) -> None:
        for store, variables in self.everywhere().items():
            with self.subTest(store):
                self.assertDeclared(**variables)
            if store == "MariaDB":
                continue
            with self.subTest(store, mode="worker"):
                (where, *_) = self.assertDeclared(PROTEAN_TESTING_WORKER="1", **variables)
                self.assertEqual("_protean_testing_" in where, store != "SQLite in memory", where)
            for time in (1, 2):
                with self.subTest(store, mode="kept", time=time):
                    self.assertDeclared(PROTEAN_TESTING_KEEP="1", **variables)
            with self.subTest(store, mode="kept by a worker"):
                for _ in range(2):
                    self.assertDeclared(PROTEAN_TESTING_KEEP="1", PROTEAN_TESTING_WORKER="1", **variables)

    def test_ways_of_a_store(self) -> None:
        for made in (
            "reset='generic'",
            "verify=True",
            "unsafe=True",
            "engine=lambda: sa.create_engine(URL)",
        ):
            variables = {"MADE": f"SQLAlchemyStore(metadata, {made})".replace("URL", repr(self.url))}
            for keep in ("", "1", "1"):
                with self.subTest(made, keep=keep):
                    self.assertDeclared(PROTEAN_TESTING_KEEP=keep, **variables)
            self.assertDeclared(**variables)

    def test_made_again(self) -> None:
        """A test has broken it."""
        for store, variables in self.everywhere().items():
            how = "DROP TABLE three" + " CASCADE" * (store == "PostgreSQL")
            if store != "MariaDB":
                with self.subTest(store):
                    self.assertDeclared(BREAK=how, **variables)

    def test_adopted(self) -> None:
        self.write(
            "make.py",
            "import os, test_declared as t\n"
            "t.metadata.create_all(t.sa.create_engine(os.environ['DATABASE_URL']))\n"
            "os._exit(0)",
        )
        self.assertEqual(self.python("make.py").code, 0)
        self.assertDeclared(MADE="SQLAlchemyStore(metadata, adopt=True)")
        self.assertDeclared(MADE="SQLAlchemyStore(metadata, adopt=True)", PROTEAN_TESTING_WORKER="1")

    def test_workers_of_runners(self) -> None:
        self.write("manage.py", DJANGO)
        options = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-n", "2")
        with self.subTest("xdist"):
            self.assertDeclared("-m", "pytest", *options, "test_declared.py", ends=2)
        for method in ("fork", "spawn"):
            with self.subTest("Django", method=method):
                command = ("manage.py", "test", "--parallel", "2", "--noinput", "test_declared")
                outcome = self.python(*command, START_METHOD=method)
                self.assertEqual(outcome.code, 0, outcome.err)
                self.assertEqual(len([line for line in outcome.log if "_protean_testing_" in line]), 4)
        with self.subTest("unittest-parallel"):
            outcome = self.python("-m", "unittest_parallel", "-j", "2", "-s", ".", "-p", "test_declared.py")
            self.assertEqual(outcome.code, 0, outcome.err)
            self.assertEqual(len([line for line in outcome.log if "_protean_testing_" in line]), 4)
        self.assertEqual(self.databases(), [])

    def test_a_schema_that_an_older_version_kept(self) -> None:
        """Its digest is no longer the one of today, so it is made anew."""
        self.assertDeclared(PROTEAN_TESTING_KEEP="1")
        self.rows("ALTER TABLE one DROP CONSTRAINT ck_one_price")
        self.assertDeclared(PROTEAN_TESTING_KEEP="1")
        self.rows("UPDATE protean_testing.ready SET definition = 'older'")
        self.statements()
        self.assertDeclared(PROTEAN_TESTING_KEEP="1")
        self.assertEqual(self.statements()["CREATE TABLE one"], 1)
        file = self.directory / "shop_test.db"
        self.assertDeclared(TEST_DB="sqlite", DATABASE_URL=f"sqlite:///{file}", PROTEAN_TESTING_KEEP="1")
        with closing(sqlite3.connect(file)) as connection:
            (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'one'").fetchone()
        for part in ("uq_one_email", "ck_one_price", "ck_one_kind", "ck_one_flag", "fk_one_two_id"):
            self.assertIn(part, sql)
