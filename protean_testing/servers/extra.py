"""Libraries of the extra, imported when a server is wanted and not before."""

from __future__ import annotations

from importlib import import_module
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
        raise ConfigurationError(
            f"a private server needs the library {name.partition('.')[0]!r}, which is not there: {error}.\n"
            f"Install it:  {INSTALL}"
        ) from error
