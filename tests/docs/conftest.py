"""The built documentation, for the tests that read its pages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from .pages import DOCS, ROOT


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build once, because it takes a minute; a warning of Sphinx is an error.

    The processes of pytest-xdist share the build: the first one makes it, and the others wait for it. autosummary writes pages
    next to the sources, so it builds from a copy of them.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "documentation"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a build that failed
            _build(folder)
            (folder / "done").touch()
    return folder / "html"


def _build(folder: Path) -> None:
    shutil.copytree(DOCS, folder / "docs", ignore=shutil.ignore_patterns("_build", "api", "__pycache__"))
    for name in ("src", "tests", "examples", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "html"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr[-3000:]
