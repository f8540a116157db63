"""Attacks on SQLite files: what is not of the tests stays as it was, or the error says why it is refused."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from ..oracle.sqlite import dump
from ..suite import MODELS, Outcome
from .attack import SUITE, AttackTestCase, await_watchdogs

THEIRS = """
    CREATE TABLE customer (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
    INSERT INTO customer (name) VALUES ('Ann'), ('Bob'); DELETE FROM customer WHERE id = 2;
    CREATE TABLE invoice (id INTEGER PRIMARY KEY, customer REFERENCES customer, total);
    INSERT INTO invoice VALUES (7, 1, 9.5); CREATE INDEX by_total ON invoice (total);
    CREATE VIEW seen AS SELECT name FROM customer;
    CREATE TRIGGER noted AFTER DELETE ON invoice BEGIN UPDATE customer SET name = 'noted'; END;
    CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES ('tea');
    PRAGMA user_version = 7;
"""
OURS = "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT); "
SOURCE = """
import sqlite3
FILE = {file!r}
URL = "sqlite:///" + FILE

def run(script):
    connection = sqlite3.connect(FILE)
    connection.executescript(script)
    connection.close()

def schema(engine):
    Base.metadata.create_all(engine)

class AttackTests(DatabaseTestCase):
    stores = [SQLAlchemyStore({arguments})]
    def test_1(self):
        {body}
        ready()
    def test_2(self):
        pass
"""
CREATE = "Base.metadata, url=URL"
ADOPT = "adopt=True, url=URL"
HARM = "run('DELETE FROM invoice; UPDATE customer SET name = 0; INSERT INTO customer VALUES (99, 9)')"


class SQLiteAttackTestCase(AttackTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = self.directory / "data"
        self.place.mkdir()
        self.file = self.place / "shop_test.db"

    def made(self, script: str = THEIRS, file: Path | None = None) -> None:
        with closing(sqlite3.connect(file or self.file)) as connection:
            connection.executescript(script)

    def rows(self, query: str, file: Path | None = None) -> list[Any]:
        with closing(sqlite3.connect(file or self.file)) as connection:
            return connection.execute(query).fetchall()

    def written(self, arguments: str = CREATE, body: str = "place(self.engine)", file: str = "") -> None:
        self.suite(SOURCE.format(file=file or str(self.file), arguments=arguments, body=body))

    def content(self) -> dict[str, Any]:
        """Every file in the directory: what is in it, its permissions and its kind."""
        found: dict[str, Any] = {}
        for path in sorted(self.place.iterdir()):
            status = path.lstat()
            found[path.name] = [status.st_mode, status.st_size and self.dump(path)]
        return found

    def dump(self, path: Path) -> Any:
        if path.is_symlink() or path.is_dir():
            return os.readlink(path) if path.is_symlink() else sorted(os.listdir(path))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.text_factory = lambda text: text.decode(errors="surrogateescape")
            return dump(connection), connection.execute("PRAGMA user_version").fetchone()

    def assertUntouched(self, outcome: Outcome, before: Any, *texts: str) -> None:
        self.assertRefused(outcome, *texts)
        self.assertEqual(self.content(), before)

    def assertRestored(self, outcome: Outcome, before: Any) -> None:
        self.assertPassed(outcome, 2)
        self.assertEqual(self.content(), before)

    def clean_line(self, outcome: Outcome) -> Outcome:
        """Run the line that an error names."""
        line = next(line for line in outcome.err.splitlines() if "protean_testing clean " in line)
        url = line.partition("protean_testing clean ")[2].strip()
        return self.clean(url)


class NameTests(SQLiteAttackTestCase):
    def test_a_file_that_is_not_there(self) -> None:
        self.written(file=str(self.place / "shop.db"))
        self.assertUntouched(self.run_suite(), {}, "'shop'", "unsafe=True")

    def test_a_link_to_what_matters(self) -> None:
        self.made(file=self.place / "shop.db")
        self.file.symlink_to("shop.db")
        self.written(ADOPT)
        self.assertUntouched(self.run_suite(), self.content(), "shop.db", "'shop'")

    def test_a_link_that_leads_nowhere(self) -> None:
        self.file.symlink_to("shop.db")
        self.written()
        self.assertUntouched(self.run_suite(), self.content(), "'shop'")

    def test_a_hard_link_to_what_matters(self) -> None:
        self.made(file=self.place / "shop.db")
        os.link(self.place / "shop.db", self.file)
        self.written()
        self.assertUntouched(self.run_suite(), self.content(), "hard link")

    def test_a_marker_of_ours_lifts_nothing(self) -> None:
        self.written()
        self.kill_suite()
        other = self.place / "shop.db"
        os.rename(self.file, other)
        os.rename(self.place / ".shop_test.db.protean_testing", self.place / ".shop.db.protean_testing")
        self.written(file=str(other))
        self.assertUntouched(self.run_suite(), self.content(), "'shop'", "unsafe=True")


class CreateTests(SQLiteAttackTestCase):
    def test_an_empty_table_of_that_name(self) -> None:
        self.made(OURS + "CREATE TABLE alembic_version (v); INSERT INTO alembic_version VALUES ('head')")
        before = self.content()
        self.written()
        self.assertUntouched(self.run_suite(), before, "table orders (empty)", "adopt=True")
        self.written(ADOPT, "place(self.engine)")
        self.assertRestored(self.run_suite(), before)

    def test_the_same_name_in_capitals_and_as_a_view(self) -> None:
        self.made("CREATE TABLE ORDERS (id); CREATE VIEW items AS SELECT 1")
        self.written()
        self.assertUntouched(self.run_suite(), self.content(), "table ORDERS", "view items")

    def test_rows_of_others_and_a_callable(self) -> None:
        self.made("CREATE TABLE customer (id); INSERT INTO customer VALUES (1)")
        self.written("schema=schema, url=URL")
        self.assertUntouched(self.run_suite(), self.content(), "table customer", "adopt=True")

    def test_a_migrated_database_and_a_callable(self) -> None:
        self.made("CREATE TABLE alembic_version (v); INSERT INTO alembic_version VALUES (1); " + OURS)
        before = self.content()
        self.written("schema=schema, url=URL")
        self.kill_suite()
        self.assertRestored(self.run_suite(), before)

    def test_an_empty_database_that_is_not(self) -> None:
        self.made()
        self.written("empty=True, url=URL")
        self.assertUntouched(self.run_suite(), self.content(), "table customer")

    def test_tables_beside_ours(self) -> None:
        self.made()
        before = self.content()
        for arguments in (CREATE, CREATE + ", reset='generic'", "Base.metadata, engine=create_engine(URL)"):
            with self.subTest(arguments):
                self.written(arguments, f"from sqlalchemy import create_engine; {HARM}")
                self.replace("import sqlite3", "import sqlite3\nfrom sqlalchemy import create_engine")
                self.assertRestored(self.run_suite(), before)
                self.kill_suite()
                self.assertNotEqual(self.rows("SELECT * FROM invoice"), [(7, 1, 9.5)])
                self.assertRestored(self.run_suite(), before)

    def test_a_file_without_content_stays_one(self) -> None:
        self.file.touch(0o640)
        before = self.content()
        self.written()
        self.kill_suite()
        self.assertRestored(self.run_suite(), before)

    def test_a_write_ahead_log(self) -> None:
        self.made("PRAGMA journal_mode = wal;" + THEIRS)
        before = self.content()
        self.written(
            body=f"{HARM}; global left; left = sqlite3.connect(FILE); left.execute('DELETE FROM words')"
        )
        self.kill_suite()
        self.assertTrue(self.file.with_name("shop_test.db-wal").exists())
        self.assertRestored(self.run_suite("AttackTests.test_2", "AttackTests.test_2"), before)
        self.assertEqual(self.rows("PRAGMA journal_mode"), [("wal",)])

    def replace(self, one: str, other: str) -> None:
        path = self.directory / f"{SUITE}.py"
        path.write_text(path.read_text().replace(one, other, 1))


class AdoptTests(SQLiteAttackTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.made()
        self.before = self.content()

    def test_rows(self) -> None:
        self.written(ADOPT, HARM)
        for _ in range(2):
            self.kill_suite()
        self.assertRestored(self.run_suite(), self.before)

    def test_what_the_user_writes_after_the_kill(self) -> None:
        self.written(ADOPT, HARM)
        self.kill_suite()
        self.wait_for_the_watchdog()
        self.made("INSERT INTO customer VALUES (50, 'since')")
        after = self.content()
        outcome = self.run_suite()
        self.assertUntouched(outcome, after, "was written to after", "before-", "clean sqlite:///")
        self.assertUntouched(self.run_suite(), after, "was written to after")
        self.clean_line(outcome)
        self.assertEqual(self.content(), self.before)
        self.kill_suite()
        self.made("INSERT INTO customer VALUES (50, 'since')")
        await_watchdogs(self.directory)
        shutil.rmtree(self.place / ".shop_test.db.protean_testing")
        self.assertPassed(self.run_suite("AttackTests.test_2", "AttackTests.test_2"), 2)
        self.assertEqual(self.rows("SELECT name FROM customer WHERE id = 50"), [("since",)])

    def wait_for_the_watchdog(self) -> None:
        """Until the death of the run is written down, which takes a moment on a busy machine."""
        signs = self.place / ".shop_test.db.protean_testing" / "signs"
        until = time.monotonic() + 30
        while not json.loads(signs.read_text())["dead"]:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)

    def test_a_transaction_that_was_half_written(self) -> None:
        many = "UPDATE customer SET name = hex(randomblob(9000000))"
        self.written(
            ADOPT, f"c = sqlite3.connect(FILE); c.execute('PRAGMA cache_size = 5'); c.execute('{many}')"
        )
        self.kill_suite()
        self.assertTrue(self.file.with_name("shop_test.db-journal").exists())
        self.assertRestored(self.run_suite("AttackTests.test_2", "AttackTests.test_2"), self.before)

    def test_a_table_that_is_dropped(self) -> None:
        self.written(ADOPT, "run('DROP TABLE invoice; DROP VIEW seen')")
        self.assertRestored(self.run_suite(), self.before)
        self.kill_suite()
        self.assertRestored(self.run_suite(), self.before)

    def test_a_table_that_is_renamed_and_one_that_is_altered(self) -> None:
        self.written(ADOPT, "run('ALTER TABLE invoice RENAME TO bill; ALTER TABLE customer ADD COLUMN more')")
        self.assertRestored(self.run_suite(), self.before)
        self.kill_suite()
        after = self.content()
        outcome = self.run_suite()
        self.assertUntouched(outcome, after, "table bill", "table customer")
        self.clean_line(outcome)
        self.assertEqual(self.content(), self.before)

    def test_the_file_is_removed(self) -> None:
        self.written(ADOPT, "os.unlink(FILE)")
        self.assertRestored(self.run_suite(), self.before)
        self.kill_suite()
        self.assertRestored(self.run_suite(), self.before)

    def test_another_file_comes_into_its_place(self) -> None:
        self.written(ADOPT, HARM)
        self.kill_suite()
        self.file.unlink()
        self.made("CREATE TABLE new (a); INSERT INTO new VALUES (1)")
        after = self.content()
        outcome = self.run_suite()
        self.assertUntouched(outcome, after, "another file", "before-")
        self.clean_line(outcome)
        self.assertEqual(self.content(), self.before)

    def test_by_other_ways_to_the_same_file(self) -> None:
        (self.place / "link_test.db").symlink_to("shop_test.db")
        self.before = self.content()
        for way in (
            f"file:{self.file}?uri=true",
            "data/shop_test.db",
            "data/../data/link_test.db",
        ):
            with self.subTest(way):
                self.written("adopt=True, url='sqlite:///' + WAY", HARM)
                self.write("way.py", f"WAY = {way!r}\n")
                path = self.directory / f"{SUITE}.py"
                path.write_text("from way import WAY\n" + path.read_text())
                self.kill_suite()
                self.written(ADOPT, HARM)
                self.assertRestored(self.run_suite(), self.before)

    def test_a_table_of_the_user_beside_a_living_run(self) -> None:
        self.written(ADOPT, HARM)
        self.after_the_tests("run('CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)')")
        self.assertPassed(self.run_suite(), 2)
        self.assertEqual(self.rows("SELECT a FROM theirs"), [(1,)])
        self.made("DROP TABLE theirs")
        self.assertEqual(self.content(), self.before)

    def after_the_tests(self, code: str) -> None:
        path = self.directory / f"{SUITE}.py"
        path.write_text(path.read_text() + f"\n\ndef tearDownModule():\n    {code}\n")


class KilledTests(SQLiteAttackTestCase):
    """The file was not there before the run that is killed."""

    def setUp(self) -> None:
        super().setUp()
        self.written()
        self.kill_suite()
        self.assertEqual(self.rows("SELECT customer FROM orders"), [("c",)])

    def test_nothing_is_left(self) -> None:
        self.assertRestored(self.run_suite(), {})

    def test_the_user_makes_the_real_file(self) -> None:
        inode = self.file.stat().st_ino
        self.file.unlink()
        self.made(OURS + "INSERT INTO orders VALUES (1, 'real')")
        self.assertNotEqual(self.file.stat().st_ino, inode, "the link holds it")
        self.assertUntouched(self.run_suite(), self.content(), "table orders", "adopt=True")
        self.assertEqual(self.rows("SELECT customer FROM orders"), [("real",)])

    def test_the_user_makes_another_table(self) -> None:
        self.made("CREATE TABLE notes (a); INSERT INTO notes VALUES (1)")
        outcome = self.run_suite()
        self.assertUntouched(outcome, self.content(), "table notes", "clean sqlite:///")
        self.assertEqual(self.rows("SELECT a FROM notes"), [(1,)])
        self.assertIn("table notes", self.clean_line(outcome).out)
        self.assertEqual(self.content(), {})
        self.assertRestored(self.run_suite(), {})

    def test_another_table_without_rows(self) -> None:
        self.made("CREATE TABLE notes (a); ANALYZE")
        self.assertRestored(self.run_suite(), {})

    def test_a_copy_of_the_file(self) -> None:
        other = self.place / "other_test.db"
        shutil.copy2(self.file, other)
        before = self.content()
        self.written(file=str(other))
        self.assertUntouched(self.run_suite(), before, "table orders")

    def test_a_copy_of_the_directory(self) -> None:
        other = self.directory / "other"
        subprocess.run(["cp", "-a", str(self.place), str(other)], check=True)
        self.written(file=str(other / "shop_test.db"))
        await_watchdogs(self.directory)
        shutil.rmtree(self.place)  # inodes are free again
        os.rename(other, self.place)
        self.written()
        outcome = self.run_suite()
        self.assertUntouched(outcome, self.content(), "copy of a place", "clean sqlite:///")
        self.clean_line(outcome)
        self.assertRestored(self.run_suite(), {})

    def test_it_is_moved_with_its_directory(self) -> None:
        other = self.directory / "moved"
        os.rename(self.place, other)
        self.place = other
        self.written(file=str(other / "shop_test.db"))
        self.assertRestored(self.run_suite(), {})

    def test_another_directory_of_state(self) -> None:
        self.variables["PROTEAN_TESTING_STATE"] = str(self.directory / "elsewhere")
        self.assertRestored(self.run_suite(), {})

    def test_unsafe(self) -> None:
        self.made("CREATE TABLE notes (a); INSERT INTO notes VALUES (1)")
        self.written(CREATE + ", unsafe=True")
        self.assertRestored(self.run_suite(), {})


class OtherwiseTests(SQLiteAttackTestCase):
    def test_killed_while_the_schema_is_made(self) -> None:
        self.written("schema=schema, url=URL")
        path = self.directory / f"{SUITE}.py"
        source = path.read_text()
        path.write_text(source.replace("create_all(engine)", "create_all(engine); ready()"))
        self.kill_suite()
        path.write_text(source)
        self.assertRestored(self.run_suite(), {})
        path.write_text(source.replace("create_all(engine)", "create_all(engine); place(engine); ready()"))
        self.kill_suite()
        path.write_text(source)
        outcome = self.run_suite()
        self.assertUntouched(outcome, self.content(), "table orders", "clean sqlite:///")
        self.clean_line(outcome)
        self.assertRestored(self.run_suite(), {})

    def test_a_file_system_without_links(self) -> None:
        self.write(
            "sitecustomize.py",
            "import os\ndef refuse(*a, **k): raise PermissionError(1, 'no')\nos.link = refuse",
        )
        self.written()
        self.assertRestored(self.run_suite(), {})
        self.kill_suite()
        outcome = self.run_suite()
        self.assertUntouched(outcome, self.content(), "table orders", "clean sqlite:///")
        self.clean_line(outcome)
        self.assertRestored(self.run_suite(), {})

    def test_two_runs_at_once(self) -> None:
        self.made()
        self.written(body="place(self.engine)")
        process = self.start_suite()
        before = self.content()
        for directory in ("state", "elsewhere"):
            outcome = self.run_suite(PROTEAN_TESTING_STATE=str(self.directory / directory))
            self.assertFailed(outcome, "UnsafeStoreError", f"pid {process.pid}")
            self.assertEqual(self.content(), before)
        with self.assertRaises(AssertionError):
            self.clean(f"sqlite:///{self.file}")
        self.assertEqual(self.content(), before)

    def test_a_script_that_only_ends(self) -> None:
        self.write(
            "script.py",
            f"""
            import sys
            block = test_database(SQLAlchemyStore(Base.metadata, url={"sqlite:///" + str(self.file)!r}))
            place(block.__enter__().engine)
            """,
            before=MODELS,
        )
        for _ in range(2):
            self.assertEqual(self.python("script.py", **self.variables).code, 0)
            self.assertEqual(self.content(), {})

    def test_a_view_of_the_user_on_a_table_of_ours(self) -> None:
        self.made()
        before = self.content()
        self.written()
        path = self.directory / f"{SUITE}.py"
        path.write_text(
            path.read_text()
            + "\n\ndef tearDownModule():\n    run('CREATE VIEW mine AS SELECT id FROM orders')\n"
        )
        outcome = self.run_suite()
        self.assertFailed(outcome, "view mine", "clean sqlite:///")
        self.assertEqual(self.rows("SELECT * FROM mine"), [])
        self.clean_line(outcome)
        self.assertEqual(self.content(), before)

    def test_a_kept_schema_and_rows_of_others_since(self) -> None:
        self.made()
        self.written(CREATE + ", keep=True")
        self.assertPassed(self.run_suite(), 2)
        self.made("CREATE TABLE notes (a); INSERT INTO notes VALUES (1); UPDATE customer SET name = 'new'")
        self.assertPassed(self.run_suite(), 2)
        self.kill_suite()
        self.written()
        self.assertPassed(self.run_suite(), 2)
        self.assertEqual(self.rows("SELECT a, name FROM notes, customer"), [(1, "new")])
        self.made("DROP TABLE notes; UPDATE customer SET name = 'Ann'")
        self.assertEqual(self.rows("SELECT * FROM invoice"), [(7, 1, 9.5)])
        self.assertEqual(os.listdir(self.place), ["shop_test.db"])

    def test_the_directory_of_the_marker_is_removed(self) -> None:
        self.made()
        self.written(body="import shutil; shutil.rmtree(os.path.join(os.path.dirname(FILE), "
                     "'.shop_test.db.protean_testing'))")  # fmt: skip
        outcome = self.run_suite()
        self.assertFailed(outcome, ".shop_test.db.protean_testing was removed")
        self.assertEqual(self.rows("SELECT * FROM invoice"), [(7, 1, 9.5)])

    def test_files_that_are_called_as_those_of_workers(self) -> None:
        worker = {"PROTEAN_TESTING_WORKER": "w1"}
        self.made()
        before = self.content()
        for arguments in (CREATE, ADOPT):
            with self.subTest(arguments):
                self.written(arguments, "self.assertNotEqual(self.database_url, URL)")
                self.kill_suite(**worker)
                (own,) = self.place.glob("shop_test_protean_testing_*_w1_*.db")
                theirs = own.with_name(own.name.replace("_w1_", "_w2_"))
                self.made(file=theirs)
                self.assertPassed(self.run_suite(**worker), 2)
                self.assertFalse(own.exists())
                self.assertEqual(self.rows("SELECT * FROM invoice", theirs), [(7, 1, 9.5)])
                theirs.unlink()
                self.assertEqual(self.content(), before)

    def test_a_file_in_the_place_of_a_dead_workers(self) -> None:
        worker = {"PROTEAN_TESTING_WORKER": "w1"}
        self.written()
        self.kill_suite(**worker)
        (own,) = self.place.glob("shop_test_protean_testing_*_w1_*.db")
        own.unlink()
        self.made(file=own)
        self.assertPassed(self.run_suite(**worker), 2)
        self.assertEqual(self.rows("SELECT * FROM invoice", own), [(7, 1, 9.5)])


if __name__ == "__main__":
    sys.exit("python -m tests attacks.test_sqlite")
