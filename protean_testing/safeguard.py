"""Is this plainly a test database?"""

from __future__ import annotations

import re

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
