"""Protean's own suites of its adapters run over our lifecycle by one conftest, with the same counts.

They are in its source distribution. ``DEEP=1`` runs all of the generic ones; else one module of each.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from .depth import DEEP
from .suite import SuiteTestCase

URLS = '''
import pytest
from protean_testing.servers.postgresql import private_postgresql
from protean_testing.servers.redis import private_redis

@pytest.fixture(scope="session")
def db_config(request, tmp_path_factory):
    """In the place of a server that must run already."""
    match request.config.getoption("--db"):
        case "POSTGRESQL":
            url = private_postgresql().create_database("protean_test")
            return {"provider": "postgresql", "database_uri": url, "pool_size": 1, "max_overflow": 2}
        case "SQLITE":
            directory = tmp_path_factory.mktemp("db")
            return {"provider": "sqlite", "database_uri": f"sqlite:///{directory}/protean_test.db"}
    return {"provider": "memory"}

@pytest.fixture(scope="session")
def broker_config(request):
    broker = request.config.getoption("--broker")
    if broker == "INLINE":
        return {"provider": "inline"}
    return {"provider": broker.lower(), "URI": private_redis().url(2), "TTL": 300}
'''

LIFECYCLE = '''
from contextlib import nullcontext
from protean_testing.domain import test_domain as in_use

@pytest.fixture
def db(test_domain, request):
    """In the place of making and dropping the artifacts of each test's own domain."""
    provider = request.config.getoption("--db").lower()
    with in_use(test_domain, config={"databases": {"default": {"provider": provider}}}, traverse=False):
        yield

@pytest.fixture(autouse=True)
def run_around_tests(test_domain, request):
    """In the place of the resets after each test."""
    uses_broker = "adapters/broker" in str(request.path)
    with in_use(test_domain, traverse=False) if uses_broker and test_domain else nullcontext():
        yield
    for provider in test_domain.providers.values() if test_domain else ():
        provider.close()
'''


class AdapterTests(SuiteTestCase):
    source: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="protean_")))
        wanted = f"protean=={version('protean')}"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", wanted]
        subprocess.run([*command, "-d", str(directory)], check=True, timeout=300, capture_output=True)
        (archive,) = directory.glob("protean-*.tar.gz")
        with tarfile.open(archive) as found:
            found.extractall(directory, filter="data")
        cls.source = directory / archive.name.removesuffix(".tar.gz")

    def passed(self, conftest: str, *arguments: str) -> int:
        self.source.joinpath("tests/adapters/conftest.py").write_text(conftest)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
        outcome = subprocess.run(
            [*command, "-W", "ignore", *arguments],
            cwd=self.source,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=800,
        )
        self.assertEqual(outcome.returncode, 0, outcome.stdout[-3000:] + outcome.stderr)
        found = re.search(r"(\d+) passed", outcome.stdout)
        assert found is not None
        return int(found[1])

    def assertSame(self, *arguments: str) -> None:
        with self.subTest(arguments):
            theirs = self.passed(URLS, *arguments)
            self.assertGreater(theirs, 3)
            self.assertEqual(self.passed(URLS + LIFECYCLE, *arguments), theirs)

    def test_repositories(self) -> None:
        generic = "tests/adapters/repository/generic" + ("" if DEEP else "/test_claim.py")
        for database in ("MEMORY", "SQLITE", "POSTGRESQL") if DEEP else ("SQLITE",):
            self.assertSame(generic, "--db", database)

    def test_brokers(self) -> None:
        generic = "tests/adapters/broker/generic" + ("" if DEEP else "/test_publishing.py")
        for broker in ("INLINE", "REDIS", "REDIS_PUBSUB") if DEEP else ("REDIS",):
            self.assertSame(generic, "--broker", broker)
