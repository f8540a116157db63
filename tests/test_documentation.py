"""Every code block of the README and of docs is run, in the order of its page.

A page has a directory of its own, in which the small application of docs/project lies. What a block is:

``python``
    A block whose first line is ``# name.py`` is that file. A file named ``test_*.py`` is run by the console
    block that follows it at once, else by ``python -m unittest``; one in a directory by the blocks that use
    it. A block without a name stands for itself: it is run as a test module where it has tests, else as a
    script. What stands in an HTML comment that begins with ``preamble`` goes before each of those.
``console``
    What follows ``$`` is run by bash. Where output follows, it must be that: ``...`` stands for anything,
    and times and versions may differ. A command must succeed, unless ``# fails`` ends its line. Of ``pip
    install`` only the names are checked. A block under the comment ``run by .ci/run`` is left to that.
``yaml``
    A workflow of GitHub Actions: the commands of its jobs are run in their environments, with servers of ours
    in place of their services.
``text``
    Shown, and never run. No other language is allowed, so that no block is left out by chance.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import make_url

from protean_testing.servers.postgresql import start_postgresql
from protean_testing.servers.redis import start_redis

from . import interpreters
from .message_db import bring

interpreters.IMPORTED += ["fastapi", "flask_migrate", "flask_sqlalchemy", "httpx", "protean", "sqlmodel"]

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^<!-- preamble\n(?P<preamble>.*?)^-->\n"
    r"|(?P<ci><!-- run by \.ci/run -->\n)?"
    r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
VARIES = re.compile(r"\d+\.\d+(\.\d+)*|\b\d+(?=%| ?ms\b| ?s\b)|0x[0-9a-f]+|pid \d+")
SWITCHES = ("TEST_DB", "TEST_INFRA", "DATABASE_URL", "REDIS_URL", "MESSAGE_DB_URL", "PROTEAN_TESTING_SUMMARY")


@dataclass
class Block:
    """One block of a page."""

    line: int
    language: str
    code: str
    heading: str
    by_ci: bool = False

    @property
    def file(self) -> str | None:
        match = re.match(r"# ([\w/]+\.py)(?:\s|$)", self.code)
        return match[1] if match and self.language == "python" else None


def blocks(page: Path) -> list[Block]:
    text, found = page.read_text(), []
    for match in BLOCK.finditer(text):
        before = text[: match.start()]
        line = before.count("\n") + 1
        headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", before, flags=re.DOTALL), re.MULTILINE)
        heading = headings[-1] if headings else ""
        if match["preamble"] is not None:
            found.append(Block(line, "preamble", match["preamble"], heading))
        else:
            code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
            found.append(Block(line, match["language"].strip(), code, heading, bool(match["ci"])))
    return found


def commands(code: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown under it."""
    found = []
    for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        found.append((command, output))
    return found


def is_like(shown: str, printed: str) -> bool:
    """Whether what was printed is what is shown, where ``...`` stands for anything."""
    shown, printed = (VARIES.sub("#", text).strip() for text in (shown, printed))
    pattern = r".*".join(re.escape(part) for part in re.split(r"\.\.\.", shown))
    pattern = re.sub(r"\\\n(\.\*)\\\n", r"\\\n(?:\1\\\n)?", pattern)
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


class Page:
    """Runs the blocks of one page in a directory."""

    def __init__(self, path: Path, directory: Path) -> None:
        self.path = path
        self.directory = directory
        self.preamble = ""
        self.printed: dict[str, str] = {}
        shutil.copytree(ROOT / "docs" / "project", directory, dirs_exist_ok=True)

    def run(self, test: unittest.TestCase) -> None:
        found = blocks(self.path)
        for number, block in enumerate(found, 1):
            with test.subTest(f"{self.path.name}:{block.line}"):
                self.run_block(block, followed=number < len(found) and found[number].language == "console")

    def run_block(self, block: Block, followed: bool) -> None:
        match block.language:
            case "preamble":
                self.preamble = block.code
            case "python" if block.file:
                self.run_file(block.file, block, followed)
            case "python":
                self.run_snippet(block)
            case "console" if block.by_ci:
                readme = (ROOT / ".ci" / "run").read_text()
                assert "README.md" in readme, ".ci/run must take its commands from the README"
            case "console":
                for command, output in commands(block.code):
                    self.run_command(command, output, block.heading)
            case "yaml":
                for job in yaml.safe_load(block.code)["jobs"].values():
                    self.run_job(job, block.heading)
            case "text":
                pass
            case language if language.startswith("{"):  # a directive of the site
                pass
            case language:
                raise AssertionError(f"a block is python, console or text, and this one is {language!r}")

    def run_file(self, name: str, block: Block, followed: bool) -> None:
        file = self.directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.code)
        if "/" in name:
            compile(block.code, name, "exec")
        elif not file.name.startswith("test_"):
            self.execute(f"python {name}")
        elif not followed:
            self.run_tests(file.stem)

    def run_snippet(self, block: Block) -> None:
        name = f"block_{block.line}"
        (self.directory / f"{name}.py").write_text(f"{self.preamble}\n{block.code}")
        if re.search(r"^ +(async )?def test_|TestCase\)", block.code, re.MULTILINE):
            self.run_tests(name)
        else:
            self.execute(f"python {name}.py")

    def run_tests(self, module: str) -> None:
        printed = self.execute(f"python -m unittest {module}")
        assert re.search(r"Ran [1-9]\d* test", printed), f"no test was run:\n{printed}"

    def run_command(self, command: str, output: str, heading: str) -> None:
        if command.startswith("pip install "):
            check_requirements(command)
            return
        printed = self.execute(command)
        self.printed[heading] = self.printed.get(heading, "") + printed
        if output.strip():
            assert is_like(output, printed), f"$ {command}\n--- shown\n{output}\n--- printed\n{printed}"

    def run_job(self, job: dict[str, Any], heading: str) -> None:
        assert job["runs-on"] == "ubuntu-latest"
        with ExitStack() as servers:
            variables = dict(job["env"])
            for name, service in job.get("services", {}).items():
                lead_to_service(servers, name, service, variables)
            assigned = "".join(f"{name}={value} " for name, value in variables.items())
            for step in job["steps"]:
                if "uses" in step:
                    assert re.fullmatch(r"actions/(checkout|setup-python)@v\d", step["uses"]), step
                elif step["run"].startswith("pip install "):
                    check_requirements(step["run"])
                else:
                    self.run_command(assigned + step["run"], "", heading)

    def execute(self, command: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), bring()["PYTHONPATH"]]))
        directory, arguments, variables = argv(command)
        if "pytest" in arguments:  # which rewrites its plugins: once, if it may write that down
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with interpreters.Program(
            arguments,
            cwd=self.directory / directory,
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=120)
            except BaseException:
                process.kill()
                raise
        fails = command.endswith("# fails")
        assert bool(process.returncode) == fails, (
            f"$ {command}\nended with exit code {process.returncode}:\n{printed}"
        )
        return printed


def argv(command: str) -> tuple[str, list[str], dict[str, str]]:
    """What bash would start, where, and with which variables; bash itself if it has more to do than that."""
    simple = re.fullmatch(r"(?:cd ([\w/]+) && )?((?:\w+=\S* )*)python ([^|;&<>$`*?(){}~]+)", command)
    if simple is None:
        return ".", ["bash", "-c", command], {}
    variables = dict(word.split("=", 1) for word in shlex.split(simple[2]))
    return simple[1] or ".", [sys.executable, *shlex.split(simple[3], comments=True)], variables


def lead_to_service(
    servers: ExitStack, name: str, service: dict[str, Any], variables: dict[str, str]
) -> None:
    """See that the job's URL is that of its service, and start a server that stands for it."""
    variable, port = {"postgres": ("DATABASE_URL", 5432), "redis": ("REDIS_URL", 6379)}[name]
    url = make_url(variables[variable])
    assert (url.host, service["ports"]) == ("localhost", [f"{url.port}:{port}"]), service
    assert "--health-cmd" in service["options"] and service["image"].startswith(f"{name}:"), service
    if name == "postgres":
        assert (url.username, url.password) == ("postgres", service["env"]["POSTGRES_PASSWORD"]), service
        postgresql = start_postgresql(tcp=True)
        servers.callback(postgresql.stop)
        variables[variable] = postgresql.url(url.database or "")
    else:
        redis = start_redis(tcp=True)
        servers.callback(redis.stop)
        variables[variable] = redis.url(int(url.database or 0))


def check_requirements(command: str) -> None:
    """See that ``pip install`` names this project, extras that it has, and what its tests are run with."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    extras = settings["options.extras_require"]
    tested = {re.split(r"\W*[<>=;]", line)[0].lower() for line in "".join(extras.values()).splitlines()}
    for word in shlex.split(command, comments=True)[2:]:
        match = re.fullmatch(r"protean-testing(?:\[([\w,]+)\])?", word)
        if match is None and word.lower() in tested:
            continue
        assert match, f"{word!r} is not protean-testing, with or without extras, nor what its tests need"
        unknown = set((match[1] or "all").split(",")) - set(extras)
        assert not unknown, f"no such extra: {', '.join(unknown)}"


def run_page(test: unittest.TestCase, path: Path) -> Page:
    page = Page(path, Path(test.enterContext(tempfile.TemporaryDirectory())))
    page.run(test)
    return page


class PageTests(unittest.TestCase):
    """One test a page, such as ``test_quickstart``."""


def add_test(path: Path) -> None:
    def test(self: PageTests) -> None:
        run_page(self, path)

    setattr(PageTests, f"test_{path.stem.lower().replace('-', '_')}", test)


for _path in PAGES:
    if _path.stem != "faq":
        add_test(_path)


class ErrorTextTests(unittest.TestCase):
    """The headings of the FAQ are what its blocks print."""

    def test_faq(self) -> None:
        page = run_page(self, ROOT / "docs" / "faq.md")
        headings = re.findall(r"^## `(.*)`$", page.path.read_text(), re.MULTILINE)
        self.assertGreater(len(headings), 5)
        for heading in headings:
            with self.subTest(heading):
                pattern = r".*?".join(re.escape(part) for part in heading.split("..."))
                printed = re.sub(r"\s+", " ", page.printed.get(f"`{heading}`", ""))
                self.assertRegex(printed, pattern)


class LinkTests(unittest.TestCase):
    def test_links_lead_somewhere(self) -> None:
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
                with self.subTest(f"{page.name}: {target}"):
                    self.assertTrue((page.parent / target).exists())


class MachineTests(unittest.TestCase):
    """What runs the pages sees what is wrong in them."""

    def complaints(self, text: str) -> list[str]:
        """What is said of a page with this text."""
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        path = directory / "page.md"
        path.write_text(text)
        page, found = Page(path, directory / "project"), []
        for block in blocks(path):
            try:
                page.run_block(block, followed=False)
            except AssertionError as error:
                found.append(str(error))
        return found

    def test_a_page_that_is_right(self) -> None:
        self.assertEqual(self.complaints("```python\nprint(1)\n```\n\n```text\nanything\n```\n"), [])
        self.assertEqual(
            self.complaints("```console\n$ echo 1.5 s; echo a; echo b\n0.2 s\n...\nb\n```\n"), []
        )
        self.assertEqual(self.complaints("```console\n$ false # fails\n```\n"), [])

    def test_a_page_that_is_wrong(self) -> None:
        for text, complaint in {
            "```python\nprint(one)\n```\n": "NameError",
            "```python\n# test_none.py\nimport unittest\n```\n": "no test was run|exit code 5",
            "```ruby\nputs 1\n```\n": "a block is python, console or text",
            "```\nputs 1\n```\n": "a block is python, console or text",
            "```console\n$ false\n```\n": "exit code 1",
            "```console\n$ true # fails\n```\n": "exit code 0",
            "```console\n$ echo two\none\n```\n": "printed\ntwo",
            '```console\n$ pip install "protean-testing[mongo]"\n```\n': "no such extra: mongo",
        }.items():
            with self.subTest(text):
                (found,) = self.complaints(text)
                self.assertRegex(found, complaint)
