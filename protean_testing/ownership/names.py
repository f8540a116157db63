"""Recognize a test database by its name, and word the refusal of what is not touched."""

from __future__ import annotations

import re

from ..errors import UnsafeStoreError

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TEST_WORDS = frozenset({"test", "tests", "testing", "testdb", "pytest", "unittest", "unittests"})


def is_test_name(name: str) -> bool:
    """Whether a database's name says that it is for tests: one of its words is "test" or the like.

    Words end at everything that is no letter and where camel case begins a new one: ``shop_test``,
    ``test-shop``, ``ShopTest``, ``test2`` and ``shop_testing`` pass; ``contest``, ``latest`` and
    ``testament`` do not.

    Parameters:
        name: The database's name, or a file's name without its directory.
    """
    return any(word.lower() in _TEST_WORDS for word in _WORD.findall(name))


def refusal(store: str, where: object, why: str, instead: str) -> UnsafeStoreError:
    """The error for what is not touched.

    Parameters:
        where: The store's location, without its password.
        why: What speaks against it.
        instead: What to do.
    """
    return UnsafeStoreError(f"refusing to use store {store!r} ({where}):\n{why}\n{instead}")


def refuse_other_name(store: str, where: object, name: str, *, what: str = "database", end: str = "") -> None:
    """Refuse what is not for tests by its name.

    Parameters:
        what: What has that name.
        end: What follows the name in its place: a file's suffix.

    Raises:
        UnsafeStoreError: It is not.
    """
    if not is_test_name(name):
        raise refusal(
            store,
            where,
            f'the {what} name {name!r} does not contain "test".',
            f"Point it at {name}_test{end}, or pass unsafe=True if losing this data is fine.",
        )
