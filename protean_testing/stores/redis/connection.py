"""A connection to Redis that sends nothing again and does not reconnect unless it is asked to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from redis.exceptions import ConnectionError, ResponseError, TimeoutError

Command = tuple[Any, ...]

LOST = (ConnectionError, TimeoutError, OSError)
"""What is raised if the server is gone, does not answer, or is still loading its data."""


class Wire:
    """A connection. Each call is one round trip, however many commands it sends.

    Parameters:
        connect: Makes a connection of redis-py that is not open yet.

    Attributes:
        generation: How often it was opened: what the server keeps for a connection is lost with it.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connection: Any = None
        self.generation = 0

    def attempt(self, *commands: Command) -> list[Any]:
        """Send the commands at once. An error takes the place of the reply that it was."""
        try:
            self.send(*commands)
            return [self.receive() for _ in commands]
        except BaseException:
            self.close()  # interrupted, its replies would be taken for those of the next call
            raise

    def call(self, *commands: Command) -> list[Any]:
        """Send the commands at once, and raise the first error among the replies."""
        return checked(self.attempt(*commands))

    def send(self, *commands: Command) -> None:
        if self._connection is None:
            self.open()
        try:
            self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        except BaseException:  # Ctrl-C too: a half of it may have gone
            self.close()
            raise

    def receive(self) -> Any:
        """The next reply, with bytes for text; an error as a value."""
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error
        except BaseException:
            self.close()  # replies may still come, and would be taken for those of the next call
            raise

    def open(self) -> None:
        """Connect anew."""
        self.close()
        connection = self._connect()
        connection.connect()
        self._connection = connection
        self.generation += 1

    def close(self) -> None:
        """Harmless when repeated."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None


def checked(replies: Iterable[Any]) -> list[Any]:
    """The replies, or the first error among them."""
    found = list(replies)
    for reply in found:
        if isinstance(reply, ResponseError):
            raise reply
    return found
