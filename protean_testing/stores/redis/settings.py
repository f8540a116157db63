"""Settings of a server that tests change: configuration, users, functions, and whether it is a replica."""

from __future__ import annotations

import re

from .connection import Command, Wire

Settings = dict[str, Command]
"""By its name, the command that makes each setting what it is."""

_CALLS = re.compile(
    rb"cmdstat_(?:config\|set|acl\|(?:(?:set|del)user|load)|function\|(?:load|delete|flush|restore)"
    rb"|replicaof|slaveof):calls=\d+"
)
_ROLES = {b"replicaof", b"slaveof"}
_ROLE, _FUNCTIONS = "REPLICAOF", "FUNCTION"


def calls_in(statistics: object) -> list[bytes]:
    """How often settings were changed, of INFO's commandstats; nothing if we may not know."""
    return _CALLS.findall(statistics) if isinstance(statistics, bytes) else []


def read(wire: Wire) -> Settings:
    """What the server says, as far as we may ask."""
    config, users, functions, about = wire.attempt(
        ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("FUNCTION", "DUMP"), ("INFO", "replication")
    )
    found: Settings = {}
    if isinstance(about, bytes):
        host = re.search(rb"^master_host:([^\r]*)\r\nmaster_port:(\d+)", about, re.MULTILINE)
        found[_ROLE] = (_ROLE, *host.groups()) if host else (_ROLE, "NO", "ONE")
    if isinstance(config, list):
        for name, value in zip(config[::2], config[1::2], strict=True):
            if name not in _ROLES:
                found[f"CONFIG {name.decode()}"] = ("CONFIG", "SET", name, value)
    for line in users if isinstance(users, list) else ():
        _, name, *rules = line.split(b" ")
        found[f"ACL {name.decode(errors='replace')}"] = ("ACL", "SETUSER", name, "reset", *rules)
    if isinstance(functions, bytes):
        found[_FUNCTIONS] = (_FUNCTIONS, "RESTORE", functions, "FLUSH")
    return found


def changed(then: Settings, now: Settings) -> Settings:
    """The commands that undo what differs, in order: first what lets the others be done."""
    names = [name for name in then | now if then.get(name) != now.get(name)]
    return {name: then.get(name) or ("ACL", "DELUSER", now[name][2]) for name in names}


def shown(name: str, command: Command) -> str:
    """A command for messages: no password, and no hash of one."""
    kind = name.partition(" ")[0]
    if kind in ("ACL", _FUNCTIONS) or (kind == "CONFIG" and re.search("pass|auth|user", name)):
        return name
    return " ".join(one.decode(errors="replace") if isinstance(one, bytes) else one for one in command)
