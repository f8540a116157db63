"""Redis and Valkey: one database of a server, or the keys there with one prefix."""

from .store import RedisStore

__all__ = ["RedisStore"]
