"""The built documentation, for the tests that read its pages."""

import shutil
import subprocess
import sys

import pytest

from .pages import DOCS, ROOT


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Build once, because it takes half a minute; a warning of Sphinx is an error.

    autosummary writes pages next to the sources, so each process builds from a copy of them.
    """
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(DOCS, folder / "docs", ignore=shutil.ignore_patterns("_build", "api", "__pycache__"))
    for name in ("src", "tests", "examples", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "html"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "html"
