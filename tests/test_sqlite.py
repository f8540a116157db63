"""What a reset of a SQLite database brings back: in shared memory, in a file, in a file with WAL."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from sqlalchemy import text

from protean_testing import StoreError
from protean_testing.stores.sqlite import SQLiteBackend, snapshots
from protean_testing.stores.sqlite.rows import Rows

from .sqlite_testcase import SHOP, SQLiteTestCase, closed


class MemoryTests(SQLiteTestCase):
    """What the other places do as well; they are subclasses."""

    def test_nothing_written(self) -> None:
        with self.assertGivenBack(self.prepared(), different=False):
            self.assertEqual(len(self.rows("SELECT * FROM country")), 2)

    def test_inserted_updated_and_deleted_rows(self) -> None:
        with self.assertGivenBack(self.prepared()):
            self.script(
                'INSERT INTO "Order" ("the customer") VALUES (\'c\')',
                "INSERT INTO item VALUES (1, 1, 'tea'), (2, 1, NULL)",
                "UPDATE country SET name = 'X' WHERE code = 'de'",
                "DELETE FROM country WHERE code = 'fr'",
                "INSERT INTO country VALUES ('it', 'Italy')",
            )

    def test_what_was_undone_by_the_test_itself_is_no_difference(self) -> None:
        with self.assertGivenBack(self.prepared(), different=False):
            self.script("INSERT INTO item VALUES (1, NULL, 'tea')", "DELETE FROM item")

    def test_equal_is_not_enough(self) -> None:
        backend = self.prepared(
            """
            CREATE TABLE loose (any, folded TEXT COLLATE NOCASE, number NUMERIC, real REAL);
            INSERT INTO loose VALUES (1, 'a', -9223372036854775808, 1), ('1', 'b', 2, 2), (x'31', 'c', 3, 3);
            """
        )
        for change in (
            "any = 1.0 WHERE rowid = 1",
            "any = '1' WHERE rowid = 1",
            "any = x'31' WHERE rowid = 2",
            "any = NULL WHERE rowid = 1",
            "folded = 'A' WHERE rowid = 1",
            "number = -9.223372036854775808e18 WHERE rowid = 1",
            "real = 1.5 WHERE rowid = 1",
            "rowid = 9 WHERE rowid = 3",
        ):
            with self.subTest(change), self.assertGivenBack(backend):
                self.script(f"UPDATE loose SET {change}")

    def test_keys_that_differ_in_case_only(self) -> None:
        with self.assertGivenBack(self.prepared()):
            self.script("UPDATE country SET code = 'DE' WHERE code = 'de'")

    def test_unique_values_that_changed_places(self) -> None:
        backend = self.prepared(
            "CREATE TABLE place (id INTEGER PRIMARY KEY, n INT UNIQUE);"
            "INSERT INTO place VALUES (1, 1), (2, 2)"
        )
        with self.assertGivenBack(backend):
            self.script("UPDATE place SET n = 3 WHERE id = 1", "UPDATE place SET n = 1 WHERE id = 2",
                        "UPDATE place SET n = 2 WHERE id = 1")  # fmt: skip

    def test_counters(self) -> None:
        backend = self.prepared()
        self.script('INSERT INTO "Order" ("the customer") VALUES (\'kept\')')
        for number, write in enumerate(
            (
                'INSERT INTO "Order" ("the customer") VALUES (\'c\')',
                "UPDATE sqlite_sequence SET seq = 70",
                "DELETE FROM sqlite_sequence",
                'DELETE FROM "Order"',
            )
        ):
            with self.subTest(write), self.assertGivenBack(backend):
                self.script(write)
            self.assertEqual(self.rows("SELECT name, seq FROM sqlite_sequence"), [("Order", 1)], number)

    def test_failed_and_rolled_back_statements_move_no_counter(self) -> None:
        with self.assertGivenBack(self.prepared(), different=False), closed(self.connect()) as connection:
            with self.assertRaises(sqlite3.IntegrityError):
                connection.execute('INSERT INTO "Order" ("the customer") VALUES (\'c\'), (NULL)')
            connection.execute('INSERT INTO "Order" ("the customer") VALUES (\'c\')')
            connection.rollback()

    def test_foreign_keys_that_the_application_enforces(self) -> None:
        backend = self.prepared(
            """
            CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b DEFERRABLE INITIALLY DEFERRED);
            CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a ON DELETE RESTRICT,
                            self INTEGER REFERENCES b ON DELETE CASCADE);
            INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1, 1);
            """
        )
        for writes in (
            "INSERT INTO a VALUES (2, 2); INSERT INTO b VALUES (2, 2, 1), (3, 2, 2);",
            "UPDATE a SET b = NULL; DELETE FROM b; DELETE FROM a;",
        ):
            with self.subTest(writes), self.assertGivenBack(backend):
                self.script(f"PRAGMA foreign_keys = ON; BEGIN; {writes} COMMIT")
                self.assertEqual(self.rows("PRAGMA foreign_key_check"), [])

    def test_shapes_of_tables(self) -> None:
        odd = '"odd ""name"" [x]; \'y\'"'
        tables = {
            "generated": "(n INT, twice INT AS (n * 2) STORED, thrice INT AS (n * 3), UNIQUE (twice))",
            "strict": "(n INT, a ANY) STRICT",
            "pair": "(n INT, two, more, PRIMARY KEY (two, n)) WITHOUT ROWID",
            "hidden": "(n INT, rowid TEXT, _rowid_ TEXT, oid TEXT)",
            "half": "(n INT, rowid TEXT, oid TEXT)",
            odd: '(n INT, "select" INT, "a.b" INT CHECK ("a.b" > 0))',
        }
        backend = self.prepared(
            "".join(f"CREATE TABLE {table} {columns};" for table, columns in tables.items())
            + f"""
            CREATE VIEW seen AS SELECT * FROM generated;
            INSERT INTO generated (n) VALUES (1), (2);
            INSERT INTO strict VALUES (1, '1'), (2, 2.0);
            INSERT INTO pair VALUES (1, 'a', 'x'), (2, 'a', 'y');
            INSERT INTO hidden VALUES (1, 'a', 'b', 'c'), (2, 'd', 'e', 'f');
            INSERT INTO half VALUES (1, 'a', 'b'), (2, 'c', 'd');
            INSERT INTO {odd} VALUES (1, 1, 1), (2, 2, 2);
            """
        )
        for table in tables:
            for write in (f"DELETE FROM {table}", f"UPDATE {table} SET n = 7 WHERE n = 2"):
                with self.subTest(write), self.assertGivenBack(backend):
                    self.script(write)
        with self.subTest("a check that a kept row breaks"):
            self.script(f"PRAGMA ignore_check_constraints = ON; INSERT INTO {odd} VALUES (3, 3, -3)")
            with self.assertGivenBack(backend):
                self.script(f"DELETE FROM {odd}")

    def test_triggers_do_not_fire(self) -> None:
        backend = self.prepared(
            """
            CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE trail (what TEXT);
            CREATE TRIGGER gone AFTER DELETE ON thing BEGIN INSERT INTO trail VALUES ('gone'); END;
            CREATE TRIGGER kept BEFORE DELETE ON thing WHEN old.name = 'kept' BEGIN
                SELECT raise(ABORT, 'kept'); END;
            CREATE TRIGGER came AFTER INSERT ON thing BEGIN INSERT INTO trail VALUES ('came'); END;
            INSERT INTO thing VALUES (1, 'kept');
            """
        )
        with self.assertGivenBack(backend):
            self.script("INSERT INTO thing VALUES (2, 'kept'), (3, 'x')", "DELETE FROM thing WHERE id = 3")

    def test_full_text_search(self) -> None:
        backend = self.prepared(
            "CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES ('kept')"
        )
        with self.assertGivenBack(backend):
            self.script("INSERT INTO words VALUES ('another')", "DELETE FROM words WHERE words MATCH 'kept'")
        self.assertEqual(self.rows("SELECT body FROM words WHERE words MATCH 'kept'"), [("kept",)])
        self.assertEqual(self.rows("SELECT body FROM words WHERE words MATCH 'another'"), [])

    def test_functions_and_collations_of_the_application(self) -> None:
        def connect() -> sqlite3.Connection:
            connection = self.connect()
            connection.create_function("loud", 1, lambda text: text and text.upper(), deterministic=True)
            connection.create_collation("backwards", lambda a, b: (a[::-1] > b[::-1]) - (a[::-1] < b[::-1]))
            return connection

        backend = self.prepared("CREATE TABLE plain (a)")
        with closed(connect()) as connection:
            connection.executescript(
                """
                CREATE TABLE word (w TEXT COLLATE backwards PRIMARY KEY);
                CREATE INDEX louder ON word (loud(w));
                INSERT INTO word VALUES ('a'), ('b');
                """
            )
        backend.created()
        for write in (
            "DELETE FROM word",
            "UPDATE word SET w = 'c' WHERE w = 'a'",
            "INSERT INTO word VALUES ('c')",
        ):
            with self.subTest(write), self.assertGivenBack(backend), closed(connect()) as connection:
                connection.execute(write)
                connection.commit()

    def test_the_schema(self) -> None:
        backend = self.prepared()
        self.script('CREATE INDEX by_total ON "Order" (total)', "INSERT INTO item VALUES (1, 1, 'kept')")
        for change in (
            "DROP TABLE item",
            "DROP TABLE country",
            "DROP INDEX by_total",
            "ALTER TABLE item ADD COLUMN more INT DEFAULT 3",
            "ALTER TABLE item RENAME TO items",
            "ALTER TABLE item DROP COLUMN what",
            "CREATE TABLE of_a_test (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO of_a_test VALUES (9)",
            "CREATE VIEW of_a_test AS SELECT 1",
            "CREATE TRIGGER of_a_test AFTER INSERT ON item BEGIN DELETE FROM country; END",
            "CREATE INDEX of_a_test ON item (what)",
            "CREATE VIRTUAL TABLE of_a_test USING fts5(body)",
            "DROP TABLE item; CREATE TABLE item (id INTEGER PRIMARY KEY, what TEXT)",
            "ANALYZE",
        ):
            with self.subTest(change), self.assertGivenBack(backend):
                self.script(change)

    def test_a_table_that_was_dropped_and_made_again(self) -> None:
        backend = self.prepared()
        self.script("INSERT INTO item VALUES (1, 1, 'kept')")
        (sql,) = self.rows("SELECT sql FROM sqlite_schema WHERE name = 'item'")[0]
        with self.assertGivenBack(backend):
            self.script("DROP TABLE item", sql)

    def test_a_table_that_came_and_went_is_no_difference(self) -> None:
        with self.assertGivenBack(self.prepared(), different=False):
            self.script("CREATE TABLE passing (a)", "DROP TABLE passing")

    def test_numbers_in_the_header(self) -> None:
        backend = self.prepared()
        self.script("PRAGMA user_version = 4")
        for write in ("PRAGMA user_version = 5", "PRAGMA application_id = 7"):
            with self.subTest(write), self.assertGivenBack(backend):
                self.script(write)

    def test_vacuum(self) -> None:
        backend = self.prepared(
            "CREATE TABLE a (b); INSERT INTO a VALUES (1), (2), (3); DELETE FROM a WHERE b = 2"
        )
        with self.assertGivenBack(backend):
            self.script("VACUUM")

    def test_more_tables_than_one_look_takes(self) -> None:
        backend = self.prepared(
            "".join(
                f"CREATE TABLE t{n} (a); CREATE TABLE f{n} (a); INSERT INTO f{n} VALUES (1);"
                for n in range(130)
            )
        )
        with self.assertGivenBack(backend):
            self.script("INSERT INTO t0 VALUES (1)", "INSERT INTO t129 VALUES (1)", "DELETE FROM f0",
                        "UPDATE f77 SET a = 2", "INSERT INTO f129 VALUES (3)")  # fmt: skip

    def test_a_large_table_is_brought_back_as_a_whole_image(self) -> None:
        backend = self.prepared(
            "CREATE TABLE big (id INTEGER PRIMARY KEY, a, b); WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL "
            "SELECT n + 1 FROM n WHERE n < 30000) INSERT INTO big SELECT n, 'words ' || n, n FROM n"
        )
        with patch.object(Rows, "restore", side_effect=AssertionError), self.assertGivenBack(backend):
            self.script("DELETE FROM big WHERE id = 5", "UPDATE big SET a = 'x' WHERE id = 20000")

    def test_a_small_change_is_brought_back_by_rows(self) -> None:
        backend = self.prepared()
        with patch.object(snapshots, "copy", side_effect=AssertionError), self.assertGivenBack(backend):
            self.script("INSERT INTO item VALUES (1, 1, 'tea')", "DELETE FROM country")

    def test_a_row_that_goes_and_comes_again(self) -> None:
        """The pages are then as they were once, while the scope in which they were that is over."""
        row = "INSERT INTO item VALUES (1, 1, 'tea')"
        backend = self.prepared()
        outer, before = backend.save(), self.dump()
        self.script(row)
        backend.forget(backend.save())
        self.script("DELETE FROM item")
        backend.reset(outer)
        self.script(row)
        self.assertIs(backend.reset(outer), True)
        self.assertEqual(self.dump(), before)

    def test_scopes_inside_of_scopes(self) -> None:
        backend = self.prepared()
        states, taken = [], []
        for depth in range(4):
            states.append(self.dump())
            taken.append(backend.save())
            self.script(
                f"INSERT INTO item VALUES ({depth}, 1, 'depth {depth}')", "UPDATE country SET name = 'X'"
            )
        self.assertIs(backend.reset(taken[3]), True)
        self.assertEqual(self.dump(), states[3])
        self.script("DELETE FROM item", "DELETE FROM country", 'DROP TABLE "Order"')
        self.assertIs(backend.reset(taken[1]), True)
        self.assertEqual(self.dump(), states[1])
        for void in taken[2:]:
            with self.assertRaisesRegex(StoreError, "'shop'.*void"):
                backend.reset(void)
        self.script("INSERT INTO item VALUES (7, 7, 'again')")
        inner = backend.save()
        with self.assertRaisesRegex(StoreError, "void"):
            backend.forget(taken[2])
        self.script("DELETE FROM item")
        backend.reset(inner)
        self.assertEqual(self.rows("SELECT count(*) FROM item"), [(2,)])
        backend.forget(taken[1])
        self.assertEqual(self.rows("SELECT count(*) FROM item"), [(2,)])
        self.assertIs(backend.reset(taken[0]), True)
        self.assertEqual(self.dump(), states[0])

    def test_writes_of_threads_and_of_connections_that_stay_open(self) -> None:
        backend = self.prepared()
        with closed(self.connect(isolation_level=None)) as staying, self.assertGivenBack(backend):
            staying.execute("INSERT INTO item VALUES (1, 1, 'tea')")
            thread = threading.Thread(target=self.script, args=["INSERT INTO item VALUES (2, 1, 'tea')"])
            thread.start()
            thread.join()
        with closed(self.connect()) as connection:
            self.assertEqual(connection.execute("SELECT count(*) FROM item").fetchone(), (0,))

    def test_nothing_is_locked_afterwards_and_nothing_is_left_in_the_database(self) -> None:
        before = self.dump()
        backend = self.prepared()
        snapshot = backend.save()
        objects = self.rows("SELECT name FROM sqlite_schema WHERE name LIKE '%protean%'")
        self.assertEqual(objects, [])
        for write in ("INSERT INTO item VALUES (1, 1, 'tea')", "DROP TABLE item", "SELECT 1"):
            self.script(write)
            backend.reset(snapshot)
            with closed(self.connect(timeout=0, isolation_level=None)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("ROLLBACK")
        backend.drop()
        self.assertEqual(self.dump(), before)

    def test_an_engine_with_a_pool(self) -> None:
        backend = self.prepared()
        engine = self.engine()
        snapshot = backend.save()
        for _ in range(3):
            with engine.begin() as connection:
                query = text('INSERT INTO "Order" ("the customer") VALUES (\'c\') RETURNING id')
                self.assertEqual(connection.execute(query).scalar(), 1)
            self.assertIs(backend.reset(snapshot), True)

    def test_a_schema_that_joins_belongs_to_every_mark(self) -> None:
        backend = self.prepared()
        outer = backend.save()
        self.script('INSERT INTO "Order" ("the customer") VALUES (\'class\')')
        inner = backend.save()
        self.script(
            """
            CREATE TABLE joined (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT);
            CREATE TABLE watched (a); CREATE TABLE trail (a);
            CREATE TRIGGER watching AFTER INSERT ON watched BEGIN INSERT INTO trail VALUES (1); END;
            CREATE TRIGGER ordering AFTER DELETE ON "Order" BEGIN INSERT INTO trail VALUES (2); END;
            INSERT INTO joined (a) VALUES ('look-up');
            """
        )
        backend.created()
        counter = "SELECT seq FROM sqlite_sequence WHERE name = 'joined'"
        for snapshot, orders in ((inner, 1), (outer, 0)):
            for write in (
                'DELETE FROM joined; DELETE FROM "Order"',
                "DROP TABLE joined",
                'DROP TABLE "Order"',
            ):
                self.script(write, "INSERT INTO watched VALUES (1)")
                self.assertIs(backend.reset(snapshot), True)
                self.assertEqual(self.rows("SELECT * FROM joined"), [(1, "look-up")])
                self.assertEqual(self.rows('SELECT count(*) FROM "Order"'), [(orders,)])
                self.assertEqual(self.rows(counter), [(1,)])
                self.assertEqual(self.rows("SELECT count(*) FROM trail"), [(0,)])
                self.assertEqual(
                    self.rows("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"), [(2,)]
                )
            self.assertIs(backend.reset(snapshot), False)

    def test_reset_from_another_thread(self) -> None:
        backend = self.prepared()
        snapshot = backend.save()
        self.script("INSERT INTO item VALUES (1, 1, 'tea')")
        seen: list[bool] = []

        def reset() -> None:
            seen.append(backend.reset(snapshot))

        thread = threading.Thread(target=reset)
        thread.start()
        thread.join()
        self.assertEqual(seen, [True])
        self.assertEqual(self.rows("SELECT * FROM item"), [])

    def test_the_size_of_a_page_comes_back_with_the_class(self) -> None:
        """And how the file gives back what is free."""
        backend = self.prepared()

        def look() -> tuple[object, ...]:
            names = ("page_size", "auto_vacuum", "integrity_check")
            return self.dump(), [self.rows(f"PRAGMA {name}") for name in names]

        before = look()
        for change in ("PRAGMA auto_vacuum = FULL; VACUUM", "PRAGMA page_size = 8192; VACUUM"):
            with self.subTest(change):
                of_class = backend.save()
                of_test = backend.save()
                self.script("INSERT INTO item VALUES (1, NULL, 'pen')")
                backend.reset(of_test)
                self.script(change)
                backend.reset(of_test)
                backend.reset(of_class)
                self.assertEqual(look(), before)
                backend.forget(of_class)


class FileTests(MemoryTests):
    def make_url(self) -> str:
        return f"sqlite:///{self.directory / 'shop_test.db'}"

    def test_a_file_that_was_replaced_or_removed(self) -> None:
        backend = self.prepared()
        file, other = self.directory / "shop_test.db", self.directory / "other.db"

        def replace() -> None:
            shutil.copy(file, other)
            with closed(sqlite3.connect(other)) as connection:
                connection.executescript("DELETE FROM country")
            other.replace(file)

        changes: list[Callable[[], object]] = [file.unlink, replace]
        for change in changes:
            before = self.dump()
            snapshot = backend.save()
            change()
            self.assertIs(backend.reset(snapshot), True)
            self.assertEqual(self.dump(), before)
            self.script("INSERT INTO item VALUES (1, 1, 'tea')")
            self.assertIs(backend.reset(snapshot), True)
            self.assertEqual(self.dump(), before)
            backend.forget(snapshot)

    def test_another_process_writes(self) -> None:
        with self.assertGivenBack(self.prepared()):
            self.subprocess(
                "import sqlite3, sys\n"
                "connection = sqlite3.connect(sys.argv[1])\n"
                "connection.execute(\"INSERT INTO item VALUES (1, 1, 'tea')\")\n"
                "connection.commit()",
                str(self.directory / "shop_test.db"),
            )
            self.assertEqual(len(self.rows("SELECT * FROM item")), 1)


class WalTests(FileTests):
    def prepared(self, script: str = SHOP, **options: Any) -> SQLiteBackend:
        return super().prepared("PRAGMA journal_mode = WAL;" + script, **options)

    def test_it_stays_wal(self) -> None:
        backend = self.prepared()
        snapshot = backend.save()
        for write in ("DROP TABLE item", "DELETE FROM country"):
            self.script(write)
            backend.reset(snapshot)
            self.assertEqual(self.rows("PRAGMA journal_mode"), [("wal",)])
