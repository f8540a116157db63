"""Django's test cases and ours on the same models: ``python -m benchmarks.django``.

On a private PostgreSQL, with 10, 50 and 200 models of which three are written and committed by every test:
milliseconds for a test, the median, and in brackets for all else of a class, under Django's ``TestCase``
(which rolls back, so nothing is committed), its ``TransactionTestCase`` (which truncates every table) and
ours. Then one suite of ours, serial and with two workers, in seconds from the first test to the last.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
import unittest
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from statistics import median
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
from django.apps import apps
from django.conf import settings

from protean_testing.servers.postgresql import start_postgresql

WRITTEN = 3
taken: list[float] = []
"""Seconds for each test, with all that goes before and after it."""


def configure() -> Any:
    """Django, on a private server. Returns that."""
    server = start_postgresql()
    where = parse_qs(urlsplit(server.url()).query)
    database = {"NAME": "shop", "USER": "postgres", "HOST": where["host"][0], "PORT": where["port"][0]}
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **database}},
        INSTALLED_APPS=[__spec__.name],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    apps.get_app_config("django").models_module = sys.modules[__name__]
    return server


def models(number: int) -> list[Any]:
    from django.db import models

    def model(name: str) -> Any:
        fields = {"name": models.CharField(max_length=50), "Meta": type("Meta", (), {"app_label": "django"})}
        return type(name, (models.Model,), {"__module__": __name__, **fields})

    return [model(f"Thing{n}") for n in range(number)]


def case(name: str, base: type, written: Sequence[Any], tests: int) -> type[unittest.TestCase]:
    """A test case with so many tests, each of which writes to some models and commits."""

    def each(self: Any) -> None:
        from django.db import transaction

        with transaction.atomic():
            for model in written:
                model.objects.create(name="a")
        for model in written:
            self.assertEqual(model.objects.count(), 1)

    def timed(self: Any, result: Any = None) -> None:
        began = time.perf_counter()
        base.__call__(self, result)  # type: ignore[operator]
        taken.append(time.perf_counter() - began)

    members = {f"test_{n:03}": each for n in range(tests)}
    made = type(name, (base,), {**members, "__call__": timed, "__module__": __name__})
    setattr(sys.modules[__name__], name, made)  # workers find it there
    return made


def seconds(cases: Sequence[type[unittest.TestCase]], parallel: int = 0) -> float:
    """From the first test to the last, without making Django's databases."""
    from protean_testing.django import Runner

    class Timed(Runner):  # type: ignore[misc]
        taken = 0.0

        def load_tests_for_label(self, label: str, discover_kwargs: Any) -> Any:
            return unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, cases))

        def run_checks(self, databases: Any) -> None:
            """They would print."""

        def run_suite(self, suite: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return super().run_suite(suite, **kwargs)
            finally:
                self.taken = time.perf_counter() - began

    runner = Timed(verbosity=0, interactive=False, parallel=parallel)
    said = io.StringIO()
    with redirect_stderr(said):
        failed = runner.run_tests(["all"])
    if failed:
        raise SystemExit(said.getvalue())
    return runner.taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tests", type=int, default=100, help="tests of each case (default: 100)")
    parser.add_argument("--models", type=int, nargs="*", default=[10, 50, 200], help="(default: 10 50 200)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    server = configure()
    from django.test import TestCase, TransactionTestCase

    from protean_testing.django import DjangoTestCase

    bases = {"TestCase": TestCase, "TransactionTestCase": TransactionTestCase, "ours": DjangoTestCase}
    print(f"milliseconds for a test that writes to {WRITTEN} models and commits (for a class)")
    print(f"{'models':>8}" + "".join(f"{name:>21}" for name in bases) + "   a test of ours is faster by")
    for number in arguments.models:
        apps.all_models["django"].clear()
        apps.clear_cache()
        written = models(number)[:WRITTEN]
        found, cells = [], ""
        for base in bases.values():
            taken.clear()
            whole = seconds([case("Case", base, written, arguments.tests)])
            found.append(median(taken))
            cells += f"{1000 * found[-1]:.2f} ({1000 * (whole - sum(taken)):.0f})".rjust(21)
        print(f"{number:>8}{cells}   {found[1] / found[2]:.0f}", flush=True)
    cases = [case(f"Case{n}", DjangoTestCase, written, arguments.tests) for n in range(8)]
    serial, parallel = seconds(cases), seconds(cases, parallel=2)
    print(f"\n{len(cases) * arguments.tests} tests of ours with {number} models, {os.cpu_count()} processors")
    print(f"serial {serial:.2f} s, two workers {parallel:.2f} s: {serial / parallel:.2f} times as fast")
    server.stop()


if __name__ == "__main__":
    main()
