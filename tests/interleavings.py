"""Random pairs of transactions, step by step, with the fast reset installed and without: the same outcomes.

``python -m tests.interleavings --pairs 10000`` runs that many at every isolation level. An outcome is what
each statement gave, or its error, and whether it had to wait for the other transaction.

Both databases begin every pair with the same files: where rows lie decides which of them is locked first, and
what the predicate locks of SERIALIZABLE cover. Nothing else runs in them. What differs all the same is run
again in both. It counts as unstable where what came with us comes without us as well, or never again.

One thing is other by nature: a note is a write, and a write tells a SERIALIZABLE transaction that it cannot
commit any more. Without us it learns that at a later statement, if the one at hand changes no row; or never,
if it rolls back. Such pairs are counted as `Findings.earlier`, once it is seen that it cannot commit without
us either.
"""

from __future__ import annotations

import argparse
import random
import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import DiagnosticField, ExecStatus
from sqlalchemy import create_engine, make_url

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql
from protean_testing.stores.postgresql import PostgreSQLBackend
from protean_testing.stores.sql.backend import Database

from .oracle.postgresql import old_binaries

LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
DEADLOCK_TIMEOUT = 0.01  # seconds
SETTLED = 0.03  # seconds after which a session that waits has looked for a deadlock, and found none
AGAIN = 6  # how often what differed is run again

UNSERIALIZABLE = [
    b"40001",
    b"could not serialize access due to read/write dependencies among transactions",
]

SCHEMA = """
CREATE TABLE bare (id serial PRIMARY KEY, a int, u int UNIQUE);
CREATE TABLE few (id serial PRIMARY KEY, a int, u int UNIQUE);
CREATE TABLE many (id serial PRIMARY KEY, a int, u int UNIQUE);
CREATE TABLE child (
    id serial PRIMARY KEY, few int REFERENCES few ON DELETE CASCADE,
    many int REFERENCES many ON DELETE SET NULL,
    bare int REFERENCES bare DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE keyless (a int);
CREATE TABLE part (id int, a int) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF part FOR VALUES FROM (MINVALUE) TO (3);
CREATE TABLE high PARTITION OF part DEFAULT;
"""
SCHEMA_ROWS = "INSERT INTO many (a, u) SELECT n, n FROM generate_series(1, 60) n;"
ROWS = """
INSERT INTO few (a, u) VALUES (1, 1), (2, 2), (3, 3);
INSERT INTO child (few, many) VALUES (1, 1), (2, 2);
INSERT INTO keyless VALUES (1), (2);
INSERT INTO part VALUES (1, 1), (5, 5);
"""
TABLES = ("bare", "few", "many", "child", "keyless", "low", "high")
SEQUENCES = ("bare_id_seq", "few_id_seq", "many_id_seq", "child_id_seq")
_STATE = ", ".join(
    [f"(SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM {table} t)" for table in TABLES]
    + [f"(SELECT (last_value, is_called)::text FROM {sequence})" for sequence in SEQUENCES]
)

STATEMENTS = (
    "INSERT INTO {t} (a) VALUES ({n}) RETURNING id",
    "INSERT INTO {t} (id, a) VALUES ({k}, {n})",
    "INSERT INTO {t} (a, u) VALUES ({n}, {k})",
    "INSERT INTO {t} (id, u) VALUES ({k}, {n}) ON CONFLICT (id) DO UPDATE SET a = 100",
    "INSERT INTO {t} (u) VALUES ({k}) ON CONFLICT DO NOTHING RETURNING id",
    "INSERT INTO {t} (a) SELECT a FROM many WHERE id <= {k}",
    "UPDATE {t} SET a = {n} WHERE id = {k}",
    "UPDATE {t} SET a = a + 1 WHERE id < {k} RETURNING id, a",
    "UPDATE {t} SET id = {k} WHERE id = {n}",
    "UPDATE {t} SET a = {n} WHERE id = 1000",
    "DELETE FROM {t} WHERE id = {k}",
    "WITH gone AS (DELETE FROM {t} WHERE id = {k} RETURNING a) INSERT INTO keyless SELECT a FROM gone",
    "MERGE INTO {t} t USING (VALUES ({k})) v (n) ON t.id = v.n WHEN MATCHED THEN UPDATE SET a = {n} "
    "WHEN NOT MATCHED THEN INSERT (id, a) VALUES (v.n, {n})",
    "SELECT id, a, u FROM {t} WHERE id < 9 ORDER BY id",
    "SELECT id FROM {t} WHERE id = {k} FOR UPDATE",
    "SELECT id FROM {t} WHERE id = {k} FOR SHARE",
    "SELECT id FROM {t} WHERE id = {k} FOR KEY SHARE",
    "SELECT id FROM {t} WHERE id = {k} FOR UPDATE NOWAIT",
    "SELECT id FROM {t} WHERE id < {k} FOR UPDATE SKIP LOCKED",
    "SELECT sum(a) FROM {t}",
    "INSERT INTO child (few) VALUES ({k}) RETURNING id",
    "INSERT INTO child (many) VALUES ({k})",
    "INSERT INTO child (bare) VALUES ({k})",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "DELETE FROM child WHERE few = {k}",
    "SELECT count(*) FROM child WHERE few = {k}",
    "INSERT INTO keyless VALUES ({k})",
    "UPDATE keyless SET a = {n} WHERE a = {k}",
    "SELECT * FROM keyless ORDER BY a",
    "UPDATE part SET id = {k} WHERE id = {n}",
    "INSERT INTO part VALUES ({k}, {n})",
    "SELECT * FROM part WHERE id = {k}",
    "LOCK TABLE {t} IN SHARE MODE",
    "LOCK TABLE {t} IN SHARE ROW EXCLUSIVE MODE NOWAIT",
    "LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE",
    "TRUNCATE child",
    "TRUNCATE keyless",
    "SELECT lastval()",
    "SELECT currval('few_id_seq')",
    "SELECT setval('few_id_seq', {n})",
    "SELECT pg_advisory_xact_lock({k})",
    "SELECT pg_try_advisory_xact_lock({k})",
    "CREATE TEMP TABLE passing ON COMMIT DROP AS SELECT * FROM {t}",
    "ANALYZE child",
    "SAVEPOINT s",
    "ROLLBACK TO SAVEPOINT s",
    "ROLLBACK TO SAVEPOINT s",
    "ROLLBACK TO SAVEPOINT s",
    "SHOW transaction_isolation",
)

Outcome: TypeAlias = list[list[Any]]


@dataclass(frozen=True)
class Pair:
    """Two transactions, and the order in which their statements are sent."""

    level: str
    steps: tuple[tuple[int, str], ...]

    def committing(self, sessions: Collection[int]) -> Pair:
        """The same, with the COMMIT of these sessions where they end."""
        steps = (
            (session, "COMMIT" if session in sessions and statement == "ROLLBACK" else statement)
            for session, statement in self.steps
        )
        return Pair(self.level, tuple(steps))

    def __str__(self) -> str:
        return "\n".join([self.level, *(f"  {session}: {statement}" for session, statement in self.steps)])


def pair(level: str, choose: random.Random) -> Pair:
    """One at random: two transactions that mostly meet at the same rows."""
    tables = choose.choice((("bare",), ("few",), ("many",), ("bare", "few", "many")))
    statements: list[list[str]] = []
    for _ in range(2):
        written = [
            choose.choice(STATEMENTS).format(
                t=choose.choice(tables), k=choose.randint(1, 4), n=choose.randint(1, 8)
            )
            for _ in range(choose.randint(1, 5))
        ]
        if choose.random() < 0.4:
            written.insert(0, "SAVEPOINT s")
        end = choose.choice(("COMMIT", "COMMIT", "COMMIT", "ROLLBACK"))
        statements.append([f"BEGIN ISOLATION LEVEL {level}", *written, end])
    order = [0] * len(statements[0]) + [1] * len(statements[1])
    choose.shuffle(order)
    return Pair(level, tuple((session, statements[session].pop(0)) for session in order))


class Session:
    """A connection whose statements are sent without waiting for their end."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        self.server = self.connection.pgconn
        self.waiting: list[str] = []
        self.busy = self.blocked = False
        self.outcome: Outcome = []

    def send(self, statement: str) -> None:
        self.server.send_query(statement.encode())
        self.busy, self.blocked = True, False
        self.outcome.append([])

    def poll(self) -> bool:
        """Whether the statement is over; what came of it is written down."""
        self.server.consume_input()
        if self.server.is_busy():
            return False
        while (result := self.server.get_result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                code = result.error_field(DiagnosticField.SQLSTATE)
                if code == b"40P01" and not self.blocked:  # it was too quick to be seen
                    self.outcome[-1].append("waits")
                self.outcome[-1].append(code)
                self.outcome[-1].append(result.error_field(DiagnosticField.MESSAGE_PRIMARY))
            else:
                columns = range(result.nfields)
                rows = [
                    tuple(result.get_value(row, column) for column in columns)
                    for row in range(result.ntuples)
                ]
                self.outcome[-1] += [result.command_status, rows]
        self.busy = self.blocked = False
        return True

    def wait(self, watch: psycopg.Connection[Any]) -> None:
        """Until the statement is over, or waits for another session and is no deadlock's victim."""
        while self.busy and not self.poll():
            found = watch.execute(f"SELECT pg_blocking_pids({self.server.backend_pid})").fetchone()
            if found is None or not found[0] or self.poll():
                continue
            if self.blocked:
                return
            self.blocked = True
            self.outcome[-1].append("waits")
            time.sleep(SETTLED)


class World:
    """One database, with the fast reset in it or without.

    Parameters:
        server: Where.
        name: Of the database, which is made.
        installed: With it.

    Raises:
        AssertionError: A reset did not give back what was there.
    """

    def __init__(self, server: PrivatePostgreSQL, name: str, installed: bool) -> None:
        url = server.create_database(name)
        self.watch = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self.backend: PostgreSQLBackend | None = None
        if installed:
            engine = create_engine(url)
            database = Database(
                name="pairs", url=make_url(url), engine=lambda: engine, private=True, on_leak="fail"
            )
            self.backend = PostgreSQLBackend(database)
            self.backend.check(())
            self.backend.acquire()
        self.watch.execute((SCHEMA + SCHEMA_ROWS).encode())
        if self.backend is not None:
            self.backend.created()
            self.outer = self.backend.save()
        self.watch.execute(ROWS.encode())
        if self.backend is not None:
            self.snapshot = self.backend.save()
        self.first = self._state()
        self.watch.execute("SET session_replication_role = replica; SET protean_testing.backend = 'on'")
        self.sessions = tuple(Session(url.replace("+psycopg", "")) for _ in range(2))

    def outcomes(self, pair: Pair) -> list[Outcome]:
        """Run the pair and put everything back."""
        self._renew_files()
        for session in self.sessions:
            session.outcome = []
        for number, statement in pair.steps:
            self.sessions[number].waiting.append(statement)
            self._advance()
        while any(session.busy or session.waiting for session in self.sessions):
            self._advance()
        for session in self.sessions:
            session.connection.execute("DISCARD ALL")
        if self.backend is not None:
            self.backend.reset(self.snapshot)
            assert self._state() == self.first, f"{pair}\n  left {self._state()},\n  not {self.first}"
        return [session.outcome for session in self.sessions]

    def _advance(self) -> None:
        """Send what can be sent, until every session is idle or waits for the other one."""
        for session in self.sessions:
            if not session.busy and session.waiting:
                session.send(session.waiting.pop(0))
                session.wait(self.watch)
        for session in self.sessions:
            session.wait(self.watch)

    def _state(self) -> Any:
        return self.watch.execute(f"SELECT {_STATE}".encode()).fetchone()

    def _renew_files(self) -> None:
        self.watch.execute(
            f"BEGIN; TRUNCATE {', '.join(TABLES)} RESTART IDENTITY; {SCHEMA_ROWS} {ROWS} COMMIT".encode()
        )

    def close(self) -> None:
        for session in self.sessions:
            session.connection.close()
        if self.backend is not None:
            self.backend.drop()
            self.backend.close()
        self.watch.close()


@contextmanager
def worlds(version: str = "18") -> Iterator[tuple[World, World]]:
    """A database with the fast reset and one without, on one server where nothing else runs."""
    binaries = old_binaries() if version == "15" else None
    settings = {"deadlock_timeout": f"{DEADLOCK_TIMEOUT * 1000:.0f}ms", "autovacuum": "off"}
    server = start_postgresql(binaries=binaries, settings=settings)
    try:
        both = World(server, "with_test", True), World(server, "without_test", False)
        yield both
        for world in both:
            world.close()
    finally:
        server.stop()


@dataclass
class Findings:
    """What came of many pairs.

    Attributes:
        pairs: How many were run.
        unstable: Those whose outcome differs from time to time.
        earlier: Those in which a transaction that has to fail is told so some statements earlier.
        differences: Those with an outcome that comes with us again and again, and never without us.
        words: How often each SQLSTATE and each wait came in the others.
    """

    pairs: int = 0
    earlier: int = 0
    unstable: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    words: Counter[str] = field(default_factory=Counter)


def compare(pairs: int, level: str, seed: int, both: tuple[World, World]) -> Findings:
    """Run random pairs in both worlds."""
    choose = random.Random(f"{seed} {level}")
    found = Findings()
    for _ in range(pairs):
        found.pairs += 1
        one = pair(level, choose)
        with_us, without = (world.outcomes(one) for world in both)
        if with_us == without:
            found.words.update(_words(with_us))
            continue
        differ = {number for number in (0, 1) if with_us[number] != without[number]}
        if all(map(_told_earlier, with_us, both[1].outcomes(one.committing(differ)))):
            found.earlier += 1
            continue
        text = f"{one}\n  with:    {with_us}\n  without: {without}"
        again, others = zip(*([world.outcomes(one) for world in both] for _ in range(AGAIN)), strict=True)
        known = (without, *others)
        ours = [outcome for outcome in (with_us, *again) if outcome not in known]
        if any(ours.count(outcome) > 1 for outcome in ours):
            found.differences.append(text)
        else:
            found.unstable.append(text)
    return found


def _told_earlier(ours: Outcome, theirs: Outcome) -> bool:
    """Whether a session's outcome is the same, but for the place where it could not be serialized."""
    if ours == theirs:
        return True
    first = next(place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    later = [statement[-2:] for statement in theirs[first:] if isinstance(statement[-1], bytes)]
    return ours[first][-2:] == UNSERIALIZABLE and later[:1] == [UNSERIALIZABLE]


def _words(outcomes: list[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        for statement in outcome:
            for word in statement:
                if word == "waits":
                    yield word
                elif isinstance(word, bytes) and len(word) == 5 and word[:1].isdigit():
                    yield word.decode()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.interleavings", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000, help="at every isolation level (10000)")
    parser.add_argument("--version", default="18", choices=("15", "18"))
    parser.add_argument("--seed", type=int, default=None, help="repeats an earlier run")
    arguments = parser.parse_args()
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    wrong = 0
    with worlds(arguments.version) as both:
        for level in LEVELS:
            began = time.perf_counter()
            found = compare(arguments.pairs, level, seed, both)
            seconds = time.perf_counter() - began
            wrong += len(found.differences)
            print(*found.differences, sep="\n", end="\n" * bool(found.differences))
            print(*(f"unstable: {text}" for text in found.unstable), sep="\n")
            print(
                f"{level}: {found.pairs} pairs, {len(found.differences)} differences, {len(found.unstable)} "
                f"unstable, {found.earlier} told earlier, --seed {seed}, {seconds:.0f} s",
                flush=True,
            )
            print("  " + ", ".join(f"{word} {times}" for word, times in sorted(found.words.items())))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
