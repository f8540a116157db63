"""Waits that end: deadlines for calls to servers, and the one loop that waits until nobody is in the way."""

from __future__ import annotations

import select
import sys
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

from .clock import monotonic, sleep
from .errors import OpenTransactionError

DEADLINE = 12.0
"""Seconds for one call to a server; one that does not answer is told of within 15."""

LONGEST = 600.0
"""Seconds for one that is seen to be at work on it all the time."""

GRACE = 0.25
"""Seconds that a session has to sleep while we look before it counts as left open."""

_BRIEF = 1.0  # seconds for a server that did not answer the last time
_CHEAP = 0.1  # seconds: a refused connection costs less
_REST = 10  # a server that did not answer again is left alone for so many times what it cost
_ACTIVE = 1  # libpq's PQTRANS_ACTIVE
_EVENTS = (
    0,
    select.POLLIN,
    select.POLLOUT,
    select.POLLIN | select.POLLOUT,
)  # for psycopg's 1: read, 2: write
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


class Patience:
    """How long a server is waited for: at length, but briefly once it did not answer, until it does again.

    Without this, each of the tests that follow would wait as long as the first one.

    Parameters:
        server: Equal for all that is on one server: what one of them learns, the others know.
        wait: The store's own, in seconds, where that is longer than `least`.
    """

    silent: ClassVar[dict[Hashable, float]] = {}  # by server, when it may be asked again

    def __init__(self, server: Hashable, wait: float = 0.0, *, least: float = DEADLINE) -> None:
        self._server, self.full = server, max(least, wait)

    @property
    def seconds(self) -> float:
        """For the next call."""
        return min(_BRIEF, self.full) if self.is_gone else self.full

    @property
    def is_gone(self) -> bool:
        """Whether the server did not answer the last time."""
        return self._server in self.silent

    @property
    def is_spent(self) -> bool:
        """Whether the server did not answer, and it is too early to ask it again."""
        return monotonic() < self.silent.get(self._server, 0.0)

    def gone(self, since: float) -> None:
        """It did not answer from `since` (as `monotonic` gave it) on. The next call is brief."""
        now = monotonic()
        cost = now - since if self.is_gone else 0.0
        self.silent[self._server] = now + _REST * cost if cost > _CHEAP else now

    def answered(self) -> None:
        """It does again."""
        self.silent.pop(self._server, None)


Value = TypeVar("Value")


def limit(
    connection: Any, patience: Patience, error: type[Exception], works: Callable[[], bool] = bool
) -> None:
    """Let every call of a psycopg connection have an end: at a deadline, or at once when it is interrupted.

    psycopg's own loop knows no end, and on Ctrl-C it asks the server to cancel, and waits for that. Here the
    connection is closed in both cases: what the server does with it is not known any more.

    Parameters:
        connection: Works in this way from now on.
        error: Raised at the deadline.
        works: Asked at the deadline, whether the server is still at work: a large table takes its time.
    """
    connection.wait = partial(_wait, connection.pgconn, patience, error, works)


@contextmanager
def limited(connections: Iterable[Any], patience: Patience) -> Iterator[None]:
    """Let every call of connections have an end inside: of those that the code under test uses as well.

    Parameters:
        connections: Of whatever driver; those of psycopg 3 and PyMySQL are limited.
    """
    changed: list[tuple[Any, dict[str, Any]]] = []
    for connection in connections:
        match type(connection).__module__.partition(".")[0]:
            case "psycopg" if isinstance(connection, sys.modules["psycopg"].Connection):
                if "wait" in vars(connection):
                    continue
                changed.append((connection, {"wait": None}))
                limit(connection, patience, sys.modules["psycopg"].OperationalError)
            case "pymysql":
                before = {name: getattr(connection, name) for name in ("_read_timeout", "_write_timeout")}
                changed.append((connection, before))
                vars(connection).update(dict.fromkeys(before, patience.seconds))
    began = monotonic()
    try:
        yield
    except KeyboardInterrupt:
        if changed:
            patience.gone(began)
        raise
    finally:
        for connection, before in changed:
            vars(connection).update(before)
            if before.get("wait", ...) is None:
                del connection.wait


def _wait(
    pgconn: Any,
    patience: Patience,
    error: type[Exception],
    works: Callable[[], bool],
    generator: Generator[Any, Any, Value],
    interval: float = 0.0,
    timeout: float | None = None,
) -> Value:
    """In the place of `psycopg.Connection.wait`: run one of psycopg's generators to its end.

    Each says what it waits for on the socket. This is on the way of every statement: no call but what waits.
    """
    began = monotonic()
    seconds = patience.full
    if Patience.silent and patience.is_gone:
        seconds, works = patience.seconds, bool
    deadline = began + seconds
    try:
        events = _EVENTS[next(generator)]
        poll = select.poll()
        poll.register(pgconn.socket, events)
        while True:
            left = deadline - monotonic()
            if left <= 0:
                if monotonic() - began > LONGEST or not works():
                    break
                deadline = monotonic() + seconds
                continue
            found = poll.poll(left * 1000)
            if not found:
                continue
            seen = found[0][1]
            ready = (1 if seen & ~select.POLLOUT else 0) | (2 if seen & select.POLLOUT else 0)
            wanted = _EVENTS[generator.send(ready)]
            if wanted != events:
                poll.modify(pgconn.socket, events := wanted)
    except StopIteration as end:
        value: Value = end.value
        return value
    except BaseException as failure:
        if pgconn.transaction_status == _ACTIVE:  # not the server's error, but Ctrl-C, or a signal's
            pgconn.finish()  # does not wait: the socket does not block
            if not isinstance(failure, Exception):
                patience.gone(began)
        raise
    pgconn.finish()
    patience.gone(began)
    raise error(f"no answer within {monotonic() - began:.0f} s. Is the server stopped?")


class Turn:
    """One look of several: how long it has been, and whether it is the last."""

    def __init__(self, begin: float, wait: float) -> None:
        self._begin, self._wait = begin, wait

    @property
    def seconds(self) -> float:
        return monotonic() - self._begin

    @property
    def is_last(self) -> bool:
        return self.seconds >= self._wait


def turns(wait: float, *, first: float = _FIRST_PAUSE, longest: float = _LONGEST_PAUSE) -> Iterator[Turn]:
    """Again and again, with pauses that grow, until `wait` seconds are over; once at least.

    Parameters:
        wait: Seconds.
        first, longest: Pauses, in seconds.
    """
    turn = Turn(monotonic(), wait)
    pause = first
    while True:
        is_last = turn.is_last
        yield turn
        if is_last:
            return
        sleep(pause)
        pause = min(2 * pause, longest)


def connected(psycopg: Any, parameters: Mapping[str, Any], **options: Any) -> Any:
    """Connect to a PostgreSQL that is there and may let nobody in yet: it starts, or recovers from a crash.

    Parameters:
        psycopg: The module, which not everybody has.
        parameters: What libpq needs to know.
        options: psycopg's own.

    Raises:
        psycopg.OperationalError: That of the last try, after `DEADLINE` seconds at most.
    """
    before = None
    for turn in turns(DEADLINE):
        try:
            return psycopg.connect(**parameters, **options)
        except psycopg.errors.ConnectionTimeout:
            raise
        except psycopg.OperationalError:
            answer = psycopg.pq.PGconn.ping(psycopg.conninfo.make_conninfo(**parameters).encode())
            # Twice the same: it may come up after the try, and what it ends may be the question itself.
            if turn.is_last or (answer != psycopg.pq.Ping.REJECT and answer == before):
                raise
            before = answer
    raise AssertionError("the last turn has raised")


class InTheWay(Protocol):
    """A transaction or session of the code under test that is in the way; its text says whose.

    Attributes:
        version: Changes whenever it does something.
        sleeps: It waits for its client, not for the server.
    """

    @property
    def version(self) -> Hashable: ...

    @property
    def sleeps(self) -> bool: ...


One = TypeVar("One", bound=InTheWay)

_overdue: deque[Hashable] = deque(maxlen=100)  # versions, until which a wait was in vain

ENDS_WITHIN = 10.0
"""Seconds for what was told to end."""


def make_way(
    look: Callable[[], Sequence[One]],
    wait: float,
    end: Callable[[One], object] | None,
    *,
    are_known: bool = True,
) -> list[One]:
    """Wait until nobody is in the way: for those at work, and end those that sleep.

    Who was at work until a wait was over is not waited for again, and ended as well: a statement that its
    client has given up, as a runner does whose time limit is over, would fail every test until it is done.

    Parameters:
        look: Who is in the way now.
        wait: Seconds for those at work.
        end: Ends one of them; without it, one that it would end is an error at once.
        are_known: They are in the way for certain; else those at work are never ended.

    Returns:
        Those that were ended.

    Raises:
        OpenTransactionError: Somebody stays in the way.
    """
    grace = min(GRACE, wait)
    slept: dict[Hashable, float] = {}
    ended: dict[Hashable, One] = {}
    for turn in turns(wait + ENDS_WITHIN):
        found = look()
        if not found:
            break
        now = turn.seconds
        late = now >= wait + grace
        for one in found:
            since = slept.setdefault(one.version, now)
            may_end = (are_known and one.version in _overdue) or (one.sleeps and now - since >= grace)
            if not may_end or one.version in ended:
                continue
            if end is None:
                raise OpenTransactionError(str(one))
            end(one)
            ended[one.version] = one
        if late and any(one.version not in ended for one in found):
            _overdue.extend(one.version for one in found)
            raise OpenTransactionError("\n".join(f"  {one}" for one in found))
        if turn.is_last:
            raise OpenTransactionError("\n".join(f"  {one} (told to end, and did not)" for one in found))
    return list(ended.values())
