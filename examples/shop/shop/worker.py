"""Reads the shop's events as one of a consumer group: keeps the dashboard, sends what was paid.

python -m shop.worker DATABASE_URL REDIS_URL [--once]
"""

import argparse
import time
from collections.abc import Mapping
from typing import TypeAlias

from redis.exceptions import ResponseError

from . import dashboard, database, outbox, shipping
from .context import acting_as

GROUP = "shop:workers"
HANDLED = "shop:handled"
REFUSED = "shop:refused"

Entry: TypeAlias = tuple[str, Mapping[str, str]]
"""An entry's id in the stream, and its fields."""


class Worker:
    """One consumer of the group.

    Parameters:
        name: Its name in the group; after a crash, the same name goes on where it was.
        claim_after: Seconds after which an event that another consumer took and never finished is ours.
    """

    def __init__(self, name: str = "worker-1", *, claim_after: float = 60) -> None:
        self.name = name
        self.claim_after = claim_after

    def run_once(self) -> int:
        """Publish and handle events until there are none left; return how many were handled."""
        with acting_as(self.name):
            self._join()
            handled = 0
            while True:
                published = outbox.publish()
                entries = self._next()
                if not published and not entries:
                    return handled
                for entry, fields in entries:
                    handled += self._handle(entry, fields)

    def run(self, pause: float = 0.5) -> None:
        while True:
            self.run_once()
            time.sleep(pause)

    def _join(self) -> None:
        try:
            database.redis().xgroup_create(outbox.STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _next(self) -> list[Entry]:
        """What we took and did not finish, then what others did not finish, then what is new."""
        idle = int(self.claim_after * 1000)
        return (
            self._read("0")
            or database.redis().xautoclaim(outbox.STREAM, GROUP, self.name, min_idle_time=idle, count=100)[1]
            or self._read(">")
        )

    def _read(self, after: str) -> list[Entry]:
        streams = database.redis().xreadgroup(GROUP, self.name, {outbox.STREAM: after}, count=100)
        return [(entry, fields) for _, entries in streams or () for entry, fields in entries]

    def _handle(self, entry: str, fields: Mapping[str, str]) -> bool:
        """Do what the event asks for, once, however often it comes; put away what nobody can handle."""
        redis = database.redis()
        with redis.pipeline(transaction=True) as changes:
            try:
                number, kind, payload = outbox.unpack(fields)
                dashboard.project(changes, kind, payload)
            except (KeyError, ValueError) as error:
                changes.reset()
                changes.xadd(REFUSED, {**fields, "entry": entry, "error": repr(error)})
                changes.xack(outbox.STREAM, GROUP, entry)
                changes.execute()
                return False
            if redis.sismember(HANDLED, str(number)):
                redis.xack(outbox.STREAM, GROUP, entry)
                return False
            if kind == "order.paid":
                shipping.ship(payload["order"])
            changes.sadd(HANDLED, number)
            changes.xack(outbox.STREAM, GROUP, entry)
            changes.execute()
        return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m shop.worker")
    parser.add_argument("database_url")
    parser.add_argument("redis_url")
    parser.add_argument("--once", action="store_true", help="end when there is nothing left to do")
    parser.add_argument("--name", default="worker-1")
    arguments = parser.parse_args()
    database.configure(arguments.database_url, arguments.redis_url)
    worker = Worker(arguments.name)
    try:
        if arguments.once:
            print(f"{worker.run_once()} events handled")
        else:
            worker.run()
    finally:
        database.close()


if __name__ == "__main__":
    main()
