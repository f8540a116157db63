"""The store of a Redis or Valkey database: its handles, and its part in the lifecycle."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.exceptions import NoPermissionError, RedisError, ResponseError, TimeoutError

from ...changes import Written
from ...clock import monotonic
from ...core.leaks import report_leak
from ...errors import (
    ConfigurationError,
    OpenTransactionError,
    Secret,
    StoreError,
    UnsafeStoreError,
    redacted,
)
from ...store import LocatedStore, OnLeak, ResetAfter, Snapshot, Store, validate
from ...waiting import turns
from ..driver_errors import lost
from . import acquire, server, settings
from .address import Address, from_client, from_url
from .connection import LOST
from .data import Data, TooManyKeys
from .handle import RedisHandle, in_use
from .transactions import OpenMulti
from .values import dump
from .worker_number import sweep, worker_number

Result = TypeVar("Result")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2


class RedisStore(LocatedStore):
    """One database of a Redis (6.2 and later) or Valkey server, or the keys in it with one prefix.

    Every type is restored exactly: streams with their groups, consumers, pending entries and counters, and
    times to live as the moment when they end. Nothing of ours stays in the database: to list what a test
    wrote, an old value is read by a key that is there within one transaction.

    Parameters:
        url: Where it is, or a callable that returns that on first use. Left out, the environment decides;
            a private server by default.
        client: The application's own client in place of a URL, or a callable that returns it: only where it
            leads to is used.
        prefix: Keys that begin with it are the store; the others in the database are left alone.
        tcp: A private server listens on 127.0.0.1, with a password, for clients that know no Unix sockets.
        name: What messages call the store; the name in `db.store(name)`.
        reset_after: ``"test"``, or ``"class"`` if the tests of a class build on each other.
        unsafe: Clear a database that holds keys of others.
        adopt: Keep the keys that are there: they are the baseline.
        copy_limit: How many keys are copied at most if a scope begins (and by ``adopt=True``, of 4 kB each on
            average, which are written to the disk as well): they are held in memory. More are refused.
        wait: Seconds to wait for a server that does not answer, and for what is still at work in it.
        on_leak: ``"reset"``, ``"warn"`` or ``"fail"`` if a test left a MULTI open, a client that
            subscribes or waits for a key, or a thread that writes.
        verify: Compare everything after each reset, and report what is not as it was.

    Raises:
        ConfigurationError: The arguments contradict each other, or the URL cannot be read.
    """

    kind = "redis"

    def __init__(
        self,
        url: str | Callable[[], str] | None = None,
        *,
        client: Any = None,
        prefix: str = "",
        tcp: bool = False,
        name: str = "redis",
        reset_after: ResetAfter = "test",
        unsafe: bool = False,
        adopt: bool = False,
        copy_limit: int = 100_000,
        wait: float = 5.0,
        on_leak: OnLeak = "warn",
        verify: bool = False,
    ) -> None:
        validate(self, name=name, prefix=prefix, reset_after=reset_after, on_leak=on_leak, wait=wait)
        validate(self, adopt=adopt, unsafe=unsafe, verify=verify, tcp=tcp, copy_limit=copy_limit)
        if url is not None and client is not None:
            raise ConfigurationError("RedisStore takes url= or client=, not both.")
        if tcp and (url is not None or client is not None):
            raise ConfigurationError("RedisStore(tcp=True) is a private server: it takes no url= or client=.")
        if unsafe and adopt:
            raise ConfigurationError(
                "RedisStore takes adopt=True, which keeps the keys that are there, or unsafe=True, which "
                "clears them."
            )
        self.name, self.reset_after, self.tcp = name, reset_after, tcp
        self.prefix, self.unsafe, self.adopt, self.copy_limit = prefix, unsafe, adopt, copy_limit
        self._given: Address | None = None
        self._found: Callable[[], Address] | None = None  # where a callable says that it is
        if callable(url):
            self._found = lambda: from_url(Secret(url()))
        elif callable(client):
            self._found = lambda: from_client(client())
        elif client is not None:
            self._given = from_client(client)
        elif url is not None:
            url = Secret(url)  # a frame that is printed shows what it holds
            self._given = from_url(url)
        self._client_given = client is not None
        self._wait = wait
        self.on_leak, self.verify = on_leak, verify
        self._handle: RedisHandle | None = None

    # Where it is

    @property
    def needs_url(self) -> bool:
        """True if nobody has said yet where the database is."""
        is_given = self._given is not None or self._found is not None
        return not is_given and (self._handle is None or self._handle.closed)

    @property
    def place(self) -> str:
        handle = self._handle
        if handle is None:
            return ""
        return "private Redis" if handle.private and handle.own is None else str(handle.address)

    def bind(self, url: str, *, private: bool = False) -> None:
        """Say where the database is. `private` means that its server was started for this run alone."""
        at = from_url(url)
        self._handle = (
            RedisHandle(at, self.prefix, self._wait, private=True) if private else self._located(at)
        )

    def _located(self, address: Address) -> RedisHandle:
        """The handle of a given database, or of the one that a worker has for itself."""
        number = worker_number(address, self.name, self._wait)
        if number is None:
            return RedisHandle(address, self.prefix, self._wait)
        return number.handle(self.prefix, self._wait)

    def _live(self) -> RedisHandle:
        if self._handle is None or self._handle.closed:
            if self._found is not None:
                self._given = self._found()
            if self._given is None:
                raise ConfigurationError(f"store {self.name!r} is not in use: it has no database yet.")
            is_client = self._client_given
            at = self._given
            self._handle = RedisHandle(at, self.prefix, self._wait) if is_client else self._located(at)
        return self._handle

    def identity(self) -> Hashable:
        return self.location()

    def location(self) -> Hashable:
        return self._live().key

    def share(self, first: Store) -> None:
        assert isinstance(first, RedisStore)
        if first.adopt != self.adopt:
            raise ConfigurationError(
                f"stores {first.name!r} and {self.name!r} are both {self._live()}, but only one of them has "
                "adopt=True."
            )
        handle = first._live()
        if self._handle is not None and self._handle is not handle:
            self._handle.close()
        self._handle = handle

    # What a test uses

    @property
    def url(self) -> str:
        """The URL with the real password, for the application."""
        return self._live().address.url

    @property
    def client(self) -> redis.Redis:
        """A client of this store's own. It gives bytes."""
        return self._live().client()

    def async_client(self) -> redis.asyncio.Redis:
        """A new async client, for the event loop that runs now.

        Its connections are closed when the data is restored, if their loop still runs; close it with
        ``async with`` if it should end sooner.
        """
        handle = self._live()
        return handle.async_clients.new(handle.address.url, handle.data.depth() if handle.data else 0)

    # The lifecycle

    def check(self) -> None:
        handle = self._live()
        acquire.refuse_overlap(handle, self.name)
        server.check(handle, self.name)
        own = handle.own
        if own is not None and self.adopt:
            self._again("look at", lambda: own.refuse_too_many(self.name, self.copy_limit))
        if not handle.private:
            data = handle.new_data(self._report_forbidden)
            most = self.copy_limit if self.adopt else None
            self._again(
                "look at", lambda: acquire.look(handle, data, self.name, adopt=most, unsafe=self.unsafe)
            )

    def create_schema(self) -> None:
        handle = self._live()
        acquire.refuse_overlap(handle, self.name)
        if not handle.private:
            sweep(handle.address)
        elif handle.own is not None and self.adopt:
            self._again("copy into", handle.own.copy_given)
        in_use.add(handle)
        data = handle.new_data(self._report_forbidden)
        try:
            self._again(
                "take",
                lambda: acquire.acquire(
                    handle, data, self.name, self._report_forbidden, adopt=self.adopt, unsafe=self.unsafe
                ),
            )
        except UnsafeStoreError:
            in_use.discard(handle)
            raise
        data.limit, data.is_own_server = self.copy_limit, handle.private and handle.own is None
        handle.data = data

    def drop_schema(self) -> None:
        handle = self._handle
        if handle is None or handle.closed or handle.data is None:
            return
        adopted = self.adopt and handle.own is None
        if adopted:
            handle.data.invalidate()  # every key is compared before its copy is thrown away
        self._again("clear", handle.data.reset_all if adopted else handle.data.clear)
        handle.data = None
        in_use.discard(handle)
        if handle.acquired is not None:
            handle.acquired.release()

    def save_data(self) -> Snapshot:
        try:
            return self._again("save", self._data().save)
        except TooManyKeys as error:
            (count,) = error.args
            raise StoreError(
                f"a scope cannot begin on store {self.name!r}: {count} keys were written around it, and each "
                f"would be copied to memory to be restored ({self._live()}).\nWrite fewer of them before "
                "the scope begins, or in each test that needs them. If that may take its time and memory "
                f"(30 s and 1 GB for a million):  RedisStore(..., copy_limit={2 * count:_})",
                store=self.name,
            ) from None

    def reset_data(self, snapshot: Snapshot) -> bool:
        data = self._data()
        self._live().async_clients.hang_up(data.depth(snapshot))
        changed, left_open = self._again("reset", lambda: data.reset(snapshot))
        if left_open:
            self._report_leak(left_open)
        if data.altered:
            self._report_altered(data)
        return changed

    def written_since(self, snapshot: Snapshot) -> list[Written]:
        return self._again("look at", lambda: list(self._data().written_since(snapshot)))

    def forget_data(self, snapshot: Snapshot) -> None:
        self._data().forget(snapshot)

    def left_open(self, snapshot: Snapshot) -> list[str]:
        return self._data().left_waiting(snapshot)

    def restore_fully(self, snapshot: Snapshot) -> bool:
        self._data().invalidate()
        return self.reset_data(snapshot)

    def dump_data(self) -> dict[str, list[Any]]:
        handle = self._live()
        return self._again("look at", lambda: dump(handle.wire, self._data().values))

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()

    def _data(self) -> Data:
        data = self._live().data
        assert data is not None, "create_schema() comes first"
        return data

    # What all of it needs

    def _again(self, what: str, work: Callable[[], Result]) -> Result:
        """Do `work`; again, for `wait` seconds, if the server is gone or busy. No password is shown."""
        handle = self._live()
        patience = handle.address.patience(self._wait)
        if patience.is_spent:
            raise self._unanswered(what, f"no answer within {self._wait:g} s the last time")
        was_gone, began = patience.is_gone, monotonic()
        for turn in turns(0.0 if was_gone else self._wait, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE):
            try:
                done = work()
                if was_gone:
                    patience.answered()
                    handle.wire.close()  # that one has little patience
                return done
            except OpenTransactionError as error:
                raise self._of_open_transaction(what, str(error)) from None
            except NoPermissionError as error:
                command = re.search(r"'([^']+)' command", str(error))
                right = f"\nAllow it with: ACL SETUSER name +{command[1].lower()}" if command else ""
                raise self._failure(what, f"{error}{right}") from None
            except (*LOST, ResponseError) as error:
                busy = isinstance(error, ResponseError)
                if busy and not str(error).startswith("BUSY "):
                    raise self._failure(what, str(error)) from None
                if isinstance(error, TimeoutError) and not was_gone and self._ends_pause(handle):
                    continue
                if turn.is_last or turn.seconds >= self._wait:
                    if busy:
                        raise self._of_open_transaction(
                            what, "  a Lua script or function that still runs"
                        ) from None
                    patience.gone(began)
                    raise self._unanswered(what, f"no answer within {self._wait:g} s: {error}") from None
            except RedisError as error:
                raise self._failure(what, str(error)) from None
            except KeyboardInterrupt:
                patience.gone(began)
                raise
        raise AssertionError("the last turn ends it")

    def _hint(self) -> str:
        """The lines to write where settings of the server were changed."""
        data = self._live().data
        lines = (f"\n  {settings.shown(*one)}" for one in data.altered.items()) if data is not None else ()
        return f"\nSet back in the test what it changes:{listed}" if (listed := "".join(lines)) else ""

    def _failure(self, what: str, why: str) -> StoreError:
        address = self._live().address
        why = redacted(why, address.password, address.url) + self._hint()
        return StoreError(f"could not {what} store {self.name!r}: {why}", store=self.name)

    def _ends_pause(self, handle: RedisHandle) -> bool:
        """End a CLIENT PAUSE of writes on a server that is ours alone. One of all commands keeps us out."""
        data = handle.data
        if data is None or not data.is_own_server or not self._wait or "CLIENT PAUSE" in data.altered:
            return False
        with suppress(*LOST):
            handle.wire.attempt(("CLIENT", "UNPAUSE"))
            data.altered["CLIENT PAUSE"] = ("CLIENT", "UNPAUSE")
            return True
        return False

    def _unanswered(self, what: str, why: str) -> StoreError:
        handle = self._live()
        why = f"{why}\nWas it stopped, or paused (CLIENT PAUSE)?"
        if handle.data is not None:
            return lost(self.name, f"Redis database {handle.address}", why, url=handle.address.url)
        return self._failure(what, f"{handle.address}: {why}")

    def _of_open_transaction(self, what: str, which: str) -> OpenTransactionError:
        return OpenTransactionError(
            f"could not {what} store {self.name!r}: something is still open in it.\n{which}\n"
            "End it in the test, e.g.  with client.pipeline() as pipeline: ...",
            store=self.name,
        )

    def _report_forbidden(self, command: str, effect: str) -> None:
        """Warn once of what the user of the server may not do."""
        handle = self._live()
        if command not in handle.forbidden:
            handle.forbidden.add(command)
            right = "+" + command.lower().replace(" ", "|")
            warnings.warn(
                f"the user of store {self.name!r} may not run {command} in Redis: {effect}. "
                f"Allow it with: ACL SETUSER name {right}",
                stacklevel=2,
            )

    def _report_altered(self, data: Data) -> None:
        end = "They were restored. Change them before the scope begins if several tests need them."
        if not data.is_own_server:
            if self._live().own is not None:  # the tests of other workers change them, and change them back
                data.altered = {}
                return
            end = f"It may have been another client of it, so they stay.{self._hint()}"
        names = ", ".join(data.altered)
        text = f"left settings of the Redis server of store {self.name!r} changed: {names}.\n{end}"
        data.altered = {}
        report_leak(text, self.name, self.on_leak)

    def _report_leak(self, left_open: list[OpenMulti]) -> None:
        listed = "\n".join(f"  {multi}" for multi in left_open)
        text = (
            f"left a transaction open on store {self.name!r}.\n{listed}\n"
            "Its connection was closed and the data was reset. Say EXEC or DISCARD in the test, e.g.  "
            "with client.pipeline() as pipeline: ..."
        )
        report_leak(text, self.name, self.on_leak)
