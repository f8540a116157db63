"""What can happen to a test at its end, as a program: one store, each kind in three tests, told in JSON.

The first test of a kind writes, and is interrupted or mocks something. The second begins with that still in
place: its data must be clean, or it must fail and say why. The third begins when all mocks are gone: it must
be clean.
"""

from __future__ import annotations

import asyncio
import builtins
import gc
import json
import logging
import os
import random
import signal
import sys
import time
import traceback
import unittest
import warnings
from collections.abc import Callable
from typing import Any
from unittest import mock

from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.orm import Session

from protean_testing import (
    CallableStore,
    DatabaseTestCase,
    RedisStore,
    SQLAlchemyStore,
    test_database,
    uses_database,
)

STORE = sys.argv[1]
metadata = MetaData()
rows = Table("rows", metadata, Column("id", Integer, primary_key=True))
held: dict[str, int] = {}

STORES: dict[str, Callable[[], Any]] = {
    "memory": lambda: CallableStore(held, name="held"),
    "redis": lambda: RedisStore(),
    "sqlite": lambda: SQLAlchemyStore(metadata, name="sql"),
    "postgresql": lambda: SQLAlchemyStore(metadata, name="sql"),
}
store = STORES[STORE]()


def write() -> None:
    if STORE == "memory":
        held["row"] = 1
    elif STORE == "redis":
        store.client.set("row", 1)
    else:
        with Session(store.engine) as session:
            session.execute(insert(rows))
            session.commit()


def read() -> list[Any]:
    if STORE == "memory":
        return sorted(held)
    if STORE == "redis":
        return list(store.client.keys())
    with Session(store.engine) as session:
        return list(session.scalars(select(rows.c.id)))


class Dirty(BaseException):
    """A test began on data that another one has left."""


class StoreTests(DatabaseTestCase):
    stores = [store]

    def look(self) -> None:
        mock.patch.stopall()
        if found := read():
            raise Dirty(f"DIRTY: {found}")


class Interrupted(BaseException):
    pass


def kill(number: int, raising: BaseException) -> None:
    def handle(*_: Any) -> None:
        raise raising

    before = signal.signal(number, handle)
    try:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
    finally:
        signal.signal(number, before)


def nothing(*done: object) -> None:
    """A test returns None."""


def throw(error: BaseException) -> None:
    raise error


def patched(target: str, **how: Any) -> Callable[[Any], None]:
    """Mocked, and never stopped by the test."""

    def patch(case: Any) -> None:
        how.setdefault("side_effect", AssertionError(f"{target} was called"))
        mock.patch(target, **how).start()

    return patch


def in_tear_down(step: Callable[[Any], object]) -> Callable[[Any], None]:
    def arrange(case: Any) -> None:
        case.tearDown = lambda: step(case)

    return arrange


def in_cleanup(step: Callable[[Any], object]) -> Callable[[Any], None]:
    return lambda case: case.addCleanup(step, case)


def own_cleanups(case: Any) -> None:
    case.doCleanups()
    write()


def class_cleanups(case: Any) -> None:
    type(case).doClassCleanups()
    write()


def cleanup_of_a_cleanup(case: Any) -> None:
    case.addCleanup(case.addCleanup, write)


def fork(case: Any) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def recursion(case: Any) -> None:
    recursion(case)


def low_limit(case: Any) -> None:
    limit = sys.getrecursionlimit()
    case.addCleanup(sys.setrecursionlimit, limit)
    sys.setrecursionlimit(len(traceback.extract_stack()) + 60)


def removed_directory(case: Any) -> None:
    before = os.getcwd()
    where = os.path.join(before, "removed")
    os.mkdir(where)
    os.chdir(where)
    os.rmdir(where)
    type(case).addClassCleanup(os.chdir, before)


def session_left(case: Any) -> None:
    if STORE in ("sqlite", "postgresql"):
        case.kept = Session(store.engine)
        case.kept.execute(insert(rows))


def warnings_are_errors(case: Any) -> None:
    warnings.simplefilter("error")
    session_left(case)


def scope_left(case: Any) -> None:
    case.kept = case.db.scope()
    case.kept.__enter__()
    write()


def scope_interrupted(case: Any) -> None:
    with case.db.scope():
        write()
        raise KeyboardInterrupt


def nested(case: Any) -> None:
    class Inner(StoreTests):
        def test_inner(self) -> None:
            if read() == []:
                throw(AssertionError("the inner test begins on the outer one's data"))

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Inner).run(result)
    if not result.wasSuccessful():
        throw(AssertionError(str(result.errors + result.failures)))


def of_itself(case: Any) -> None:
    result = unittest.TestResult()
    type(case)(case._testMethodName).run(result)
    text = str(result.errors)
    if "cannot begin while" not in text:
        throw(AssertionError("a test inside itself is not refused: " + text))


def reset_and_write(case: Any) -> None:
    case.db.reset()
    write()
    throw(KeyboardInterrupt())


KINDS: dict[str, Callable[[Any], object]] = {
    "nothing": lambda case: None,
    "failure": lambda case: case.fail("on purpose"),
    "skip": lambda case: case.skipTest("later"),
    "skip in tearDown": in_tear_down(lambda case: case.skipTest("later")),
    "KeyboardInterrupt": lambda case: throw(KeyboardInterrupt()),
    "KeyboardInterrupt in tearDown": in_tear_down(lambda case: throw(KeyboardInterrupt())),
    "KeyboardInterrupt in a cleanup": in_cleanup(lambda case: throw(KeyboardInterrupt())),
    "SystemExit": lambda case: throw(SystemExit(3)),
    "SystemExit in tearDown": in_tear_down(lambda case: throw(SystemExit(3))),
    "SystemExit in a cleanup": in_cleanup(lambda case: throw(SystemExit(3))),
    "GeneratorExit": lambda case: throw(GeneratorExit()),
    "CancelledError": lambda case: throw(asyncio.CancelledError()),
    "MemoryError": lambda case: throw(MemoryError()),
    "a BaseException": lambda case: throw(Interrupted()),
    "RecursionError": recursion,
    "a low recursion limit": low_limit,
    "SIGALRM": lambda case: kill(signal.SIGALRM, TimeoutError("too slow")),
    "SIGALRM in tearDown": in_tear_down(lambda case: kill(signal.SIGALRM, TimeoutError("too slow"))),
    "SIGALRM in a cleanup": in_cleanup(lambda case: kill(signal.SIGALRM, TimeoutError("too slow"))),
    "SIGINT": lambda case: kill(signal.SIGINT, KeyboardInterrupt()),
    "SIGTERM": lambda case: kill(signal.SIGTERM, SystemExit(143)),
    "SIGUSR1": lambda case: kill(signal.SIGUSR1, Interrupted()),
    "own doCleanups": own_cleanups,
    "own doCleanups in tearDown": in_tear_down(own_cleanups),
    "own doCleanups in a cleanup": in_cleanup(own_cleanups),
    "own doCleanups twice": lambda case: (own_cleanups(case), own_cleanups(case)),
    "own doClassCleanups": class_cleanups,
    "cleanups thrown away": lambda case: case._cleanups.clear(),
    "a cleanup that writes": in_cleanup(lambda case: write()),
    "a cleanup of a cleanup": cleanup_of_a_cleanup,
    "time.perf_counter, two values": patched("time.perf_counter", side_effect=[1.0, 2.0]),
    "time.perf_counter": patched("time.perf_counter"),
    "time.monotonic": patched("time.monotonic"),
    "time.time": patched("time.time"),
    "time.sleep": patched("time.sleep"),
    "time.time, standing still": patched("time.time", side_effect=None, return_value=0.0),
    "time.monotonic, standing still": patched("time.monotonic", side_effect=None, return_value=0.0),
    "os.getpid": patched("os.getpid"),
    "os.getpid, another": patched("os.getpid", side_effect=None, return_value=1),
    "os.path.exists": patched("os.path.exists"),
    "os.listdir": patched("os.listdir"),
    "os.stat": patched("os.stat"),
    "os.environ, empty": lambda case: mock.patch.dict(os.environ, clear=True).start(),
    "os.fork": fork,
    "a directory that is gone": removed_directory,
    "threading.enumerate": patched("threading.enumerate"),
    "threading.active_count": patched("threading.active_count"),
    "threading.current_thread": patched("threading.current_thread"),
    "threading.get_ident": patched("threading.get_ident"),
    "threading.get_ident, another": patched("threading.get_ident", side_effect=None, return_value=1),
    "threading.Thread": patched("threading.Thread"),
    "threading.Lock": patched("threading.Lock"),
    "threading.RLock": patched("threading.RLock"),
    "socket.socket": patched("socket.socket"),
    "socket.create_connection": patched("socket.create_connection"),
    "socket.getaddrinfo": patched("socket.getaddrinfo"),
    "builtins.open": patched("builtins.open"),
    "builtins.print": patched("builtins.print"),
    "builtins.input": patched("builtins.input"),
    "warnings.warn": patched("warnings.warn"),
    "warnings.warn and a leak": lambda case: (session_left(case), patched("warnings.warn")(case)),
    "warnings as errors and a leak": warnings_are_errors,
    "a leak": session_left,
    "sys.stderr, closed": lambda case: mock.patch("sys.stderr", None).start(),
    "gc.collect": patched("gc.collect"),
    "gc, off": lambda case: (gc.disable(), case.addCleanup(gc.enable)),
    "logging, off": lambda case: (logging.disable(), case.addCleanup(logging.disable, logging.NOTSET)),
    "uuid.uuid4": patched("uuid.uuid4"),
    "random.random": patched("random.random"),
    "inspect.isawaitable": patched("inspect.isawaitable"),
    "sqlalchemy.create_engine": patched("sqlalchemy.create_engine"),
    "redis.Redis": patched("redis.Redis"),
    "a scope left open": scope_left,
    "a scope interrupted": scope_interrupted,
    "db.reset() and more": reset_and_write,
    "another class inside": nested,
    "the same test inside": of_itself,
}


def run(test: Callable[[Any], object], name: str) -> tuple[str, str]:
    """One test by a suite and a result of its own."""
    cls = classes[0]
    setattr(cls, "test_it", test)  # noqa: B010
    case = cls("test_it")
    result = unittest.TestResult()
    case.id = lambda: name
    try:
        case.run(result)
    except BaseException as error:
        return "ended the run", "".join(traceback.format_exception(error))
    found = result.errors + result.failures
    return ("failed", found[0][1]) if found else ("passed", "")


def fresh() -> None:
    class Tests(StoreTests):
        pass

    classes[:] = [Tests]


classes: list[Any] = []


def by_kinds() -> None:
    kinds = KINDS
    if len(sys.argv) > 3:
        kinds = {name: KINDS[name] for name in sys.argv[3:]}
    for name, kind in kinds.items():
        fresh()
        filters = warnings.filters[:]
        first = run(lambda case, kind=kind: nothing(write(), kind(case)), f"{name}, first")
        second = run(lambda case: case.look(), f"{name}, second")
        mock.patch.stopall()
        warnings.filters[:] = filters
        third = run(lambda case: case.look(), f"{name}, third")
        print(json.dumps([name, first, second, third]), flush=True)
        classes[0].doClassCleanups()


def interrupting(error: type[BaseException], step: int) -> tuple[Callable[..., Any], list[int]]:
    """A trace function that raises at a step of this library's own code; what is left of the steps."""
    left = [step]

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if "protean_testing/" not in frame.f_code.co_filename:
            return None
        if event in ("call", "line"):
            left[0] -= 1
            if left[0] < 0:
                sys.settrace(None)
                raise error("interrupted")
        return trace

    return trace, left


def at_the_end_of_a_test(trace: Any) -> None:
    run(lambda case: nothing(write(), case.addCleanup(sys.settrace, trace)), "interrupted")


def at_the_begin_of_a_test(trace: Any) -> None:
    """Where the test before has not been restored at all, so that this must be done first."""
    first, _ = interrupting(KeyboardInterrupt, 0)
    at_the_end_of_a_test(first)
    sys.settrace(trace)
    run(lambda case: sys.settrace(None), "after it")
    sys.settrace(None)


def at_the_end_of_a_class(trace: Any) -> None:
    ending = classes[0]
    outcome = run(lambda case: write(), "the last one")
    if outcome[0] != "passed":
        print(outcome[1], file=sys.stderr)
    write()  # in the class
    fresh()
    sys.settrace(trace)
    try:
        ending.doClassCleanups()
    except BaseException:
        pass
    finally:
        sys.settrace(None)


def at_the_end_of_a_block(trace: Any) -> None:
    def test(db: Any) -> None:
        write()
        sys.settrace(trace)

    decorated = uses_database(store)(test)
    try:
        decorated()
    except BaseException:
        pass
    finally:
        sys.settrace(None)


def at_the_end_of_a_scope(trace: Any) -> None:
    """In a test case of nobody's, as ``setUp`` enters it."""

    class PlainTests(unittest.TestCase):
        def test_it(self) -> None:
            self.enterContext(test_database(store))
            write()
            self.addCleanup(sys.settrace, trace)

    try:
        PlainTests("test_it").run(unittest.TestResult())
    except BaseException:
        pass
    finally:
        sys.settrace(None)


PLACES = {
    "test": at_the_end_of_a_test,
    "begin": at_the_begin_of_a_test,
    "class": at_the_end_of_a_class,
    "block": at_the_end_of_a_block,
    "scope": at_the_end_of_a_scope,
}


def at_every_step() -> None:
    """Interrupt an end at each step that this library's own code takes there, one after another."""
    place, error = PLACES[sys.argv[3]], getattr(builtins, sys.argv[4])
    fresh()
    dirty: list[Any] = []
    step, told = 0, 0
    while True:
        trace, left = interrupting(error, step)
        place(trace)
        sys.settrace(None)
        outcome, text = run(lambda case: case.look(), f"after step {step}")
        if place in (at_the_end_of_a_block, at_the_end_of_a_scope):
            classes[0].doClassCleanups()
            fresh()
        if outcome != "passed":
            told += 1
            if "DIRTY" in text or "is not clean" not in text:
                dirty.append([step, text])
        if left[0] >= 0:
            break
        step += int(os.environ.get("STRIDE", "1"))
    classes[0].doClassCleanups()
    print(json.dumps({"steps": step, "told": told, "number": len(dirty), "dirty": dirty[:3]}))


def by_alarm() -> None:
    """Alarms that raise somewhere near the end of each of many tests."""
    fresh()
    chance = random.Random(7)
    dirty = []
    signal.signal(signal.SIGALRM, lambda *_: throw(TimeoutError("too slow")))
    for number in range(300):
        pause = chance.uniform(0.00001, 0.002)

        def test(case: Any, pause: float = pause) -> None:
            write()
            signal.setitimer(signal.ITIMER_REAL, pause)

        try:
            run(test, f"alarm {number}")
            signal.setitimer(signal.ITIMER_REAL, 0)
        except TimeoutError:
            pass  # it came when the test was over
        outcome, text = run(lambda case: case.look(), f"after alarm {number}")
        if outcome != "passed" and ("DIRTY" in text or "is not clean" not in text):
            dirty.append([pause, text])
    classes[0].doClassCleanups()
    print(json.dumps({"dirty": dirty[:5], "number": len(dirty)}))


if __name__ == "__main__":
    try:
        {"kinds": by_kinds, "step": at_every_step, "alarm": by_alarm}[sys.argv[2]]()
    finally:
        mock.patch.stopall()
        unittest.TestResult().stopTestRun()
