"""Refuse versions of Protean that this package does not know: it works with what is inside of them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

SUPPORTED = "0.18"
_INSTALL = 'Install it with: pip install "protean-testing[protean]"'


def check() -> None:
    """Raise an ImportError that says what to install, unless Protean is there in a version that is known."""
    try:
        found = version("protean")
    except PackageNotFoundError:
        raise ImportError(f"protean_testing.domain needs Protean.\n{_INSTALL}") from None
    if found.split(".")[:2] != SUPPORTED.split("."):
        raise ImportError(
            f"protean_testing.domain works with Protean {SUPPORTED}, and {found} is installed.\n{_INSTALL}"
        )


check()
