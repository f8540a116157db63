"""Attacks on SQLite files by tests that do odd things, and by runs that follow one of another kind."""

from __future__ import annotations

import shutil

from .attack import SUITE, await_watchdogs
from .test_sqlite import ADOPT, CREATE, HARM, SQLiteAttackTestCase

ODD = """
    PRAGMA application_id = 77;
    CREATE TABLE pair (a TEXT, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID;
    INSERT INTO pair VALUES ('x', 1), ('x', 2);
    CREATE TABLE odd (v); INSERT INTO odd (rowid, v) VALUES (5, 1e999), (-9, x'00ff'), (7, char(0) || 'n'),
        (8, CAST(x'ff41' AS TEXT)), (9, -0.0), (10, 9223372036854775807);
    CREATE TABLE total (a INT, b INT AS (a * 2) STORED, CHECK (a > 0)) STRICT;
    INSERT INTO total (a) VALUES (3); CREATE VIEW shown AS SELECT a FROM total;
    CREATE TRIGGER put INSTEAD OF INSERT ON shown BEGIN INSERT INTO total (a) VALUES (new.a); END;
    CREATE TRIGGER never BEFORE DELETE ON pair BEGIN SELECT RAISE(ABORT, 'never'); END;
    CREATE TABLE "we""ird % name" ("co""l" INTEGER PRIMARY KEY); INSERT INTO "we""ird % name" VALUES (3);
"""
REAL = "CREATE TABLE real (a); INSERT INTO real VALUES (1)"
CLEAN = "AttackTests.test_2", "AttackTests.test_2"


class OddTests(SQLiteAttackTestCase):
    """What a test does to the file that was there, at its end and after a kill."""

    def attacked(self, body: str, *, arguments: str = ADOPT, is_killed: bool = True) -> None:
        before = self.content()
        self.written(arguments, body)
        self.assertRestored(self.run_suite(), before)
        if is_killed:
            self.kill_suite()
            self.assertRestored(self.run_suite(*CLEAN), before)

    def test_values_that_are_odd(self) -> None:
        self.made(ODD)
        for arguments in (ADOPT, ADOPT + ", reset='generic'"):
            self.attacked(
                "run('UPDATE odd SET v = 1; UPDATE pair SET b = b + 10; INSERT INTO shown VALUES (9); '"
                "'DROP TRIGGER never; DELETE FROM pair; DELETE FROM odd WHERE rowid = 5; '"
                '\'INSERT INTO "we""ird % name" VALUES (8)\')',
                arguments=arguments,
            )

    def test_vacuum(self) -> None:
        self.made()
        self.attacked(f"{HARM}; run('VACUUM')")

    def test_versions(self) -> None:
        self.made()
        self.attacked("run('PRAGMA user_version = 9; PRAGMA application_id = 5')")

    def test_a_write_ahead_log_is_switched_on(self) -> None:
        self.made()
        self.attacked(f"{HARM}; run('PRAGMA journal_mode = wal; DELETE FROM customer')")
        self.assertEqual(self.rows("PRAGMA journal_mode"), [("delete",)])

    def test_another_page_size(self) -> None:
        self.made()
        size = self.rows("PRAGMA page_size")
        self.attacked(f"{HARM}; run('PRAGMA page_size = 8192; PRAGMA auto_vacuum = 1; VACUUM')")
        self.assertEqual(self.rows("PRAGMA page_size"), size)
        self.assertEqual(self.rows("PRAGMA auto_vacuum"), [(0,)])

    def test_a_link_to_what_matters_comes_into_its_place(self) -> None:
        self.made()
        prod = self.place / "shop.db"
        self.made(REAL, file=prod)
        for link in ("os.symlink", "os.link"):
            for arguments in (ADOPT, CREATE):
                with self.subTest(link, arguments=arguments):
                    body = f"os.unlink(FILE); {link}({str(prod)!r}, FILE)"
                    self.attacked(body, arguments=arguments, is_killed=False)
                    self.assertEqual(self.rows("SELECT a FROM real", prod), [(1,)])

    def test_a_link_to_what_matters_and_a_kill(self) -> None:
        for link in ("os.symlink", "os.link"):
            for arguments in (ADOPT, CREATE):
                with self.subTest(link, arguments=arguments):
                    await_watchdogs(self.directory)
                    shutil.rmtree(self.place)
                    self.place.mkdir()
                    if arguments is ADOPT:
                        self.made()
                    prod = self.place / "shop.db"
                    self.made(REAL, file=prod)
                    self.written(arguments, f"os.unlink(FILE); {link}({str(prod)!r}, FILE)")
                    self.kill_suite()
                    self.assertUntouched(self.run_suite(*CLEAN), self.content(), "unsafe=True")

    def test_a_link_is_led_elsewhere(self) -> None:
        link = self.place / "link_test.db"
        prod = self.place / "shop.db"
        self.made()
        self.made(REAL, file=prod)
        link.symlink_to("shop_test.db")
        before = self.dump(self.file)
        self.written(ADOPT, f"{HARM}; os.unlink(FILE); os.symlink('shop.db', FILE)", file=str(link))
        outcome = self.run_suite()
        self.assertFailed(outcome, f"leads to {prod} now")
        self.assertEqual(self.rows("SELECT a FROM real", prod), [(1,)])
        self.assertEqual(self.dump(self.file), before)

    def test_permissions_of_a_file_that_is_removed(self) -> None:
        self.made()
        self.file.chmod(0o600)
        self.attacked("os.unlink(FILE)")

    def test_another_database_is_moved_into_its_place(self) -> None:
        self.made()
        other = str(self.directory / "other.db")
        self.attacked(
            f"c = sqlite3.connect({other!r}); c.execute('CREATE TABLE t (a)'); c.close(); "
            f"os.replace({other!r}, FILE)",
            is_killed=False,
        )

    def test_rubbish_in_its_place(self) -> None:
        self.made()
        self.attacked("open(FILE, 'wb').write(b'rubbish' * 1000)")

    def test_truncated(self) -> None:
        self.made()
        self.attacked("os.truncate(FILE, 0)")

    def test_a_directory_in_its_place(self) -> None:
        self.made()
        before = self.content()
        self.written(ADOPT, "os.unlink(FILE); os.mkdir(FILE)")
        self.assertFailed(self.run_suite(), "before-", "clean sqlite:///")
        self.file.rmdir()
        self.assertRestored(self.run_suite(*CLEAN), before)

    def test_its_directory_is_removed(self) -> None:
        self.made()
        self.written(ADOPT, "import shutil; shutil.rmtree(os.path.dirname(FILE))")
        self.assertFailed(self.run_suite(), "is lost, as was found after")

    def test_the_marker_is_damaged(self) -> None:
        marker = self.place / ".shop_test.db.protean_testing" / "marker.json"
        self.made()
        before = self.content()
        self.written(ADOPT, HARM)
        self.kill_suite()
        text = marker.read_text()
        for damage in ("", text[:40], '{"identity": 1}'):
            with self.subTest(damage):
                marker.write_text(damage)
                self.assertUntouched(self.run_suite(*CLEAN), self.content(), "before-", "cannot be read")
        marker.write_text(text)
        self.assertRestored(self.run_suite(*CLEAN), before)


class OneAfterAnotherTests(SQLiteAttackTestCase):
    """A run of one kind is killed, and one of another kind follows."""

    def test_of_another_kind(self) -> None:
        kinds = (
            ADOPT,
            CREATE,
            CREATE + ", keep=True",
            CREATE + ", reset='generic'",
            "engine=create_engine(URL), adopt=True",
        )
        self.made()
        before = self.content()
        for first, second in zip(kinds, kinds[1:] + kinds[:1], strict=True):
            with self.subTest(first, second=second):
                self.of_kind(first, HARM)
                self.kill_suite()
                self.of_kind(second, "pass")
                self.assertPassed(self.run_suite(*CLEAN), 2)
                self.of_kind(CREATE, "pass")
                self.assertRestored(self.run_suite(*CLEAN), before)

    def of_kind(self, arguments: str, body: str, end: str = "") -> None:
        self.written(arguments, body)
        path = self.directory / f"{SUITE}.py"
        path.write_text("from sqlalchemy import *\n" + path.read_text() + end)

    def test_a_worker(self) -> None:
        self.made()
        before = self.content()
        for arguments in (ADOPT, CREATE):
            with self.subTest(arguments):
                self.written(arguments, HARM)
                self.kill_suite()
                sees = """
    def test_3(self):
        if self.stores[0].adopt:
            with self.engine.connect() as connection:
                self.assertEqual(connection.execute(text("SELECT * FROM invoice")).all(), [(7, 1, 9.5)])
"""
                self.of_kind(
                    arguments, "pass", sees.replace("self.stores[0].adopt", str("adopt" in arguments))
                )
                self.assertPassed(self.run_suite(PROTEAN_TESTING_WORKER="w1"), 3)
                self.written(CREATE, "pass")
                self.assertRestored(self.run_suite(*CLEAN), before)

    def test_another_schema(self) -> None:
        self.written()
        self.kill_suite()
        self.written("other, url=URL", "pass")
        path = self.directory / f"{SUITE}.py"
        other = (
            "from sqlalchemy import Column, Integer, MetaData, Table\n"
            "other = MetaData()\nTable('parcels', other, Column('id', Integer))\n"
        )
        path.write_text(path.read_text().replace("\nclass AttackTests", other + "\nclass AttackTests"))
        self.assertRestored(self.run_suite(*CLEAN), {})

    def test_a_link_that_was_led_elsewhere_meanwhile(self) -> None:
        one, two = self.place / "one_test.db", self.place / "two_test.db"
        self.made(file=one)
        self.made(REAL, file=two)
        before = self.dump(one), self.dump(two)
        self.file.symlink_to("one_test.db")
        self.written(ADOPT, "run('DELETE FROM invoice')")
        self.kill_suite()
        for name in ("two_test.db", "one_test.db"):
            self.file.unlink()
            self.file.symlink_to(name)
            self.assertPassed(self.run_suite(*CLEAN), 2)
        self.assertEqual((self.dump(one), self.dump(two)), before)

    def test_by_url_and_by_the_environment_at_once(self) -> None:
        self.made()
        self.written(ADOPT, HARM)
        process = self.start_suite()
        before = self.content()
        self.written("adopt=True", "pass")
        outcome = self.run_suite(TEST_DB="sqlite", DATABASE_URL=f"sqlite:///{self.file}")
        self.assertFailed(outcome, f"pid {process.pid}")
        self.assertEqual(self.content(), before)
