"""Attacks on a MariaDB database: what is not the library's is as it was, or a refusal names it."""

from __future__ import annotations

import atexit
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

from ..mariadb_server import MariaDB
from .attack import AttackTestCase

SUITE = """
import sqlalchemy as sa, pymysql
URL = os.environ["URL"]
metadata = sa.MetaData()
sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("t", sa.String(50)))
STORE = {store}

def do(*statements, engine=None):
    with (engine or STORE.engine).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)

class Tests(DatabaseTestCase):
    stores = [STORE]

    def test_1(self):
        do(*{first!r})
        {more}
        ready()

    def test_2(self):
        with STORE.engine.connect() as connection:
            {second}
"""


@cache
def _server() -> MariaDB:
    server = MariaDB()
    atexit.register(server.stop)
    return server


CREATE = "SQLAlchemyStore(metadata, url=URL)"
ADOPT = "SQLAlchemyStore(adopt=True, url=URL)"

THEIRS = (
    "CREATE TABLE theirs (id int AUTO_INCREMENT PRIMARY KEY, t varchar(50) CHARSET utf8mb4, "
    "n decimal(30, 10))",
    "INSERT INTO theirs VALUES (3, 'äö😀', 12345678901234567890.0123456789), (9, '', NULL)",
    "CREATE VIEW seen AS SELECT id FROM theirs",
    "CREATE TABLE parents (id int PRIMARY KEY) ENGINE = InnoDB",
    "INSERT INTO parents VALUES (1)",
    "CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL, "
    "FOREIGN KEY (parent) REFERENCES parents (id))",
    "INSERT INTO children VALUES (1, 1)",
    "CREATE SEQUENCE numbers START WITH 5 NOCACHE",
    "SELECT nextval(numbers)",
)
HARM = (
    "UPDATE theirs SET t = 'gone', n = 0",
    "DELETE FROM theirs WHERE id = 9",
    "INSERT INTO theirs (t) VALUES ('new')",
    "DELETE FROM children",
    "SELECT nextval(numbers)",
)


class MariaDBAttackTestCase(AttackTestCase):
    """Has a server and an empty database on it."""

    name = "shop_test"
    server: ClassVar[MariaDB]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = _server()

    def setUp(self) -> None:
        super().setUp()
        self.url = self.server.create(self.name)
        self.variables["URL"] = self.url

    def do(self, *statements: str, database: str = "") -> Any:
        """What the user does, by another client."""
        with self.server.connect(database or self.name) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def content(self, database: str = "") -> Any:
        found: dict[str, Any] = {}
        database = database or self.name
        for name, kind in self.do("SHOW FULL TABLES", database=database):
            if not name.startswith("protean_testing"):
                rows = [] if kind == "VIEW" else self.do(f"SELECT * FROM `{name}`", database=database)
                shown = self.do(f"SHOW CREATE TABLE `{name}`", database=database)
                found[f"{kind} {name}"] = (shown, sorted(map(repr, rows)))
        found["triggers"] = self.do("SHOW TRIGGERS", database=database)
        found["grants"] = self.do("SELECT * FROM mysql.tables_priv", database=database)
        query = "SELECT routine_name, routine_definition, definer FROM information_schema.routines"
        found["routines"] = self.do(f"{query} WHERE routine_schema = '{database}'", database=database)
        return found

    def ours(self, database: str = "") -> list[str]:
        """The library's own tables that are there."""
        found = self.do("SHOW TABLES LIKE 'protean_testing%'", database=database or self.name)
        return [name for (name,) in found if not name.startswith("protean_testing_rescued")]

    def rescued(self) -> list[str]:
        """Tables with what came after a kill, which are the user's."""
        return [name for (name,) in self.do("SHOW TABLES LIKE 'protean\\_testing\\_rescued%'")]

    def declare(
        self, store: str = CREATE, *, first: Sequence[str] = (), second: str = "pass", more: str = "pass"
    ) -> None:
        self.suite(SUITE.format(store=store, first=list(first), second=second, more=more))

    def assertPassesAndLeaves(self, before: Any, **variables: str) -> None:
        outcome = self.run_suite(**variables)
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual(outcome.ran, 2, outcome.err)
        self.assertEqual(self.content(), before)
        self.assertEqual(self.ours(), [])

    def assertRefusedAndLeaves(self, before: Any, *texts: str, **variables: str) -> str:
        ours = self.ours()
        outcome = self.run_suite(**variables)
        self.assertRefused(outcome, *texts)
        self.assertEqual(self.content(), before)
        self.assertEqual(self.ours(), ours)
        return outcome.err


class KilledTests(MariaDBAttackTestCase):
    def test_rows_of_others_beside_a_created_schema(self) -> None:
        self.do(*THEIRS)
        before = self.content()
        self.declare(first=("INSERT INTO orders (t) VALUES ('x')", *HARM))
        self.kill_suite()
        self.assertNotEqual(self.content(), before)
        self.assertPassesAndLeaves(before)

    def test_rows_of_adopted_tables(self) -> None:
        self.do(*THEIRS)
        before = self.content()
        self.declare(ADOPT, first=HARM)
        self.kill_suite()
        self.assertPassesAndLeaves(before)

    def test_what_the_user_writes_after_a_kill(self) -> None:
        """Into a table that was there before: it stays in a table of its own, and is told of."""
        self.do(*THEIRS)
        self.do("CREATE TABLE people (id int PRIMARY KEY, name text)", "INSERT INTO people VALUES (1, 'Ann')")
        before = self.content()
        for store in (CREATE, ADOPT):
            for by in ("the next run", "clean"):
                with self.subTest(store, by=by):
                    self.declare(store)
                    self.kill_suite()
                    self.do(
                        "INSERT INTO people VALUES (2, 'Mine')",
                        "UPDATE people SET name = 'Annie' WHERE id = 1",
                    )
                    outcome = self.run_suite() if by == "the next run" else self.clean(self.url)
                    self.assertEqual(outcome.code, 0, outcome.err)
                    self.assertEqual(self.content(), before)
                    (name,) = self.rescued()
                    for part in ("RescuedRowsWarning", "table people: all rows", name):
                        self.assertIn(part, outcome.err)
                    rows = self.do(f"SELECT id, name FROM {name} ORDER BY 1")
                    self.assertEqual(list(rows), [(1, "Annie"), (2, "Mine")])
                    self.assertPassesAndLeaves(before)  # it is in nobody's way
                    self.assertEqual(self.rescued(), [name])
                    self.do(f"DROP TABLE {name}")

    def test_clean_restores_as_the_next_run_does(self) -> None:
        self.do(*THEIRS)
        before = self.content()
        self.declare(ADOPT, first=HARM)
        self.kill_suite()
        self.assertIn("restore the rows of table theirs", self.clean(self.url).out)
        self.assertEqual(self.content(), before)
        self.assertEqual(self.ours(), [])
        self.assertIn("Nothing is left", self.clean(self.url).out)

    def test_an_adopted_table_that_a_test_dropped(self) -> None:
        self.do(*THEIRS)
        before = self.content()
        self.declare(ADOPT, first=(*HARM, "DROP TABLE theirs", "DROP TABLE children"))
        self.kill_suite()
        self.assertPassesAndLeaves(before)

    def test_an_adopted_table_that_a_test_altered(self) -> None:
        self.do(*THEIRS)
        (rows,) = [self.do("SELECT * FROM theirs ORDER BY id")]
        self.declare(ADOPT, first=(*HARM, "ALTER TABLE theirs DROP COLUMN n"))
        self.kill_suite()
        altered = self.content()
        outcome = self.run_suite()
        self.assertFailed(outcome, "table theirs: its rows are in table", "python -m protean_testing clean")
        self.assertEqual(self.content()["BASE TABLE theirs"], altered["BASE TABLE theirs"])
        copy = re.search(r"theirs: its rows are in table (\w+)", outcome.err)
        assert copy is not None
        self.assertEqual(self.do(f"SELECT * FROM {copy[1]} ORDER BY id"), rows)
        self.do("ALTER TABLE theirs ADD COLUMN n decimal(30, 10)")  # as the error says
        outcome = self.run_suite()
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual(self.do("SELECT * FROM theirs ORDER BY id"), rows)

    def test_an_adopted_table_that_a_test_renamed(self) -> None:
        self.do(*THEIRS)
        before = self.content()
        self.declare(ADOPT, first=("RENAME TABLE theirs TO moved",))
        self.kill_suite()
        killed = self.content()
        self.assertRefusedAndLeaves(killed, "table moved", "python -m protean_testing clean")
        self.clean(self.url)
        self.assertEqual(self.content(), before)

    def test_tables_of_the_user_after_the_kill(self) -> None:
        self.declare(first=("INSERT INTO orders (t) VALUES ('x')",))
        self.kill_suite()
        self.do("CREATE TABLE notes (id int)", "INSERT INTO notes VALUES (1)")
        killed = self.content()
        said = self.assertRefusedAndLeaves(killed, "table notes", "python -m protean_testing clean")
        self.assertNotIn("table orders", said)
        self.clean(self.url)
        self.assertEqual(list(self.content())[:1], ["triggers"])
        self.assertEqual(self.ours(), [])

    def test_a_foreign_key_of_the_user_on_what_a_killed_run_made(self) -> None:
        self.do("CREATE TABLE first (id int)")  # so that the place was not empty
        self.declare()
        self.kill_suite()
        self.do("CREATE TABLE notes (id int, FOREIGN KEY (id) REFERENCES orders (id))")
        self.assertRefusedAndLeaves(self.content(), "table notes", "foreign keys")

    def test_a_copy_of_a_killed_runs_database(self) -> None:
        self.do(*THEIRS)
        self.declare(first=("INSERT INTO orders (t) VALUES ('x')",))
        self.kill_suite()
        other = self.server.create("other_test")
        for (name,) in self.do("SHOW TABLES"):
            if name not in ("seen", "numbers"):
                self.do(
                    f"CREATE TABLE other_test.{name} LIKE {name}",
                    f"INSERT INTO other_test.{name} SELECT * FROM {name}",
                )
        self.do("UPDATE other_test.theirs SET t = 'real data'")
        before = self.content("other_test")
        outcome = self.run_suite(URL=other)
        self.assertRefused(outcome, "it is a copy", "python -m protean_testing clean")
        self.assertEqual(self.content("other_test"), before)
        self.assertNotIn("restore", self.clean(other).out)
        del before["BASE TABLE orders"]
        self.assertEqual(self.content("other_test"), before)
        self.assertEqual(self.ours("other_test"), [])

    def test_while_the_schema_is_made(self) -> None:
        self.do(*THEIRS)
        before = self.content()
        self.declare("SQLAlchemyStore(schema=make, url=URL, unsafe=True)")
        suite = self.directory / "test_attack.py"
        made = "def make(engine):\n    metadata.create_all(engine)\n    ready()\n"
        suite.write_text(suite.read_text().replace("STORE = ", f"{made}STORE = "))
        self.kill_suite()
        killed = self.content()
        self.declare()  # the table is there, and the marker does not know it
        self.assertRefusedAndLeaves(killed, "table orders")
        self.assertIn("drop table orders (empty)", self.clean(self.url).out)
        self.assertEqual(self.content(), before)


class TriggerTests(MariaDBAttackTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.do(
            "CREATE OR REPLACE USER ann@localhost IDENTIFIED BY 'hush'",
            "CREATE OR REPLACE USER bob@localhost",
            "GRANT ALL ON shop_test.* TO bob@localhost",
            "GRANT ALL ON shop_test.* TO ann@localhost",
            *THEIRS,
            "SET sql_mode = 'ANSI_QUOTES', character_set_client = latin1",
            "CREATE DEFINER = bob@localhost TRIGGER one BEFORE INSERT ON theirs FOR EACH ROW "
            "SET NEW.t = concat(NEW.t, '1')",
            "SET sql_mode = DEFAULT",
            "CREATE TRIGGER two BEFORE INSERT ON theirs FOR EACH ROW PRECEDES one "
            "SET NEW.t = concat(NEW.t, '2')",
        )

    def test_another_definers_trigger_that_cannot_be_made_again(self) -> None:
        self.do("GRANT PROCESS ON *.* TO ann@localhost")
        self.variables["URL"] = self.server.url(self.name, "ann", "hush")
        for store in (ADOPT, CREATE):
            with self.subTest(store):
                self.declare(store, first=HARM)
                said = self.assertRefusedAndLeaves(
                    self.content(),
                    "trigger one",
                    "bob@localhost",
                    "GRANT SET USER ON *.* TO 'ann'@'localhost'",
                )
                self.assertNotIn("hush", said)
        self.do("GRANT SET USER ON *.* TO ann@localhost")
        self.assertPassesAndLeaves(self.content())

    def test_triggers_come_back_as_they_were(self) -> None:
        before = self.content()
        self.declare(ADOPT, first=HARM)
        self.assertPassesAndLeaves(before)

    def test_a_kill_while_triggers_are_out_of_the_way(self) -> None:
        before = self.content()
        self.declare(
            ADOPT,
            first=HARM,
            more="from protean_testing.stores.generic import mysql_rows; "
            "mysql_rows.write = lambda *_: os.kill(os.getpid(), 9)",
        )
        outcome = self.run_suite()
        self.assertEqual(outcome.code, -9, outcome.err)
        self.assertEqual(self.do("SHOW TRIGGERS"), ())
        self.declare(ADOPT)
        self.assertPassesAndLeaves(before)

    def test_a_connection_lost_while_triggers_are_out_of_the_way(self) -> None:
        before = self.content()
        self.declare(
            ADOPT,
            first=HARM,
            more="""
        from protean_testing.stores.generic import mysql_rows
        write = mysql_rows.write
        def cut(connection, *rest):
            mysql_rows.write = write
            number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
            do(f"KILL {number}")
            write(connection, *rest)
        mysql_rows.write = cut
            """,
        )
        self.assertPassesAndLeaves(before)


class ContentTests(MariaDBAttackTestCase):
    def test_a_migrated_table_that_is_empty(self) -> None:
        self.do(
            "CREATE TABLE orders (id int PRIMARY KEY, t varchar(50))",
            "CREATE VIEW seen AS SELECT * FROM orders",
            "CREATE TABLE notes (id int, FOREIGN KEY (id) REFERENCES orders (id))",
        )
        self.declare()
        self.assertRefusedAndLeaves(self.content(), "table orders", "adopt=True")

    def test_rows_of_others_before_a_callable(self) -> None:
        self.do(*THEIRS)
        self.declare("SQLAlchemyStore(schema=metadata.create_all, url=URL)")
        self.assertRefusedAndLeaves(self.content(), "table theirs", "adopt=True")

    def test_tables_of_the_user_beside_a_living_run(self) -> None:
        self.declare(
            more="import atexit; atexit.register(lambda: None)",
        )
        self.suite(
            SUITE.format(store=CREATE, first=[], second="pass", more="pass") + "\n\ndef tearDownModule():\n"
            "    do('CREATE TABLE notes (id int)', 'INSERT INTO notes VALUES (1)')\n"
        )
        outcome = self.run_suite()
        self.assertEqual(outcome.ran, 2, outcome.err)
        self.assertEqual(self.do("SELECT * FROM notes"), ((1,),))
        self.assertEqual(self.do("SHOW TABLES"), (("notes",),))

    def test_names(self) -> None:
        self.declare()
        for name in ("contest", "shop"):
            self.assertRefused(self.run_suite(URL=self.server.create(name)), "does not contain")
            self.assertEqual(self.do("SHOW TABLES", database=name), ())
        self.do("CREATE DATABASE IF NOT EXISTS warehouse")
        suite = self.directory / "test_attack.py"
        suite.write_text(suite.read_text().replace("sa.Integer, p", "sa.Integer, p").replace(
            "sa.String(50)))", 'sa.String(50)), schema="warehouse")'))  # fmt: skip
        self.assertRefused(self.run_suite(), "'warehouse' does not contain")
        self.assertEqual(self.do("SHOW TABLES", database="warehouse"), ())

    def test_a_database_whose_name_is_no_test_after_a_kill(self) -> None:
        url = self.server.create("shop")
        self.declare("SQLAlchemyStore(metadata, url=URL, unsafe=True)")
        self.kill_suite(URL=url)
        self.declare()
        self.assertRefused(self.run_suite(URL=url), "does not contain")

    def test_tables_that_cannot_be_restored(self) -> None:
        grant = "GRANT {}, CREATE, DROP, INDEX, ALTER ON shop_test.* TO cid@localhost"
        history = "Allow it:  GRANT DELETE HISTORY ON `shop_test`.* TO 'cid'@'localhost'"
        by_transaction = (
            "CREATE TABLE old (id int, a bigint unsigned GENERATED ALWAYS AS ROW START, b bigint unsigned "
            "GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING"
        )
        union = "CREATE TABLE merged (id int) ENGINE = MERGE UNION = (a)"
        for statements, granted, texts in (
            (("CREATE TABLE old (id int) WITH SYSTEM VERSIONING",), "", ("table old", history)),
            ((by_transaction,), "", ("table old", "system-versioned by transactions")),
            (("CREATE TABLE a (id int) ENGINE = MyISAM", union), "", ("table merged", "MRG_MyISAM")),
            (("CREATE TABLE fixed (id int)",), "SELECT, DELETE", ("table fixed", "INSERT command denied")),
            (("CREATE TABLE fixed (id int)",), "SELECT, INSERT", ("table fixed", "DELETE command denied")),
        ):
            with self.subTest(statements):
                self.server.create(self.name)
                self.do(
                    "CREATE OR REPLACE USER cid@localhost",
                    "GRANT PROCESS ON *.* TO cid@localhost",
                    grant.format(granted or "SELECT, INSERT, DELETE"),
                    *statements,
                )
                self.declare(ADOPT)
                url = self.server.url(self.name, "cid")
                self.assertRefusedAndLeaves(self.content(), *texts, URL=url)

    def test_a_user_who_may_read_nothing(self) -> None:
        self.do(
            "CREATE OR REPLACE USER cid@localhost",
            "GRANT INSERT, DELETE, CREATE, DROP ON shop_test.* TO cid@localhost",
            *THEIRS,
        )
        before = self.content()
        self.declare(ADOPT)
        self.assertFailed(self.run_suite(URL=self.server.url(self.name, "cid")), "SELECT command denied")
        self.assertEqual((self.content(), self.ours()), (before, []))


class ExactnessTests(MariaDBAttackTestCase):
    """The baseline is written back by the reset, whatever the application's connection makes of it."""

    EVERY = (
        "SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'",
        "CREATE TABLE every (id int AUTO_INCREMENT PRIMARY KEY, word varchar(50) CHARSET utf8mb4, "
        "old varchar(50) CHARSET latin1, n decimal(65, 30), f float, d double, raw blob, fixed binary(16), "
        "doc json, e enum('a', '', 'c'), s set('p', 'q'), b bit(64), day date, at timestamp(6) NULL, "
        "moment datetime(6), t time(6), y year, u uuid, ip inet6, place geometry, big bigint unsigned, "
        "hidden int INVISIBLE, twice int AS (zero * 2) STORED, c char(5), zero int ZEROFILL)",
        "INSERT INTO every (id, word, old, n, f, d, raw, fixed, doc, e, s, b, day, at, moment, t, y, u, ip, "
        "place, big, hidden, c, zero) VALUES (0, 'äö😀\\\\ \\'\" %s :x\\0', _latin1 x'e4f6df80', "
        "12345678901234567890123456789012345.123456789012345678901234567890, 16777217.3, "
        "2.2250738585072014e-308, "
        "x'00ff2700', x'00112233445566778899aabbccddeeff', '{\"a\": 1.50}', 'zzz', 'p,q', b'1', "
        "'2024-02-31', "
        "'2024-03-31 02:30:00.123456', '0000-00-00 00:00:00', '-838:59:59.5', '0000', uuid(), '::1', "
        "point(1.1, 2.2), 18446744073709551615, 7, 'a', 5), "
        "(2, 'a ', '', 0, 1e-45, 0.1e0 + 0.2e0, '', '', 'null', '', '', 0, '0000-00-00', "
        "'2024-10-27 00:30:00', "
        "NULL, '838:59:59.999999', 2155, NULL, NULL, NULL, 0, NULL, 'a ', 0)",
        "INSERT INTO every (d) VALUES (1.7976931348623157e308), (5e-324)",
        "INSERT INTO every (raw) VALUES (NULL)",
    )

    def setUp(self) -> None:
        super().setUp()
        self.do(*self.EVERY)

    def content(self, database: str = "") -> Any:
        columns = [name for (name,) in self.do(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'every'")]  # fmt: skip
        read = ", ".join(
            f"{name} * 1e0"
            if name == "f"
            else f"{name} + 0"
            if name in "es"
            else f"HEX({name})"
            if name != "d"
            else name
            for name in columns
        )
        rows = self.do(f"SELECT {read} FROM every") if columns else ()
        return super().content(database) | {"exactly": sorted(map(repr, rows))}

    def test_a_url_with_another_character_set(self) -> None:
        self.declare(ADOPT, first=("UPDATE every SET c = 'x'",))
        self.assertPassesAndLeaves(self.content(), URL=f"{self.url}&charset=latin1")

    def test_a_change_that_the_applications_character_set_does_not_show(self) -> None:
        self.declare(ADOPT, first=("UPDATE every SET word = concat(word, unhex('F09F9881')) WHERE id = 0",
                                 "UPDATE every SET word = 'A ' WHERE id = 2"))  # fmt: skip
        self.assertPassesAndLeaves(self.content(), URL=f"{self.url}&charset=latin1")

    def test_an_engine_of_the_application_with_converters_and_autocommit(self) -> None:
        self.declare(
            "SQLAlchemyStore(adopt=True, engine=sa.create_engine(URL, isolation_level='AUTOCOMMIT', "
            "connect_args={'charset': 'latin1', "
            "'conv': {**pymysql.converters.conversions, 246: float, 12: lambda _: None}, "
            "'init_command': \"SET time_zone = '+05:45', sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'\"}))",
            first=(
                "UPDATE every SET n = n + 0.000000000000000000000000000001",
                "UPDATE every SET raw = NULL",
            ),
        )
        self.assertPassesAndLeaves(self.content())

    def test_an_engine_with_a_creator(self) -> None:
        self.declare(
            f"SQLAlchemyStore(adopt=True, engine=sa.create_engine('mysql+pymysql:///{self.name}', "
            f"creator=lambda: pymysql.connect(unix_socket={str(self.server.socket)!r}, user='root', "
            f"database={self.name!r}, "
            "charset='latin1', conv={**pymysql.converters.conversions, 246: float})))",
            first=("UPDATE every SET n = n + 0.000000000000000000000000000001",),
        )
        self.assertPassesAndLeaves(self.content())

    def test_settings_of_the_server(self) -> None:
        self.do(
            "CREATE OR REPLACE USER dan@localhost",
            "GRANT ALL ON shop_test.* TO dan@localhost",
            "GRANT PROCESS ON *.* TO dan@localhost",
            'SET GLOBAL init_connect = "SET sql_select_limit = 1, sql_safe_updates = 1, '
            "time_zone = '-11:00', "
            "sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE,STRICT_ALL_TABLES', autocommit = 0, "
            'max_statement_time = 0.5", sql_quote_show_create = 0',
        )
        self.addCleanup(self.do, "SET GLOBAL init_connect = '', sql_quote_show_create = 1", database="mysql")
        self.declare(
            ADOPT, first=("UPDATE every SET c = 'x' WHERE id = 2", "UPDATE every SET t = 0 WHERE id = 3")
        )
        before = self.content()
        self.assertPassesAndLeaves(before, URL=self.server.url(self.name, "dan"))

    def test_values_longer_than_a_packet(self) -> None:
        self.do(
            "CREATE TABLE large (id int PRIMARY KEY, raw longblob)",
            "INSERT INTO large VALUES (1, repeat('x', 12000000))",
            "UPDATE large SET raw = concat(raw, repeat('y', 4000000))",
        )
        digest = "SELECT id, length(raw), sha2(raw, 256) FROM large"
        before = self.do(digest)
        self.declare(ADOPT, first=("UPDATE large SET raw = concat(left(raw, 15999999), 'z')",))
        outcome = self.run_suite()
        self.assertEqual((outcome.code, outcome.ran), (0, 2), outcome.err)
        self.assertEqual(self.do(digest), before)
        self.kill_suite()
        outcome = self.run_suite()
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertEqual(self.do(digest), before)


class TwoRunsTests(MariaDBAttackTestCase):
    def test_two_runs_at_once(self) -> None:
        self.do(*THEIRS)
        self.declare(first=HARM)
        self.start_suite()
        living = self.content()
        self.assertRefusedAndLeaves(living, "in use by another run")
        outcome = self.python("-m", "protean_testing", "clean", self.url, "--yes", **self.variables)
        self.assertEqual(outcome.code, 1)
        self.assertIn("in use by another run", outcome.err)
        self.assertEqual(self.content(), living)

    def test_a_lock_that_was_lost_while_another_run_came(self) -> None:
        self.do(*THEIRS)
        before = self.content()
        self.declare(
            ADOPT,
            first=("UPDATE theirs SET t = 'gone'",),
            more="print('ready', flush=True); input() if 'WAIT' in os.environ else None",
        )
        with subprocess.Popen(
            [sys.executable, "-m", "unittest", "test_attack"], cwd=self.directory, text=True,
            env=self.environment(**self.variables, WAIT="1"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "ready\n")
            query = "SELECT id FROM information_schema.processlist WHERE db = 'shop_test'"
            for (number,) in self.do(query, database="mysql"):
                self.do(f"KILL {number}", database="mysql")
            time.sleep(0.5)
            self.assertPassesAndLeaves(before)
            self.do("INSERT INTO theirs VALUES (20, 'of the user', 1)")
            after = self.content()
            _, said = process.communicate("\n", timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("another run has used the database", said)
        self.assertEqual(self.content(), after)
