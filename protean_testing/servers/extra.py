"""Import libraries of the extra when a server is wanted, and not before."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..errors import ConfigurationError

INSTALL = 'pip install "protean-testing[embedded]"'


def library(name: str) -> Any:
    """Import a library that only private servers need.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise _missing(name, error) from error


def expect(name: str) -> None:
    """See that a library is there, and leave it to be imported while its server starts.

    Raises:
        ConfigurationError: It is not installed.
    """
    if find_spec(name) is None:
        raise _missing(name, f"No module named {name!r}")


def _missing(name: str, why: object) -> ConfigurationError:
    return ConfigurationError(
        f"a private server needs the library {name.partition('.')[0]!r}, which is not there: {why}.\n"
        f"Install it:  {INSTALL}"
    )
