"""Refuse a server that cannot be used, before anything is written."""

from __future__ import annotations

import re
from uuid import uuid4

from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoPermissionError,
    ResponseError,
    TimeoutError,
)

from ...errors import ConfigurationError, redacted
from ...waiting import turns
from .connection import LOST
from .handle import RedisHandle

OLDEST = (6, 2)
_PAUSE = 0.05


def check(handle: RedisHandle, store: str) -> None:
    """Refuse what is no Redis, too old, a cluster, a replica, or lets us do too little.

    Raises:
        ConfigurationError: Saying which.
    """

    def refusal(why: str, instead: str) -> ConfigurationError:
        why = redacted(why, handle.address.password, handle.address.url)
        text = f"store {store!r} cannot use {handle}: {why}"
        return ConfigurationError(f"{text.rstrip('.')}.\n{instead}")

    for turn in turns(handle.wait, first=_PAUSE):
        try:
            replies = handle.wire.attempt(
                ("INFO", "server"),
                ("INFO", "replication"),
                ("INFO", "cluster"),
                ("SCAN", 0, "COUNT", 1),
                ("UNLINK", handle.prefix + uuid4().bytes),  # a key that is not there
            )
            break
        except AuthenticationError as error:
            raise refusal(str(error), "Is the user or the password in its URL wrong, or missing?") from None
        except InvalidResponse:
            raise refusal("what answers there is no Redis", "Correct the host or the port.") from None
        except TimeoutError:
            raise refusal(
                f"it did not answer within {handle.wait:g} s", "Is the server up, and is it a Redis?"
            ) from None
        except ResponseError as error:  # while it was connected
            raise refusal(str(error), "Is the number of the database right?") from None
        except LOST as error:
            if "loading" not in str(error).lower() or turn.is_last:
                raise refusal(str(error), "Is the server up, and is it a Redis?") from None
    about = b"\n".join(reply for reply in replies[:3] if isinstance(reply, bytes)).decode(errors="replace")
    facts = dict(re.findall(r"^(\w+):([^\r\n]*)", about, re.MULTILINE))
    version = tuple(
        int(number) for number in facts.get("redis_version", "").split(".")[:2] if number.isdigit()
    )
    if version and version < OLDEST:
        raise refusal(f"it is Redis {facts['redis_version']}", "Redis 6.2 or later is needed, or Valkey.")
    if facts.get("cluster_enabled") == "1":
        raise refusal("Redis Cluster is not supported", "Give it a single server.")
    if "sentinel" in (facts.get("redis_mode"), facts.get("server_mode")):
        raise refusal("it is a sentinel", "Give it the server's own URL.")
    if facts.get("role") == "slave" and facts.get("slave_read_only") == "1":
        raise refusal("it is a replica, and read-only", "Give it the primary server's URL.")
    forbidden = [
        reply for reply in replies[3:] if isinstance(reply, NoPermissionError) and "to run" in str(reply)
    ]
    if forbidden:
        raise refusal(
            str(forbidden[0]), "It needs at least: ACL SETUSER name +scan +unlink +@transaction +@connection"
        )
