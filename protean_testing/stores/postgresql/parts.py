"""Undo and make again single parts of objects: a column, an index, a constraint, a grant, a comment.

What is written down of a schema when it is made is a text for every part, most of them statements that make
it. Where such a part was dropped or altered, or one was added, the object is restored without a new schema.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from . import sql
from .catalogs import Address
from .connection import Connection, psycopg


class Part(NamedTuple):
    """One part of an object.

    Attributes:
        how: ``make`` or ``set`` if `line` is a statement that makes it: the first where there is none, the
            second whatever there is. Else `line` is to compare alone.
        line: Without any oid: what is made again is the same.
        undo: The statement that removes it; empty where it goes with another part.
    """

    how: str
    line: str
    undo: str


Parts = dict[Address, dict[str, Part]]

_ORDER = (  # in which parts are made; they are undone in the opposite one
    *("schema", "owner", "relation", "attached", "inherits", "columns", "column", "filled", "persistence"),
    *("type", "routine", "default", "identity", "sequence", "owned", "storage", "compression", "target"),
    *(
        "option",
        "view",
        "index",
        "constraint",
        "key",
        "replica",
        "cluster",
        "security",
        "triggers",
        "trigger",
    ),
    *("of", "rule", "policy", "published", "privileges", "comment"),
)
_RANK = {kind: number for number, kind in enumerate(_ORDER)}
_PASSES = 4  # a part may need another one


def take(connection: Connection, addresses: Collection[Address]) -> Parts:
    """The parts of objects."""
    found: Parts = {}
    if not addresses:
        return found
    classids, objids = (",".join(map(str, numbers)) for numbers in zip(*addresses, strict=True))
    with connection.naming_in_full():
        name = connection.prepare(sql.text("parts"))
        lines = connection.rows(f"EXECUTE {name}('{{{classids}}}', '{{{objids}}}')")
    for classid, objid, part, how, line, undo in lines:
        found.setdefault((classid, objid), {})[part] = Part(how or "", line or "", undo or "")
    return found


def differ(now: dict[str, Part], then: dict[str, Part]) -> bool:
    """Whether an object is made of other parts."""
    return now.keys() != then.keys() or any(part.line != then[name].line for name, part in now.items())


def restore(connection: Connection, pairs: dict[Address, Address], then: Parts) -> set[Address]:
    """Restore the parts of objects, as far as that can be done by themselves.

    Parameters:
        pairs: Where each object is, by where it was.
        then: What it was made of, by where it was.

    Returns:
        Where those were that are not as they were.
    """
    done: set[str] = set()
    for _ in range(_PASSES):
        there = take(connection, pairs.values())
        wrong = {was for was, at in pairs.items() if differ(there.get(at, {}), then.get(was, {}))}
        statements = _statements((there.get(pairs[was], {}), then.get(was, {})) for was in wrong)
        if not wrong or done.issuperset(statements):
            return wrong
        for statement in statements:
            done.add(statement)
            try:
                connection.run(statement)
            except psycopg.Error as error:  # what is not right in the end is told by the comparison
                if not connection.refuses(error):
                    raise
    return wrong


def _statements(objects: Iterable[tuple[dict[str, Part], dict[str, Part]]]) -> list[str]:
    undone, made = [], []
    for now, then in objects:
        if renamed := _renamed(now, then):
            made += [(-1, statement) for statement in renamed]
            continue  # the rest is seen in the next pass
        for name, part in now.items():
            if part.undo and (
                name not in then or (then[name].how == "make" and then[name].line != part.line)
            ):
                undone.append((-_rank(name, part), part.undo))
        for name, part in then.items():
            if part.how and (name not in now or now[name].line != part.line):
                made.append((_rank(name, part), part.line))
    return [statement for _, statement in sorted(undone, key=_first) + sorted(made, key=_first)]


def _first(pair: tuple[int, str]) -> int:
    return pair[0]


def _rank(name: str, part: Part) -> int:
    kind = name.partition(" ")[0]
    if kind == "constraint" and " FOREIGN KEY " not in part.line:
        return _RANK["constraint"]
    return _RANK.get("key" if kind == "constraint" else kind, len(_ORDER))


def _renamed(now: dict[str, Part], then: dict[str, Part]) -> list[str]:
    """The statements that give columns, constraints and indexes their names again."""
    found = []
    if "columns" in now and "columns" in then and now["columns"].line != then["columns"].line:
        here, there = (one["columns"].line.split(", ") for one in (now, then))
        if len(here) == len(there):
            wrong = {
                (is_now, was): undo.partition(" DROP ")[0]
                for is_now, was in zip(here, there, strict=True)
                if is_now != was and (undo := now.get(f"column {is_now}", Part("", "", "")).undo)
            }
            swapped = {
                is_now: f"protean_testing_{n}" for n, (is_now, _) in enumerate(wrong) if is_now in there
            }
            found += [
                f"{alter} RENAME COLUMN {is_now} TO {swapped[is_now]}"
                for (is_now, _), alter in wrong.items()
                if is_now in swapped
            ]
            found += [
                f"{alter} RENAME COLUMN {swapped.get(is_now, is_now)} TO {was}"
                for (is_now, was), alter in wrong.items()
            ]
    missing = {_nameless(part): part for name, part in then.items() if name not in now}
    for name, part in now.items():
        if name not in then and part.undo and (was_part := missing.get(_nameless(part))) is not None:
            what, drop, name_now = part.undo.rpartition(" DROP CONSTRAINT ")
            if drop:
                was = was_part.undo.rpartition(drop)[2]
                found.append(f"{what} RENAME CONSTRAINT {name_now} TO {was}")
            elif part.undo.startswith("DROP INDEX "):
                was = was_part.line.partition(" INDEX ")[2].partition(" ON ")[0]
                found.append(f"ALTER INDEX {part.undo.removeprefix('DROP INDEX ')} RENAME TO {was}")
    return found


def _nameless(part: Part) -> str:
    """What a constraint or an index is apart from its name."""
    for drop, after in ((" DROP CONSTRAINT ", " ADD CONSTRAINT "), ("DROP INDEX ", " INDEX ")):
        if drop in part.undo:
            head, _, rest = part.line.partition(after)
            return f"{head} {rest.partition(' ON ' if after == ' INDEX ' else ' ')[2]}"
    return part.line
