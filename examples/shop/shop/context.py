"""Who acts: every change is made by somebody, and the audit writes the name down."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .errors import NobodyActing

_actor: ContextVar[str] = ContextVar("shop_actor")


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """All that is done inside is done by `name`, in this thread or task."""
    token = _actor.set(name)
    try:
        yield
    finally:
        _actor.reset(token)


def actor() -> str:
    try:
        return _actor.get()
    except LookupError:
        raise NobodyActing("say who acts: with shop.acting_as('anna'): ...") from None
