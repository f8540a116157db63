"""Random commands of every type in nested scopes, and what a Redis held before and after.

``python -m tests.oracle_redis --cases 1000`` runs as many programs on every server that is found here.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import redis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from protean_testing.servers.redis import PrivateRedis, start_redis
from protean_testing.stores.redis import RedisStore

SYSTEM = Path("/usr/bin/redis-server")
CLIENTS = 3
FAR = 4_000_000_000_000  # a time in milliseconds that no test lives to see

Words: TypeAlias = tuple[Any, ...]
Dump: TypeAlias = dict[bytes, Any]


class Difference(AssertionError):
    """A scope did not give back what was there when it began."""


@dataclass(frozen=True)
class Do:
    """What the code under test does: commands, each by itself, in one MULTI, or in one script."""

    client: int
    how: Literal["plainly", "multi", "script"]
    commands: tuple[Words, ...]


@dataclass(frozen=True)
class Program:
    """Keys that are there before, what they hold for the run, and what is done with them.

    Attributes:
        prefix: Of the keys that the store keeps; the empty one means the whole database.
        baseline: Written before the run begins, and adopted.
        steps: ``Do``, or the beginning, the reset, the end, the end without a reset of a scope.
    """

    prefix: str
    baseline: tuple[Words, ...]
    steps: tuple[Do | Literal["enter", "reset", "leave", "forget"], ...] = field(repr=False)

    def __repr__(self) -> str:
        lines = [f"prefix {self.prefix!r}", *map(str, self.baseline), *map(str, self.steps)]
        return "\n  ".join(["Program:", *lines])


# What is done. "k" and the like stand for a key, in capitals for a value of some sort.
COMMANDS = """
SET s V|SETEX s 100000 V|APPEND s V|SETRANGE s 3 V|INCR i|INCRBYFLOAT i 1.5|GETDEL s|GETEX s PERSIST
MSET s V i N|SETBIT b N 1|BITFIELD b INCRBY u8 N 3|BITOP NOT b b|PFADD p M V|PFMERGE p p2|PFADD p2 M
PFCOUNT p p2|PFCOUNT p|LPUSH l V M|RPUSH l V|LPOP l|LSET l 0 V|LINSERT l BEFORE M V|LREM l 0 M|LTRIM l 0 2
LMOVE l l2 LEFT RIGHT|RPOPLPUSH l2 l|HSET h F V|HDEL h F|HINCRBY h n N|HSETNX h F V
HEXPIRE h 100000 FIELDS 1 F|HPEXPIREAT h T FIELDS 1 F|HPERSIST h FIELDS 1 F|SADD e M V|SADD e N|SREM e M
SMOVE e e2 M|SPOP e|SINTERSTORE e2 e|SUNIONSTORE e e e2|ZADD z N M|ZADD z 1 V 2 M 3 x|ZINCRBY z N M|ZREM z M
ZPOPMIN z|ZRANGESTORE z2 z 0 1|ZUNIONSTORE z 2 z z2|ZREMRANGEBYRANK z 0 0|GEOADD g 13.4 52.5 M
GEOADD g 2.3 48.8 V|GEOSEARCHSTORE z2 g FROMLONLAT 13 52 BYRADIUS 900 km
GEOSEARCHSTORE g g FROMLONLAT 3 48 BYBOX 9 9 km|XADD x * M V|XADD x X M V|XADD x X a 1 b 2|XDEL x X
XTRIM x MAXLEN 2|XSETID x 9-1|XADD x MAXLEN 3 * a V|XGROUP CREATE x G 0 MKSTREAM
XGROUP CREATE x G $ MKSTREAM|XGROUP DESTROY x G|XGROUP SETID x G X|XGROUP SETID x G 0
XGROUP CREATECONSUMER x G C|XGROUP DELCONSUMER x G C|XREADGROUP GROUP G C COUNT 2 STREAMS x >
XREADGROUP GROUP G C STREAMS x >|XREADGROUP GROUP G C NOACK STREAMS x >|XREADGROUP GROUP G C STREAMS x 0
XACK x G X|XCLAIM x G C 0 X|XCLAIM x G C 0 X IDLE 5000 RETRYCOUNT 7|XAUTOCLAIM x G C 0 0
XACKDEL x G DELREF IDS 1 X|DEL k|DEL k|UNLINK k k|RENAME k k|RENAMENX k k|COPY k k|COPY k k REPLACE
EXPIRE k 100000|PEXPIREAT k T|PERSIST k|EXPIRE k -1|SORT l ALPHA STORE l2
SORT e BY nosort LIMIT 0 2 ALPHA STORE l|MOVE k 5|FLUSHDB|FLUSHALL|SWAPDB 4 5|TOUCH k
"""
TEMPLATES = [line.split() for line in COMMANDS.strip().replace("\n", "|").split("|")]
KEYS = ["s", "i", "b", "p", "p2", "l", "l2", "h", "e", "e2", "z", "z2", "g", "x", "x2"]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "V": st.sampled_from(["", "v", "\x00\r\n", "ü", "long" * 50]) | st.binary(max_size=3),
    "M": st.sampled_from(["a", "b", "c"]),
    "N": st.integers(0, 20),
    "F": st.sampled_from(["a", "b", "n"]),
    "T": st.integers(FAR, FAR + 5),
    "X": st.sampled_from([f"{n}-1" for n in range(1, 6)]),
    "G": st.sampled_from(["g1", "g2"]),
    "C": st.sampled_from(["c1", "c2"]),
    "k": st.sampled_from(KEYS),
}
# Something of every type, streams with groups and pending entries among them.
FURNITURE = """
SET s v|SET i 7 PXAT 4000000000000|PFADD p a b c|RPUSH l a b c|HSET h a 1 b 2 n 3|SADD e a b c 1 2
ZADD z 1 a 2 b|GEOADD g 13.4 52.5 a|XADD x 1-1 a 1|XADD x 2-1 b 2|XADD x 3-1 c 3|XGROUP CREATE x g1 0
XGROUP CREATE x g2 $|XREADGROUP GROUP g1 c1 COUNT 2 STREAMS x >|XCLAIM x g1 c2 0 2-1|XDEL x 1-1
XADD x2 1-1 a 1|XGROUP CREATE x2 g1 0
"""
THEMES = [TEMPLATES, TEMPLATES, [words for words in TEMPLATES if words[0].startswith("X") or "k" in words]]
FLUSHES = ("FLUSHDB", "FLUSHALL", "SWAPDB")


def furniture(prefix: str) -> Iterator[Words]:
    for line in FURNITURE.strip().replace("\n", "|").split("|"):
        command, *words = line.split()
        yield (command, *(prefix + word if word in KEYS and word != "b" else word for word in words))


@st.composite
def commands(draw: st.DrawFn, prefix: str, templates: Sequence[Sequence[str]]) -> Words:
    """One command; it may be wrong for what its key holds."""
    template = draw(st.sampled_from(templates))
    words: list[Any] = [template[0]]
    twice = "x2" if draw(st.integers(0, 5)) == 0 else "x"
    for word in template[1:]:
        if word in VALUES and word != "k":
            words.append(draw(VALUES[word]))
        elif word == "k":
            words.append(prefix + draw(VALUES["k"]))
        elif word in KEYS and not (word == "b" and template[0] == "XADD"):
            words.append(prefix + (twice if word == "x" else word))
        else:
            words.append(word)
    return tuple(words)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    prefix = draw(st.sampled_from(["", "", "p[*]:"]))
    command = commands(prefix, draw(st.sampled_from(THEMES)))
    tame = command.filter(lambda words: words[0] not in FLUSHES)
    do = st.builds(
        Do,
        st.integers(0, CLIENTS - 1),
        st.sampled_from(["plainly", "plainly", "multi", "script"]),
        st.lists(tame if prefix else command, min_size=1, max_size=6).map(tuple),
    )
    step = st.one_of(do, do, do, do, st.sampled_from(["enter", "enter", "reset", "leave", "forget"]))
    all_types = Do(0, "plainly", tuple(furniture(prefix)))
    baseline, first = draw(
        st.sampled_from([((), ()), (all_types.commands, ()), ((), ("enter", all_types)), ((), (all_types,))])
    )
    more = draw(st.lists(tame, max_size=4))
    steps = draw(st.lists(step, min_size=2, max_size=16))
    return Program(prefix, (*baseline, *more), (*first, "enter", *steps))


class World:
    """One database of a server, and another that must stay as it is."""

    def __init__(self, server: PrivateRedis, db: int = 4) -> None:
        self.url = server.url(db)
        self.version = server.version
        self.clients = [redis.Redis.from_url(self.url, protocol=2) for _ in range(CLIENTS)]
        self.raw = redis.connection.UnixDomainSocketConnection(
            path=self.url.removeprefix("unix://").partition("?")[0], db=db, protocol=2
        )
        self.raw.connect()

    def close(self) -> None:
        self.raw.disconnect()
        for client in self.clients:
            client.close()

    def ask(self, *questions: Words) -> list[Any]:
        """Replies as they are, errors among them."""
        self.raw.send_packed_command(self.raw.pack_commands(questions))
        replies = []
        for _ in questions:
            try:
                replies.append(self.raw.read_response())
            except redis.ResponseError as error:
                replies.append(error)
        return replies

    def do(self, do: Do) -> None:
        client = self.clients[do.client]
        if do.how == "multi":
            with client.pipeline(transaction=True) as pipeline:
                for words in do.commands:
                    pipeline.execute_command(*words)
                try:
                    pipeline.execute(raise_on_error=False)
                except redis.ResponseError:
                    pass  # one that no server of this version knows
            return
        for words in do.commands:
            if do.how == "script":
                words = ("EVAL", "return redis.pcall(unpack(ARGV))", 0, *words)
            try:
                client.execute_command(*words)
            except redis.ResponseError:
                pass

    def dump(self) -> Dump:
        """All that the database holds, read by the commands of each type."""
        (names,) = self.ask(("KEYS", "*"))
        names.sort()
        types = self.ask(*(("TYPE", name) for name in names))
        expiries = self.ask(*(("PEXPIRETIME", name) for name in names))
        if expiries and isinstance(expiries[0], redis.ResponseError):  # Redis 6.2
            expiries = [reply > 0 for reply in self.ask(*(("PTTL", name) for name in names))]
        held = self.ask(*(_READ[kind](name) for name, kind in zip(names, types, strict=True)))
        dump = {}
        for name, kind, expiry, value in zip(names, types, expiries, held, strict=True):
            if kind == b"set":
                value.sort()
            if kind == b"hash":
                fields = dict(zip(value[::2], value[1::2], strict=True))
                (ends,) = self.ask(("HPEXPIRETIME", name, "FIELDS", len(fields), *fields))
                known = not isinstance(ends, redis.ResponseError)
                value = fields, dict(zip(fields, ends, strict=True)) if known else None
            if kind == b"stream":  # the shape of the tree in memory is not data
                value = [part for part in _pairs(value) if not part[0].startswith(b"radix-tree")]
            dump[name] = (kind, expiry, value)
        return dump


_READ: dict[bytes, Any] = {
    b"string": lambda name: ("GET", name),
    b"list": lambda name: ("LRANGE", name, 0, -1),
    b"hash": lambda name: ("HGETALL", name),
    b"set": lambda name: ("SMEMBERS", name),
    b"zset": lambda name: ("ZRANGE", name, 0, -1, "WITHSCORES"),
    b"stream": lambda name: ("XINFO", "STREAM", name, "FULL", "COUNT", 0),
}


def _pairs(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def run(program: Program, world: World) -> None:
    """Run one program in an empty database.

    Raises:
        Difference: Naming the program and every key that differs.
    """
    world.ask(("FLUSHALL",), ("SET", "elsewhere", "kept"))
    for words in program.baseline:
        world.do(Do(0, "plainly", (words,)))
    with store_of(program, world) as store:
        first = world.dump()
        snapshots = [(store.save_data(), first)]
        for number, step in enumerate(program.steps):
            if isinstance(step, Do):
                world.do(step)
            elif step == "enter":
                snapshots.append((store.save_data(), world.dump()))
            elif step == "forget":
                if len(snapshots) > 1:
                    store.forget_data(snapshots.pop()[0])
            else:
                give_back(store, world, snapshots, f"after step {number}\n{program!r}")
                if step == "leave" and len(snapshots) > 1:
                    store.forget_data(snapshots.pop()[0])
        while len(snapshots) > 1:
            give_back(store, world, snapshots, f"at the end\n{program!r}")
            store.forget_data(snapshots.pop()[0])
        give_back(store, world, snapshots, f"of the run\n{program!r}")


@contextmanager
def store_of(program: Program, world: World) -> Iterator[RedisStore]:
    store = RedisStore(prefix=program.prefix, adopt=True)
    store.bind(world.url, private=True)
    store.check()
    store.create_schema()
    try:
        yield store
    finally:
        store.close()


def give_back(store: RedisStore, world: World, snapshots: list[tuple[Any, Dump]], where: str) -> None:
    snapshot, before = snapshots[-1]
    store.reset_data(snapshot)
    after = world.dump()
    parts = [
        f"{name!r}:\n  at its start {before.get(name)!r}\n  at its end   {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if parts:
        raise Difference(f"scope {len(snapshots) - 1} {where}\n" + "\n".join(parts))
    if leaks := store.left_open(snapshot):
        raise Difference(f"scope {len(snapshots) - 1} {where}\nA leak that is none: {leaks}")
    if store.reset_data(snapshot):
        raise Difference(f"scope {len(snapshots) - 1} {where}\nA second reset tells of a write.")


def search(server: PrivateRedis, cases: int, *, at: int | None = None, shrink: bool = True) -> float:
    """Run random programs until one differs.

    Parameters:
        server: Where to run them; its databases are cleared.
        cases: How many programs.
        at: The seed; None: the same programs every time.
        shrink: Look for the smallest program that differs.

    Returns:
        Seconds.

    Raises:
        Difference: Of the smallest program found.
    """
    world = World(server)

    @settings(
        max_examples=cases,
        derandomize=at is None,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(programs())
    def case(program: Program) -> None:
        run(program, world)

    began = time.perf_counter()
    try:
        (case if at is None else seed(at)(case))()
    finally:
        world.close()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle_redis", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="programs per server (1000)")
    parser.add_argument("--seed", type=int, default=None, help="repeats an earlier search")
    parser.add_argument("--server", type=Path, action="append", help="a program; by default all found here")
    arguments = parser.parse_args()
    at = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    programs = arguments.server or [None, *([SYSTEM] if SYSTEM.exists() else [])]
    for binary in programs:
        server = start_redis(binary=binary)
        try:
            print(f"{server.origin}, {server.version}: {arguments.cases} cases, --seed {at}", flush=True)
            print(f"no difference, {search(server, arguments.cases, at=at):.1f} s", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
