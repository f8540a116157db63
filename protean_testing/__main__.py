"""Remove what killed runs left: ``python -m protean_testing clean URL`` lists it, and asks."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import NoReturn

from .errors import ProteanTestingError, redacted
from .ownership.clean import Leftovers

KINDS = {
    "postgresql": "postgresql.leftovers",
    "postgres": "postgresql.leftovers",
    "sqlite": "sqlite.leftovers",
    "mysql": "generic.leftovers",
    "mariadb": "generic.leftovers",
    "redis": "redis.leftovers",
    "rediss": "redis.leftovers",
    "unix": "redis.leftovers",
    "message_db": "message_db.leftovers",
}
"""By the URL's scheme, the module below ``stores`` that has its `Leftovers`."""

_EXTRAS = {"sqlalchemy": "sqlalchemy", "psycopg": "postgresql", "redis": "redis"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say how it is called, and never what was given: that may be a URL with a password."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: it takes one word and one URL: clean URL\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 if nothing is left, 1 if something is or it is not known.
    """
    parser = _Parser(
        prog="python -m protean_testing",
        description="Restore what was there before a run of tests was killed, and remove what it left.",
        epilog="Nothing is touched before it was listed, and before you said yes.",
    )
    parser.add_argument("command", metavar="clean")
    parser.add_argument(
        "url", metavar="URL", help="of the database, file or Redis, as the tests have it, with its password"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--unsafe", action="store_true", help='allow a place whose name does not contain "test"'
    )
    given = parser.parse_args(arguments)
    if given.command != "clean":
        parser.error("")
    try:
        return _clean(given.url, yes=given.yes, unsafe=given.unsafe)
    except ProteanTestingError as error:
        _complain(given.url, str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        how = f'\npip install "protean-testing[{extra}]"' if extra else ""
        _complain(given.url, f"a package is missing that is needed for this URL: {error.name}{how}")
    except KeyboardInterrupt:
        _complain(given.url, "interrupted")
    except Exception as error:  # a driver's: its text says more than its traceback
        _complain(given.url, f"{type(error).__name__}: {str(error).strip()}")
    return 1


def _clean(url: str, *, yes: bool, unsafe: bool) -> int:
    leftovers = _leftovers(url, unsafe)
    try:
        leftovers.refuse_in_use()
        listed = leftovers.listed()
        if not listed:
            print("Nothing is left.")
            return 0
        print("What killed runs left here:")
        for line in listed:
            print(f"  {line}")
        if not (yes or _says_yes()):
            return 1
        leftovers.remove()
        print("Done.")
        return 0
    finally:
        leftovers.close()


def _leftovers(url: str, unsafe: bool) -> Leftovers:
    kind = KINDS.get(url.partition(":")[0].partition("+")[0].lower())
    if kind is None:
        schemes = ", ".join(f"{scheme}:" for scheme in KINDS)
        raise ProteanTestingError(f"the URL is none that is known here. It begins with one of: {schemes}")
    found: Leftovers = import_module(f".stores.{kind}", __package__).Leftovers(url, unsafe=unsafe)
    return found


def _says_yes() -> bool:
    if not sys.stdin.isatty():
        print("Nothing was touched: there is nobody to ask. Add --yes to do it.")
        return False
    try:
        if input("Do it? [y/N] ").strip().lower() in ("y", "yes"):
            return True
    except EOFError:
        print()
    print("Nothing was touched.")
    return False


def _complain(url: str, text: str) -> None:
    print(redacted(text, url), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
