"""``python -m tests.oracle --store sqlite --cases 1000``: the oracle for as long as wanted."""

from __future__ import annotations

import argparse
import importlib

from .run import new_seed, search


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--store", required=True, help="sqlite, postgresql: a module of tests.oracle")
    parser.add_argument("--cases", type=int, default=1000, help="programs per place of the store")
    parser.add_argument("--seed", type=int, default=None, help="repeats an earlier search")
    arguments = parser.parse_args()
    at = new_seed() if arguments.seed is None else arguments.seed
    for name, dialect in importlib.import_module(f"tests.oracle.{arguments.store}").dialects().items():
        print(f"{name}: {arguments.cases} cases, --seed {at}", flush=True)
        print(f"{name}: no difference, {search(dialect, arguments.cases, at=at):.1f} s", flush=True)


main()
