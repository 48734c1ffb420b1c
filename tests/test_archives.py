"""The archives that are published: what is in them, and that the wheel runs by itself."""

import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]

pytest.importorskip("hatchling")


def built(kind: str, folder: Path) -> Path:
    """An archive, built without network access from this tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=True)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


def sources() -> set[str]:
    paths = [path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(ROOT / "src").as_posix() for path in paths}


def test_the_wheel_has_the_sources_and_nothing_else(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == sources()
    assert {"hypernetworks/py.typed", "hypernetworks/jax/__init__.py"} <= set(names)
    assert wheel.stat().st_size < 1_000_000


def test_the_wheel_alone_prints_its_commands_and_computes(wheel: Path, tmp_path: Path) -> None:
    ZipFile(wheel).extractall(tmp_path)
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import hypernetworks_command
sys.argv = ["hypernetworks", "--help"]
assert hypernetworks_command.main() == 0
import torch, hypernetworks as hn
assert hn.__file__.startswith({str(tmp_path)!r}), hn.__file__
with hn.use_backend("reference"):
    print(tuple(hn.HyperLSTM(3, 4)(torch.randn(5, 2, 3))[0].shape))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: hypernetworks COMMAND")
    assert done.stdout.endswith("(5, 2, 4)\n")


def test_the_source_archive_has_the_tests_pages_and_examples(tmp_path: Path) -> None:
    archive = built("sdist", tmp_path)
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    examples = {
        f"examples/{path.name}" for pattern in ("*.py", "*.ipynb") for path in (ROOT / "examples").glob(pattern)
    }
    wanted = {"pyproject.toml", "Makefile", "tests/public_api.txt", "docs/api.md", "docs/zh/commands.md", *examples}
    assert wanted | {f"src/{name}" for name in sources()} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("runs/", ".ci", "dist/"))]
    assert archive.stat().st_size < 5_000_000
