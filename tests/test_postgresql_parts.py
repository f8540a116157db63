"""Every part of the fast reset is there for something: without it, rows or sequences do not come back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any
from unittest.mock import patch

import psycopg

from protean_testing.errors import ProteanTestingError
from protean_testing.stores.postgresql import (
    baseline,
    catalogs,
    change_log,
    constraints,
    large_objects,
    parts,
    sql,
    views,
)
from protean_testing.stores.postgresql.history import History
from protean_testing.stores.postgresql.installed import Installed

from .depth import DEEP
from .oracle.postgresql import dump
from .postgresql_testcase import PostgreSQLTestCase, libpq
from .real_schema import pg_dump

TABLES = "".join(f"CREATE TABLE t{number} (id serial PRIMARY KEY, a int);" for number in range(20))
"""With more sequences than are looked at after every test."""

CATALOGS = {
    "pg_constraint": "ALTER DOMAIN number ADD CHECK (VALUE > 1)",
    "pg_enum": "ALTER TYPE mood ADD VALUE 'tired'",
    "pg_namespace": "CREATE SCHEMA made",
    "pg_description": "COMMENT ON TYPE mood IS 'of a test'",
    "pg_publication_rel": "ALTER PUBLICATION published ADD TABLE t",
    "pg_publication": "CREATE PUBLICATION made",
    "pg_amop": "ALTER OPERATOR FAMILY family USING btree ADD OPERATOR 1 < (int, bigint)",
    "pg_amproc": "ALTER OPERATOR FAMILY family USING btree "
    "ADD FUNCTION 1 (int, bigint) btint48cmp(int, bigint)",
    "pg_ts_config_map": "ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH simple",
    "pg_operator": "CREATE OPERATOR @#@ (leftarg = int, rightarg = int, function = int4eq)",
    "pg_cast": "CREATE CAST (text AS mood) WITH INOUT",
    "pg_statistic_ext": "CREATE STATISTICS made ON a, b FROM t",
    "pg_collation": 'CREATE COLLATION made FROM "C"',
    "pg_opfamily": "CREATE OPERATOR FAMILY made USING btree",
    "pg_ts_config": "CREATE TEXT SEARCH CONFIGURATION made (copy = simple)",
    "pg_ts_dict": "CREATE TEXT SEARCH DICTIONARY made (template = simple)",
    "pg_conversion": "CREATE CONVERSION made FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "pg_foreign_data_wrapper": "CREATE FOREIGN DATA WRAPPER made",
    "pg_foreign_server": "CREATE SERVER made FOREIGN DATA WRAPPER wrapper",
    "pg_user_mappings": "CREATE USER MAPPING FOR PUBLIC SERVER foreign_server",
    "pg_am": "CREATE ACCESS METHOD made TYPE TABLE HANDLER heap_tableam_handler",
    "pg_language": "CREATE LANGUAGE made HANDLER plpgsql_call_handler",
    "pg_default_acl": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO application",
}
"""What only that catalog tells."""

Broken = AbstractContextManager[Any]


def without(name: str, *changes: tuple[str, str]) -> Broken:
    """SQL of ours with other words in it."""
    text = sql.text

    def changed(asked: str) -> str:
        found = text(asked)
        for old, new in changes if asked == name else ():
            if old not in found:
                raise LookupError(f"{name}.sql does not say {old!r} any more")
            found = found.replace(old, new)
        return found

    return patch.object(sql, "text", changed)


class PartTests(PostgreSQLTestCase):
    def assertNeeded(
        self,
        broken: Broken,
        *steps: str | Callable[[], None],
        schema: str = TABLES,
        shared: str = "SELECT 1",
        role: str = "postgres",
    ) -> None:
        """A test of these `steps` leaves nothing, and something where the part is broken."""
        for part, expected in ((nullcontext(), True), (broken, False)):
            self.role = role
            self.setUp()
            with part:
                try:
                    found = self.comes_back(schema, shared, steps)
                except (ProteanTestingError, psycopg.errors.AssertFailure):
                    found = False
                self.assertEqual(found, expected, part)

    def comes_back(self, schema: str, shared: str, steps: tuple[str | Callable[[], None], ...]) -> bool:
        backend = self.backend(schema=schema, on_leak="reset", wait=0.1)
        self.snapshot = backend.save()
        self.run_sql(shared)
        snapshot, before = backend.save(), self.dumps()
        self.open = self.connect()
        self.give_back = lambda: backend.reset(snapshot)
        self.save = backend.save
        for step in steps:
            self.run_sql(step) if isinstance(step, str) else step()
        backend.reset(snapshot)
        with suppress(psycopg.OperationalError):
            self.open.commit()
        return self.dumps() == before

    def dumps(self) -> Any:
        return dump(libpq(self.server.url(self.name))), pg_dump(self.server, self.name)

    def leave_open(self, *statements: str) -> Callable[[], None]:
        def execute() -> None:
            for statement in statements:
                self.open.execute(statement.encode())

        return execute

    def crash(self) -> None:
        with suppress(psycopg.OperationalError):
            os.kill(self.open.info.backend_pid, signal.SIGKILL)
            self.open.execute("SELECT pg_sleep(10)")
        for _ in range(500):
            with suppress(psycopg.OperationalError):
                return self.run_sql("SELECT")
            time.sleep(0.02)

    # What is noted

    def test_the_note(self) -> None:
        self.assertNeeded(
            patch.object(change_log, "log_tables", lambda *_: None), "INSERT INTO t1 (a) VALUES (1)"
        )

    def test_the_lock(self) -> None:
        self.assertNeeded(
            without("reset", ("LOCK TABLE protean_testing.change_log IN SHARE MODE NOWAIT;", "")),
            self.leave_open("BEGIN", "INSERT INTO t1 (a) VALUES (1)"),
        )

    def test_the_sentinel(self) -> None:
        self.assertNeeded(
            without("reset", ("0 <> ALL (written)", "false")),
            "INSERT INTO t1 (a) VALUES (1)",
            lambda: self.crash(),
        )

    def test_what_an_inner_scope_wrote(self) -> None:
        self.assertNeeded(
            patch.object(History, "dirty_since", lambda *_: set()),
            "INSERT INTO t1 (a) VALUES (1)",
            lambda: self.save(),
        )

    def test_partitions(self) -> None:
        self.assertNeeded(
            without("reset", (":children", "false")),
            "INSERT INTO part VALUES (1)",
            schema="CREATE TABLE part (a int) PARTITION BY RANGE (a); "
            "CREATE TABLE low PARTITION OF part FOR VALUES FROM (0) TO (9)",
        )

    # Rows that were there

    def test_rows_that_are_kept(self) -> None:
        for rows in (3, 60):
            self.assertNeeded(
                patch.object(Installed, "held", False),
                "DELETE FROM t1 WHERE id = 2",
                shared=f"INSERT INTO t1 (a) SELECT n FROM generate_series(1, {rows}) n",
            )

    def test_keys_that_were_written(self) -> None:
        self.assertNeeded(
            patch.object(change_log, "log_keys", lambda *_: None),
            "UPDATE t1 SET a = 0 WHERE id = 2",
            shared="INSERT INTO t1 (a) SELECT n FROM generate_series(1, 60) n",
        )

    def test_row_level_security(self) -> None:
        self.assertNeeded(
            patch.object(baseline, "unforced", lambda *_: nullcontext()),
            "INSERT INTO t VALUES (1)",
            schema="CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY, "
            "FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (true)",
            role="owner",
        )

    def test_triggers_that_fire_always(self) -> None:
        self.assertNeeded(
            without("reset", (":slow", "false")),
            "INSERT INTO t VALUES (1)",
            schema="CREATE TABLE log (a int); CREATE TABLE t (a int); "
            "CREATE FUNCTION logging() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO public.log VALUES (1); RETURN NULL; END $$; "
            "CREATE TRIGGER logging AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION logging(); "
            "ALTER TABLE t ENABLE ALWAYS TRIGGER logging",
        )

    # Sequences

    def test_where_sequences_of_an_outer_scope_stood(self) -> None:
        self.assertNeeded(
            patch.object(Installed, "_position_lines", lambda *_: ()),
            "INSERT INTO t1 (a) VALUES (1)",
            shared="INSERT INTO t1 (a) VALUES (1), (2)",
        )

    def test_transactions_that_no_note_explains(self) -> None:
        rolled_back = "BEGIN; INSERT INTO t1 (a) VALUES (1); ROLLBACK"
        self.assertNeeded(without("reset", ("age(seen::text::xid8::xid) = 0", "true")), rolled_back)
        self.assertNeeded(
            without("reset", ("unexplained OR :few", ":few"), ("unexplained AND :some", "false")), rolled_back
        )

    def test_transactions_that_were_not_over(self) -> None:
        self.assertNeeded(
            without("reset", ("pending OR :unlogged", ":unlogged")),
            self.leave_open(
                "BEGIN", "SAVEPOINT s", "INSERT INTO t1 (a) VALUES (1)", "ROLLBACK TO SAVEPOINT s"
            ),
            lambda: self.give_back(),
            self.leave_open("SELECT nextval('t1_id_seq')", "ROLLBACK"),
        )

    def test_sequences_that_sessions_cache(self) -> None:
        insert = "INSERT INTO t DEFAULT VALUES"
        self.assertNeeded(
            without("reset", (":cached", "false")),
            self.leave_open(insert),
            lambda: self.give_back(),
            self.leave_open(f"DO $$ BEGIN {insert}; ASSERT lastval() = 1; END $$"),
            schema="CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (CACHE 5))",
        )

    # The schema

    def test_event_triggers(self) -> None:
        told = "THEN -2 ELSE -1 END"
        for step in (
            "INSERT INTO t VALUES (1); ALTER TABLE t ADD b int",
            "INSERT INTO t VALUES (1); REFRESH MATERIALIZED VIEW v",
        ):
            self.assertNeeded(
                without("install", (told, "THEN 0 ELSE 0 END")),
                step,
                schema="CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT a FROM t",
            )

    def test_the_newest_relation(self) -> None:
        self.assertNeeded(
            without("reset", ("newest <> 0 AND", "false AND")),
            "INSERT INTO t1 (a) VALUES (1); CREATE TABLE made (a int)",
            role="owner",
        )

    def test_what_no_event_trigger_tells(self) -> None:
        self.assertNeeded(
            without("reset", ("unexplained AND watch <> ''", "false")),
            "SET event_triggers = off; ALTER TABLE t1 ADD b int",
        )

    def test_constraints_that_are_set_aside(self) -> None:
        for role, part in (("postgres", "_catalog_changes"), ("owner", "_write_as_owner")):
            self.assertNeeded(
                patch.object(constraints, part, side_effect=psycopg.errors.AssertFailure),
                "DELETE FROM t",
                schema="CREATE TABLE t (a int)",
                shared="INSERT INTO t VALUES (-1); ALTER TABLE t ADD CHECK (a > 0) NOT VALID",
                role=role,
            )

    def test_our_own_triggers(self) -> None:
        switched = "ALTER TABLE t1 DISABLE TRIGGER USER; INSERT INTO t1 VALUES (9); "
        self.assertNeeded(
            patch.object(change_log, "damaged", lambda *_: False),
            switched + "ALTER TABLE t1 ENABLE TRIGGER USER",
            role="owner",
        )

    def test_every_catalog(self) -> None:
        schema = (
            "CREATE TABLE t (a int, b int); CREATE DOMAIN number AS int; "
            "CREATE TYPE mood AS ENUM ('happy'); CREATE PUBLICATION published; "
            "CREATE OPERATOR FAMILY family USING btree; CREATE FOREIGN DATA WRAPPER wrapper; "
            "CREATE SERVER foreign_server FOREIGN DATA WRAPPER wrapper; "
            "CREATE TEXT SEARCH CONFIGURATION words (copy = english)"
        )
        for name, statement in CATALOGS.items() if DEEP else list(CATALOGS.items())[::4]:
            with self.subTest(name):
                others = tuple(one for one in catalogs._ALL if name not in one.name)
                self.assertLess(len(others), len(catalogs._ALL))
                self.assertNeeded(patch.object(catalogs, "_ALL", others), statement, schema=schema)

    def test_objects_that_are_restored_alone(self) -> None:
        """Without it there is a new schema: all is right, in tables that are others."""
        self.assertNeeded(
            patch.object(parts, "restore", lambda _, pairs, then: set(pairs)),
            "CREATE INDEX made ON t1 (a)",
            lambda: (self.give_back(), self.run_sql("COMMENT ON TABLE t2 IS 'the same one'"))[1],
            shared="COMMENT ON TABLE t2 IS 'the same one'",
        )

    def test_large_objects(self) -> None:
        made = "SELECT lo_from_bytea(4001, 'first')"
        for step in (
            "SELECT lo_put(4001, 0, 'XY')",
            "SELECT lo_unlink(4001)",
            "SELECT lo_from_bytea(0, 'made')",
        ):
            self.assertNeeded(patch.object(large_objects, "restore", lambda *_: None), step, shared=made)

    def test_what_a_view_shows(self) -> None:
        self.assertNeeded(
            patch.object(views, "restore", lambda *_: set()),
            "REFRESH MATERIALIZED VIEW v",
            schema="CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT a FROM t",
            shared="INSERT INTO t VALUES (1)",
        )
