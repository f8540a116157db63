# ruff: noqa: E501 -- lines of the suites that are written here
"""After any change of what makes it, a kept schema is made anew, or it was not kept, saying why."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from .server_log import ServerLogTestCase
from .suite import Outcome, SuiteTestCase

COMMON = """
import enum, os, sqlite3, subprocess, sys
import sqlalchemy as sa
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from protean_testing import AsyncDatabaseTestCase, DatabaseTestCase, SQLAlchemyStore

HERE = Path(__file__).parent
plain_make = SQLAlchemyStore.make

def log(*words):
    with open(os.environ["LOG"], "a") as file:
        print(*words, file=file)

def make(self):
    log("made", self.name)
    plain_make(self)

SQLAlchemyStore.make = make

def seed(engine, *values):
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE seed (value varchar(99))"))
        for value in values:
            connection.execute(sa.text("INSERT INTO seed VALUES (:value)"), {"value": str(value)})

def table(*columns, name="one", **options):
    metadata = sa.MetaData(**options)
    sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)
    return metadata

def store(name, *args, **options):
    return SQLAlchemyStore(*args, name=name, url=os.environ["PLACE"].replace("NAME", name), **options)

class Case(DatabaseTestCase):
    def look(self):
        engine, name = self.db.engine, self.db.stores[0].name
        inspector, found = sa.inspect(engine), []
        for one in sorted(inspector.get_table_names()):
            found.append((one, [(c["name"], str(c["type"]), c["nullable"], c["default"], c.get("comment"),
                                 str(c.get("computed"))) for c in inspector.get_columns(one)]))
            found += [repr(sorted(map(repr, ask(one)))) for ask in (
                inspector.get_indexes, inspector.get_unique_constraints, inspector.get_check_constraints,
                inspector.get_foreign_keys)] + [inspector.get_pk_constraint(one)["name"]]
        if engine.dialect.name == "postgresql":
            found += inspector.get_enums() + inspector.get_sequence_names()
        with engine.begin() as connection:
            if inspector.has_table("seed"):
                found += list(map(str, connection.execute(sa.text("SELECT value FROM seed ORDER BY 1"))))
        log("value", name, repr(found))
"""

Change = Callable[[Path], None]


@dataclass
class Kind:
    """A kind of change.

    Attributes:
        source: The test module: what it declares is `it`.
        change: What is changed: a text of the module and another one, or what a function does to the directory.
        keeps: Whether the schema is kept while nothing changes; else it says why not.
        files: What else is there in the beginning.
        dialect: The only one on which the change makes a difference.
    """

    source: str
    change: tuple[str, str] | Change
    keeps: bool = True
    files: dict[str, str] = field(default_factory=dict)
    dialect: str = ""


def written(name: str, text: str) -> Change:
    def change(directory: Path) -> None:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)

    return change


def removed(name: str) -> Change:
    return lambda directory: (directory / name).unlink()


def of_sqlite(name: str, value: str) -> Change:
    def change(directory: Path) -> None:
        with closing(sqlite3.connect(directory / name)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS seeds (value)")
            connection.execute("INSERT INTO seeds VALUES (?)", (value,))

    return change


def linked(name: str, to: str) -> Change:
    def change(directory: Path) -> None:
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to(directory / to)

    return change


LISTENS = """
metadata = table()
def listener(target, connection, **options):
    connection.execute(sa.text("CREATE TABLE seed (value varchar(99))"))
    connection.execute(sa.text("INSERT INTO seed VALUES (:value)"), {"value": VALUE})
"""
READS = "def make(engine): seed(engine, (HERE / 'NAME.txt').read_text())\n"
EACH = """
def make(engine):
    seed(engine, *[file.read_text() for file in sorted((HERE / 'NAME').rglob('*.sql'))])
"""

KINDS: dict[str, Kind] = {
    # What metadata creates
    "column": Kind("it = store(NAME, table())", ("table()", 'table(sa.Column("more", sa.Integer))')),
    "length": Kind('it = store(NAME, table(sa.Column("a", sa.String(5))))', ("5", "6")),
    "kind": Kind('it = store(NAME, table(sa.Column("a", sa.Integer)))', ("Integer", "Float")),
    "nullable": Kind('it = store(NAME, table(sa.Column("a", sa.Integer, nullable=True)))', ("True", "False")),
    "default": Kind(
        'it = store(NAME, table(sa.Column("a", sa.Integer, server_default="1")))', ('"1"', '"2"')
    ),
    "unique": Kind('it = store(NAME, table(sa.Column("a", sa.Integer, unique=False)))', ("False", "True")),
    "check": Kind('it = store(NAME, table(sa.CheckConstraint("id > 0", name="c")))', ("> 0", "> 1")),
    "enum": Kind(
        'it = store(NAME, table(sa.Column("a", sa.Enum("x", "y", name="e", create_constraint=True))))',
        ('"y"', '"z"'),
    ),
    "enum_class": Kind(
        "class Kind(enum.Enum):\n    x = 1\n    y = 2\n"
        'it = store(NAME, table(sa.Column("a", sa.Enum(Kind, name="e", create_constraint=True))))',
        ("y = 2", "z = 2"),
    ),
    "index": Kind('it = store(NAME, table(sa.Column("a", sa.Integer, index=False)))', ("False", "True")),
    "foreign_key": Kind(
        'it = store(NAME, table(sa.Column("a", sa.ForeignKey("one.id", ondelete="CASCADE"))))',
        ("CASCADE", "SET NULL"),
    ),
    "table": Kind('it = store(NAME, table(name="one"))', ('"one"', '"two"')),
    "names": Kind(
        'it = store(NAME, table(naming_convention={"pk": "pk_%(table_name)s"}))', ("pk_%", "primary_%")
    ),
    "computed": Kind(
        'it = store(NAME, table(sa.Column("a", sa.Integer, sa.Computed("id * 2"))))', ("2", "3")
    ),
    "comment": Kind(
        'it = store(NAME, table(sa.Column("a", sa.Integer, comment="x")))',
        ('"x"', '"y"'),
        dialect="postgresql",
    ),
    "sequence": Kind(
        'metadata = table()\nsa.Sequence("x", metadata=metadata)\nit = store(NAME, metadata)',
        ('"x"', '"y"'),
        dialect="postgresql",
    ),
    "ddl": Kind(
        'metadata = table()\nsa.event.listen(metadata, "after_create", sa.DDL("CREATE INDEX i ON one (id)"))\n'
        "it = store(NAME, metadata)",
        ("INDEX i", "INDEX j"),
    ),
    "ddl_context": Kind(
        "metadata = table()\n"
        'sa.event.listen(metadata.tables["one"], "after_create",\n'
        '                sa.DDL("CREATE INDEX %(name)s ON %(table)s (id)", context={"name": "i"}))\n'
        "it = store(NAME, metadata)",
        ('"i"', '"j"'),
    ),
    "ddl_condition": Kind(
        'metadata = table()\nddl = sa.DDL("CREATE INDEX i ON one (id)").execute_if(dialect=("sqlite", "postgresql"))\n'
        'sa.event.listen(metadata, "after_create", ddl)\nit = store(NAME, metadata)',
        ('("sqlite", "postgresql")', '"mysql"'),
    ),
    "imported": Kind(
        'import NAME_models as models\nit = store(NAME, table(sa.Column("a", sa.String(models.LENGTH))))',
        written("NAME_models.py", "LENGTH = 66\n"),
        files={"NAME_models.py": "LENGTH = 5\n"},
    ),
    # What listens to that
    "listener_file": Kind(
        "VALUE = (HERE / 'NAME.txt').read_text()"
        + LISTENS
        + 'sa.event.listen(metadata, "after_create", listener)\n'
        "it = store(NAME, metadata)",
        written("NAME.txt", "two"),
        keeps=False,
        files={"NAME.txt": "one"},
    ),
    "listener_constant": Kind(
        "from NAME_more import VALUE" + LISTENS + 'sa.event.listen(metadata, "after_create", listener)\n'
        "it = store(NAME, metadata)",
        written("NAME_more.py", "VALUE = 22\n"),
        keeps=False,
        files={"NAME_more.py": "VALUE = 1\n"},
    ),
    "listener_partial": Kind(
        "metadata = table()\ndef listener(value, target, connection, **options):\n"
        '    connection.execute(sa.text(f"CREATE INDEX {value} ON one (id)"))\n'
        'sa.event.listen(metadata.tables["one"], "after_create", partial(listener, "i"))\nit = store(NAME, metadata)',
        ('"i"', '"j"'),
        keeps=False,
    ),
    "listener_once": Kind(
        "VALUE = 1" + LISTENS + 'sa.event.listen(metadata, "before_create", listener, once=True)\n'
        "it = store(NAME, metadata)",
        ("VALUE = 1", "VALUE = 22"),
        keeps=False,
    ),
    "listener_condition": Kind(
        "YES = True\nmetadata = table()\n"
        'ddl = sa.DDL("CREATE INDEX i ON one (id)").execute_if(callable_=lambda *args, **options: YES)\n'
        'sa.event.listen(metadata, "after_create", ddl)\nit = store(NAME, metadata)',
        ("YES = True", "YES = False"),
        keeps=False,
    ),
    "index_condition": Kind(
        "YES = True\nmetadata = table()\nindex = sa.Index('i', metadata.tables['one'].c.id)\n"
        "index.ddl_if(callable_=lambda *args, **options: YES)\nit = store(NAME, metadata)",
        ("YES = True", "YES = False"),
        keeps=False,
    ),
    "create_all": Kind(
        "class Mine(sa.MetaData):\n    def create_all(self, bind, **options):\n        super().create_all(bind)\n"
        "        bind.execute(sa.text('CREATE INDEX i ON one (id)'))\n"
        "metadata = table().tables['one'].to_metadata(Mine()).metadata\nit = store(NAME, metadata)",
        ("INDEX i", "INDEX j"),
        keeps=False,
    ),
    "listener_inputs": Kind(
        "VALUE = (HERE / 'NAME.txt').read_text()"
        + LISTENS
        + 'sa.event.listen(metadata, "after_create", listener)\n'
        "it = store(NAME, metadata, inputs=[HERE / 'NAME.txt'])",
        written("NAME.txt", "two"),
        files={"NAME.txt": "one"},
    ),
    # A callable that declares nothing
    "partial": Kind(
        'def upgrade(value, engine): seed(engine, value)\nit = store(NAME, schema=partial(upgrade, "one"))',
        ('"one"', '"two"'),
        keeps=False,
    ),
    "closure": Kind(
        "def to(value):\n    def make(engine): seed(engine, value)\n    return make\n"
        'it = store(NAME, schema=to("one"))',
        ('"one"', '"two"'),
        keeps=False,
    ),
    "method": Kind(
        "class Migrator:\n    def __init__(self, value): self.value = value\n"
        '    def run(self, engine): seed(engine, self.value)\nit = store(NAME, schema=Migrator("one").run)',
        ('"one"', '"two"'),
        keeps=False,
    ),
    "new_file": Kind(
        "def make(engine):\n    path = HERE / 'NAME.txt'\n"
        "    seed(engine, path.read_text() if path.exists() else '')\nit = store(NAME, schema=make)",
        written("NAME.txt", "two"),
        keeps=False,
    ),
    "seed_database": Kind(
        "def make(engine):\n    found = sqlite3.connect(HERE / 'NAME.seed').execute('SELECT value FROM seeds')\n"
        "    seed(engine, *[value for (value,) in found])\nit = store(NAME, schema=make)",
        of_sqlite("NAME.seed", "two"),
        keeps=False,
    ),
    "forked": Kind(
        "def make(engine):\n    told, tell = os.pipe()\n    if not os.fork():\n"
        "        os.write(tell, (HERE / 'NAME.txt').read_bytes()); os._exit(0)\n"
        "    seed(engine, os.read(told, 99).decode())\nit = store(NAME, schema=make)",
        written("NAME.txt", "two"),
        keeps=False,
        files={"NAME.txt": "one"},
    ),
    "program": Kind(
        "def make(engine):\n    command = [sys.executable, '-c', 'print(open(\"NAME.txt\").read())']\n"
        "    seed(engine, subprocess.run(command, capture_output=True).stdout)\nit = store(NAME, schema=make)",
        written("NAME.txt", "two"),
        keeps=False,
        files={"NAME.txt": "one"},
    ),
    "below_test": Kind(
        "sys.path.insert(0, str(HERE / 'test'))\nimport NAME_project\nit = store(NAME, schema=NAME_project.make)",
        written("test/NAME_more.py", "VALUE = 22\n"),
        keeps=False,
        files={
            "test/NAME_project.py": "from case_common import seed\nimport NAME_more\n"
            "def make(engine): seed(engine, NAME_more.VALUE)\n",
            "test/NAME_more.py": "VALUE = 1\n",
        },
    ),
    "lambda": Kind(
        'it = store(NAME, schema=lambda engine: seed(engine, "one"))', ('"one"', '"two"'), keeps=False
    ),
    # What is declared
    "helper": Kind(
        'def helper(): return "one"\ndef make(engine): seed(engine, helper())\nit = store(NAME, schema=make, inputs=[])',
        ('"one"', '"two"'),
    ),
    "file": Kind(
        READS + "it = store(NAME, schema=make, inputs=[HERE / 'NAME.txt'])",
        written("NAME.txt", "two"),
        files={"NAME.txt": "one"},
    ),
    "one_path": Kind(
        READS + "it = store(NAME, schema=make, inputs='NAME.txt')",
        written("NAME.txt", "two"),
        files={"NAME.txt": "one"},
    ),
    "directory": Kind(
        EACH + "it = store(NAME, schema=make, inputs=['NAME/'])",
        written("NAME/1.sql", "two"),
        files={"NAME/1.sql": "one"},
    ),
    "one_more": Kind(
        EACH + "it = store(NAME, schema=make, inputs=['NAME/'])",
        written("NAME/2.sql", "two"),
        files={"NAME/1.sql": "one"},
    ),
    "one_less": Kind(
        EACH + "it = store(NAME, schema=make, inputs=[HERE / 'NAME'])",
        removed("NAME/2.sql"),
        files={"NAME/1.sql": "one", "NAME/2.sql": "two"},
    ),
    "deep": Kind(
        EACH + "it = store(NAME, schema=make, inputs=['NAME'])",
        written("NAME/a/b/3.sql", "three"),
        files={"NAME/a/b/1.sql": "one"},
    ),
    "renamed": Kind(
        "def make(engine): seed(engine, *[file.name for file in (HERE / 'NAME').iterdir()])\n"
        "it = store(NAME, schema=make, inputs=['NAME'])",
        lambda directory: (directory / "renamed/1.sql").rename(directory / "renamed/2.sql") and None,
        files={"NAME/1.sql": "one"},
    ),
    "link": Kind(
        "def make(engine): seed(engine, (HERE / 'NAME.link').read_text())\n"
        "it = store(NAME, schema=make, inputs=[HERE / 'NAME.link'])",
        linked("NAME.link", "NAME.2"),
        files={"NAME.1": "one", "NAME.2": "two"},
    ),
    "linked_directory": Kind(
        "def make(engine): seed(engine, (HERE / 'NAME/inner/1').read_text())\n"
        "it = store(NAME, schema=make, inputs=['NAME'])",
        written("NAME_behind/1", "two"),
        files={"NAME_behind/1": "one", "NAME/0": ""},
    ),
    "value": Kind(
        "VALUE = 'one'\ndef make(engine): seed(engine, os.environ.get('SEED_OF_KEPT', ''))\n"
        "it = store(NAME, schema=make, inputs=[os.environ.get('SEED_OF_KEPT', '')])",
        lambda directory: None,  # see the variables of the last run
    ),
    "later": Kind(
        "def make(engine):\n    path = HERE / 'NAME.txt'\n"
        "    seed(engine, path.read_text() if path.exists() else '')\n"
        "it = store(NAME, schema=make, inputs=[HERE / 'NAME.txt'])",
        written("NAME.txt", "two"),
    ),
    "not_there": Kind(
        "def make(engine):\n    path = HERE / 'NAME.txt'\n"
        "    seed(engine, path.read_text() if path.exists() else '')\n"
        "it = store(NAME, schema=make, inputs=['NAME.txt'])",
        written("NAME.txt", "two"),
        keeps=False,
    ),
    "database_file": Kind(
        "def make(engine):\n    found = sqlite3.connect(HERE / 'NAME.seed').execute('SELECT value FROM seeds')\n"
        "    seed(engine, *[value for (value,) in found])\nit = store(NAME, schema=make, inputs=['NAME.seed'])",
        of_sqlite("NAME.seed", "two"),
    ),
    "partial_declared": Kind(
        "def upgrade(value, engine): seed(engine, value)\nfrom NAME_more import VALUE\n"
        "it = store(NAME, schema=partial(upgrade, VALUE), inputs=[])",
        written("NAME_more.py", "VALUE = 'two'\n"),
        files={"NAME_more.py": "VALUE = 'one'\n"},
    ),
    "closure_declared": Kind(
        "from NAME_more import VALUE\n"
        "def to(value):\n    def make(engine): seed(engine, value)\n    return make\n"
        "it = store(NAME, schema=to(VALUE), inputs=[])",
        written("NAME_more.py", "VALUE = ['two']\n"),
        files={"NAME_more.py": "VALUE = ['one']\n"},
    ),
    "method_declared": Kind(
        "from NAME_more import VALUE\n"
        "class Migrator:\n    def __init__(self, value): self.value = value\n"
        "    def run(self, engine): seed(engine, self.value)\n"
        "it = store(NAME, schema=Migrator({'to': (VALUE, 1)}).run, inputs=[])",
        written("NAME_more.py", "VALUE = 'two'\n"),
        files={"NAME_more.py": "VALUE = 'one'\n"},
    ),
    "default_declared": Kind(
        "from NAME_more import VALUE\ndef make(engine, *, value=VALUE): seed(engine, value)\n"
        "def once(engine): make(engine)\n"
        "it = store(NAME, schema=partial(lambda engine, make: make(engine), make=make), inputs=[])",
        written("NAME_more.py", "VALUE = 'two'\n"),
        files={"NAME_more.py": "VALUE = 'one'\n"},
    ),
    "unclear": Kind(
        "class Thing:\n    __slots__ = ('value',)\nthing = Thing()\nthing.value = 'one'\n"
        "def make(thing, engine): seed(engine, thing.value)\n"
        "it = store(NAME, schema=partial(make, thing), inputs=[])",
        ("'one'", "'two'"),
        keeps=False,
    ),
    "async": Kind(
        "async def make(engine):\n    async with engine.begin() as connection:\n"
        "        await connection.execute(sa.text('CREATE TABLE ' + (HERE / 'NAME.txt').read_text() + ' (a int)'))\n"
        "it = store(NAME, schema=make, inputs=['NAME.txt'])",
        written("NAME.txt", "two"),
        files={"NAME.txt": "one"},
    ),
}

BEGIN: dict[str, Change] = {
    "link": linked("link.link", "link.1"),
    "linked_directory": linked("linked_directory/inner", "linked_directory_behind"),
    "seed_database": of_sqlite("seed_database.seed", "one"),
    "database_file": of_sqlite("database_file.seed", "one"),
}


class Changes(SuiteTestCase):
    """All kinds at once, in a database each: a run, the same again, and one after each was changed."""

    dialect = "sqlite"
    kinds = KINDS

    def location(self) -> str:
        return f"sqlite:///{self.directory}/NAME_test.db"

    def write_cases(self) -> None:
        self.write("case_common.py", COMMON)
        for name, kind in self.kinds.items():
            head = f"from case_common import *\nNAME = {name!r}\n"
            tail = "\nclass Tests(Case):\n    stores = [it]\n    def test_it(self): self.look()\n"
            self.write(
                f"test_{name}.py",
                head + kind.source.replace("NAME", name).replace(f"({name}", "(NAME") + tail,
            )
            for file, text in kind.files.items():
                self.write(file.replace("NAME", name), text.replace("NAME", name))
            BEGIN.get(name, lambda directory: None)(self.directory)

    def change(self, name: str, kind: Kind) -> None:
        if callable(kind.change):
            kind.change(_Named(self.directory, name))  # type: ignore[arg-type]
            return
        file, (old, new) = self.directory / f"test_{name}.py", kind.change
        self.assertIn(old, file.read_text(), name)
        file.write_text(file.read_text().replace(old, new))

    def run_all(self, **variables: str) -> Outcome:
        outcome = self.unittest(
            "discover", PLACE=self.location(), PROTEAN_TESTING_KEEP="1", timeout=300, **variables
        )
        self.assertPassed(outcome, len(self.kinds))
        return outcome

    def test_all(self) -> None:
        self.write_cases()
        first = self.run_all()
        again = self.run_all()
        for name, kind in self.kinds.items():
            self.change(name, kind)
        last = self.run_all(SEED_OF_KEPT="two")
        self.assertGreaterEqual(len(KINDS), 41)
        for name, kind in self.kinds.items():
            with self.subTest(name):
                self.assertEqual(first.count(f"made {name}"), 1)
                self.assertEqual(again.count(f"made {name}"), int(not kind.keeps))
                self.assertEqual(value(again, name), value(first, name))
                if kind.dialect in ("", self.dialect):
                    self.assertEqual(last.count(f"made {name}"), 1)
                    self.assertNotEqual(value(last, name), value(first, name))
                for outcome in (first, again):
                    said = outcome.err.count(f"the schema of store '{name}' is not kept for the next run: ")
                    self.assertEqual(said, int(not kind.keeps), outcome.err)
        for text in (
            "NotKeptWarning: the schema of store 'partial' is not kept for the next run: "
            "schema=partial(upgrade, ...) may read anything. Declare what it is made from, files, directories or "
            "values, and it is kept until one of them changes:  "
            'SQLAlchemyStore(schema=partial(upgrade, ...), inputs=["migrations/"])',
            "listener listens to the creation of metadata and may do anything",
            "inputs= names 'not_there.txt', and there is no file or directory",
            "partial(make, ...) is bound to a Thing that nothing tells from another one in the next process",
        ):
            if self.kinds is KINDS:
                self.assertIn(text, first.err)


class _Named:
    """A directory in which NAME stands for a kind's name."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name

    def __truediv__(self, name: str) -> Path:
        return self._directory / name.replace("NAME", self._name)


def value(outcome: Outcome, name: str) -> str:
    """The schema and the rows that a test of it has seen."""
    (found,) = [line for line in outcome.log if line.startswith(f"value {name} ")]
    return found


class SQLiteChangeTests(Changes):
    def test_a_class_that_listens_for_all(self) -> None:
        """A listener of all tables is one of each."""
        self.write("case_common.py", COMMON)
        source = (
            "from case_common import *\n"
            "def listener(target, connection, **options): connection.execute(sa.text('CREATE INDEX i ON one (id)'))\n"
            "sa.event.listen(sa.Table, 'after_create', listener)\n"
            "class Tests(Case):\n    stores = [store('all', table())]\n    def test_it(self): self.look()\n"
        )
        found = []
        for index in ("i", "i", "j"):
            self.write("test_all.py", source.replace("INDEX i", f"INDEX {index}"))
            outcome = self.unittest("test_all", PLACE=self.location(), PROTEAN_TESTING_KEEP="1")
            self.assertPassed(outcome, 1)
            self.assertIn("listener listens to the creation of table 'one'", outcome.err)
            found.append(value(outcome, "all"))
        self.assertEqual([found[0] == other for other in found], [True, True, False])

    def test_a_directory_that_is_nothing_to_it(self) -> None:
        """What Python writes beside a module is no change."""
        self.write("case_common.py", COMMON)
        self.write("steps/one.py", "VALUE = 1\n")
        self.write(
            "test_steps.py",
            "from case_common import *\nimport steps.one\n"
            "def make(engine): seed(engine, steps.one.VALUE)\n"
            "class Tests(Case):\n    stores = [store('steps', schema=make, inputs=['steps/'])]\n"
            "    def test_it(self): self.look()\n",
        )
        made = []
        for number in (1, 2, 3):
            if number == 3:
                shutil.rmtree(self.directory / "steps/__pycache__", ignore_errors=True)
            outcome = self.unittest("test_steps", PLACE=self.location(), PROTEAN_TESTING_KEEP="1")
            self.assertPassed(outcome, 1)
            made.append(outcome.count("made steps"))
        self.assertEqual(made, [1, 0, 0])


class PostgreSQLChangeTests(Changes, ServerLogTestCase):
    dialect = "postgresql"
    settings = {"max_connections": "400"}

    def setUp(self) -> None:
        super().setUp()
        for name in self.kinds:
            self.server.create_database(f"{name}_test")
            self.addCleanup(self.server.drop_database, f"{name}_test")

    def location(self) -> str:
        return self.server.url("NAME_test")


class PostgreSQLTemplateChangeTests(PostgreSQLChangeTests):
    """The same for what the workers of a run copy."""

    kinds = {name: KINDS[name] for name in list(KINDS)[::4]}

    def run_all(self, **variables: str) -> Outcome:
        return super().run_all(PROTEAN_TESTING_WORKER="1", **variables)


del Changes
